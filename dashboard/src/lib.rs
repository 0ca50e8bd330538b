//! voxgate dashboard
