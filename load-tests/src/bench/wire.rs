//! A tap on the callers' wire: the address the gateway advertises, with every datagram passed on to its real
//! one.
//!
//! It stamps audio packets outside both the callers and the gateway. RTP headers are in the clear under SRTP
//! (RFC 3711 section 3.1), so nothing has to be decrypted.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::log::{Log, Sight};

/// Larger than any datagram of a call.
const LARGEST_DATAGRAM: usize = 2_048;

/// What callers and gateway both use for Opus.
const OPUS_PAYLOAD_TYPE: u8 = 111;

/// A running tap; it ends with its runtime.
#[derive(Debug)]
pub struct Wire {
    /// The address for the gateway to advertise.
    pub public: SocketAddr,
    /// The SSRC of every caller whose first audio packet has passed, in order.
    pub newcomers: mpsc::UnboundedReceiver<u32>,
}

impl Wire {
    /// Opens the tap in front of a relay.
    ///
    /// # Errors
    /// The socket cannot be bound.
    pub async fn open(relay: SocketAddr, log: Log) -> io::Result<Self> {
        let public = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        let address = public.local_addr()?;
        let (announce, newcomers) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            if let Err(error) = pass_up(public, relay, log, announce).await {
                tracing::error!(%error, "the tap on the callers' wire broke");
            }
        });
        Ok(Self { public: address, newcomers })
    }
}

/// The way of one client address.
struct Flow {
    upstream: Arc<UdpSocket>,
    /// The stream last sent over it; 0 before the first audio.
    ssrc: Arc<AtomicU32>,
}

async fn pass_up(
    public: Arc<UdpSocket>,
    relay: SocketAddr,
    log: Log,
    announce: mpsc::UnboundedSender<u32>,
) -> io::Result<()> {
    let mut flows: HashMap<SocketAddr, Flow> = HashMap::new();
    let mut known = Vec::new();
    let mut buffer = [0; LARGEST_DATAGRAM];
    loop {
        // An error is the echo of a datagram to a caller that has gone; the next read goes on.
        let Ok((length, client)) = public.recv_from(&mut buffer).await else { continue };
        let datagram = &buffer[..length];
        let flow = match flows.entry(client) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                new.insert(open_flow(&public, client, relay, &log).await?)
            }
        };
        if let Some(audio) = audio_packet(datagram) {
            flow.ssrc.store(audio.ssrc, Ordering::Relaxed);
            log.add(Instant::now(), Sight::Sent { ssrc: audio.ssrc, size: length });
            if !known.contains(&audio.ssrc) {
                known.push(audio.ssrc);
                // Nobody listens any more when the benchmark is over.
                let _ = announce.send(audio.ssrc);
            }
        }
        // A relay that refuses is seen by the callers.
        let _ = flow.upstream.send(datagram).await;
    }
}

async fn open_flow(
    public: &Arc<UdpSocket>,
    client: SocketAddr,
    relay: SocketAddr,
    log: &Log,
) -> io::Result<Flow> {
    let upstream = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
    upstream.connect(relay).await?;
    let ssrc = Arc::new(AtomicU32::new(0));
    tokio::spawn(pass_down(
        Arc::clone(&upstream),
        Arc::clone(public),
        client,
        Arc::clone(&ssrc),
        log.clone(),
    ));
    Ok(Flow { upstream, ssrc })
}

async fn pass_down(
    upstream: Arc<UdpSocket>,
    public: Arc<UdpSocket>,
    client: SocketAddr,
    ssrc: Arc<AtomicU32>,
    log: Log,
) {
    let mut buffer = [0; LARGEST_DATAGRAM];
    loop {
        let Ok(length) = upstream.recv(&mut buffer).await else { continue };
        let at = Instant::now();
        let datagram = &buffer[..length];
        if let Some(audio) = audio_packet(datagram) {
            log.add(at, Sight::Came { ssrc: ssrc.load(Ordering::Relaxed), begins: audio.marker });
        }
        let _ = public.send_to(datagram, client).await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AudioPacket {
    ssrc: u32,
    marker: bool,
}

/// The RTP header of an Opus packet (RFC 3550 section 5.1); nothing for STUN, DTLS and RTCP.
fn audio_packet(datagram: &[u8]) -> Option<AudioPacket> {
    let header = datagram.first_chunk::<12>()?;
    let is_rtp = header[0] >> 6 == 2 && header[1] & 0x7f == OPUS_PAYLOAD_TYPE;
    let ssrc = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    is_rtp.then_some(AudioPacket { ssrc, marker: header[1] & 0x80 != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_opus_packets_count_as_audio() {
        let mut packet = [0x80, 0xef, 0, 1, 0, 0, 0, 9, 1, 2, 3, 4, 0xff];
        assert_eq!(audio_packet(&packet), Some(AudioPacket { ssrc: 0x0102_0304, marker: true }));
        packet[1] = 111;
        assert_eq!(audio_packet(&packet).map(|audio| audio.marker), Some(false));
        packet[1] = 200;
        assert_eq!(audio_packet(&packet), None, "RTCP sender report");
        packet[0] = 0;
        assert_eq!(audio_packet(&packet), None, "STUN");
        assert_eq!(audio_packet(&packet[..4]), None);
    }
}
