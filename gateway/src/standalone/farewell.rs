//! How the sessions of a process come to their end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{RwLock, mpsc, oneshot, watch};
use voxgate_signaling::permit::Places;

use crate::cli::say;
use crate::process::StopSignals;
use crate::transceiver::Command;

/// Time between the deadline of a drain and the end of the process, for farewells.
const AFTER_DEADLINE: Duration = Duration::from_secs(2);

/// What reaches every session of the process.
pub(super) struct Farewell {
    pub(super) places: Places,
    /// Every WebSocket session holds a read lock for as long as it runs.
    pub(super) sockets: Arc<RwLock<()>>,
    commands: mpsc::UnboundedSender<Command>,
    deadline: watch::Sender<Option<Instant>>,
}

impl Farewell {
    pub(super) fn new(places: Places, commands: mpsc::UnboundedSender<Command>) -> Self {
        let (deadline, _) = watch::channel(None);
        Self { places, sockets: Arc::default(), commands, deadline }
    }

    /// When sessions on WebSockets have to end; `None` until it is time.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Instant>> {
        self.deadline.subscribe()
    }

    /// Stops accepting, lets sessions finish up to the deadline, then ends them.
    pub(super) async fn shut_down(&self, drain_deadline: Duration, stop: &mut StopSignals) {
        self.places.drain();
        let running = self.places.running();
        if running > 0 {
            say(&format!(
                "Stopping: {running} session(s) may go on for up to {} s; stop again to end them now.",
                drain_deadline.as_secs()
            ));
        }
        let deadline = Instant::now() + drain_deadline;
        tokio::select! {
            () = self.end_sessions(deadline) => return,
            () = tokio::time::sleep_until((deadline + AFTER_DEADLINE).into()) => return,
            () = stop.next() => {}
        }
        // Whoever asks twice does not wait, but the callers are still told.
        let _ = tokio::time::timeout(AFTER_DEADLINE, self.end_sessions(Instant::now())).await;
    }

    /// Ends the sessions that still run at the deadline; returns when none is left.
    async fn end_sessions(&self, deadline: Instant) {
        self.deadline.send_replace(Some(deadline));
        let (reply, calls_ended) = oneshot::channel();
        if self.commands.send(Command::Drain(deadline, reply)).is_ok() {
            let _ = calls_ended.await;
        }
        let _all = self.sockets.write().await;
    }
}
