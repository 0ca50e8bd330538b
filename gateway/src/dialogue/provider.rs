//! A session's way to its provider: one connection after the other, to one target or to several.
//!
//! [`Rotation`] decides when the conversation moves, the session's [`Way`] to whom; here are the connections they decide
//! about.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};
use voxgate_policy::routing::{Outcome, Target, Trouble};
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, BridgeTraits, Fault, FaultOwner};
use voxgate_protocol::conversation::Position;
use voxgate_protocol::id::IdSource;
use voxgate_protocol::settings::SessionSettings;
use voxgate_protocol::timeline::TurnTimeline;
use voxgate_providers::bridge::StampedEvent;
use voxgate_realtime::ContextItem;
use voxgate_telemetry::metrics::Metrics;

use crate::bridges::{Connected, LastTurn, Line, Successors};
use crate::routing::{Evidence, Way};

use super::rotation::{Overdue, Reason, Rotation, Step};

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
    way: Way,
    evidence: Evidence,
    last_turn: LastTurn,
    replacement: Option<Replacement>,
    /// Read and not handed out.
    heard: VecDeque<StampedEvent>,
    /// The session was told that the connection in use has ended.
    is_over: bool,
    /// The connection was replaced in an outage since a turn was last measured: the next one is nobody's.
    was_interrupted: bool,
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
        let Connected { line, way, last_turn, successors, .. } = connected;
        let replacement = successors.map(|successors| {
            let rotation = Rotation::new(now, successors.max_age(&way), line.bridge.traits, settings);
            Replacement {
                rotation: rotation.switching(line.bridge.traits, way.switching()),
                successors,
                standby: None,
                seeds: IdSource::new(seed),
            }
        });
        Self {
            line,
            way,
            evidence: Evidence::default(),
            last_turn,
            replacement,
            heard: VecDeque::new(),
            is_over: false,
            was_interrupted: false,
            metrics,
        }
    }

    /// The settings in effect, where connections replace each other.
    pub(super) fn settings(&self) -> Option<&SessionSettings> {
        self.replacement.as_ref().map(|replacement| replacement.rotation.settings())
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

    /// Who serves the session.
    pub(super) fn target(&self) -> Option<&Target> {
        self.way.current()
    }

    /// Whose turn it is that is measured now: the target's, if it served all of it.
    pub(super) fn served_turn(&self) -> Option<String> {
        self.way.current().filter(|_| !self.was_interrupted).map(Target::name)
    }

    /// A turn was measured and counted.
    pub(super) fn measured(&mut self, timeline: TurnTimeline) {
        self.last_turn.set(timeline);
        self.turn_passed();
    }

    /// An answer is heard: between two turns a session may move.
    pub(super) fn turn_passed(&mut self) {
        self.was_interrupted = false;
        self.reconsider();
    }

    /// Looks for a better target, if the session may move to one.
    fn reconsider(&mut self) {
        let Some(Replacement { rotation, .. }) = &mut self.replacement else { return };
        let is_slow = self.way.is_passed_over();
        if rotation.may_reconsider(is_slow && self.way.leaves_slow()) {
            let reason = if is_slow { Reason::Slow } else { Reason::Better };
            let has_better = self.way.prefer(rotation.settings());
            rotation.reconsidered(has_better.then_some(reason));
        }
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
            self.hear_standby(now);
            if self.replacement.as_ref().is_some_and(|replacement| replacement.rotation.is_cut_off()) {
                return None;
            }
            let StampedEvent { at, event } = read(now, &mut self.line)?;
            match self.evidence.heard(at, &event) {
                Some(outcome) => self.way.report(outcome),
                None if asks_too_much(&event) => self.way.leave(),
                None => {}
            }
            let Some(replacement) = &mut self.replacement else {
                self.heard.push_back(StampedEvent { at, event });
                continue;
            };
            if is_final(&event) {
                replacement.rotation.note_others(self.way.has_other(replacement.rotation.settings()));
            }
            let is_boundary = matches!(event, BridgeEvent::ResponseDone { .. });
            let events = replacement.rotation.hear(now, event);
            self.heard.extend(events.into_iter().map(|event| StampedEvent { at, event }));
            if is_boundary {
                self.reconsider();
            }
        }
    }

    /// Reads what the next connection says, which is not used yet.
    fn hear_standby(&mut self, now: Instant) {
        let Some(Replacement { rotation, standby, .. }) = &mut self.replacement else { return };
        while let Some(line) = standby
            && let Some(StampedEvent { event, .. }) = read(now, line)
        {
            match of_standby(&event) {
                Some(outcome) => self.way.report_next(outcome),
                None if is_final(&event) => self.way.leave_next(),
                None => {}
            }
            if is_final(&event) {
                rotation.note_others(self.way.has_other(rotation.settings()));
            }
            rotation.hear_standby(now, event);
            if !rotation.has_standby() {
                *standby = None;
            }
        }
    }

    /// Why the connection is gone and the caller waits for another one, if that is so.
    pub(super) fn cut_off_by(&self) -> Option<Reason> {
        self.replacement.as_ref().and_then(|replacement| replacement.rotation.cut_off_by())
    }

    /// Whether something read is waiting to be heard.
    pub(super) fn has_heard(&self) -> bool {
        !self.heard.is_empty()
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
        self.evidence.told(now, &command);
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
        let step = self.replacement.as_mut()?.rotation.step(now)?;
        if let Step::Overdue(overdue) = step {
            self.take_overdue(now, overdue);
        }
        Some(step)
    }

    /// Somebody takes too long. If another target could serve, that one is asked.
    fn take_overdue(&mut self, now: Instant, overdue: Overdue) {
        let Some(Replacement { rotation, standby, .. }) = &mut self.replacement else { return };
        let has_other = self.way.has_other(rotation.settings());
        if has_other {
            match overdue {
                Overdue::Connection => self.way.report(Outcome::Failed(Trouble::Unreachable)),
                Overdue::Answer => self.way.report(Outcome::Failed(Trouble::Silent)),
                Overdue::Standby => {
                    self.way.report_next(Outcome::Failed(Trouble::Unreachable));
                    *standby = None;
                }
            }
        }
        let events = rotation.overdue(now, overdue, has_other);
        self.heard.extend(events.into_iter().map(|event| StampedEvent { at: now, event }));
    }

    /// Begins to make the next connection.
    pub(super) fn open_next(&mut self, now: Instant) {
        let Some(replacement) = &mut self.replacement else { return };
        let seed = replacement.seeds.next_seed();
        let settings = replacement.rotation.settings();
        let opened = self.way.choose(settings).and_then(|()| match self.way.next() {
            Some(target) => replacement.successors.open(target, settings, seed),
            None => Err(voxgate_realtime::ApiError::model_not_found(&settings.model)),
        });
        match opened {
            Ok(line) if is_like(line.bridge.traits, self.line.bridge.traits) => {
                replacement.standby = Some(line);
            }
            Ok(_) => {
                self.way.report_next(Outcome::Failed(Trouble::Refused));
                replacement.rotation.note_others(self.way.has_other(replacement.rotation.settings()));
                let message = "The next target works in another way than the session began.".to_owned();
                replacement.rotation.hear_standby(now, BridgeEvent::Fault(cannot_open(message, false)));
            }
            // A target that cools down may be asked again soon.
            Err(error) => {
                replacement.rotation.note_others(false);
                let may_retry = error.status == 503;
                let fault = cannot_open(error.message, may_retry);
                replacement.rotation.hear_standby(now, BridgeEvent::Fault(fault));
            }
        }
    }

    /// The conversation goes on in the next connection. Gives the target if it is another one.
    pub(super) fn move_over(&mut self, now: Instant, reason: Reason, context: Vec<ContextItem>) -> Moved {
        let Some(replacement) = &mut self.replacement else { return Moved::default() };
        let Some(line) = replacement.standby.take() else { return Moved::default() };
        let waited = replacement.rotation.outage(now);
        self.was_interrupted |= waited.is_some();
        let commands = replacement.rotation.moved(now, context);
        // Dropping the former line ends its pump.
        self.line = line;
        self.evidence = Evidence::default();
        self.count(reason, "moved");
        let from = self.way.current().cloned();
        let target = self.way.moved().cloned();
        if let Some(replacement) = &mut self.replacement {
            replacement.rotation.set_max_age(replacement.successors.max_age(&self.way));
        }
        match &target {
            Some(target) => self.switched(reason, target, waited),
            None => tracing::info!(
                reason = reason.as_str(),
                "a conversation moved to a new connection to its provider"
            ),
        }
        let mut is_told = true;
        for command in commands {
            self.evidence.told(now, &command);
            is_told &= self.send(command) != Err(Untold::Full);
        }
        Moved { from, target, waited, fault: (!is_told).then(|| BridgeEvent::Fault(takes_nothing())) }
    }

    fn switched(&self, reason: Reason, target: &Target, waited: Option<Duration>) {
        let name = target.name();
        self.metrics.routing_failovers.with_label_values(&[reason.as_str(), "moved"]).inc();
        if let Some(waited) = waited {
            Metrics::observe(&self.metrics.routing_failover_seconds, waited);
        }
        let waited_ms = waited.unwrap_or_default().as_millis() as u64;
        tracing::info!(
            reason = reason.as_str(),
            served_by = name,
            waited_ms,
            "a conversation moved to another target"
        );
    }

    /// No connection could be made, and the session is told this.
    pub(super) fn gave_up(&mut self, reason: Reason, event: &BridgeEvent) {
        self.count(reason, "failed");
        if self.way.switching().is_some() {
            self.metrics.routing_failovers.with_label_values(&[reason.as_str(), "failed"]).inc();
        }
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

/// What came of a move.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// Who served the session before.
    pub(super) from: Option<Target>,
    /// How long nobody did.
    pub(super) waited: Option<Duration>,
    /// The target, if it is another one.
    pub(super) target: Option<Target>,
    /// The new connection takes nothing.
    pub(super) fault: Option<BridgeEvent>,
}

fn restoring(context: Vec<ContextItem>) -> impl Iterator<Item = BridgeCommand> {
    let items = context.into_iter().filter_map(|entry| entry.item);
    items.map(|item| BridgeCommand::RestoreItem { item, position: Position::Last })
}

/// Whether a session that began with the one can go on with the other. Whether words are written down unasked may differ.
fn is_like(one: BridgeTraits, other: BridgeTraits) -> bool {
    one == BridgeTraits { transcribes: one.transcribes, ..other }
}

const fn is_final(event: &BridgeEvent) -> bool {
    match event {
        BridgeEvent::Fault(fault) => fault.is_final,
        BridgeEvent::Closed { .. } => true,
        _ => false,
    }
}

/// Whether the provider refuses what the client asks for: another one may not, and this one is not to blame.
fn asks_too_much(event: &BridgeEvent) -> bool {
    matches!(event, BridgeEvent::Fault(fault) if fault.is_final && fault.owner == FaultOwner::Client)
}

/// A connection that ends before it is used is a failure, however politely it ends; but what the client asks for in vain is
/// no fault of the provider.
fn of_standby(event: &BridgeEvent) -> Option<Outcome> {
    match event {
        BridgeEvent::Ready => Some(Outcome::Ready),
        BridgeEvent::Closed { .. } => Some(Outcome::Failed(Trouble::Broken)),
        BridgeEvent::Fault(fault) if fault.is_final && fault.owner != FaultOwner::Client => {
            Some(Outcome::Failed(Trouble::of(fault).unwrap_or(Trouble::Broken)))
        }
        _ => None,
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

fn cannot_open(message: String, may_retry: bool) -> Fault {
    let code = if may_retry { "no_target_available" } else { "provider_misconfigured" };
    Fault { code: code.to_owned(), message, may_retry, ..is_gone() }
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
