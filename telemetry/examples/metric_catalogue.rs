//! Writes `docs/metrics.md`.

use std::io::Write as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    std::io::stdout().write_all(voxgate_telemetry::catalogue::page()?.as_bytes())?;
    Ok(())
}
