//! Sending.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use libc::{iovec, mmsghdr};

use super::ancillary::{SEND_BYTES, SEND_WORDS, write_traffic_class};
use super::{AllZeros, BATCH, Name, Pinned};
use crate::core::Datagram;
use crate::tunnel::{LENGTH_BYTES, MAX_BUNDLE};

struct Arrays {
    names: [Name; BATCH],
    controls: [[u64; SEND_WORDS]; BATCH],
    /// Two for each frame of a bundle; of other datagrams the first at their place.
    vectors: [iovec; 2 * BATCH],
    lengths: [[u8; LENGTH_BYTES]; BATCH],
    messages: [mmsghdr; BATCH],
}

// SAFETY: bytes, integers and pointers that may be null.
unsafe impl AllZeros for Arrays {}

/// Headers for one batch.
pub(in super::super) struct SendBatch {
    arrays: Pinned<Arrays>,
    is_ipv6: bool,
    /// Of the batch being bundled: its bundles, and which each datagram goes into.
    bundles: Vec<Bundle>,
    places: Vec<usize>,
}

/// Frames to one node under one traffic class.
#[derive(Clone, Copy)]
struct Bundle {
    to: SocketAddr,
    traffic_class: u8,
    frames: usize,
    bytes: usize,
    /// Where its next vector goes.
    vector: usize,
}

/// Bundles looked back at for one that has room: nodes a region's relay talks to at once.
const LOOK_BACK: usize = 8;

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
                (*header).msg_control = (&raw mut (*base).controls[index]).cast();
            }
        }
        Self { arrays, is_ipv6, bundles: Vec::with_capacity(BATCH), places: Vec::with_capacity(BATCH) }
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
        let arrays = self.arrays.get_mut();
        arrays.vectors[index] = vector_of(datagram.bytes);
        self.address(index, datagram.to, datagram.traffic_class, (index, 1));
    }

    /// Writes everything of a header but the bytes, which are `vectors` from one on and that many.
    fn address(&mut self, index: usize, to: SocketAddr, traffic_class: u8, vectors: (usize, usize)) {
        let is_ipv6 = self.is_ipv6;
        // SAFETY: a place inside the arrays, taken without a reference to them.
        let first = unsafe { (&raw mut (*self.arrays.as_ptr()).vectors).cast::<iovec>().add(vectors.0) };
        let arrays = self.arrays.get_mut();
        let header = &mut arrays.messages[index].msg_hdr;
        header.msg_iov = first;
        header.msg_iovlen = vectors.1 as _;
        header.msg_namelen = arrays.names[index].write(to, is_ipv6);
        header.msg_controllen = 0;
        if traffic_class != 0 {
            let is_ipv4 = to.ip().to_canonical().is_ipv4();
            write_traffic_class(&mut arrays.controls[index], traffic_class, is_ipv4);
            header.msg_controllen = SEND_BYTES as _;
        }
    }

    /// As [`SendBatch::send`], with frames to the same node in bundles.
    pub(in super::super) fn send_bundled<'a>(
        &mut self,
        socket: &impl AsRawFd,
        mut frames: impl ExactSizeIterator<Item = Datagram<'a>> + Clone,
    ) -> u64 {
        let mut refused = 0;
        while frames.len() > 1 {
            let batch = frames.clone().take(BATCH);
            self.plan(batch.clone());
            for (number, frame) in batch.enumerate() {
                self.place(number, &frame);
            }
            for index in 0..self.bundles.len() {
                let Bundle { to, traffic_class, frames, vector, .. } = self.bundles[index];
                let vectors = if frames == 1 { 1 } else { 2 * frames };
                self.address(index, to, traffic_class, (vector - vectors, vectors));
            }
            refused += self.offer(socket, self.bundles.len());
            frames.nth(BATCH.min(frames.len()) - 1);
        }
        refused + self.send(socket, frames)
    }

    /// Decides which frame goes into which bundle, and where their vectors are.
    fn plan<'a>(&mut self, frames: impl Iterator<Item = Datagram<'a>>) {
        self.bundles.clear();
        self.places.clear();
        for Datagram { to, traffic_class, bytes } in frames {
            let length = LENGTH_BYTES + bytes.len();
            let start = self.bundles.len().saturating_sub(LOOK_BACK);
            let same = |bundle: &Bundle| (bundle.to, bundle.traffic_class) == (to, traffic_class);
            let near = self.bundles[start..].iter().rposition(same).map(|place| start + place);
            match near.filter(|near| self.bundles[*near].bytes + length <= MAX_BUNDLE) {
                Some(place) => {
                    self.bundles[place].frames += 1;
                    self.bundles[place].bytes += length;
                    self.places.push(place);
                }
                None => {
                    self.places.push(self.bundles.len());
                    self.bundles.push(Bundle { to, traffic_class, frames: 1, bytes: length, vector: 0 });
                }
            }
        }
        let mut vector = 0;
        for bundle in &mut self.bundles {
            bundle.vector = vector;
            vector += 2 * bundle.frames;
        }
    }

    /// Writes the vectors of one frame.
    fn place(&mut self, number: usize, frame: &Datagram<'_>) {
        let bundle = &mut self.bundles[self.places[number]];
        // SAFETY: a place inside the arrays, taken without a reference to them.
        let length = unsafe { &raw mut (*self.arrays.as_ptr()).lengths[number] };
        let arrays = self.arrays.get_mut();
        if bundle.frames > 1 {
            // A frame is at most `MAX_FRAME` bytes long.
            arrays.lengths[number] = (frame.bytes.len() as u16).to_be_bytes();
            arrays.vectors[bundle.vector] = iovec { iov_base: length.cast(), iov_len: LENGTH_BYTES };
            bundle.vector += 1;
        }
        arrays.vectors[bundle.vector] = vector_of(frame.bytes);
        bundle.vector += 1;
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

const fn vector_of(bytes: &[u8]) -> iovec {
    iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

impl std::fmt::Debug for SendBatch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SendBatch").field("is_ipv6", &self.is_ipv6).finish_non_exhaustive()
    }
}
