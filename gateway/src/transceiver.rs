//! The transceiver: one thread, one UDP socket, every WebRTC call of the process.
//!
//! The loop waits for a datagram, a command or a deadline, lets the calls concerned work until nothing is left to
//! do, and waits again. Nothing in it waits for a provider, a store or the control plane: those speak through
//! queues and wake the loop.

mod call;
mod choice;
mod edge;
mod extension;
mod liveness;
mod switchboard;
mod ways;

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use voxgate_media::transport::Identity;
use voxgate_policy::key::KeyIndex;
use voxgate_protocol::id::CallId;
use voxgate_protocol::session::ClientReport;
use voxgate_realtime::{ApiError, SidebandId};
use voxgate_relay::tunnel::MAX_FRAME;
use voxgate_signaling::directory::Revoked;
use voxgate_signaling::host::SessionRequest;
use voxgate_telemetry::metrics::Metrics;

use crate::bridges::Connected;
use crate::money::Money;
use crate::replay::ReplayLog;
use crate::revision::Revision;
use crate::sealing::Sealing;
use crate::sideband::{SidebandNews, SidebandQueue};

pub(crate) use edge::EdgeConfig;
pub(crate) use extension::{client_message, client_report};
use switchboard::Switchboard;

/// Datagrams taken from the socket before commands and deadlines are looked at again. Each costs a decryption and a
/// decoding, about 60 µs, and the first packet of an answer must not wait behind many of them.
const DATAGRAMS_AT_ONCE: usize = 16;

/// Commands done before datagrams and deadlines are looked at again.
const COMMANDS_AT_ONCE: usize = 64;

/// Names a call inside the process.
pub(crate) type Slot = u64;

/// What the loop is asked to do.
pub(crate) enum Command {
    /// Answer an offer and run the call.
    Start(Box<Start>),
    /// Answer an offer that restarts ICE of a call of a key.
    RestartIce(Box<Restart>),
    /// The bridge of this call has something to say.
    BridgeReady(Slot),
    /// Attach a sideband connection to a call of a key; the answer is the call.
    Attach(Attach),
    /// A sideband connection of this call did something.
    Sideband(Slot, SidebandId, SidebandNews),
    /// End a call of a key; the answer says whether there was one.
    HangUp { call_id: CallId, key: KeyIndex, reply: oneshot::Sender<bool> },
    /// What the client of a call of a key measured of its own side; the answer says whether there is such a call.
    Report { call_id: CallId, key: KeyIndex, report: ClientReport, reply: oneshot::Sender<bool> },
    /// End every call of these keys, those too that were on their way here.
    Revoke(Revoked),
    /// End every call at a deadline; the answer comes when the last has ended.
    Drain(Instant, oneshot::Sender<()>),
}

/// A call to start.
pub(crate) struct Start {
    pub(crate) slot: Slot,
    pub(crate) call_id: CallId,
    pub(crate) offer: String,
    pub(crate) request: SessionRequest,
    /// What the call keeps to its end.
    pub(crate) revision: Arc<Revision>,
    pub(crate) bridge: Connected,
    pub(crate) expires_at_unix: u64,
    pub(crate) ends_at: Instant,
    pub(crate) max_session: Duration,
    pub(crate) seed: u64,
    pub(crate) ufrag: String,
    pub(crate) tag: u32,
    pub(crate) password: String,
    pub(crate) reply: oneshot::Sender<Result<String, ApiError>>,
}

/// A sideband connection that wants to attach.
pub(crate) struct Attach {
    pub(crate) call_id: CallId,
    pub(crate) key: KeyIndex,
    pub(crate) queue: SidebandQueue,
    pub(crate) reply: oneshot::Sender<Result<Slot, ApiError>>,
}

/// An ICE restart of a running call.
pub(crate) struct Restart {
    pub(crate) call_id: CallId,
    pub(crate) key: KeyIndex,
    pub(crate) offer: String,
    pub(crate) password: String,
    /// Names the call anew.
    pub(crate) sealing: Arc<Sealing>,
    pub(crate) reply: oneshot::Sender<Result<String, ApiError>>,
}

/// What every call of the loop shares.
pub(crate) struct TransceiverConfig {
    pub(crate) identity: Identity,
    pub(crate) metrics: Arc<Metrics>,
    /// Where what happens in calls is written down, if it is.
    pub(crate) replay: Option<Arc<ReplayLog>>,
    /// Who is told what calls cost; only tests do without.
    pub(crate) money: Option<Arc<Money>>,
}

/// Starts the thread. It ends when every sender of commands is gone or a drain is complete.
pub(crate) fn spawn(
    socket: std::net::UdpSocket,
    edges: Vec<EdgeConfig>,
    config: TransceiverConfig,
) -> io::Result<(mpsc::UnboundedSender<Command>, thread::JoinHandle<()>)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    socket.set_nonblocking(true)?;
    let socket = {
        let _inside = runtime.enter();
        UdpSocket::from_std(socket)?
    };
    let switchboard = Switchboard::new(Arc::new(socket), edges, config, Instant::now());
    let thread = thread::Builder::new()
        .name("transceiver".to_owned())
        .spawn(move || runtime.block_on(run(switchboard, receiver)))?;
    Ok((sender, thread))
}

async fn run(mut switchboard: Switchboard, mut commands: mpsc::UnboundedReceiver<Command>) {
    let socket = switchboard.socket();
    let mut buffer = vec![0; MAX_FRAME + 1];
    loop {
        let deadline = switchboard.next_deadline();
        let first = tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(command) => Some(command),
                None => return,
            },
            _ = socket.readable() => None,
            () = sleep_until(deadline) => None,
        };
        switchboard.begin_turn(Instant::now());
        let mut next = first;
        let mut done = 0;
        while let Some(command) = next {
            switchboard.handle_command(Instant::now(), command);
            done += 1;
            next = if done < COMMANDS_AT_ONCE { commands.try_recv().ok() } else { None };
        }
        for _ in 0..DATAGRAMS_AT_ONCE {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, from)) => switchboard.handle_datagram(Instant::now(), from, &buffer[..length]),
                // Anything but "nothing there" is the ICMP echo of an earlier send; the next read goes on.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {}
            }
        }
        switchboard.handle_relays(Instant::now());
        switchboard.handle_deadlines(Instant::now());
        if switchboard.finish_drain() {
            return;
        }
        if switchboard.has_rounds() || done == COMMANDS_AT_ONCE {
            // A loop that always has work would otherwise not learn of new datagrams.
            tokio::task::yield_now().await;
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
