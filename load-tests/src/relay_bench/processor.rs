//! Which core a thread runs on, and how much processor time a process has used.
#![expect(unsafe_code, reason = "affinity and the clocks of other processes have no safe interface")]

use std::io;
use std::mem::{size_of, zeroed};
use std::time::Duration;

/// Pins the calling thread, and every thread and process it starts from now on, to one core.
///
/// # Errors
/// The core does not exist or may not be used.
pub fn pin(core: usize) -> io::Result<()> {
    // SAFETY: an empty set is all zeros; the set is written and read in its own length.
    let result = unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The cores the calling thread may run on, in order.
///
/// # Errors
/// The kernel refuses.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    // SAFETY: as in `pin`.
    let set = unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) != 0 {
            return Err(io::Error::last_os_error());
        }
        set
    };
    let most = 8 * size_of::<libc::cpu_set_t>();
    // SAFETY: the index is below the number of bits of the set.
    Ok((0..most).filter(|core| unsafe { libc::CPU_ISSET(*core, &set) }).collect())
}

/// The processor time of one process, all threads, user and system, in nanoseconds (clock_getcpuclockid(3)).
#[derive(Clone, Copy, Debug)]
pub struct ProcessorClock(libc::clockid_t);

impl ProcessorClock {
    /// The clock of a process.
    ///
    /// # Errors
    /// There is no such process.
    pub fn of(process: u32) -> io::Result<Self> {
        let mut clock = 0;
        let process = libc::pid_t::try_from(process).map_err(io::Error::other)?;
        // SAFETY: the clock id is written to a variable of its type.
        match unsafe { libc::clock_getcpuclockid(process, &raw mut clock) } {
            0 => Ok(Self(clock)),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// The time used so far.
    ///
    /// # Errors
    /// The process has ended.
    pub fn read(self) -> io::Result<Duration> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the pointer is to a timespec.
        if unsafe { libc::clock_gettime(self.0, &raw mut time) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let seconds = u64::try_from(time.tv_sec).map_err(io::Error::other)?;
        Ok(Duration::new(seconds, u32::try_from(time.tv_nsec).map_err(io::Error::other)?))
    }
}

/// Lets this process and those it starts open as many files as the system allows.
///
/// # Errors
/// The kernel refuses.
pub fn raise_file_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers are to a limit of the right type.
    let result = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
    };
    if result == 0 { Ok(limit.rlim_cur) } else { Err(io::Error::last_os_error()) }
}
