//! When a conversation moves to a new connection to its provider, and what moves with it.
//!
//! Connections to providers end before calls do. An old one is replaced in a pause by a new one that stands ready; one
//! that the provider has ended is replaced at once, and what the caller and the client do meanwhile is kept. Where the
//! session has several targets, one that is silent or does not begin is left for another. Pure: time is an argument,
//! connections are opened by the shell, and whom they lead to the shell decides.

use std::time::{Duration, Instant};

use voxgate_policy::routing::Switching;
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, BridgeTraits, Fault, ResponseStatus};
use voxgate_protocol::id::ItemId;
use voxgate_protocol::settings::SessionSettings;
use voxgate_realtime::ContextItem;

mod allowance;
mod memory;
mod overdue;
mod pause;
mod reason;
mod silence;
#[cfg(test)]
mod switching_tests;
mod tail;
#[cfg(test)]
mod tests;
mod turns;

use allowance::Allowance;
use memory::Memory;
pub(crate) use overdue::Overdue;
use pause::Pause;
pub(crate) use reason::Reason;
use silence::Silence;
use tail::Tail;
use turns::Turns;

/// Longest time a caller waits for a provider that has gone.
const LONGEST_OUTAGE: Duration = Duration::from_secs(15);

/// Connections in a row that may stall before the provider is given up. A stalled one has cost the caller its whole limit.
const MOST_STALLS: u32 = 2;

/// Wait after a new connection could not be made while the caller waits.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The same while the old connection still serves.
const CALM_RETRY_AFTER: Duration = Duration::from_secs(30);

/// What the shell has to do next.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Open a new connection with [`Rotation::settings`] beside the one in use, if there is one.
    Open,
    /// Ask whether another target could serve, and tell [`Rotation::overdue`].
    Overdue(Overdue),
    /// Use the new connection from now on: send it what [`Rotation::moved`] gives, and drop the one in use.
    Move(Reason),
    /// Give up: the session has to be told this event, with which the connection ended.
    End(Reason, Box<BridgeEvent>),
}

/// The provider has gone and the caller waits.
#[derive(Debug)]
struct Outage {
    since: Instant,
    reason: Reason,
    /// With what the connection ended, or the last attempt to make a new one.
    ended_with: BridgeEvent,
    is_hopeless: bool,
}

#[derive(Debug)]
struct Standby {
    opened_at: Instant,
    is_ready: bool,
    /// The settings changed since it was opened.
    is_outdated: bool,
    /// When another target is asked instead, if there is one.
    overdue_at: Option<Instant>,
}

/// The state of one session's connections.
#[derive(Debug)]
pub(crate) struct Rotation {
    max_age: Duration,
    settings: SessionSettings,
    opened_at: Instant,
    is_ready: bool,
    /// Where the session has several targets: when it leaves one.
    switching: Option<Switching>,
    /// Whether another target could serve, when it was last asked.
    has_other: bool,
    /// Why another target waits for the next pause, if one does.
    wanted: Option<Reason>,
    /// When the first connection has taken too long to begin.
    overdue_at: Option<Instant>,
    silence: Option<Silence>,
    outage: Option<Outage>,
    standby: Option<Standby>,
    retry_at: Instant,
    allowance: Allowance,
    pause: Pause,
    tail: Tail,
    memory: Memory,
    turns: Turns,
    /// Connections that stalled since the provider last ended an answer.
    stalls: u32,
    /// Restored items that were cut since.
    cut: Vec<ItemId>,
    /// Audio of the caller given to all connections together.
    heard: Duration,
    /// Where the clock of the connection in use begins on the session's.
    offset: Duration,
}

impl Rotation {
    /// A session whose first connection was just opened with these settings. A connection older than `max_age` is
    /// replaced at the next pause.
    pub(crate) fn new(
        now: Instant,
        max_age: Duration,
        traits: BridgeTraits,
        settings: SessionSettings,
    ) -> Self {
        Self {
            max_age,
            opened_at: now,
            is_ready: false,
            switching: None,
            has_other: false,
            wanted: None,
            overdue_at: None,
            silence: None,
            outage: None,
            standby: None,
            retry_at: now,
            allowance: Allowance::full(now),
            pause: Pause::new(traits, &settings),
            tail: Tail::new(traits.turn_owner, &settings),
            settings,
            memory: Memory::default(),
            turns: Turns::default(),
            stalls: 0,
            cut: Vec::new(),
            heard: Duration::ZERO,
            offset: Duration::ZERO,
        }
    }

    /// The same for a session with several targets.
    pub(crate) fn switching(mut self, traits: BridgeTraits, switching: Option<Switching>) -> Self {
        self.silence = switching.map(|rule| Silence::new(rule.silence, traits, &self.settings));
        self.overdue_at = switching.map(|rule| self.opened_at + rule.attempt);
        self.switching = switching;
        self
    }

    /// Whether another target could serve the session. To be said before a final event is handed in.
    pub(crate) const fn note_others(&mut self, has_other: bool) {
        self.has_other = has_other;
    }

    /// Connections from now on may become this old.
    pub(crate) const fn set_max_age(&mut self, max_age: Duration) {
        self.max_age = max_age;
    }

    /// Whether it may be asked, at the end of an answer, if a better target is there. `leaves_slow`: the present one is slow, and
    /// sessions leave those.
    pub(crate) fn may_reconsider(&self, leaves_slow: bool) -> bool {
        let follows = self.switching.is_some_and(|rule| rule.follows_better || leaves_slow);
        follows && self.is_ready && self.outage.is_none() && self.standby.is_none()
    }

    /// Why one is better, if one is: the conversation moves to it in the next pause.
    pub(crate) const fn reconsidered(&mut self, why: Option<Reason>) {
        self.wanted = why;
    }

    /// How long the caller has waited for a provider, if there is none.
    pub(crate) fn outage(&self, now: Instant) -> Option<Duration> {
        self.outage.as_ref().map(|outage| now.saturating_duration_since(outage.since))
    }

    /// Why the caller has no provider, if there is none.
    pub(crate) fn cut_off_by(&self) -> Option<Reason> {
        self.outage.as_ref().map(|outage| outage.reason)
    }

    /// The commands that tell the first connection of a conversation that began in another session.
    pub(crate) fn restore(&mut self, context: Vec<ContextItem>) -> Vec<BridgeCommand> {
        self.memory.restore(context)
    }

    /// What a new connection has to be opened with.
    pub(crate) const fn settings(&self) -> &SessionSettings {
        &self.settings
    }

    /// A command of the session. Gives what the connection in use has to be told now; what is kept instead is in
    /// [`Rotation::moved`].
    pub(crate) fn route(&mut self, now: Instant, command: BridgeCommand) -> Option<BridgeCommand> {
        self.pause.command(now, &command);
        self.tail.command(&command);
        if let Some(silence) = &mut self.silence {
            silence.command(now, &command);
        }
        let command = match command {
            BridgeCommand::Audio(pcm) => {
                self.heard += pcm.duration();
                BridgeCommand::Audio(pcm)
            }
            BridgeCommand::Configure(settings) => {
                self.configure(&settings);
                BridgeCommand::Configure(settings)
            }
            BridgeCommand::CreateItem { item, position } => {
                BridgeCommand::CreateItem { item, position: self.memory.known(position) }
            }
            BridgeCommand::CreateResponse(options) => {
                BridgeCommand::CreateResponse(self.memory.input(options))
            }
            BridgeCommand::DeleteItem { item_id } => {
                self.memory.forget(&item_id);
                BridgeCommand::DeleteItem { item_id }
            }
            // The connection did not speak this item, so it cannot cut it.
            BridgeCommand::Truncate { item_id, .. } if self.memory.is_restored(&item_id) => {
                self.cut.push(item_id);
                return None;
            }
            other => other,
        };
        self.outage.is_none().then(|| self.turns.translate(command))
    }

    fn configure(&mut self, settings: &SessionSettings) {
        self.settings = settings.clone();
        self.pause.configure(settings);
        self.tail.configure(settings);
        if let Some(silence) = &mut self.silence {
            silence.configure(settings);
        }
        if let Some(standby) = &mut self.standby {
            standby.is_outdated = true;
        }
    }

    /// An event of the connection in use. Gives what the session has to be told instead of it, in order.
    pub(crate) fn hear(&mut self, now: Instant, event: BridgeEvent) -> Vec<BridgeEvent> {
        let reason = Reason::of(&event, self.has_other);
        if let Some(reason) = reason.filter(|reason| self.may_move(now, *reason)) {
            return self.lose(now, if self.is_ready { reason } else { Reason::Setup }, event);
        }
        if let Some(silence) = &mut self.silence {
            silence.event(now, &event);
        }
        match &event {
            BridgeEvent::Ready => (self.is_ready, self.overdue_at) = (true, None),
            BridgeEvent::ResponseDone { .. } => self.stalls = 0,
            _ => {}
        }
        if let BridgeEvent::InputCommitted { item_id } = &event {
            self.memory.heard_again(&self.turns.name_of(item_id.clone()));
        }
        self.pause.event(now, &event);
        let is_news = self.tail.event(&event);
        let event = self.turns.hear(event).filter(|_| is_news);
        if self.tail.audio().is_zero() {
            self.turns.settled();
        }
        let Some(event) = event else { return Vec::new() };
        vec![match event {
            BridgeEvent::SpeechStarted { item_id, at } => {
                BridgeEvent::SpeechStarted { item_id, at: at + self.offset }
            }
            BridgeEvent::SpeechStopped { item_id, at } => {
                BridgeEvent::SpeechStopped { item_id, at: at + self.offset }
            }
            other => other,
        }]
    }

    /// A connection that never worked is replaced by one to another target only: its end is the provider's answer.
    fn may_move(&mut self, now: Instant, reason: Reason) -> bool {
        let is_stuck = reason == Reason::Stalled && self.stalls >= MOST_STALLS;
        let may_open = self.standby.is_some() || self.allowance.is_left(now);
        let is_worth_it = self.has_other || (self.is_ready && !is_stuck);
        self.outage.is_none() && may_open && is_worth_it
    }

    /// The answers in progress end with what was said of them; everything else waits for the next connection.
    fn lose(&mut self, now: Instant, reason: Reason, event: BridgeEvent) -> Vec<BridgeEvent> {
        let (code, message) = match &event {
            BridgeEvent::Fault(Fault { code, message, .. }) => (code.clone(), message.clone()),
            _ => ("provider_closed".to_owned(), "The provider closed the session.".to_owned()),
        };
        self.stalls += u32::from(reason == Reason::Stalled);
        self.overdue_at = None;
        self.outage = Some(Outage { since: now, reason, ended_with: event, is_hopeless: false });
        self.retry_at = now;
        let failed = ResponseStatus::Failed { code, message };
        self.pause
            .take_open()
            .into_iter()
            .map(|response_id| BridgeEvent::ResponseDone { response_id, status: failed.clone(), usage: None })
            .collect()
    }

    /// Whether the connection in use has ended and has nothing more to say.
    pub(crate) const fn is_cut_off(&self) -> bool {
        self.outage.is_some()
    }

    /// An event of the new connection, which is not used yet.
    pub(crate) fn hear_standby(&mut self, now: Instant, event: BridgeEvent) {
        match event {
            BridgeEvent::Ready => {
                if let Some(standby) = &mut self.standby {
                    standby.is_ready = true;
                }
            }
            BridgeEvent::Closed { .. } => self.lose_standby(now, event, true),
            BridgeEvent::Fault(ref fault) if fault.is_final => {
                let may_retry = fault.may_retry;
                self.lose_standby(now, event, may_retry);
            }
            _ => {}
        }
    }

    fn lose_standby(&mut self, now: Instant, event: BridgeEvent, may_retry: bool) {
        self.standby = None;
        match &mut self.outage {
            Some(outage) => {
                self.retry_at = if self.has_other { now } else { now + RETRY_AFTER };
                outage.ended_with = event;
                // Of several targets one may mend what another refuses; then only time ends the search.
                outage.is_hopeless = !may_retry && self.switching.is_none();
            }
            None => (self.retry_at, self.wanted) = (now + CALM_RETRY_AFTER, None),
        }
    }

    /// Whether a new connection stands by or is being made.
    pub(crate) const fn has_standby(&self) -> bool {
        self.standby.is_some()
    }

    /// What to do now.
    pub(crate) fn step(&mut self, now: Instant) -> Option<Step> {
        if let Some((_, overdue)) = self.next_overdue().filter(|(at, _)| *at <= now) {
            return Some(Step::Overdue(overdue));
        }
        let is_ready = self.standby.as_ref().map(|standby| standby.is_ready);
        let Some(outage) = &self.outage else {
            let is_old = self.is_ready && now >= self.opened_at + self.max_age;
            let reason = self.wanted.unwrap_or(Reason::Age);
            let is_due = (is_old || self.wanted.is_some()) && now >= self.retry_at;
            return match is_ready {
                Some(true) if self.pause.is_quiet(now, &self.tail) => Some(Step::Move(reason)),
                None if is_due && self.allowance.take(now) => Some(self.open(now)),
                _ => None,
            };
        };
        let is_over = outage.is_hopeless || now >= self.gives_up_at(outage);
        match is_ready {
            Some(true) => Some(Step::Move(outage.reason)),
            _ if is_over => self.give_up(),
            None if now >= self.retry_at => {
                if self.allowance.take(now) {
                    Some(self.open(now))
                } else {
                    self.give_up()
                }
            }
            _ => None,
        }
    }

    fn open(&mut self, now: Instant) -> Step {
        let overdue_at = self.switching.map(|rule| now + rule.attempt);
        self.standby = Some(Standby { opened_at: now, is_ready: false, is_outdated: false, overdue_at });
        Step::Open
    }

    fn give_up(&mut self) -> Option<Step> {
        let outage = self.outage.take()?;
        self.standby = None;
        // The session is told and ends; nothing is replaced any more.
        self.is_ready = false;
        Some(Step::End(outage.reason, Box::new(outage.ended_with)))
    }

    /// The new connection is in use. Gives what it has to be told first: the conversation so far, then what the caller
    /// and the client said that nothing has answered yet.
    pub(crate) fn moved(&mut self, now: Instant, context: Vec<ContextItem>) -> Vec<BridgeCommand> {
        let Some(standby) = self.standby.take() else { return Vec::new() };
        self.outage = None;
        (self.is_ready, self.wanted) = (true, None);
        self.opened_at = standby.opened_at;
        self.cut.clear();
        let mut commands = Vec::new();
        if standby.is_outdated {
            commands.push(BridgeCommand::Configure(Box::new(self.settings.clone())));
        }
        commands.extend(self.memory.restore(context));
        let repeated = self.tail.repeat();
        for command in &repeated {
            if let BridgeCommand::CommitInput { item_id, .. } = command {
                self.memory.heard_again(item_id);
            }
        }
        commands.extend(repeated.into_iter().map(|command| match command {
            BridgeCommand::CreateResponse(options) => {
                BridgeCommand::CreateResponse(self.memory.input(options))
            }
            other => other,
        }));
        if self.pause.take_owed() && !self.tail.asks() {
            commands.push(BridgeCommand::CreateResponse(Box::default()));
        }
        self.offset = self.heard.saturating_sub(self.tail.audio());
        self.turns.moved(self.tail.audio());
        if let Some(silence) = &mut self.silence {
            let asks = commands.iter().any(|command| matches!(command, BridgeCommand::CreateResponse(_)));
            silence.moved(now, asks);
        }
        commands
    }

    /// Whether the connection in use holds items in a form they no longer have.
    pub(crate) fn has_cut(&self) -> bool {
        !self.cut.is_empty() && self.outage.is_none()
    }

    /// The commands that bring restored items that were cut into their present form.
    pub(crate) fn recut(&mut self, context: &[ContextItem]) -> Vec<BridgeCommand> {
        let cut = std::mem::take(&mut self.cut);
        let replaced = cut.into_iter().flat_map(|item_id| self.memory.replace(&item_id, context));
        replaced.map(|command| self.turns.translate(command)).collect()
    }

    /// When [`Rotation::step`] has something to do if nothing happens before.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let next = match (&self.outage, &self.standby) {
            (Some(outage), Some(_)) => Some(self.gives_up_at(outage)),
            (Some(outage), None) => Some(self.retry_at.min(self.gives_up_at(outage))),
            (None, Some(standby)) if standby.is_ready => self.pause.quiet_at(now, &self.tail),
            (None, Some(_)) => None,
            (None, None) if self.is_ready => {
                let due_at = if self.wanted.is_some() { now } else { self.opened_at + self.max_age };
                Some(due_at.max(self.retry_at).max(self.allowance.next_at()))
            }
            (None, None) => None,
        };
        [next, self.next_overdue().map(|(at, _)| at)].into_iter().flatten().min()
    }
}
