//! voxgate load-tests
