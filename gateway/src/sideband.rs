//! Sideband connections: a WebSocket beside a WebRTC call that sees its events and steers it.
//!
//! A call belongs to the loop thread and never waits for a sideband. What it tells one lies in a bounded queue; what one
//! says comes as a [`Command`], a few at a time. A sideband that does not empty its queue is closed, the call goes on.

mod queue;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use voxgate_protocol::session::EndReason;
use voxgate_realtime::SidebandId;
use voxgate_telemetry::metrics::Metrics;

use crate::transceiver::{Command, Slot};

pub(crate) use queue::{SidebandEvents, SidebandQueue, Sidebands, queue};
pub(crate) use socket::serve;

/// Messages of one sideband on their way to its call. More would let it fill the loop's queue.
const MESSAGES_AT_ONCE: usize = 8;

/// Why a sideband connection is closed by the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// Its call is over.
    CallEnded(EndReason),
    /// It did not take the events of its call fast enough.
    TooSlow,
}

/// What a sideband connection did.
pub(crate) enum SidebandNews {
    /// It sent a message. The permit counts it until the call has read it.
    Said(String, OwnedSemaphorePermit),
    /// It is gone.
    Gone,
}

/// The connection's hold on its call. Dropping it detaches.
pub(crate) struct SidebandLink {
    slot: Slot,
    id: SidebandId,
    transceiver: mpsc::UnboundedSender<Command>,
    places: Arc<Semaphore>,
    events: SidebandEvents,
    max_session: Duration,
    metrics: Arc<Metrics>,
}

impl SidebandLink {
    pub(crate) fn new(
        slot: Slot,
        id: SidebandId,
        transceiver: mpsc::UnboundedSender<Command>,
        events: SidebandEvents,
        max_session: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        metrics.sidebands.inc();
        let places = Arc::new(Semaphore::new(MESSAGES_AT_ONCE));
        Self { slot, id, transceiver, places, events, max_session, metrics }
    }

    /// Hands a message to the call, as soon as it has read enough of those before.
    async fn say(&self, text: String) {
        // The semaphore is never closed.
        if let Ok(place) = Arc::clone(&self.places).acquire_owned().await {
            self.tell(SidebandNews::Said(text, place));
        }
    }

    fn tell(&self, news: SidebandNews) {
        // A loop that has ended has closed its calls' sidebands too.
        let _ = self.transceiver.send(Command::Sideband(self.slot, self.id, news));
    }
}

impl Drop for SidebandLink {
    fn drop(&mut self) {
        self.metrics.sidebands.dec();
        self.tell(SidebandNews::Gone);
    }
}
