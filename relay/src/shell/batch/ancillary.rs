//! What the kernel says beside a datagram, and what it is told.

use std::mem::size_of;
use std::time::Duration;

use libc::{c_int, cmsghdr, msghdr, timespec};

/// Room for a timestamp, an overflow counter and two traffic classes with their headers, in words aligned as `cmsghdr`
/// must be. The kernel writes one class; which one depends on the family of the datagram.
pub(super) const RECEIVE_WORDS: usize = 16;
/// Room for one traffic class with its header.
pub(super) const SEND_WORDS: usize = 3;
/// Their bytes.
pub(super) const SEND_BYTES: usize = SEND_WORDS * size_of::<u64>();

/// What the kernel said about a received datagram.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ancillary {
    /// When it came, on the wall clock.
    pub(super) arrived: Option<Duration>,
    /// Datagrams dropped at the socket before it, wrapping.
    pub(super) overflows: Option<u32>,
    /// Its IPv4 type of service or IPv6 traffic class.
    pub(super) traffic_class: u8,
}

impl Ancillary {
    /// # Safety
    /// The header must be one the kernel has filled by a receiving call, with its control buffer alive.
    pub(super) unsafe fn read(header: &msghdr) -> Self {
        let mut ancillary = Self::default();
        // SAFETY: the kernel has filled the control buffer and set its length; the macros walk inside it.
        let mut next: *const cmsghdr = unsafe { libc::CMSG_FIRSTHDR(header) };
        while !next.is_null() {
            // SAFETY: not null, so a whole header inside the control buffer.
            let (level, kind) = unsafe { ((*next).cmsg_level, (*next).cmsg_type) };
            // SAFETY: as above; data follows the header.
            let data = unsafe { libc::CMSG_DATA(next) };
            match (level, kind) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    // SAFETY: the kernel writes a timespec with this type; it need not be aligned.
                    ancillary.arrived = duration(unsafe { data.cast::<timespec>().read_unaligned() });
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    // SAFETY: the kernel writes a 32-bit counter with this type; it need not be aligned.
                    ancillary.overflows = Some(unsafe { data.cast::<u32>().read_unaligned() });
                }
                (libc::SOL_IP, libc::IP_TOS) => {
                    // SAFETY: the kernel writes one byte with this type (ip(7)).
                    ancillary.traffic_class = unsafe { data.read() };
                }
                (libc::SOL_IPV6, libc::IPV6_TCLASS) => {
                    // SAFETY: the kernel writes an int with this type (RFC 3542, section 6.5).
                    ancillary.traffic_class = unsafe { data.cast::<c_int>().read_unaligned() } as u8;
                }
                _ => {}
            }
            // SAFETY: `next` is a header of this message.
            next = unsafe { libc::CMSG_NXTHDR(header, next) };
        }
        ancillary
    }
}

/// Writes the message that gives one datagram its traffic class. The time to live is never touched: a client could
/// otherwise make its datagrams die on the way.
pub(super) fn write_traffic_class(control: &mut [u64; SEND_WORDS], class: u8, is_ipv4: bool) {
    let (cmsg_level, cmsg_type) =
        if is_ipv4 { (libc::SOL_IP, libc::IP_TOS) } else { (libc::SOL_IPV6, libc::IPV6_TCLASS) };
    let value = c_int::from(class);
    // SAFETY: the lengths are those of one int; pure arithmetic.
    let cmsg_len = unsafe { libc::CMSG_LEN(size_of::<c_int>() as u32) } as _;
    let header: *mut cmsghdr = control.as_mut_ptr().cast();
    // SAFETY: the words have the alignment and, by `SEND_WORDS`, the room for a header and an int behind it.
    unsafe {
        header.write(cmsghdr { cmsg_len, cmsg_level, cmsg_type });
        libc::CMSG_DATA(header).cast::<c_int>().write_unaligned(value);
    }
}

/// The time now on the clock the kernel stamps datagrams with.
pub(super) fn wall_clock() -> Duration {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of this frame; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    duration(now).unwrap_or_default()
}

fn duration(time: timespec) -> Option<Duration> {
    Some(Duration::new(time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?))
}
