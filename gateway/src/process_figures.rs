//! What the operating system says about this process, in the words of the metric catalogue.

use std::path::Path;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeVal;
use voxgate_telemetry::process::{ProcessFigures, ReadProcess};

use crate::host::since_unix_epoch;

/// Reads them from now on, for a process that was just started in this role.
pub(crate) fn reader(role: &'static str) -> ReadProcess {
    let started = since_unix_epoch();
    Box::new(move || read(role, started))
}

fn read(role: &'static str, started: Duration) -> ProcessFigures {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ProcessFigures {
        version: env!("CARGO_PKG_VERSION"),
        role,
        started,
        cpu: cpu(),
        resident_bytes: field(&status, "VmRSS:").map(|kibibytes| kibibytes * 1_024),
        open_files: count(Path::new("/proc/self/fd")),
        most_files: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
        threads: field(&status, "Threads:"),
    }
}

fn cpu() -> Option<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some(duration(usage.user_time())? + duration(usage.system_time())?)
}

fn duration(time: TimeVal) -> Option<Duration> {
    let micros = u64::try_from(time.tv_usec()).ok()?;
    Some(Duration::from_secs(u64::try_from(time.tv_sec()).ok()?) + Duration::from_micros(micros))
}

/// The number behind a name (proc_pid_status(5)).
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The folder that is read is open too.
fn count(folder: &Path) -> Option<u64> {
    let entries = std::fs::read_dir(folder).ok()?;
    Some((entries.count() as u64).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_moves_with_what_the_process_does() {
        let read = reader("test");
        let before = read();
        assert_eq!((before.role, before.version), ("test", env!("CARGO_PKG_VERSION")));
        let files: Vec<_> = (0..10).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let memory = vec![1_u8; 64 * 1024 * 1024];
        let after = read();
        // Other tests of this process open and close files too.
        assert!(after.open_files.unwrap() >= files.len() as u64 && after.most_files > after.open_files);
        assert!(after.resident_bytes.unwrap() as usize > memory.len());
        assert!(after.threads.unwrap() >= 1);
        assert!(after.cpu.unwrap() > Duration::ZERO && after.cpu >= before.cpu);
    }

    #[test]
    fn a_status_without_the_field_or_with_nonsense_is_nothing() {
        assert_eq!(field("Name:\tvoxgate\nVmRSS:\t   1234 kB\n", "VmRSS:"), Some(1_234));
        assert_eq!(field("Name:\tvoxgate\n", "VmRSS:"), None);
        assert_eq!(field("VmRSS:\t -1 kB\n", "VmRSS:"), None);
        assert_eq!(count(Path::new("/nowhere")), None);
    }
}
