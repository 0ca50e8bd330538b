//! What runs on the contender's core: the raw forwarder, and the relay.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::num::NonZero;

use anyhow::Context as _;
use clap::ValueEnum;
use voxgate_relay::core::{Directory, NodeEntry};
use voxgate_relay::shell::{RelayConfig, Threads, WaitStyle, spawn};
use voxgate_relay::ufrag::KeyRing;

use super::batch::{BATCH, Batch, wait};
use super::node::{NODE, NODE_EPOCH, RELAY, tunnel_key, ufrag_key};
use super::payload::client_of;
use super::sockets::{bind, v4};

/// How a contender waits for datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Waiting {
    /// It sleeps until the kernel wakes it.
    Block,
    /// It asks again and again.
    BusyPoll,
}

/// Batches taken from one socket before the other gets its turn.
const BATCHES_PER_TURN: usize = 4;

/// Forwards everything between clients and one peer, with nothing but the system calls: what comes to the public socket
/// goes to the peer, and what comes from the peer goes to the client its payload names. Never returns but with an error.
///
/// # Errors
/// A socket cannot be bound or fails.
pub fn raw(peer: SocketAddrV4, waiting: Waiting) -> anyhow::Result<()> {
    let localhost = SocketAddrV4::new([127, 0, 0, 1].into(), 0);
    let (public, tunnel) = (bind(localhost)?, bind(localhost)?);
    say(v4(&public)?.into(), v4(&tunnel)?.into())?;
    let mut batch = Batch::default();
    loop {
        let [from_client, from_peer] = match waiting {
            Waiting::Block => wait([&public, &tunnel])?,
            Waiting::BusyPoll => [true, true],
        };
        if from_peer {
            forward(&mut batch, &tunnel, &public, client_of)?;
        }
        if from_client {
            forward(&mut batch, &public, &tunnel, |_| Some(peer))?;
        }
    }
}

fn forward(
    batch: &mut Batch,
    from: &UdpSocket,
    to: &UdpSocket,
    destination: impl Fn(&[u8]) -> Option<SocketAddrV4>,
) -> anyhow::Result<()> {
    for _ in 0..BATCHES_PER_TURN {
        let count = batch.receive(from, true)?;
        for index in 0..count {
            let address = destination(batch.received(index));
            batch.forward(index, address);
        }
        let mut sent = 0;
        while count > 0 && sent < count {
            // On one machine the kernel takes all or says why not.
            sent += batch.send(to, count)?.max(1);
        }
        if count < BATCH {
            break;
        }
    }
    Ok(())
}

/// Runs the relay with one thread on one core until standard input ends.
///
/// # Errors
/// It cannot start.
pub fn relay(node: SocketAddr, waiting: Waiting) -> anyhow::Result<()> {
    let entry = NodeEntry { address: node, key: tunnel_key(), epoch: NODE_EPOCH };
    let directory =
        Directory { key_ring: KeyRing::new([ufrag_key()?]), nodes: BTreeMap::from([(NODE, entry)]) };
    let localhost = SocketAddr::from(([127, 0, 0, 1], 0));
    let handle = spawn(RelayConfig {
        threads: Threads::Fixed(NonZero::<u8>::MIN),
        // The process has one core only.
        pin: true,
        wait: match waiting {
            Waiting::Block => WaitStyle::Block,
            Waiting::BusyPoll => WaitStyle::BusyPoll,
        },
        ..RelayConfig::new(localhost, localhost, RELAY, directory)
    })
    .context("the relay cannot start")?;
    say(handle.local_addr(), handle.tunnel_addr())?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    handle.shutdown();
    Ok(())
}

/// Tells the generator where to send to.
fn say(public: SocketAddr, tunnel: SocketAddr) -> anyhow::Result<()> {
    let mut output = std::io::stdout();
    writeln!(output, "listening {public} {tunnel}")?;
    output.flush()?;
    Ok(())
}

/// Reads what [`raw`] and [`relay`] say when they are ready: the public address and that of the tunnel.
#[must_use]
pub fn addresses(line: &str) -> Option<(SocketAddrV4, SocketAddrV4)> {
    let (public, tunnel) = line.strip_prefix("listening ")?.split_once(' ')?;
    Some((public.parse().ok()?, tunnel.parse().ok()?))
}
