//! Where the time of a session's turns went.

use std::time::Instant;

use voxgate_protocol::session::SessionCommand;
use voxgate_protocol::trace::TurnTrace;
use voxgate_telemetry::latency::account::TurnAccount;
use voxgate_telemetry::latency::budget::Breach;
use voxgate_telemetry::session::facts::TurnNote;

use super::client::{ClientMessage, ReckonedTurn};
use super::{Dialogue, DialogueOutput};

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
        self.client.listens(now, is_listening);
    }

    /// What the client says of itself.
    pub(crate) fn hear_client(&mut self, now: Instant, message: ClientMessage) {
        match message {
            ClientMessage::Report(report) => {
                self.handle_command(now, SessionCommand::ReportClient(report));
            }
            ClientMessage::Time { question, received, replied } => {
                self.client.told_time(now, question, received, replied);
            }
            ClientMessage::Turn { turn, moments } => self.client.told_turn(now, turn, &moments),
        }
    }

    /// The first sound of an answer was handed to the network at `now`. The client is asked what it saw of the turn.
    pub(super) fn turn_sounds(
        &mut self,
        now: Instant,
        trace: Box<TurnTrace>,
        outputs: &mut Vec<DialogueOutput>,
    ) {
        outputs.extend(self.client.turn(now, trace).map(DialogueOutput::Ask));
    }

    /// Asks what is due, and tells the turns that wait for no answer.
    pub(super) fn ask_client(&mut self, now: Instant, outputs: &mut Vec<DialogueOutput>) {
        outputs.extend(self.client.poll_question(now).map(DialogueOutput::Ask));
        self.tell_turns(now, outputs);
    }

    pub(super) fn tell_turns(&mut self, now: Instant, outputs: &mut Vec<DialogueOutput>) {
        while let Some(turn) = self.client.poll_turn(now) {
            outputs.extend(self.measure(turn).map(DialogueOutput::Turn));
        }
    }

    /// Counts a turn and writes it down, once. `None` if the clocks it was read from contradict each other.
    fn measure(&self, ReckonedTurn { turn, mouth, account }: ReckonedTurn) -> Option<Box<MeasuredTurn>> {
        let account = match account {
            Ok(account) => account,
            Err(error) => {
                self.metrics.turns_unreckoned.inc();
                tracing::warn!(session = %self.session_id, turn, %error, "a turn has no account");
                return None;
            }
        };
        let breaches = self.latency.turn(&self.route, &account);
        self.provider.measured(account.timeline());
        let budget = self.latency.budget(&self.route);
        let note = TurnNote { account: &account, budget: budget.as_ref(), breaches: &breaches };
        self.presence.record().turn(self.presence.since_began(mouth), note);
        Some(Box::new(MeasuredTurn { account, breaches }))
    }
}
