//! A relay takes the sockets of the one it replaces, so that no datagram is lost between the two.
//!
//! Both talk over a Unix stream socket, and nothing is given up before the other side has it:
//!
//! | from | what |
//! |---|---|
//! | new | a greeting with the version of this exchange |
//! | old | its identity and epoch, and with them all its sockets (`SCM_RIGHTS`) |
//! | new | a byte: ready to take over |
//! | old | stops reading; then its assured flows, as a length in eight bytes and a [`Relay::snapshot`] |
//! | new | a byte: running |
//!
//! Datagrams that come while neither reads wait in the sockets both hold. The new relay continues the old one's epoch, so
//! that what nodes have confirmed stays confirmed, and starts its sequences at the time of day, which is ahead of the old
//! one's. When the new relay goes away before its last byte, the old one reads on.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::Socket;
use voxgate_protocol::id::RelayId;

use super::sockets::{LaneSockets, local_addr, serves};
use crate::core::Relay;

mod descriptors;
mod offer;
mod server;

use offer::Offer;
pub use server::HandoverServer;

const GREETING: [u8; 8] = *b"vgrelay1";
const READY: u8 = 1;
const RUNNING: u8 = 2;
/// How long one side waits for the other's next message. Neither has anything slow to do.
const PATIENCE: Duration = Duration::from_secs(2);
/// Far above the snapshot of a full flow table.
const MAX_SNAPSHOT_BYTES: u64 = 256 << 20;

/// What a running relay has offered. Dropping it leaves everything with that relay.
pub struct Inherited {
    stream: UnixStream,
    offer: Offer,
    lanes: Vec<LaneSockets>,
    streams: Option<(TcpListener, UdpSocket)>,
}

/// Asks the relay that offers its sockets at `path` for them. `None` when there is none. The relay goes on until
/// [`super::spawn`] completes the hand-over.
///
/// # Errors
/// When a relay is there and does not answer as one of this version, within two seconds for each message.
pub fn take_over(path: &Path) -> io::Result<Option<Inherited>> {
    let mut stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    be_patient(&stream)?;
    stream.write_all(&GREETING)?;
    let mut bytes = [0; Offer::LENGTH];
    let sockets = descriptors::receive(&mut stream, &mut bytes)?;
    let offer = Offer::read(&bytes)?;
    if sockets.len() != offer.socket_count() {
        return Err(io::Error::other("the running relay sent another number of sockets than it said"));
    }
    let mut sockets = sockets.into_iter();
    let mut lanes = Vec::with_capacity(usize::from(offer.lanes));
    for _ in 0..offer.lanes {
        let (Some(public), Some(tunnel)) = (sockets.next(), sockets.next()) else { break };
        lanes.push(LaneSockets { public: datagram_socket(public)?, tunnel: datagram_socket(tunnel)? });
    }
    let streams = sockets.next().zip(sockets.next());
    let streams = streams.map(|(listener, tunnel)| (listener.into(), tunnel.into()));
    Ok(Some(Inherited { stream, offer, lanes, streams }))
}

fn datagram_socket(descriptor: OwnedFd) -> io::Result<Socket> {
    let socket = Socket::from(descriptor);
    if socket.r#type()? != socket2::Type::DGRAM {
        return Err(io::Error::other("the running relay sent something else than its sockets"));
    }
    Ok(socket)
}

impl Inherited {
    pub(super) const fn epoch(&self) -> u32 {
        self.offer.epoch
    }

    /// The sockets of the lanes, for a relay of this identity and address.
    ///
    /// # Errors
    /// When the running relay is another one, or serves another address.
    pub(super) fn take_lanes(&mut self, id: RelayId, listen: SocketAddr) -> io::Result<Vec<LaneSockets>> {
        if self.offer.relay != id {
            let running = self.offer.relay.0;
            return Err(io::Error::other(format!("the running relay has the id {running}, not {}", id.0)));
        }
        for lane in &self.lanes {
            if !serves(local_addr(&lane.public)?, listen) {
                return Err(io::Error::other("the running relay serves another address; stop it first"));
            }
        }
        Ok(std::mem::take(&mut self.lanes))
    }

    pub(super) const fn take_stream(&mut self) -> Option<(TcpListener, UdpSocket)> {
        self.streams.take()
    }

    /// Stops the running relay and takes its flows. It goes on when [`Self::confirm`] does not follow.
    ///
    /// # Errors
    /// When it does not answer, or with something else than flows.
    pub(super) fn receive_flows(&mut self, relay: &Relay) -> io::Result<()> {
        self.stream.write_all(&[READY])?;
        let mut length = [0; 8];
        self.stream.read_exact(&mut length)?;
        let length = u64::from_be_bytes(length);
        if length > MAX_SNAPSHOT_BYTES {
            return Err(io::Error::other("the running relay announced too large a snapshot"));
        }
        let mut snapshot = Vec::new();
        (&self.stream).take(length).read_to_end(&mut snapshot)?;
        if snapshot.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let flows = relay.restore(Instant::now(), &snapshot).map_err(io::Error::other)?;
        tracing::info!(flows, "took over from the running relay");
        Ok(())
    }

    /// Tells the old relay that this one runs.
    ///
    /// # Errors
    /// When the old relay is no longer there to hear it; it may have gone on by then.
    pub(super) fn confirm(mut self) -> io::Result<()> {
        self.stream.write_all(&[RUNNING])
    }
}

impl fmt::Debug for Inherited {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Inherited").field("offer", &self.offer).finish_non_exhaustive()
    }
}

fn be_patient(stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}
