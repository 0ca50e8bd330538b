//! voxgate realtime
