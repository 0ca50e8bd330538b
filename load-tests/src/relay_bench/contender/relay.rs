//! The relay of this project, with the generator as its transceiver.

use std::net::{SocketAddr, SocketAddrV4};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use voxgate_protocol::path::ClientAddress;
use voxgate_relay::tunnel::{Kind, Outgoing, frames};

use super::super::batch::Batch;
use super::super::child::Process;
use super::super::link::{Flow, Wrapping};
use super::super::node::{Node, session_of, ufrag, ufrag_key};
use super::super::serve::{Waiting, addresses};
use super::super::sockets::Sockets;
use super::{Running, Surroundings, both_ways, from_clients, wait_argument};

/// Flows confirmed at once: small enough for every socket buffer.
const CHUNK: usize = 32;
/// How long the relay may take for a chunk before it is repeated.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a chunk is tried.
const TRIES: usize = 5;

pub(super) fn start(
    flows: u32,
    waiting: Waiting,
    sockets: Sockets,
    around: &Surroundings,
) -> anyhow::Result<Running> {
    EmptyRelay::start(waiting, sockets, around)?.with_flows(flows)
}

/// A relay that has no flow yet.
#[derive(Debug)]
pub struct EmptyRelay {
    process: Process,
    public: SocketAddrV4,
    sockets: Sockets,
}

impl EmptyRelay {
    /// Starts the process and connects the node's socket to its tunnel.
    pub(super) fn start(waiting: Waiting, sockets: Sockets, around: &Surroundings) -> anyhow::Result<Self> {
        let node = sockets.behind_address()?.to_string();
        let mut command = Command::new(&around.program);
        command.args(["serve-relay", "--node", &node, "--wait", wait_argument(waiting)]);
        let process = Process::start(around.cores, &mut command)?;
        let (public, tunnel) = process.find(addresses)?;
        sockets.behind.connect(tunnel)?;
        Ok(Self { process, public, sockets })
    }

    /// Its resident memory in bytes.
    ///
    /// # Errors
    /// It has ended.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.process.resident_bytes()
    }

    /// The relay with confirmed flows.
    ///
    /// # Errors
    /// It does not take them.
    pub fn with_flows(self, flows: u32) -> anyhow::Result<Running> {
        let mut node = Node::new();
        let up = from_clients(flows, &self.sockets, self.public);
        confirm(&up, &self.sockets, &mut node)?;
        let wrappings =
            [Wrapping::Plain, Wrapping::Tunnel(node.clone()), Wrapping::Tunnel(node), Wrapping::Plain];
        Ok(Running { process: Some(self.process), links: both_ways(&self.sockets, up, wrappings) })
    }
}

/// Takes flows through what a browser and its transceiver do: a binding request with the session's ufrag up, a confirmation
/// down.
fn confirm(flows: &[Flow], sockets: &Sockets, node: &mut Node) -> anyhow::Result<()> {
    let key = ufrag_key()?;
    for (number, chunk) in flows.chunks(CHUNK).enumerate() {
        let first = (number * CHUNK) as u32;
        let requests: Vec<Vec<u8>> = (first..)
            .take(chunk.len())
            .map(|flow| Ok(binding_request(ufrag(&key, session_of(flow))?.as_ref())))
            .collect::<anyhow::Result<_>>()?;
        let confirmed = (0..TRIES).any(|_| confirm_chunk(chunk, first, &requests, sockets, node).is_ok());
        ensure!(confirmed, "flow {first} or one after it was not confirmed");
    }
    Ok(())
}

fn confirm_chunk(
    chunk: &[Flow],
    first: u32,
    requests: &[Vec<u8>],
    sockets: &Sockets,
    node: &mut Node,
) -> anyhow::Result<()> {
    let mut batch = Batch::default();
    for (index, (flow, request)) in chunk.iter().zip(requests).enumerate() {
        batch.slot(index)[..request.len()].copy_from_slice(request);
        batch.prepare(index, request.len(), flow.to, flow.source);
    }
    batch.send(&sockets.clients, chunk.len())?;
    let mut seen = vec![false; chunk.len()];
    let deadline = Instant::now() + PATIENCE;
    while seen.contains(&false) {
        ensure!(Instant::now() < deadline, "requests were lost");
        let count = batch.receive(&sockets.behind, false)?;
        for frame in (0..count).flat_map(|index| frames(batch.received(index))) {
            let Some(header) = node.open(Instant::now(), frame)? else { continue };
            let place = header.session.checked_sub(session_of(first)).map(|place| place as usize);
            if header.kind == Kind::Up
                && let Some(seen) = place.and_then(|place| seen.get_mut(place))
            {
                *seen = true;
            }
        }
    }
    for (index, flow) in chunk.iter().enumerate() {
        let session = session_of(first + index as u32);
        let client = Some(ClientAddress::udp(SocketAddr::V4(flow.client)));
        let confirmation =
            Outgoing { kind: Kind::Confirm, session, client, traffic_class: 0, since: None, payload: &[] };
        let frame = node.seal(Instant::now(), &confirmation)?;
        batch.slot(index)[..frame.len()].copy_from_slice(frame);
        let length = frame.len();
        batch.prepare(index, length, None, None);
    }
    let sent = batch.send(&sockets.behind, chunk.len()).context("cannot confirm")?;
    ensure!(sent == chunk.len(), "the kernel took {sent} confirmations");
    Ok(())
}

/// A binding request with a USERNAME, as an ICE agent begins one (RFC 8445, section 7.2.2). The relay reads no further.
fn binding_request(ufrag: &[u8]) -> Vec<u8> {
    let mut username = ufrag.to_vec();
    username.extend_from_slice(b":bnch");
    let mut attributes = vec![0, 6, 0, username.len() as u8];
    attributes.extend_from_slice(&username);
    attributes.resize(attributes.len().next_multiple_of(4), 0);
    let mut message = vec![0, 1, 0, attributes.len() as u8, 0x21, 0x12, 0xa4, 0x42];
    message.extend_from_slice(&[7; 12]);
    message.extend_from_slice(&attributes);
    message
}
