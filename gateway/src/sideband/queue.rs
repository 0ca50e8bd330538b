//! The events of a call on their way to a sideband connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};
use voxgate_protocol::session::EndReason;
use voxgate_realtime::SidebandId;

use super::Farewell;

/// Most events that wait: some ten seconds of an answer with its transcript.
const MOST_WAITING: usize = 1_024;

/// Most bytes that wait, for events can be as long as an image.
const MOST_WAITING_BYTES: usize = 4 * 1024 * 1024;

/// The call's end.
#[derive(Debug)]
pub(crate) struct SidebandQueue {
    pub(crate) id: SidebandId,
    events: mpsc::Sender<String>,
    bytes: Arc<AtomicUsize>,
    farewell: oneshot::Sender<Farewell>,
}

/// The connection's end.
pub(crate) struct SidebandEvents {
    pub(crate) waiting: Waiting,
    pub(crate) farewell: oneshot::Receiver<Farewell>,
}

/// Events in their order.
pub(crate) struct Waiting {
    events: mpsc::Receiver<String>,
    bytes: Arc<AtomicUsize>,
}

/// A queue that is empty.
pub(crate) fn queue(id: SidebandId) -> (SidebandQueue, SidebandEvents) {
    let (sender, receiver) = mpsc::channel(MOST_WAITING);
    let (farewell, told) = oneshot::channel();
    let bytes = Arc::new(AtomicUsize::new(0));
    let waiting = Waiting { events: receiver, bytes: Arc::clone(&bytes) };
    let events = SidebandEvents { waiting, farewell: told };
    (SidebandQueue { id, events: sender, bytes, farewell }, events)
}

impl SidebandQueue {
    /// False if there is no room, or nobody there.
    fn push(&self, text: String) -> bool {
        let length = text.len();
        if self.bytes.fetch_add(length, Ordering::Relaxed) + length > MOST_WAITING_BYTES {
            return false;
        }
        self.events.try_send(text).is_ok()
    }

    /// The events before this are still delivered, unless the connection is too slow for them.
    fn close(self, farewell: Farewell) {
        // A connection that is gone needs no reason.
        let _ = self.farewell.send(farewell);
    }
}

impl Waiting {
    /// The next event; `None` once the call has closed the queue and all before was taken.
    pub(crate) async fn next(&mut self) -> Option<String> {
        let text = self.events.recv().await?;
        self.bytes.fetch_sub(text.len(), Ordering::Relaxed);
        Some(text)
    }
}

/// The sideband connections of a call.
#[derive(Debug, Default)]
pub(crate) struct Sidebands {
    queues: Vec<SidebandQueue>,
}

impl Sidebands {
    pub(crate) fn add(&mut self, queue: SidebandQueue) {
        self.queues.push(queue);
    }

    pub(crate) fn remove(&mut self, id: SidebandId) {
        self.queues.retain(|queue| queue.id != id);
    }

    /// Tells all, or one. Gives those that could not take it; they are closed.
    pub(crate) fn tell(&mut self, to: Option<SidebandId>, text: &str) -> Vec<SidebandId> {
        let is_full =
            |queue: &mut SidebandQueue| to.is_none_or(|id| id == queue.id) && !queue.push(text.to_owned());
        let slow: Vec<_> = self.queues.extract_if(.., is_full).collect();
        slow.into_iter()
            .map(|queue| {
                let id = queue.id;
                queue.close(Farewell::TooSlow);
                id
            })
            .collect()
    }

    /// The call is over.
    pub(crate) fn close(&mut self, reason: EndReason) {
        for queue in self.queues.drain(..) {
            queue.close(Farewell::CallEnded(reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_told_before_the_end_of_the_call_is_still_delivered() {
        let mut sidebands = Sidebands::default();
        let (queue, mut events) = queue(SidebandId(1));
        sidebands.add(queue);
        assert!(sidebands.tell(None, "first").is_empty());
        assert!(sidebands.tell(Some(SidebandId(1)), "second").is_empty());
        assert!(sidebands.tell(Some(SidebandId(2)), "for another").is_empty());
        sidebands.close(EndReason::HungUp);
        assert_eq!(events.waiting.next().await.as_deref(), Some("first"));
        assert_eq!(events.waiting.next().await.as_deref(), Some("second"));
        assert_eq!(events.waiting.next().await, None);
        assert_eq!(events.farewell.await, Ok(Farewell::CallEnded(EndReason::HungUp)));
    }

    #[tokio::test]
    async fn a_sideband_that_takes_nothing_is_closed_and_the_others_are_not() {
        let mut sidebands = Sidebands::default();
        let (idle, idle_events) = queue(SidebandId(1));
        let (busy, mut busy_events) = queue(SidebandId(2));
        sidebands.add(idle);
        sidebands.add(busy);
        for count in 0..MOST_WAITING {
            assert!(sidebands.tell(None, "x").is_empty(), "{count}");
            assert!(busy_events.waiting.next().await.is_some());
        }
        assert_eq!(sidebands.tell(None, "x"), [SidebandId(1)]);
        assert_eq!(idle_events.farewell.await, Ok(Farewell::TooSlow));
        assert!(sidebands.tell(None, "x").is_empty(), "it is told once");
    }

    #[tokio::test]
    async fn long_events_count_by_their_length_until_they_are_taken() {
        let mut sidebands = Sidebands::default();
        let (queue, mut events) = queue(SidebandId(1));
        sidebands.add(queue);
        let long = "x".repeat(MOST_WAITING_BYTES / 2);
        for _ in 0..10 {
            assert!(sidebands.tell(None, &long).is_empty());
            assert!(events.waiting.next().await.is_some());
        }
        assert!(sidebands.tell(None, &long).is_empty());
        assert!(sidebands.tell(None, &long).is_empty());
        assert_eq!(sidebands.tell(None, "x"), [SidebandId(1)]);
    }

    #[test]
    fn a_connection_that_is_gone_is_forgotten() {
        let mut sidebands = Sidebands::default();
        let (queue, events) = queue(SidebandId(1));
        sidebands.add(queue);
        drop(events);
        assert_eq!(sidebands.tell(None, "x"), [SidebandId(1)]);
    }
}
