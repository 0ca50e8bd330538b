//! voxgate policy
