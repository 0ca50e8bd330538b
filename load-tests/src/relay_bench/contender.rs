//! Who is measured, and how each is started and given its flows.

use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;

use anyhow::Context as _;

use super::child::{Cores, Process};
use super::link::{Flow, Link, Wrapping};
use super::serve::{Waiting, addresses};
use super::sockets::Sockets;

mod coturn;
mod relay;
mod turn;
mod turn_rs;

pub use relay::EmptyRelay;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contender {
    /// Nobody: from one socket of the generator to the other. What every latency is compared with.
    Direct,
    /// The raw forwarder.
    Raw(Waiting),
    /// coturn.
    Coturn,
    /// turn-rs.
    TurnRs,
    /// The relay of this project.
    Relay(Waiting),
}

impl Contender {
    /// Everyone, in the order of a round.
    pub const ALL: [Self; 7] = [
        Self::Direct,
        Self::Raw(Waiting::Block),
        Self::Raw(Waiting::BusyPoll),
        Self::Coturn,
        Self::TurnRs,
        Self::Relay(Waiting::Block),
        Self::Relay(Waiting::BusyPoll),
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Raw(Waiting::Block) => "raw",
            Self::Raw(Waiting::BusyPoll) => "raw-busy",
            Self::Coturn => "coturn",
            Self::TurnRs => "turn-rs",
            Self::Relay(Waiting::Block) => "relay",
            Self::Relay(Waiting::BusyPoll) => "relay-busy",
        }
    }

    /// Whether it keeps its core busy whatever the load, so that its processor time per packet says nothing.
    #[must_use]
    pub const fn is_busy(self) -> bool {
        matches!(self, Self::Raw(Waiting::BusyPoll) | Self::Relay(Waiting::BusyPoll))
    }
}

/// Which way the packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the clients.
    Up,
    /// To the clients.
    Down,
}

impl Direction {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What is needed to start contenders.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Which core is whose.
    pub cores: Cores,
    /// This program, which is also the raw forwarder and the relay.
    pub program: PathBuf,
    /// coturn's program.
    pub coturn: PathBuf,
    /// turn-rs's program.
    pub turn_rs: PathBuf,
}

/// A contender that runs, with its links.
#[derive(Debug)]
pub struct Running {
    /// Its process; `direct` has none.
    pub process: Option<Process>,
    /// The ways through it.
    pub links: Vec<(Direction, Link)>,
}

/// Starts a contender and sets up its flows.
///
/// # Errors
/// It does not start or refuses a flow.
pub fn start(contender: Contender, flows: u32, around: &Surroundings) -> anyhow::Result<Running> {
    let sockets = Sockets::new()?;
    match contender {
        Contender::Direct => direct(flows, &sockets),
        Contender::Raw(waiting) => raw(flows, waiting, &sockets, around),
        Contender::Coturn => coturn::start(flows, &sockets, around),
        Contender::TurnRs => turn_rs::start(flows, &sockets, around),
        Contender::Relay(waiting) => relay::start(flows, waiting, sockets, around),
    }
    .with_context(|| format!("{} with {flows} flows", contender.name()))
}

/// Starts the relay without any flow.
///
/// # Errors
/// It does not start.
pub fn start_empty_relay(around: &Surroundings) -> anyhow::Result<EmptyRelay> {
    EmptyRelay::start(Waiting::Block, Sockets::new()?, around)
}

fn direct(flows: u32, sockets: &Sockets) -> anyhow::Result<Running> {
    let to = sockets.behind_address()?;
    let link = Link {
        sender: Rc::clone(&sockets.clients),
        receiver: Rc::clone(&sockets.behind),
        flows: from_clients(flows, sockets, to),
        sent: Wrapping::Plain,
        came: Wrapping::Plain,
    };
    Ok(Running { process: None, links: vec![(Direction::Up, link)] })
}

fn raw(flows: u32, waiting: Waiting, sockets: &Sockets, around: &Surroundings) -> anyhow::Result<Running> {
    let behind = sockets.behind_address()?;
    let mut command = Command::new(&around.program);
    command.args(["serve-raw", "--peer", &behind.to_string(), "--wait", wait_argument(waiting)]);
    let process = Process::start(around.cores, &mut command)?;
    let (public, tunnel) = process.find(addresses)?;
    sockets.behind.connect(tunnel)?;
    let links = both_ways(
        sockets,
        from_clients(flows, sockets, public),
        [Wrapping::Plain, Wrapping::Plain, Wrapping::Plain, Wrapping::Plain],
    );
    Ok(Running { process: Some(process), links })
}

const fn wait_argument(waiting: Waiting) -> &'static str {
    match waiting {
        Waiting::Block => "block",
        Waiting::BusyPoll => "busy-poll",
    }
}

/// Flows from the clients' own addresses to one address.
fn from_clients(flows: u32, sockets: &Sockets, to: std::net::SocketAddrV4) -> Vec<Flow> {
    (0..flows)
        .map(|number| {
            let client = sockets.client(number);
            Flow { client, source: Some(*client.ip()), to: Some(to), channel: 0 }
        })
        .collect()
}

/// The links of a contender with one socket behind it, which is connected. Wrappings: sent and come up, sent and come
/// down.
fn both_ways(sockets: &Sockets, up: Vec<Flow>, wrappings: [Wrapping; 4]) -> Vec<(Direction, Link)> {
    let [sent_up, came_up, sent_down, came_down] = wrappings;
    let down = up.iter().map(|flow| Flow { source: None, to: None, ..*flow }).collect();
    let (clients, behind) = (&sockets.clients, &sockets.behind);
    let link = |sender: &Rc<_>, receiver: &Rc<_>, flows, sent, came| Link {
        sender: Rc::clone(sender),
        receiver: Rc::clone(receiver),
        flows,
        sent,
        came,
    };
    vec![
        (Direction::Up, link(clients, behind, up, sent_up, came_up)),
        (Direction::Down, link(behind, clients, down, sent_down, came_down)),
    ]
}
