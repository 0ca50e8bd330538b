//! The seam between the gateway's media loop and a provider's pump.
//!
//! The loop holds a [`Bridge`]: it sends commands with `try_send` and reads events with `try_recv`, neither of which
//! waits. The pump holds the [`BridgeEnds`]: it may wait as long as it likes, on its own task or thread. A wake-up
//! function tells the loop that something can be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;
use voxgate_protocol::audio::SampleCount;
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, BridgeTraits};

mod backlog;

pub use backlog::Backlog;

/// Commands that fit between loop and pump: ten seconds of 20 ms frames. The pump drains them at once and keeps
/// its own, shorter audio backlog, so that this fills only if the pump's thread stands still.
pub const COMMAND_CAPACITY: usize = 512;

/// Events that fit between pump and loop. A vendor that speaks eight times faster than real time in pieces of
/// 100 ms is 80 events a second; when the loop is 25 s behind, the pump stops reading the vendor's socket.
pub const EVENT_CAPACITY: usize = 2_048;

/// Called after every event put into the queue. Must return at once; it runs on the pump's thread.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// An event and the moment it arrived at the gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct StampedEvent {
    /// When the pump read it.
    pub at: Instant,
    /// The event.
    pub event: BridgeEvent,
}

/// Counts of one bridge, readable while it runs.
#[derive(Debug, Default)]
pub struct BridgeCounters {
    dropped_samples: AtomicU64,
    ignored_events: AtomicU64,
}

impl BridgeCounters {
    /// Samples of the caller that were thrown away because the provider did not take them in time, at the
    /// provider's input rate.
    #[must_use]
    pub fn dropped_audio(&self) -> SampleCount {
        SampleCount(self.dropped_samples.load(Ordering::Relaxed))
    }

    /// Vendor events that were malformed or unknown and were left out.
    #[must_use]
    pub fn ignored_events(&self) -> u64 {
        self.ignored_events.load(Ordering::Relaxed)
    }

    /// Adds to [`BridgeCounters::dropped_audio`].
    pub fn add_dropped_audio(&self, samples: SampleCount) {
        self.dropped_samples.fetch_add(samples.0, Ordering::Relaxed);
    }

    /// Sets [`BridgeCounters::ignored_events`].
    pub fn set_ignored_events(&self, count: u64) {
        self.ignored_events.store(count, Ordering::Relaxed);
    }
}

/// The gateway's end of a bridge. Dropping it, or its command sender, ends the pump.
///
/// When the pump has ended, for whatever reason, `events` yields what is queued and then reports that it is
/// disconnected; the last event is a final [`BridgeEvent::Fault`] or a [`BridgeEvent::Closed`], except after the
/// gateway itself ended the bridge.
#[derive(Debug)]
pub struct Bridge {
    /// What the provider needs and does.
    pub traits: BridgeTraits,
    /// To the provider. `try_send` never waits; if it fails with `Full`, the pump stands still and the command is
    /// lost.
    pub commands: mpsc::Sender<BridgeCommand>,
    /// From the provider, in order of arrival.
    pub events: mpsc::Receiver<StampedEvent>,
    /// What went missing.
    pub counters: Arc<BridgeCounters>,
}

/// The pump's end of a bridge.
#[derive(Debug)]
pub struct BridgeEnds {
    /// From the gateway. `None` from `recv` means that the gateway has ended the bridge.
    pub commands: mpsc::Receiver<BridgeCommand>,
    /// To the gateway.
    pub events: EventSink,
    /// What went missing.
    pub counters: Arc<BridgeCounters>,
}

/// The gateway has ended the bridge; the pump has nothing left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway has ended the bridge")]
pub struct BridgeEnded;

/// Puts events into the queue and wakes the loop.
#[derive(Clone)]
pub struct EventSink {
    sender: mpsc::Sender<StampedEvent>,
    wake: Wake,
}

impl EventSink {
    /// Queues an event, waiting while the queue is full.
    ///
    /// # Errors
    /// [`BridgeEnded`] if nobody reads any more.
    pub async fn send(&self, event: StampedEvent) -> Result<(), BridgeEnded> {
        self.sender.send(event).await.map_err(|_| BridgeEnded)?;
        (self.wake)();
        Ok(())
    }

    /// Queues an event from a thread without a runtime, waiting while the queue is full.
    ///
    /// # Errors
    /// [`BridgeEnded`] if nobody reads any more.
    pub fn blocking_send(&self, event: StampedEvent) -> Result<(), BridgeEnded> {
        self.sender.blocking_send(event).map_err(|_| BridgeEnded)?;
        (self.wake)();
        Ok(())
    }

    /// Waits until an event fits. Cancelling the wait loses nothing.
    ///
    /// # Errors
    /// [`BridgeEnded`] if nobody reads any more.
    pub async fn reserve(&self) -> Result<Place<'_>, BridgeEnded> {
        let permit = self.sender.reserve().await.map_err(|_| BridgeEnded)?;
        Ok(Place { permit, wake: &self.wake })
    }
}

impl std::fmt::Debug for EventSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventSink").finish_non_exhaustive()
    }
}

/// Room for one event.
pub struct Place<'a> {
    permit: mpsc::Permit<'a, StampedEvent>,
    wake: &'a Wake,
}

impl Place<'_> {
    /// Uses the room.
    pub fn put(self, event: StampedEvent) {
        self.permit.send(event);
        (self.wake)();
    }
}

impl std::fmt::Debug for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

/// Makes both ends of a bridge.
#[must_use]
pub fn bridge(traits: BridgeTraits, wake: Wake) -> (Bridge, BridgeEnds) {
    let (command_sender, command_receiver) = mpsc::channel(COMMAND_CAPACITY);
    let (event_sender, event_receiver) = mpsc::channel(EVENT_CAPACITY);
    let counters = Arc::new(BridgeCounters::default());
    let near =
        Bridge { traits, commands: command_sender, events: event_receiver, counters: Arc::clone(&counters) };
    let far =
        BridgeEnds { commands: command_receiver, events: EventSink { sender: event_sender, wake }, counters };
    (near, far)
}
