//! Connectivity checks of a call: the caller's, which are answered, and this server's own, which keep paths usable.

use std::time::Instant;

use super::paths::Check;
use super::stun::{self, BindingRequest, TransactionId};
use super::{Output, Path, Phase, Transport};

impl Transport {
    /// Takes a datagram in STUN's range (RFC 7983 section 7).
    pub(super) fn handle_stun(&mut self, now: Instant, path: Path, datagram: &[u8]) {
        if let Some(transaction) = stun::binding_response_transaction(datagram) {
            return self.handle_answer(now, path, transaction, datagram);
        }
        match self.generations.verify(now, datagram) {
            Ok((generation, check)) => self.handle_check(now, path, generation, check),
            Err(reason) => tracing::trace!(%reason, "a datagram in STUN's range was ignored"),
        }
    }

    /// Answers held checks whose wait is over.
    pub(super) fn answer_held(&mut self, now: Instant) {
        let mut due = Vec::new();
        for generation in self.generations.iter_mut() {
            let expired = generation.hold.expired(now);
            due.extend(expired.into_iter().map(|(path, check)| (generation.number, path, check)));
        }
        for (generation, path, check) in due {
            self.answer_check(now, path, generation, check);
        }
    }

    /// Asks along the paths that are idle or silent, and leaves a path that is lost.
    pub(super) fn keep_warm(&mut self, now: Instant) {
        if self.phase != Phase::Connected || !self.asker.is_due(now) {
            return;
        }
        self.paths.follow(now);
        self.outputs.extend(self.paths.give_up(now).into_iter().map(Output::PathReleased));
        for (path, generation) in self.paths.questions(now) {
            let transaction = self.asker.transaction();
            // A path whose credentials are over counts as asked, so that it is soon left alone.
            self.paths.ask(now, path, transaction);
            if let Some(generation) = self.generations.get(generation) {
                let username = generation.peer_username();
                let tie_breaker = self.asker.tie_breaker();
                let password = &generation.peer_password;
                let check = stun::controlled_check(transaction, &username, password, tie_breaker);
                self.outputs.push_back(Output::Transmit { path, datagram: check.into() });
            }
        }
        self.asker.look_again(now, self.paths.poll_timeout(now));
    }

    fn handle_check(&mut self, now: Instant, path: Path, generation: u32, check: BindingRequest) {
        self.last_heard = now;
        let Some(credentials) = self.generations.iter_mut().find(|kept| kept.number == generation) else {
            return;
        };
        if check.peer_is_controlled {
            let datagram = stun::role_conflict(check.transaction, &credentials.password).into();
            return self.outputs.push_back(Output::Transmit { path, datagram });
        }
        let due = credentials.hold.checked(now, path, check);
        self.generations.checked(now, generation);
        for (path, check) in due {
            self.answer_check(now, path, generation, check);
        }
    }

    fn answer_check(&mut self, now: Instant, path: Path, generation: u32, check: BindingRequest) {
        let Some(credentials) = self.generations.get(generation) else { return };
        let datagram =
            stun::binding_success(check.transaction, path.client.socket, &credentials.password).into();
        let checked = self.paths.checked(now, path, Check { nominated: check.nominated, generation });
        if self.phase == Phase::Connected && self.paths.wanted() == Some(path) {
            self.asker.start(now);
        }
        self.outputs.extend(checked.evicted.map(Output::PathReleased));
        self.outputs.extend(checked.is_new.then_some(Output::PathValidated(path)));
        self.outputs.push_back(Output::Transmit { path, datagram });
    }

    /// The caller answered a question of ours, or somebody pretends so.
    fn handle_answer(&mut self, now: Instant, path: Path, transaction: TransactionId, datagram: &[u8]) {
        let generation = self.paths.question(path, transaction);
        let Some(generation) = generation.and_then(|number| self.generations.get(number)) else { return };
        match stun::verify_response(datagram, &generation.peer_password) {
            Ok(()) => {
                self.last_heard = now;
                self.paths.answered(now, path, transaction);
                self.paths.follow(now);
            }
            Err(reason) => tracing::trace!(%reason, "an answer to a check was ignored"),
        }
    }
}
