//! One direction through a contender: how datagrams are made on the one side and read on the other.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::rc::Rc;
use std::time::Instant;

use anyhow::ensure;
use voxgate_protocol::path::ClientAddress;
use voxgate_relay::tunnel::{HEADER_LENGTH, Kind, Outgoing, TAG_LENGTH, frames};

use super::batch::{BATCH, Batch};
use super::node::{Node, session_of};
use super::payload::{self, PAYLOAD, Stamp};

/// Bytes of a ChannelData header (RFC 8656, section 12.4).
pub const CHANNEL_HEADER: usize = 4;

/// One flow of a link.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// The client's address.
    pub client: SocketAddrV4,
    /// The address datagrams are sent from, where it is not the socket's own.
    pub source: Option<Ipv4Addr>,
    /// Where they are sent to; nothing on a connected socket.
    pub to: Option<SocketAddrV4>,
    /// The TURN channel, if the link sends ChannelData.
    pub channel: u16,
}

/// What a payload is wrapped in.
#[derive(Debug)]
pub enum Wrapping {
    /// Nothing.
    Plain,
    /// A ChannelData header.
    Channel,
    /// A tunnel frame.
    Tunnel(Node),
}

/// One direction through a contender.
#[derive(Debug)]
pub struct Link {
    /// The socket datagrams leave from.
    pub sender: Rc<UdpSocket>,
    /// The socket they come to.
    pub receiver: Rc<UdpSocket>,
    /// The flows.
    pub flows: Vec<Flow>,
    /// How they are wrapped when they leave.
    pub sent: Wrapping,
    /// How they are wrapped when they come.
    pub came: Wrapping,
}

impl Link {
    /// Writes the datagram of a flow into a place of a batch.
    ///
    /// # Errors
    /// The frame cannot be sealed.
    pub fn write(
        &mut self,
        batch: &mut Batch,
        index: usize,
        now: Instant,
        stamp: Stamp,
    ) -> anyhow::Result<()> {
        let flow = self.flows[stamp.flow as usize];
        let slot = batch.slot(index);
        let length = match &mut self.sent {
            Wrapping::Plain => {
                payload::write(slot, flow.client, stamp);
                PAYLOAD
            }
            Wrapping::Channel => {
                slot[..2].copy_from_slice(&flow.channel.to_be_bytes());
                slot[2..CHANNEL_HEADER].copy_from_slice(&(PAYLOAD as u16).to_be_bytes());
                payload::write(&mut slot[CHANNEL_HEADER..], flow.client, stamp);
                CHANNEL_HEADER + PAYLOAD
            }
            Wrapping::Tunnel(node) => {
                let mut bytes = [0; PAYLOAD];
                payload::write(&mut bytes, flow.client, stamp);
                let frame = node.seal(
                    now,
                    &Outgoing {
                        kind: Kind::Down { confirmed: true },
                        session: session_of(stamp.flow),
                        client: Some(ClientAddress::udp(flow.client.into())),
                        traffic_class: 0,
                        since: None,
                        payload: &bytes,
                    },
                )?;
                slot[..frame.len()].copy_from_slice(frame);
                frame.len()
            }
        };
        batch.prepare(index, length, flow.to, flow.source);
        Ok(())
    }

    /// Reads a batch that came and hands over every payload in it. Of tunnel frames one of each batch is verified:
    /// opening all of them is the transceiver's work and would make the generator slower than the relay.
    ///
    /// # Errors
    /// A frame is not authentic, or the socket fails.
    pub fn receive(&mut self, batch: &mut Batch, mut each: impl FnMut(Stamp)) -> anyhow::Result<usize> {
        let count = batch.receive(&self.receiver, false)?;
        let offset = match &mut self.came {
            Wrapping::Plain => 0,
            Wrapping::Channel => CHANNEL_HEADER,
            Wrapping::Tunnel(node) => {
                if let Some(frame) = (count > 0).then(|| frames(batch.received(count - 1)).last()).flatten() {
                    node.open(Instant::now(), frame)?;
                }
                HEADER_LENGTH
            }
        };
        for index in 0..count {
            let datagram = batch.received(index);
            let tail = if offset == HEADER_LENGTH { TAG_LENGTH } else { 0 };
            let mut take = |bytes: &[u8]| {
                if let Some(stamp) = bytes.get(offset..).and_then(payload::read) {
                    ensure!(bytes.len() == offset + PAYLOAD + tail, "a datagram was changed on its way");
                    each(stamp);
                }
                Ok(())
            };
            if offset == HEADER_LENGTH {
                frames(datagram).try_for_each(take)?;
            } else {
                take(datagram)?;
            }
        }
        Ok(count)
    }
}

/// Datagrams per send while a link is swept.
const SWEEP: usize = BATCH / 2;

/// Sends one datagram in each flow and waits for all of them; returns how many flows forwarded theirs.
///
/// # Errors
/// As for [`Link::receive`].
pub fn sweep(link: &mut Link, run: u32, patience: std::time::Duration) -> anyhow::Result<usize> {
    let (mut sending, mut receiving) = (Batch::default(), Batch::default());
    let mut seen = vec![false; link.flows.len()];
    let mut found = 0;
    let flows: Vec<u32> = (0..link.flows.len() as u32).collect();
    for chunk in flows.chunks(SWEEP) {
        for (index, flow) in chunk.iter().enumerate() {
            link.write(&mut sending, index, Instant::now(), Stamp { run, flow: *flow, sent_at: 0 })?;
        }
        ensure!(sending.send(&link.sender.clone(), chunk.len())? == chunk.len(), "a sweep cannot be sent");
        let target = found + chunk.len();
        let deadline = Instant::now() + patience;
        while found < target && Instant::now() < deadline {
            link.receive(&mut receiving, |stamp| {
                let new = stamp.run == run && !std::mem::replace(&mut seen[stamp.flow as usize], true);
                found += usize::from(new);
            })?;
        }
    }
    Ok(found)
}
