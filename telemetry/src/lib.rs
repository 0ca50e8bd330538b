//! voxgate telemetry
