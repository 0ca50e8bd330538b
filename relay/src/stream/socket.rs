//! Options of the sockets.

#![expect(unsafe_code, reason = "no safe interface sets TCP_NOTSENT_LOWAT")]

use std::io;
use std::mem::size_of_val;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd as _};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// Unsent bytes the kernel may hold for a connection. What waits there can no longer be dropped when it is stale, so it is
/// little: a handful of voice packets.
const KERNEL_UNSENT_BYTES: libc::c_int = 2048;

/// Binds the TCP listener of [`super::StreamConfig::listen`].
///
/// # Errors
/// When the address cannot be bound.
pub fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(listen), Type::STREAM, Some(Protocol::TCP))?;
    if listen.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A restarted relay must not wait for the connections of its former life to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Sends every frame at once, and lets it wait here rather than in the kernel.
pub(super) fn send_promptly(stream: &tokio::net::TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    limit_unsent(stream, KERNEL_UNSENT_BYTES)
}

fn limit_unsent(stream: &impl AsFd, bytes: libc::c_int) -> io::Result<()> {
    let descriptor = stream.as_fd();
    let length = size_of_val(&bytes) as libc::socklen_t;
    // SAFETY: the descriptor is open while it is borrowed, and the pointer with its length covers one live integer.
    let result = unsafe {
        libc::setsockopt(
            descriptor.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NOTSENT_LOWAT,
            (&raw const bytes).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
