//! voxgate providers
