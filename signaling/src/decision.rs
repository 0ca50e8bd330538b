//! The decisions a session needs before it begins.

use std::time::Instant;

use voxgate_policy::decision::{Decision, Effect, Obligations, Question};
use voxgate_policy::directory::Caller;
use voxgate_policy::routing::Route;
use voxgate_protocol::settings::{Purpose, SessionSettings};
use voxgate_realtime::ApiError;

use crate::terms::Terms;

/// How a session's audio travels.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Transport {
    WebRtc,
    WebSocket,
}

impl Transport {
    const fn as_str(self) -> &'static str {
        match self {
            Self::WebRtc => "webrtc",
            Self::WebSocket => "websocket",
        }
    }
}

const fn purpose(settings: &SessionSettings) -> &'static str {
    match settings.purpose {
        Purpose::Conversation => "conversation",
        Purpose::Transcription => "transcription",
    }
}

/// Whether the caller may begin this session on this route. Gives what the policies demand of it.
pub(crate) fn may_begin(
    terms: &Terms,
    caller: &Caller,
    transport: Transport,
    settings: &SessionSettings,
    route: &Route,
) -> Result<Obligations, ApiError> {
    let question = Question::SessionStart { transport: transport.as_str(), purpose: purpose(settings) };
    let start = decide(terms, caller, &question);
    if start.effect != Effect::Allow {
        let message = "The policies of this gateway do not let this key begin the session.";
        return Err(ApiError::permission_denied(message));
    }
    let mut obligations = may_use(terms, caller, settings, route)?;
    obligations.add(&start.obligations);
    Ok(obligations)
}

/// Whether the caller may use the model of this route, in the region it is in. A model that may not be used does not exist for
/// the caller, as in the API. Nobody is asked about a session: what waits for a person is refused.
pub(crate) fn may_use(
    terms: &Terms,
    caller: &Caller,
    settings: &SessionSettings,
    route: &Route,
) -> Result<Obligations, ApiError> {
    let region = terms.regions.get(&route.provider).map(String::as_str);
    let model = settings.model.as_str();
    let question =
        Question::ModelUse { model, provider: &route.provider, region, purpose: purpose(settings) };
    let model_use = decide(terms, caller, &question);
    let transfer = region.map(|region| decide(terms, caller, &Question::DataTransfer { region }));
    let mut obligations = Obligations::default();
    for decision in [Some(model_use), transfer].into_iter().flatten() {
        if decision.effect != Effect::Allow {
            return Err(ApiError::model_not_found(model));
        }
        obligations.add(&decision.obligations);
    }
    Ok(obligations)
}

fn decide(terms: &Terms, caller: &Caller, question: &Question<'_>) -> Decision {
    let began = Instant::now();
    let decision = terms.authorizer.decide(caller, question);
    terms.host.decided(question.act(), &decision, began.elapsed());
    if decision.effect != Effect::Allow {
        let policies = decision.policies.join(", ");
        tracing::info!(tenant = %caller.tenancy, act = question.act().as_str(), policies, "refused by policy");
    }
    decision
}
