//! Many datagrams per system call, with the buffers and headers built once.
//!
//! The generator must cost less than what it measures, and the raw forwarder must be what the kernel allows at best: both
//! keep every structure the kernel reads, and change only what differs between two calls. IPv4 only.
#![expect(unsafe_code, reason = "batched datagram calls have no safe interface")]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;

use libc::{cmsghdr, in_pktinfo, iovec, mmsghdr, sockaddr_in};

/// Datagrams per call.
pub const BATCH: usize = 64;
/// Bytes per datagram.
const SLOT: usize = 2048;

/// An ancillary message that chooses the source address of one datagram (ip(7), `IP_PKTINFO`).
#[repr(C)]
#[derive(Clone, Copy)]
struct SourceMessage {
    header: cmsghdr,
    info: in_pktinfo,
    /// `CMSG_SPACE` rounds up to the alignment of the header.
    padding: u32,
}

/// Up to [`BATCH`] datagrams with their addresses.
#[expect(missing_debug_implementations, reason = "the headers hold nothing but pointers into the buffers")]
pub struct Batch {
    slots: Box<[[u8; SLOT]]>,
    names: Box<[sockaddr_in]>,
    sources: Box<[SourceMessage]>,
    /// Read by the kernel through `messages`.
    #[expect(dead_code, reason = "reached through the headers only")]
    vectors: Box<[iovec]>,
    messages: Box<[mmsghdr]>,
}

impl Default for Batch {
    fn default() -> Self {
        // SAFETY: all of these are plain C structures for which zeros are a valid value.
        let (name, mut source, message) =
            unsafe { (zeroed::<sockaddr_in>(), zeroed::<SourceMessage>(), zeroed::<mmsghdr>()) };
        source.header.cmsg_len = (size_of::<cmsghdr>() + size_of::<in_pktinfo>()) as _;
        source.header.cmsg_level = libc::IPPROTO_IP;
        source.header.cmsg_type = libc::IP_PKTINFO;
        let mut slots = vec![[0; SLOT]; BATCH].into_boxed_slice();
        let mut names = vec![name; BATCH].into_boxed_slice();
        let sources = vec![source; BATCH].into_boxed_slice();
        let mut vectors: Box<[iovec]> = slots
            .iter_mut()
            .map(|slot| iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: SLOT })
            .collect();
        let mut messages = vec![message; BATCH].into_boxed_slice();
        for ((message, vector), name) in messages.iter_mut().zip(&mut vectors).zip(&mut names) {
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
        }
        Self { slots, names, sources, vectors, messages }
    }
}

impl Batch {
    /// Receives what is there, at most [`BATCH`] datagrams, without waiting; returns how many there were, which is zero
    /// when there was none. `with_source` asks the kernel for their source addresses too.
    ///
    /// # Errors
    /// Any but the one that says that nothing is there.
    pub fn receive(&mut self, socket: &UdpSocket, with_source: bool) -> io::Result<usize> {
        let name_length = if with_source { size_of::<sockaddr_in>() } else { 0 };
        for (message, name) in self.messages.iter_mut().zip(&mut self.names) {
            let header = &mut message.msg_hdr;
            header.msg_name =
                if with_source { std::ptr::from_mut(name).cast() } else { std::ptr::null_mut() };
            header.msg_namelen = name_length as libc::socklen_t;
            header.msg_controllen = 0;
            // SAFETY: `msg_iov` points to this message's element of `vectors`, set at construction.
            unsafe { (*header.msg_iov).iov_len = SLOT };
        }
        // SAFETY: every header points to a vector, a slot and a name of its own in the boxes of this batch.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.messages.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        if let Ok(count) = usize::try_from(count) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            // An earlier datagram found nobody at its destination: the loss shows elsewhere.
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused => {
                Ok(0)
            }
            _ => Err(error),
        }
    }

    /// Sends the first `count` datagrams; returns how many the kernel took.
    ///
    /// # Errors
    /// The kernel did not take the first.
    pub fn send(&mut self, socket: &UdpSocket, count: usize) -> io::Result<usize> {
        let count = count.min(BATCH) as u32;
        // SAFETY: as for receiving; destinations and ancillary data are either absent or in the boxes of this batch.
        let sent = unsafe {
            libc::sendmmsg(socket.as_raw_fd(), self.messages.as_mut_ptr(), count, libc::MSG_DONTWAIT)
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// A received datagram.
    #[must_use]
    pub fn received(&self, index: usize) -> &[u8] {
        let length = (self.messages[index].msg_len as usize).min(SLOT);
        &self.slots[index][..length]
    }

    /// Where a received datagram came from; only after a receive with source addresses.
    #[must_use]
    pub fn source(&self, index: usize) -> SocketAddrV4 {
        let name = &self.names[index];
        SocketAddrV4::new(Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr)), u16::from_be(name.sin_port))
    }

    /// The whole buffer of a datagram, to write into before sending.
    pub fn slot(&mut self, index: usize) -> &mut [u8] {
        &mut self.slots[index]
    }

    /// Prepares a datagram for sending: its length, its destination (none on a connected socket) and its source address
    /// (none for the socket's own).
    pub fn prepare(
        &mut self,
        index: usize,
        length: usize,
        to: Option<SocketAddrV4>,
        source: Option<Ipv4Addr>,
    ) {
        let name = &mut self.names[index];
        let header = &mut self.messages[index].msg_hdr;
        // SAFETY: as above, `msg_iov` points to this message's element of `vectors`.
        unsafe { (*header.msg_iov).iov_len = length.min(SLOT) };
        header.msg_namelen = 0;
        header.msg_name = std::ptr::null_mut();
        if let Some(to) = to {
            name.sin_family = libc::AF_INET as libc::sa_family_t;
            name.sin_addr.s_addr = u32::from(*to.ip()).to_be();
            name.sin_port = to.port().to_be();
            header.msg_name = std::ptr::from_mut(name).cast();
            header.msg_namelen = size_of::<sockaddr_in>() as libc::socklen_t;
        }
        header.msg_controllen = 0;
        header.msg_control = std::ptr::null_mut();
        if let Some(source) = source {
            let message = &mut self.sources[index];
            message.info.ipi_spec_dst.s_addr = u32::from(source).to_be();
            header.msg_control = std::ptr::from_mut(message).cast();
            header.msg_controllen = size_of::<SourceMessage>() as _;
        }
    }

    /// Keeps a received datagram for sending to another address: its bytes stay where they are.
    pub fn forward(&mut self, index: usize, to: Option<SocketAddrV4>) {
        let length = self.messages[index].msg_len as usize;
        self.prepare(index, length, to, None);
    }
}

/// Waits until one of the sockets can be read, at most a second.
///
/// # Errors
/// The kernel refuses.
pub fn wait(sockets: [&UdpSocket; 2]) -> io::Result<[bool; 2]> {
    let mut polled =
        sockets.map(|socket| libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    // SAFETY: two descriptors that stay open during the call.
    let ready = unsafe { libc::poll(polled.as_mut_ptr(), 2, 1_000) };
    if ready < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(polled.map(|one| one.revents != 0))
}
