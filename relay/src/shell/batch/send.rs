//! Sending.

use std::io;
use std::os::fd::AsRawFd;

use libc::{iovec, mmsghdr};

use super::ancillary::{SEND_BYTES, SEND_WORDS, write_traffic_class};
use super::{AllZeros, BATCH, Name, Pinned};
use crate::core::Datagram;

struct Arrays {
    names: [Name; BATCH],
    controls: [[u64; SEND_WORDS]; BATCH],
    vectors: [iovec; BATCH],
    messages: [mmsghdr; BATCH],
}

// SAFETY: bytes, integers and pointers that may be null.
unsafe impl AllZeros for Arrays {}

/// Headers for one batch.
pub(in super::super) struct SendBatch {
    arrays: Pinned<Arrays>,
    is_ipv6: bool,
}

impl SendBatch {
    /// For sockets of one family; to an IPv6 one, IPv4 addresses are written in mapped form.
    pub(in super::super) fn new(is_ipv6: bool) -> Self {
        let arrays: Pinned<Arrays> = Pinned::new();
        let base = arrays.as_ptr();
        for index in 0..BATCH {
            // SAFETY: `base` is the start of live `Arrays` nothing else refers to, and the index is inside each array.
            unsafe {
                let header = &raw mut (*base).messages[index].msg_hdr;
                (*header).msg_name = (&raw mut (*base).names[index]).cast();
                (*header).msg_iov = &raw mut (*base).vectors[index];
                (*header).msg_iovlen = 1;
                (*header).msg_control = (&raw mut (*base).controls[index]).cast();
            }
        }
        Self { arrays, is_ipv6 }
    }

    /// Offers every datagram to the kernel once, without waiting; returns how many it refused. A relay does not wait for a
    /// full buffer: the datagrams are late by then, and those behind them would be too.
    pub(in super::super) fn send<'a>(
        &mut self,
        socket: &impl AsRawFd,
        datagrams: impl Iterator<Item = Datagram<'a>>,
    ) -> u64 {
        let mut refused = 0;
        let mut filled = 0;
        for datagram in datagrams {
            self.fill(filled, &datagram);
            filled += 1;
            if filled == BATCH {
                refused += self.offer(socket, filled);
                filled = 0;
            }
        }
        refused + self.offer(socket, filled)
    }

    fn fill(&mut self, index: usize, datagram: &Datagram<'_>) {
        let is_ipv6 = self.is_ipv6;
        let arrays = self.arrays.get_mut();
        arrays.vectors[index] =
            iovec { iov_base: datagram.bytes.as_ptr().cast_mut().cast(), iov_len: datagram.bytes.len() };
        let header = &mut arrays.messages[index].msg_hdr;
        header.msg_namelen = arrays.names[index].write(datagram.to, is_ipv6);
        header.msg_controllen = 0;
        if datagram.traffic_class != 0 {
            let is_ipv4 = datagram.to.ip().to_canonical().is_ipv4();
            write_traffic_class(&mut arrays.controls[index], datagram.traffic_class, is_ipv4);
            header.msg_controllen = SEND_BYTES as _;
        }
    }

    fn offer(&mut self, socket: &impl AsRawFd, filled: usize) -> u64 {
        let (mut offered, mut refused) = (0, 0);
        while offered < filled {
            // SAFETY: messages up to `filled` point to names and controls in the same arrays and to bytes borrowed for the
            // whole of `send`, with their true lengths; sending writes to none of them but the messages.
            let sent = unsafe {
                let messages = (&raw mut (*self.arrays.as_ptr()).messages).cast::<mmsghdr>();
                let rest = (filled - offered) as u32;
                libc::sendmmsg(socket.as_raw_fd(), messages.add(offered), rest, libc::MSG_DONTWAIT)
            };
            match usize::try_from(sent) {
                Ok(sent) => offered += sent.max(1),
                Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    refused += 1;
                    offered += 1;
                }
            }
        }
        refused
    }
}

impl std::fmt::Debug for SendBatch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SendBatch").field("is_ipv6", &self.is_ipv6).finish_non_exhaustive()
    }
}
