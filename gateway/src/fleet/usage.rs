//! What this process takes of the machine.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// The shortest stretch a share of the processors is taken over: over less the kernel's own clock shows.
const SHORTEST: Duration = Duration::from_secs(1);

/// The share of the processors this process used lately.
#[derive(Debug)]
pub(super) struct CpuMeter {
    cores: usize,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    used: Duration,
    ratio: Option<f64>,
}

impl CpuMeter {
    pub(super) fn new(cores: usize) -> Self {
        let seen = Seen { at: Instant::now(), used: used().unwrap_or_default(), ratio: None };
        Self { cores: cores.max(1), seen: Mutex::new(seen) }
    }

    /// 0 to 1 of all processors, since somebody asked last, a second ago at least; `None` where the system does not say, and
    /// in the first second.
    pub(super) fn ratio(&self) -> Option<f64> {
        let used = used()?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, passed) = (Instant::now(), seen.at.elapsed());
        if passed >= SHORTEST {
            let busy = used.saturating_sub(seen.used).as_secs_f64();
            let ratio = busy / passed.as_secs_f64() / self.cores as f64;
            *seen = Seen { at: now, used, ratio: Some(ratio.clamp(0.0, 1.0)) };
        }
        seen.ratio
    }
}

/// The time all threads ran, since the process began.
fn used() -> Option<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some(duration(usage.user_time()) + duration(usage.system_time()))
}

fn duration(time: TimeVal) -> Duration {
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec()).unwrap_or(0));
    seconds + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or(0))
}

/// The memory the process holds.
pub(super) fn memory_bytes() -> Option<u64> {
    resident(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// The line `VmRSS` of proc_pid_status(5), which is in kibibytes.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

/// The name of the machine.
pub(super) fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_read_where_the_system_says_it() {
        assert_eq!(resident("Name:\tvoxgate\nVmRSS:\t   12345 kB\nThreads:\t3\n"), Some(12_345 * 1_024));
        for broken in ["", "VmRSS: many kB", "VmRSS: 12345", "VmRSS: 99999999999999999999 kB"] {
            assert_eq!(resident(broken), None, "{broken:?}");
        }
        assert!(memory_bytes().is_some_and(|bytes| bytes > 1_000_000));
    }

    #[test]
    fn time_spent_reckoning_is_time_of_the_processors() {
        let before = used().unwrap();
        let mut sum = 0_u64;
        while used().unwrap() < before + Duration::from_millis(20) {
            sum = (0..10_000_u64).fold(sum, |sum, number| std::hint::black_box(sum ^ number));
        }
        // A meter whose last look is long ago says what was used since.
        let meter = CpuMeter::new(2);
        assert_eq!(meter.ratio(), None);
        if let Ok(mut seen) = meter.seen.lock() {
            seen.at = Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
            seen.used = before;
        }
        let ratio = meter.ratio().unwrap();
        assert!(ratio > 0.0 && ratio <= 1.0, "{ratio}");
        assert_eq!(meter.ratio(), Some(ratio), "within a second it stays");
    }
}
