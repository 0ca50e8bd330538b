//! Receiving.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use libc::{iovec, mmsghdr};

use super::ancillary::{Ancillary, RECEIVE_WORDS, wall_clock};
use super::{AllZeros, BATCH, NOBODY, Name, Pinned};
use crate::tunnel::MAX_FRAME;

/// Bytes per received datagram: above the largest frame, so that a longer one is noticed, and an odd number of cache lines,
/// so that the beginnings of a batch's datagrams do not compete for the same few places in the cache.
const SLOT: usize = 25 * 64;
const _: () = assert!(SLOT > MAX_FRAME);
/// A queueing time above this is a step of the wall clock.
const LONGEST_QUEUEING: Duration = Duration::from_secs(5);

/// A received datagram.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Received<'a> {
    pub(in super::super) from: SocketAddr,
    pub(in super::super) bytes: &'a [u8],
    /// Whether it was longer than the buffer.
    pub(in super::super) truncated: bool,
    /// How long it waited in the kernel; where that was not asked, how long the last one before it that was asked for waited,
    /// which is longer.
    pub(in super::super) queued: Duration,
    /// Its IPv4 type of service or IPv6 traffic class; zero where it was not asked.
    pub(in super::super) traffic_class: u8,
    /// How many datagrams the kernel dropped at this socket before it, because the buffer was full; wrapping, and absent
    /// while there was none.
    pub(in super::super) overflows: Option<u32>,
}

struct Arrays {
    slots: [[u8; SLOT]; BATCH],
    names: [Name; BATCH],
    controls: [[u64; RECEIVE_WORDS]; BATCH],
    vectors: [iovec; BATCH],
    messages: [mmsghdr; BATCH],
}

// SAFETY: bytes, integers and pointers that may be null.
unsafe impl AllZeros for Arrays {}

/// Of which datagrams of a batch the kernel is asked what it knows beside their content. The answers cost about a
/// quarter of what it costs to receive a small datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Asked {
    Every,
    /// The one that has waited longest. With one datagram at a time, as on a relay with little to do, these are all.
    First,
}

/// Buffers for one batch.
pub(in super::super) struct ReceiveBatch {
    arrays: Pinned<Arrays>,
    asked: Asked,
    /// Messages whose lengths the last call has changed.
    filled: usize,
    /// The wall clock right after it.
    received_at: Duration,
}

impl ReceiveBatch {
    pub(in super::super) fn new() -> Self {
        let arrays: Pinned<Arrays> = Pinned::new();
        let base = arrays.as_ptr();
        for index in 0..BATCH {
            // SAFETY: `base` is the start of live `Arrays` nothing else refers to, and the index is inside each array.
            unsafe {
                let vector = &raw mut (*base).vectors[index];
                *vector = iovec { iov_base: (&raw mut (*base).slots[index]).cast(), iov_len: SLOT };
                let header = &raw mut (*base).messages[index].msg_hdr;
                (*header).msg_name = (&raw mut (*base).names[index]).cast();
                (*header).msg_iov = vector;
                (*header).msg_iovlen = 1;
                (*header).msg_control = (&raw mut (*base).controls[index]).cast();
            }
        }
        let mut batch = Self { arrays, asked: Asked::Every, filled: BATCH, received_at: Duration::ZERO };
        batch.reset_filled();
        batch
    }

    /// Of which datagrams the next calls ask.
    pub(in super::super) fn ask(&mut self, asked: Asked) {
        if self.asked != asked {
            self.asked = asked;
            self.filled = BATCH;
            self.reset_filled();
        }
    }

    /// Receives what is there, at most [`BATCH`] datagrams, without waiting; returns how many there were.
    pub(in super::super) fn receive(&mut self, socket: &impl AsRawFd) -> io::Result<usize> {
        self.reset_filled();
        // SAFETY: every message points to a name, a vector with its slot and a control buffer inside the same arrays, with
        // their true lengths; no two messages share any of them, and the arrays live as long as `self`.
        let count = unsafe {
            let messages = (&raw mut (*self.arrays.as_ptr()).messages).cast::<mmsghdr>();
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages,
                BATCH as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else { return Err(io::Error::last_os_error()) };
        self.filled = count.min(BATCH);
        self.received_at = wall_clock();
        Ok(self.filled)
    }

    /// The datagrams of the last receive, in order. One whose source is no IP address comes from nobody, port zero.
    pub(in super::super) fn datagrams(&self) -> impl Iterator<Item = Received<'_>> {
        let arrays = self.arrays.get();
        let messages = arrays.messages[..self.filled].iter().zip(&arrays.names).zip(&arrays.slots);
        let mut longest = Duration::ZERO;
        messages.map(move |((message, name), slot)| {
            // SAFETY: the kernel has filled this message, and its control buffer lives in the same arrays.
            let ancillary = unsafe { Ancillary::read(&message.msg_hdr) };
            if let Some(arrived) = ancillary.arrived {
                let queued = self.received_at.checked_sub(arrived);
                longest = queued.filter(|queued| *queued <= LONGEST_QUEUEING).unwrap_or_default();
            }
            Received {
                from: name.read(message.msg_hdr.msg_namelen).unwrap_or(NOBODY),
                bytes: &slot[..(message.msg_len as usize).min(SLOT)],
                truncated: message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
                queued: longest,
                traffic_class: ancillary.traffic_class,
                overflows: ancillary.overflows,
            }
        })
    }

    /// Gives back to the messages the kernel has filled the room they are to have.
    fn reset_filled(&mut self) {
        let every = self.asked == Asked::Every;
        for (index, message) in self.arrays.get_mut().messages[..self.filled].iter_mut().enumerate() {
            let room = if every || index == 0 { size_of::<[u64; RECEIVE_WORDS]>() } else { 0 };
            message.msg_hdr.msg_namelen = Name::LENGTH;
            message.msg_hdr.msg_controllen = room as _;
        }
        self.filled = 0;
    }
}

impl std::fmt::Debug for ReceiveBatch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ReceiveBatch").field("filled", &self.filled).finish_non_exhaustive()
    }
}
