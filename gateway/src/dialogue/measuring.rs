//! Where the time of a session's turns went, and what else there is to write down of it.

use std::time::{Duration, Instant};

use voxgate_protocol::session::SessionCommand;
use voxgate_protocol::trace::TurnTrace;
use voxgate_telemetry::latency::account::TurnAccount;
use voxgate_telemetry::latency::budget::Breach;
use voxgate_telemetry::session::facts::{EventNote, TurnNote};

use crate::money::Account;

use super::chronicle::{Second, Transported, sentences};
use super::client::{ClientMessage, ReckonedTurn};
use super::sight::Seen;
use super::{Dialogue, DialogueOutput};
use crate::logging;

/// A turn, and what of it took too long.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MeasuredTurn {
    /// Hop by hop.
    pub(crate) account: TurnAccount,
    /// Of the budgets of the session's route.
    pub(crate) breaches: Vec<Breach>,
}

impl Dialogue {
    /// The client can be asked about itself from now on, or no longer.
    pub(crate) fn client_listens(&mut self, now: Instant, is_listening: bool) {
        self.client.listens(now, is_listening && self.chronicle.measures());
    }

    /// A sample of the caller, by its RTP timestamp, was captured at `at`, since 1970 by the client's clock.
    pub(crate) fn note_capture(&mut self, sample: u32, at: Duration) {
        self.client.captured(sample, at);
    }

    /// What the client says of itself.
    pub(crate) fn hear_client(&mut self, now: Instant, message: &ClientMessage) {
        self.client.told(now, message);
        if let Some(report) = message.report {
            self.handle_command(now, SessionCommand::ReportClient(report));
        }
    }

    /// The first sound of an answer was handed to the network at `now`. The client is asked what it saw of the turn, if turns
    /// are measured.
    pub(super) fn turn_sounds(
        &mut self,
        now: Instant,
        trace: Box<TurnTrace>,
        outputs: &mut Vec<DialogueOutput>,
    ) {
        if !self.chronicle.measures() {
            return self.provider.turn_passed();
        }
        outputs.extend(self.client.turn(now, trace).map(DialogueOutput::Ask));
    }

    /// Asks what is due, and tells the turns that wait for no answer.
    pub(super) fn ask_client(&mut self, now: Instant, outputs: &mut Vec<DialogueOutput>) {
        outputs.extend(self.client.poll_question(now).map(DialogueOutput::Ask));
        self.tell_turns(now, outputs);
    }

    pub(super) fn tell_turns(&mut self, now: Instant, outputs: &mut Vec<DialogueOutput>) {
        while let Some(turn) = self.client.poll_turn(now) {
            outputs.extend(self.measure(now, turn).map(DialogueOutput::Turn));
        }
    }

    /// Counts a turn and writes it down, once. `None` if the clocks it was read from contradict each other.
    fn measure(&mut self, now: Instant, reckoned: ReckonedTurn) -> Option<Box<MeasuredTurn>> {
        let ReckonedTurn { turn, mouth, account } = reckoned;
        let account = match account {
            Ok(account) => account,
            Err(error) => {
                self.metrics.turns_unreckoned.inc();
                tracing::warn!(turn, %error, "a turn has no account");
                return None;
            }
        };
        let target = self.provider.served_turn();
        let breaches = self.latency.turn(&self.route, target.as_deref(), &account);
        self.provider.measured(account.timeline());
        logging::turn_measured(&account, &breaches);
        let budget = self.latency.budget(&self.route);
        let note = TurnNote { account: &account, budget: budget.as_ref(), breaches: &breaches };
        self.presence.record().turn(self.presence.since_began(mouth), note);
        if let Some(worst) = breaches.first() {
            self.chronicle.pen().event(now, sentences::breached(account.turn, worst));
        }
        Some(Box::new(MeasuredTurn { account, breaches }))
    }

    /// Whether [`Dialogue::transported`] has something to tell.
    pub(crate) fn awaits_transported(&self, now: Instant) -> bool {
        self.chronicle.measures() && self.chronicle.is_due(now)
    }

    /// What the transport of the call knows at the end of a second.
    pub(crate) fn transported(&mut self, transported: Transported) {
        self.chronicle.transported(transported);
    }

    /// Something happened to the call that its session does not see.
    pub(crate) fn happened(&self, now: Instant, event: EventNote) {
        self.chronicle.pen().event(now, event);
    }

    /// Writes down what adds up.
    pub(super) fn write_second(&mut self, now: Instant) {
        let second = Second {
            uplink: self.core.uplink_stats().filter(|_| self.chronicle.measures()),
            pieces: self.core.piece_stats().filter(|_| self.chronicle.measures()),
            loudness: self.core.take_loudness(now),
            cost: self.account.as_ref().map(Account::cost),
        };
        self.chronicle.second(now, second, &self.metrics);
    }

    /// Writes down what is seen. What a rule hides is hidden before.
    pub(super) fn look(&mut self, now: Instant) {
        while let Some(seen) = self.core.poll_seen() {
            match seen {
                Seen::Session(observed) => self.chronicle.observed(observed),
                Seen::Words { item, who, words } => {
                    let words = self.guard.mask_words(who, words);
                    self.chronicle.said(now, item.as_str(), who, &words);
                }
                Seen::Refused(code) => self.chronicle.client_refused(now, &code),
            }
        }
    }
}
