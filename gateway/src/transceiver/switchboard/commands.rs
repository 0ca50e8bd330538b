//! What the rest of the process asks: start, restart, hang up, drain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use voxgate_media::session::Leg;
use voxgate_media::transport::{IceRestart, OfferError, RelayCandidate, Transport, TransportConfig};
use voxgate_policy::key::KeyIndex;
use voxgate_protocol::id::CallId;
use voxgate_protocol::session::EndReason;
use voxgate_realtime::ApiError;

use crate::dialogue::{Dialogue, DialogueConfig, Pen, sentences};
use crate::logging;
use crate::sideband::SidebandNews;

use super::super::call::{Call, CallParts};
use super::super::{Attach, Command, Restart, Slot, Start, choice};
use super::{Drain, Switchboard};

/// Restarts of one call: its names are told apart by a byte. A client that moves every minute stays below.
const MOST_RESTARTS: u8 = u8::MAX;

impl Switchboard {
    /// Does what is asked.
    pub(in super::super) fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Start(start) => self.start(now, *start),
            Command::RestartIce(restart) => {
                let answer = self.restart_ice(now, &restart);
                // Whoever asked may have gone away.
                let _ = restart.reply.send(answer);
            }
            Command::Attach(attach) => self.attach(now, attach),
            Command::Sideband(slot, id, news) => self.work(now, slot, |call, sink| match news {
                SidebandNews::Said(text, _place) => call.handle_sideband(now, id, &text, sink),
                SidebandNews::Gone => call.detach(now, id),
            }),
            Command::BridgeReady(slot) => self.work(now, slot, |call, sink| call.handle_bridge(now, sink)),
            Command::HangUp { call_id, key, reply } => {
                let slot = self.slot_of_key(&call_id, key);
                if let Some(slot) = slot {
                    self.work(now, slot, |call, sink| call.end(now, EndReason::HungUp, sink));
                }
                let _ = reply.send(slot.is_some());
            }
            Command::Report { call_id, key, report, reply } => {
                let slot = self.slot_of_key(&call_id, key);
                if let Some(slot) = slot {
                    self.work(now, slot, |call, sink| call.handle_report(now, report, sink));
                }
                let _ = reply.send(slot.is_some());
            }
            Command::Revoke(revoked) => {
                self.revoked = revoked;
                let slots: Vec<Slot> = self.calls.keys().copied().collect();
                for slot in slots {
                    self.end_if_revoked(now, slot);
                }
            }
            Command::Drain(deadline, all_ended) => {
                self.draining = Some(Drain { deadline: Some(deadline), all_ended });
            }
        }
    }

    /// The call of this name, if it is the key's.
    fn slot_of_key(&self, call_id: &CallId, key: KeyIndex) -> Option<Slot> {
        let slot = self.by_call_id.get(call_id).copied()?;
        self.calls.get(&slot).filter(|call| call.key() == key).map(|_| slot)
    }

    fn end_if_revoked(&mut self, now: Instant, slot: Slot) {
        if self.calls.get(&slot).is_some_and(|call| self.revoked.contains(&call.key())) {
            self.work(now, slot, |call, sink| call.end(now, EndReason::KeyRevoked, sink));
        }
    }

    fn attach(&mut self, now: Instant, attach: Attach) {
        let slot = self.slot_of_key(&attach.call_id, attach.key);
        let id = attach.queue.id;
        let mut attached = Err(ApiError::call_id_not_found());
        if let Some(slot) = slot {
            self.work(now, slot, |call, _| attached = call.attach(now, attach.queue).map(|()| slot));
        }
        let was_heard = attach.reply.send(attached).is_ok();
        if let Some(slot) = slot.filter(|_| !was_heard) {
            // Whoever asked has gone away.
            self.work(now, slot, |call, _| call.detach(now, id));
        }
    }

    fn start(&mut self, now: Instant, start: Start) {
        let slot = start.slot;
        let relays = self.candidates();
        let (reply, result) = match self.accept(now, start, relays) {
            Ok((reply, answer, call)) => {
                self.by_call_id.insert(call.call_id.clone(), slot);
                self.by_ufrag.extend(call.ufrags.iter().map(|ufrag| (ufrag.clone(), slot)));
                self.calls.insert(slot, call);
                (reply, Ok(answer))
            }
            Err((reply, error)) => (reply, Err(error)),
        };
        if reply.send(result).is_err() {
            // The client went away while its offer was answered; nobody will ever connect.
            self.work(now, slot, |call, sink| call.end(now, EndReason::ClientClosed, sink));
        }
        self.work(now, slot, |call, sink| call.handle_bridge(now, sink));
        // The key may have gone while the offer was on its way here.
        self.end_if_revoked(now, slot);
    }

    /// The relays the next answer names.
    fn candidates(&mut self) -> Vec<RelayCandidate> {
        let chosen = choice::relays_for(self.liveness.states(), self.answered);
        self.answered = self.answered.wrapping_add(1);
        choice::candidates(chosen.iter().map(|relay| self.edges[*relay].candidates()))
    }

    #[expect(clippy::type_complexity, reason = "the reply channel travels with either outcome")]
    fn accept(
        &self,
        now: Instant,
        start: Start,
        relays: Vec<RelayCandidate>,
    ) -> Result<
        (oneshot::Sender<Result<String, ApiError>>, String, Call),
        (oneshot::Sender<Result<String, ApiError>>, ApiError),
    > {
        let span = logging::session_span(&start.request.session_id, &start.request.presence.trace());
        let _in_session = span.enter();
        let revision = &start.revision;
        let transport_config = TransportConfig {
            ufrag: start.ufrag.clone(),
            password: start.password,
            relays,
            setup_timeout: revision.setup_timeout,
            silence_timeout: revision.silence_timeout,
        };
        let accepted = Transport::accept(&start.offer, &transport_config, &self.config.identity, now);
        let (transport, answer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                let error = ApiError::invalid_offer(error);
                Pen::of(&start.request.presence).event(now, sentences::not_begun(&error));
                return Err((start.reply, error));
            }
        };
        let (guardrails, judges) = revision.guardrails_of(&start.request.obligations);
        let dialogue = Dialogue::new(
            start.request,
            start.bridge,
            DialogueConfig {
                leg: Leg::Rtp,
                encoder: revision.encoder,
                interruption: revision.interruption.clone(),
                expires_at_unix: start.expires_at_unix,
                max_session: start.max_session,
                seed: start.seed,
                metrics: Arc::clone(&self.config.metrics),
                guardrails,
                judges,
                webhooks: revision.webhooks.clone(),
                permissions: revision.permissions.clone(),
                latency: Arc::clone(&revision.latency),
                replay: self.config.replay.clone(),
                money: self.config.money.clone().map(|money| revision.billed_by(money)),
            },
        );
        let dialogue = match dialogue {
            Ok(dialogue) => dialogue,
            Err(error) => return Err((start.reply, ApiError::server_error(error.to_string()))),
        };
        let call = Call::new(CallParts {
            call_id: start.call_id,
            ufrag: start.ufrag,
            tag: start.tag,
            relays: Arc::clone(&self.relay_names),
            dialogue,
            transport,
            ends_at: start.ends_at,
            session_end: Duration::from_secs(start.expires_at_unix),
            span: span.clone(),
        });
        tracing::info!(call_id = %call.call_id, revision = %revision.name, "call answered");
        Ok((start.reply, answer, call))
    }

    /// Answers an offer that restarts ICE, with a new name of the call and the relays that live now. The names before
    /// it keep leading to the call until the client has moved.
    fn restart_ice(&mut self, now: Instant, restart: &Restart) -> Result<String, ApiError> {
        let slot = self.slot_of_key(&restart.call_id, restart.key).ok_or_else(ApiError::call_id_not_found)?;
        let relays = self.candidates();
        let call = self.calls.get(&slot).ok_or_else(ApiError::call_id_not_found)?;
        if call.generation == MOST_RESTARTS {
            return Err(ApiError::rate_limit_exceeded("The call was moved too often; start another one."));
        }
        let ufrag = restart
            .sealing
            .seal(call.tag, call.generation + 1, call.session_end)
            .map_err(|_| ApiError::server_error("The gateway could not name the call; report this."))?;
        let ice = IceRestart { ufrag: ufrag.clone(), password: restart.password.clone(), relays };
        let mut answer = None;
        self.work(now, slot, |call, sink| answer = Some(call.restart_ice(now, &restart.offer, ice, sink)));
        // A call whose state machine panicked is no more.
        let answer = answer.ok_or_else(ApiError::call_id_not_found)?.map_err(refused_restart)?;
        // Every name leads to the call for as long as it lives: which credentials still count, the transport decides.
        if self.calls.contains_key(&slot) {
            self.by_ufrag.insert(ufrag, slot);
        }
        Ok(answer)
    }
}

fn refused_restart(error: OfferError) -> ApiError {
    match error {
        OfferError::CallOver => ApiError::call_id_not_found(),
        OfferError::RestartTooSoon => ApiError::rate_limit_exceeded(error.to_string()),
        error => ApiError::invalid_offer(error),
    }
}
