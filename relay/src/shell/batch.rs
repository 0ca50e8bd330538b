//! Many datagrams per system call: `recvmmsg(2)`, `sendmmsg(2)` and the `poll(2)` that waits for them.
//!
//! The arrays the kernel reads are built on the stack for every call, so no pointer outlives the call it is made for.
#![expect(unsafe_code, reason = "batched datagram calls and their ancillary data have no safe interface")]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::time::Duration;

use libc::{c_int, c_void, cmsghdr, iovec, mmsghdr, msghdr, pollfd, sockaddr_storage, timespec};
use socket2::{SockAddr, SockAddrStorage, Socket};

/// Datagrams per call.
pub(super) const BATCH: usize = 64;
/// Bytes per received datagram: above the largest frame, so that a longer one is noticed.
const SLOT: usize = 2048;
/// Room for a timestamp and an overflow counter with their headers, aligned as `cmsghdr` must be.
const CONTROL_WORDS: usize = 12;
/// A queueing time above this is a step of the wall clock.
const LONGEST_QUEUEING: Duration = Duration::from_secs(5);

/// A received datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    pub(super) from: SocketAddr,
    pub(super) length: usize,
    /// Whether it was longer than the buffer.
    pub(super) truncated: bool,
    /// How long it waited in the kernel.
    pub(super) queued: Duration,
}

/// Buffers for one batch.
#[derive(Debug)]
pub(super) struct ReceiveBatch {
    bytes: Box<[u8]>,
    received: Vec<Received>,
    /// The kernel's count of datagrams it dropped at this socket because its buffer was full, wrapping.
    overflows: u32,
}

impl ReceiveBatch {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; BATCH * SLOT].into_boxed_slice(),
            received: Vec::with_capacity(BATCH),
            overflows: 0,
        }
    }

    pub(super) const fn overflows(&self) -> u32 {
        self.overflows
    }

    /// The datagrams of the last receive that have an IP source, in order.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = (&Received, &[u8])> {
        self.received.iter().zip(self.bytes.chunks_exact(SLOT)).map(|(one, slot)| (one, &slot[..one.length]))
    }

    /// Receives what is there, at most [`BATCH`] datagrams, without waiting; returns how many there were.
    pub(super) fn receive(&mut self, socket: &Socket) -> io::Result<usize> {
        self.received.clear();
        let mut names: [sockaddr_storage; BATCH] = zeroed_array();
        let mut controls = [[0_u64; CONTROL_WORDS]; BATCH];
        let mut vectors: [iovec; BATCH] = zeroed_array();
        let mut messages: [mmsghdr; BATCH] = zeroed_array();
        let slots = self.bytes.chunks_exact_mut(SLOT);
        let buffers = slots.zip(&mut names).zip(&mut controls).zip(&mut vectors);
        for (message, (((slot, name), control), vector)) in messages.iter_mut().zip(buffers) {
            *vector = iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: SLOT };
            let header = &mut message.msg_hdr;
            header.msg_name = std::ptr::from_mut(name).cast();
            header.msg_namelen = size_of::<sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = size_of::<[u64; CONTROL_WORDS]>() as _;
        }
        // SAFETY: every header points to a name, a vector with its slot and a control buffer that live until the end of
        // this function, with their true lengths, and no two headers share any of them.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else { return Err(io::Error::last_os_error()) };
        let now = wall_clock();
        for (message, name) in messages.iter().zip(&names).take(count) {
            let ancillary = Ancillary::read(&message.msg_hdr);
            self.overflows = ancillary.overflows.unwrap_or(self.overflows);
            let arrived = ancillary.arrived.unwrap_or(now);
            let queued = now.checked_sub(arrived).filter(|queued| *queued <= LONGEST_QUEUEING);
            self.received.push(Received {
                from: socket_address(name, message.msg_hdr.msg_namelen).unwrap_or(NOBODY),
                length: (message.msg_len as usize).min(SLOT),
                truncated: message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
                queued: queued.unwrap_or_default(),
            });
        }
        Ok(count)
    }
}

/// A source that is no IP address; the relay refuses it as one no client can have.
const NOBODY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// Sends up to [`BATCH`] datagrams, one to each address, with one call. Returns how many the kernel took, from the first
/// on; `Err` says why it did not take the first.
pub(super) fn send<'a>(
    socket: &Socket,
    addresses: &'a [SockAddr],
    datagrams: impl Iterator<Item = &'a [u8]>,
) -> io::Result<usize> {
    let mut vectors: [iovec; BATCH] = zeroed_array();
    let mut messages: [mmsghdr; BATCH] = zeroed_array();
    let mut count = 0_u32;
    let headers = messages.iter_mut().zip(&mut vectors);
    for ((message, vector), (to, bytes)) in headers.zip(addresses.iter().zip(datagrams)) {
        *vector = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let header = &mut message.msg_hdr;
        header.msg_name = to.as_ptr().cast_mut().cast();
        header.msg_namelen = to.len();
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        count += 1;
    }
    // SAFETY: the first `count` headers point to addresses and bytes borrowed for the whole call, with their true
    // lengths; sending writes to none of them.
    let sent =
        unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Waits until one of the descriptors can be read, at most `timeout`; `None` waits for ever. Says which can.
pub(super) fn wait<const N: usize>(
    descriptors: [BorrowedFd<'_>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut polled =
        descriptors.map(|descriptor| pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    // Rounded up: waking early would find nothing due and wait again.
    let millis = timeout
        .map_or(-1, |timeout| c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX));
    // SAFETY: the array holds N descriptors that stay open during the call.
    let ready = unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, millis) };
    if ready < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(polled.map(|one| one.revents != 0))
}

/// Has the kernel tell with every datagram when it came and how many were lost before it (socket(7)).
pub(super) fn report_arrival(socket: &Socket) -> io::Result<()> {
    for option in [libc::SO_TIMESTAMPNS, libc::SO_RXQ_OVFL] {
        let enable: c_int = 1;
        // SAFETY: the value is an int and its length is given.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                std::ptr::from_ref(&enable).cast(),
                size_of::<c_int>() as libc::socklen_t,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// What the kernel said about a datagram.
#[derive(Debug, Default)]
struct Ancillary {
    arrived: Option<Duration>,
    overflows: Option<u32>,
}

impl Ancillary {
    fn read(header: &msghdr) -> Self {
        let mut ancillary = Self::default();
        // SAFETY: the kernel has filled the control buffer and set its length; the macros walk inside it.
        let mut next: *const cmsghdr = unsafe { libc::CMSG_FIRSTHDR(header) };
        while !next.is_null() {
            // SAFETY: not null, so a whole header inside the control buffer.
            let (level, kind) = unsafe { ((*next).cmsg_level, (*next).cmsg_type) };
            // SAFETY: as above; data follows the header.
            let data = unsafe { libc::CMSG_DATA(next) }.cast::<c_void>();
            if (level, kind) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
                // SAFETY: the kernel writes a timespec with this type; it need not be aligned.
                let time = unsafe { data.cast::<timespec>().read_unaligned() };
                ancillary.arrived = duration(time);
            } else if (level, kind) == (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) {
                // SAFETY: the kernel writes a 32-bit counter with this type; it need not be aligned.
                ancillary.overflows = Some(unsafe { data.cast::<u32>().read_unaligned() });
            }
            // SAFETY: `next` is a header of this message.
            next = unsafe { libc::CMSG_NXTHDR(header, next) };
        }
        ancillary
    }
}

fn socket_address(name: &sockaddr_storage, length: libc::socklen_t) -> Option<SocketAddr> {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_storage` is the type behind the storage, and the kernel has initialised `length` bytes of it
    // over zeros.
    let address = unsafe {
        *storage.view_as::<sockaddr_storage>() = *name;
        SockAddr::new(storage, length)
    };
    address.as_socket()
}

fn wall_clock() -> Duration {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec; on failure, which this clock does not have, it stays zero.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time) };
    duration(time).unwrap_or_default()
}

fn duration(time: timespec) -> Option<Duration> {
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

/// The structures of this file are plain C data for which zeros are the empty value.
fn zeroed_array<T: PlainC>() -> [T; BATCH] {
    // SAFETY: `PlainC` is implemented only for types for which all zeros is a valid value.
    unsafe { zeroed() }
}

/// Integers and pointers only: all zeros is a valid value.
trait PlainC {}
impl PlainC for iovec {}
impl PlainC for mmsghdr {}
impl PlainC for sockaddr_storage {}
