//! The decisions a session needs before it begins.

use std::time::Instant;

use voxgate_policy::decision::{Decision, Effect, Obligations, Question};
use voxgate_policy::directory::Caller;
use voxgate_policy::routing::{Needs, Route, Target};
use voxgate_protocol::id::CallId;
use voxgate_protocol::settings::{Purpose, SessionSettings};
use voxgate_realtime::ApiError;

use crate::host::Recording;
use crate::terms::Terms;

/// How a session's audio travels.
#[derive(Clone, Debug)]
pub(crate) enum Transport {
    WebRtc(CallId),
    WebSocket,
}

impl Transport {
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::WebRtc(_) => "webrtc",
            Self::WebSocket => "websocket",
        }
    }

    /// The call, if it is one.
    pub(crate) fn into_call(self) -> Option<CallId> {
        match self {
            Self::WebRtc(call) => Some(call),
            Self::WebSocket => None,
        }
    }
}

pub(crate) const fn purpose(settings: &SessionSettings) -> &'static str {
    match settings.purpose {
        Purpose::Conversation => "conversation",
        Purpose::Transcription => "transcription",
    }
}

/// Whether the caller may begin this session on this route. Gives the targets it may be led to, and what the policies demand
/// of it.
pub(crate) fn may_begin(
    terms: &Terms,
    caller: &Caller,
    transport: &Transport,
    settings: &SessionSettings,
    route: &Route,
) -> Result<(Route, Obligations), ApiError> {
    let question = Question::SessionStart { transport: transport.as_str(), purpose: purpose(settings) };
    let start = decide(terms, caller, &question);
    if start.effect != Effect::Allow {
        let message = "The policies of this gateway do not let this key begin the session.";
        return Err(ApiError::permission_denied(message));
    }
    let (route, mut obligations) = may_use(terms, caller, settings, route)?;
    obligations.add(&start.obligations);
    Ok((route, obligations))
}

/// The targets of this route that the caller may be led to: the policies allow the model and the region it is in, and the
/// target can do what the session needs. A model without any does not exist for the caller, as in the API. The session may
/// come to each of them, so what the policies demand for any of them holds. Nobody is asked about a session: what waits for a
/// person is refused.
pub(crate) fn may_use(
    terms: &Terms,
    caller: &Caller,
    settings: &SessionSettings,
    route: &Route,
) -> Result<(Route, Obligations), ApiError> {
    let needs = Needs::of(settings);
    let mut obligations = Obligations::default();
    let permitted = route.only(|target| {
        let demanded = permission(terms, caller, settings, target);
        if let Some(demanded) = demanded.as_ref().filter(|_| needs.met_by(target).is_ok()) {
            obligations.add(demanded);
        }
        demanded.is_some()
    });
    let permitted = permitted.ok_or_else(|| ApiError::model_not_found(&settings.model))?;
    match permitted.only(|target| needs.met_by(target).is_ok()) {
        Some(route) => Ok((route, obligations)),
        None => Err(cannot_serve(&permitted, &needs)),
    }
}

/// Whether the policies let the caller be led to this target, and what they demand of the session if it is.
fn permission(
    terms: &Terms,
    caller: &Caller,
    settings: &SessionSettings,
    target: &Target,
) -> Option<Obligations> {
    let (model, provider) = (settings.model.as_str(), target.provider.as_str());
    let region = target.region.as_deref();
    let question = Question::ModelUse { model, provider, region, purpose: purpose(settings) };
    let model_use = decide(terms, caller, &question);
    let transfer = region.map(|region| decide(terms, caller, &Question::DataTransfer { region }));
    let mut obligations = Obligations::default();
    for decision in [Some(model_use), transfer].into_iter().flatten() {
        if decision.effect != Effect::Allow {
            return None;
        }
        obligations.add(&decision.obligations);
    }
    Some(obligations)
}

/// What of that which the gateway keeps of sessions it may keep of this one, and what the policies demand for it. Whose words
/// may not be kept has no voice kept either, since the words are in it. The session begins whatever the answer is; what waits
/// for a person is not kept.
pub(crate) fn may_record(terms: &Terms, caller: &Caller, obligations: &mut Obligations) -> Option<Recording> {
    let wanted = terms.host.recording()?;
    let keep = wanted.keep;
    let mut permits = |question| {
        let decision = decide(terms, caller, &question);
        let is_allowed = decision.effect == Effect::Allow;
        if is_allowed {
            obligations.add(&decision.obligations);
        }
        is_allowed
    };
    if !permits(Question::RecordTranscript { keep }) {
        return None;
    }
    Some(Recording { audio: wanted.audio && permits(Question::RecordAudio { keep }), keep })
}

fn cannot_serve(route: &Route, needs: &Needs) -> ApiError {
    let lack = route.targets.iter().find_map(|target| needs.met_by(target).err());
    let reason = lack.map_or_else(String::new, |lack| format!("{lack}."));
    ApiError::invalid_value("model", reason)
}

fn decide(terms: &Terms, caller: &Caller, question: &Question<'_>) -> Decision {
    let began = Instant::now();
    let decision = terms.authorizer.decide(caller, question);
    terms.host.decided(caller, question, &decision, began.elapsed());
    if decision.effect != Effect::Allow {
        let policies = decision.policies.join(", ");
        tracing::info!(tenant = %caller.tenancy, act = question.act().as_str(), policies, "refused by policy");
    }
    decision
}

#[cfg(test)]
mod tests;
