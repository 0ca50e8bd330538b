//! voxgate relay
