//! voxgate signaling
