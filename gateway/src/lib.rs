//! voxgate gateway
