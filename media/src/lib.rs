//! voxgate media
