//! A session's way to its provider: one connection after the other.
//!
//! [`Rotation`] decides when the conversation moves; here are the connections it decides about.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, BridgeTraits, Fault, FaultOwner};
use voxgate_protocol::conversation::Position;
use voxgate_protocol::id::IdSource;
use voxgate_protocol::settings::SessionSettings;
use voxgate_protocol::timeline::TurnTimeline;
use voxgate_providers::bridge::StampedEvent;
use voxgate_realtime::ContextItem;
use voxgate_telemetry::metrics::Metrics;

use crate::bridges::{Connected, LastTurn, Line, Successors};

use super::rotation::{Reason, Rotation, Step};

/// A command did not reach the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untold {
    /// The connection is gone; what it said last is still to be read.
    Gone,
    /// Its queue is full.
    Full,
}

/// Connections that replace each other.
struct Replacement {
    rotation: Rotation,
    successors: Successors,
    standby: Option<Line>,
    seeds: IdSource,
}

/// The connection in use, and the next one while it is being made.
pub(super) struct Provider {
    line: Line,
    last_turn: LastTurn,
    replacement: Option<Replacement>,
    /// Read and not handed out.
    heard: VecDeque<StampedEvent>,
    /// The session was told that the connection in use has ended.
    is_over: bool,
    metrics: Arc<Metrics>,
}

impl Provider {
    /// The way of a session whose first connection was just opened with these settings.
    pub(super) fn new(
        now: Instant,
        connected: Connected,
        settings: SessionSettings,
        seed: u64,
        metrics: Arc<Metrics>,
    ) -> Self {
        let Connected { line, last_turn, successors, .. } = connected;
        let replacement = successors.map(|successors| Replacement {
            rotation: Rotation::new(now, successors.max_age, line.bridge.traits, settings),
            successors,
            standby: None,
            seeds: IdSource::new(seed),
        });
        Self { line, last_turn, replacement, heard: VecDeque::new(), is_over: false, metrics }
    }

    /// Tells the first connection of a conversation that began in another session.
    pub(super) fn restore(&mut self, context: Vec<ContextItem>) {
        let commands = match &mut self.replacement {
            Some(replacement) => replacement.rotation.restore(context),
            None => restoring(context).collect(),
        };
        for command in commands {
            // A queue nobody has used yet takes more than a context ever has.
            let _ = self.send(command);
        }
    }

    pub(super) const fn traits(&self) -> BridgeTraits {
        self.line.bridge.traits
    }

    /// The queue of the connection in use, to see how full it is.
    pub(super) fn queue(&self) -> mpsc::Sender<BridgeCommand> {
        self.line.bridge.commands.clone()
    }

    pub(super) fn measured(&self, timeline: TurnTimeline) {
        self.last_turn.set(timeline);
    }

    /// From now on the next ring counts.
    pub(super) fn answered(&self) {
        self.line.ringer.answered();
        if let Some(standby) = self.replacement.as_ref().and_then(|replacement| replacement.standby.as_ref())
        {
            standby.ringer.answered();
        }
    }

    /// The next event the session has to hear of.
    pub(super) fn hear(&mut self, now: Instant) -> Option<StampedEvent> {
        loop {
            if let Some(stamped) = self.heard.pop_front() {
                self.note(&stamped.event);
                return Some(stamped);
            }
            if self.is_over {
                return None;
            }
            match &mut self.replacement {
                None => self.heard.push_back(read(now, &mut self.line)?),
                Some(replacement) => {
                    replacement.hear_standby(now);
                    if replacement.rotation.is_cut_off() {
                        return None;
                    }
                    let StampedEvent { at, event } = read(now, &mut self.line)?;
                    let events = replacement.rotation.hear(now, event);
                    self.heard.extend(events.into_iter().map(|event| StampedEvent { at, event }));
                }
            }
        }
    }

    /// The session is told this event.
    fn note(&mut self, event: &BridgeEvent) {
        match event {
            BridgeEvent::Fault(fault) => {
                self.metrics.provider_fault(fault.owner);
                self.is_over |= fault.is_final;
            }
            BridgeEvent::Closed { .. } => self.is_over = true,
            _ => {}
        }
    }

    /// Hands a command to the provider, or keeps it for the next connection.
    pub(super) fn tell(&mut self, now: Instant, command: BridgeCommand) -> Result<(), Untold> {
        let command = match &mut self.replacement {
            Some(replacement) => replacement.rotation.route(now, command),
            None => Some(command),
        };
        let Some(command) = command else { return Ok(()) };
        self.send(command)
    }

    fn send(&self, command: BridgeCommand) -> Result<(), Untold> {
        self.line.bridge.commands.try_send(command).map_err(|refused| match refused {
            TrySendError::Closed(_) => Untold::Gone,
            TrySendError::Full(_) => Untold::Full,
        })
    }

    /// What has to be done about connections now. To be asked when every command of the session so far was told.
    pub(super) fn step(&mut self, now: Instant) -> Option<Step> {
        self.replacement.as_mut()?.rotation.step(now)
    }

    /// Begins to make the next connection.
    pub(super) fn open_next(&mut self, now: Instant) {
        let Some(replacement) = &mut self.replacement else { return };
        let seed = replacement.seeds.next_seed();
        match replacement.successors.open(replacement.rotation.settings(), seed) {
            Ok(line) => replacement.standby = Some(line),
            Err(error) => {
                replacement.rotation.hear_standby(now, BridgeEvent::Fault(cannot_open(error.message)))
            }
        }
    }

    /// The conversation goes on in the next connection. A fault if that one takes nothing.
    pub(super) fn move_over(&mut self, reason: Reason, context: Vec<ContextItem>) -> Option<BridgeEvent> {
        let replacement = self.replacement.as_mut()?;
        let commands = replacement.rotation.moved(context);
        // Dropping the former line ends its pump.
        self.line = replacement.standby.take()?;
        self.count(reason, "moved");
        tracing::info!(reason = reason.as_str(), "a conversation moved to a new connection to its provider");
        let is_told = commands.into_iter().all(|command| self.send(command) != Err(Untold::Full));
        (!is_told).then(|| BridgeEvent::Fault(takes_nothing()))
    }

    /// No connection could be made, and the session is told this.
    pub(super) fn gave_up(&mut self, reason: Reason, event: &BridgeEvent) {
        self.count(reason, "failed");
        self.note(event);
    }

    fn count(&self, reason: Reason, outcome: &str) {
        self.metrics.provider_rotations.with_label_values(&[reason.as_str(), outcome]).inc();
    }

    /// Whether [`Provider::recut`] has something to do.
    pub(super) fn has_cut(&self) -> bool {
        self.replacement.as_ref().is_some_and(|replacement| replacement.rotation.has_cut())
    }

    /// Tells the provider what has become of items it did not speak itself.
    pub(super) fn recut(&mut self, context: &[ContextItem]) {
        let Some(replacement) = &mut self.replacement else { return };
        for command in replacement.rotation.recut(context) {
            // A connection that is gone or stands still is noticed with the next command that matters.
            let _ = self.line.bridge.commands.try_send(command);
        }
    }

    /// When [`Provider::step`] has something to do if nothing happens before.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.replacement.as_ref()?.rotation.poll_timeout(now)
    }
}

fn restoring(context: Vec<ContextItem>) -> impl Iterator<Item = BridgeCommand> {
    let items = context.into_iter().filter_map(|entry| entry.item);
    items.map(|item| BridgeCommand::RestoreItem { item, position: Position::Last })
}

impl Replacement {
    fn hear_standby(&mut self, now: Instant) {
        while let Some(standby) = &mut self.standby
            && let Some(StampedEvent { event, .. }) = read(now, standby)
        {
            self.rotation.hear_standby(now, event);
            if !self.rotation.has_standby() {
                self.standby = None;
            }
        }
    }
}

fn read(now: Instant, line: &mut Line) -> Option<StampedEvent> {
    match line.bridge.events.try_recv() {
        Ok(stamped) => Some(stamped),
        Err(TryRecvError::Empty) => None,
        Err(TryRecvError::Disconnected) => {
            Some(StampedEvent { at: now, event: BridgeEvent::Fault(is_gone()) })
        }
    }
}

pub(super) fn takes_nothing() -> Fault {
    Fault {
        code: "provider_congested".to_owned(),
        message: "The connection to the speech provider takes nothing any more.".to_owned(),
        ..is_gone()
    }
}

fn cannot_open(message: String) -> Fault {
    Fault { code: "provider_misconfigured".to_owned(), message, may_retry: false, ..is_gone() }
}

fn is_gone() -> Fault {
    Fault {
        owner: FaultOwner::Gateway,
        code: "provider_closed".to_owned(),
        message: "The connection to the speech provider ended.".to_owned(),
        may_retry: true,
        may_switch: true,
        is_final: true,
    }
}
