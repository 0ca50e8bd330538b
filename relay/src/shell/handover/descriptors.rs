//! Open files sent from one process to another (unix(7), `SCM_RIGHTS`).
#![expect(unsafe_code, reason = "the kernel hands descriptors over as bare numbers")]

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// The most descriptors the kernel takes with one message.
const MOST: usize = 253;

/// Sends bytes with descriptors.
///
/// # Errors
/// When the other side is gone, or there are more than the kernel takes.
pub(super) fn send(stream: &mut UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<RawFd> = descriptors.iter().map(|descriptor| descriptor.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let sent =
        sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(bytes)], &rights, MsgFlags::MSG_NOSIGNAL, None)?;
    // The descriptors went with the first byte.
    stream.write_all(bytes.get(sent..).unwrap_or_default())
}

/// Fills `bytes` and returns the descriptors that came with them.
///
/// # Errors
/// When the other side is gone or sends more descriptors than one message holds.
pub(super) fn receive(stream: &mut UnixStream, bytes: &mut [u8]) -> io::Result<Vec<OwnedFd>> {
    let mut control = nix::cmsg_space!([RawFd; MOST]);
    let mut parts = [IoSliceMut::new(bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let mut descriptors = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = part {
            // SAFETY: the kernel has made these descriptors for this message; nothing else owns them.
            descriptors.extend(raw.into_iter().map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }));
        }
    }
    let received = message.bytes;
    if received == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    stream.read_exact(bytes.get_mut(received..).unwrap_or_default())?;
    Ok(descriptors)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn a_socket_that_was_sent_is_the_same_socket() {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        send(&mut near, b"abc", &[socket.as_fd(), socket.as_fd()]).unwrap();
        drop(socket);
        let mut bytes = [0; 3];
        let received = receive(&mut far, &mut bytes).unwrap();
        assert_eq!((&bytes, received.len()), (b"abc", 2));
        for descriptor in received {
            assert_eq!(UdpSocket::from(descriptor).local_addr().unwrap(), address);
        }
    }

    #[test]
    fn a_closed_stream_is_an_error() {
        let (near, mut far) = UnixStream::pair().unwrap();
        drop(near);
        assert_eq!(receive(&mut far, &mut [0; 3]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
