//! What the events of a session say: one sentence each, with the figures and names behind it.
//!
//! All of it is ours. Of what a provider says only the code goes on, and only if it looks like one ([`code`]); nothing that
//! was said and no argument of a tool is in a sentence.

use std::time::Duration;

use serde_json::{Value, json};
use voxgate_policy::approval::ApprovalState;
use voxgate_policy::decision::{Decision, Risk};
use voxgate_policy::limits::rules::Resource;
use voxgate_policy::money::budget::Budget;
use voxgate_policy::money::day::Window;
use voxgate_policy::permission::HeldCall;
use voxgate_policy::routing::Target;
use voxgate_protocol::bridge::{BridgeEvent, Fault, FaultOwner, ResponseStatus};
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::session::EndReason;
use voxgate_realtime::ApiError;
use voxgate_telemetry::latency::budget::{Breach, Subject};
use voxgate_telemetry::latency::route::Grounds;
use voxgate_telemetry::session::facts::EventNote;
use voxgate_telemetry::session::view::EventKind;

use crate::dialogue::guard::Note;
use crate::dialogue::rotation::Reason;
use crate::latency::Optional;
use crate::{limits, money};

/// Longest code that is written down.
const LONGEST_CODE: usize = 64;

/// What stands in for a code that may be anything.
const UNKNOWN_CODE: &str = "unknown";

/// A code as it may be written down: one word in small letters. A provider could put anything there.
pub(super) fn code(code: &str) -> &str {
    let is_word =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'.';
    let fits = (1..=LONGEST_CODE).contains(&code.len()) && code.bytes().all(is_word);
    if fits { code } else { UNKNOWN_CODE }
}

pub(in crate::dialogue) fn connected() -> EventNote {
    EventNote::info(EventKind::Connected, "The client is connected.")
}

/// The session was admitted and cannot begin.
pub(crate) fn not_begun(error: &ApiError) -> EventNote {
    let code = code(error.code.as_deref().unwrap_or(UNKNOWN_CODE));
    let text = format!("The session could not begin: {code}.");
    EventNote::error(EventKind::Error, text).with(json!({ "code": code }))
}

pub(in crate::dialogue) fn goes_on_from_another() -> EventNote {
    let text = "The session goes on with the conversation of one whose client was lost.";
    EventNote::info(EventKind::Resume, text)
}

pub(in crate::dialogue) fn goes_on_elsewhere() -> EventNote {
    EventNote::info(EventKind::Resume, "The client goes on with the conversation in another session.")
}

/// The client came back with a token and did not reach the session.
pub(in crate::dialogue) fn did_not_come_back() -> EventNote {
    let text = "The client that came back did not reach the session: it may try again with its token.";
    EventNote::warning(EventKind::Resume, text)
}

pub(crate) fn restarts_ice() -> EventNote {
    let text = "The client restarted ICE: it looks for a new way to the gateway.";
    EventNote::info(EventKind::Resume, text)
}

pub(crate) fn relay_goes(is_lost: bool) -> EventNote {
    let text = if is_lost {
        "The relay that carries the call is lost: the client is asked to move."
    } else {
        "The relay that carries the call is about to stop: the client is asked to move."
    };
    EventNote::warning(EventKind::Relay, text)
}

pub(super) fn carried_by(before: Option<&str>, relay: &str) -> EventNote {
    let text = match before {
        Some(before) => format!("The call moved from relay {before} to relay {relay}."),
        None => format!("Relay {relay} carries the call."),
    };
    let detail = json!({ "relay": relay, "before": before });
    EventNote::info(EventKind::Relay, text).with(detail)
}

pub(super) fn interrupted(stop: Duration) -> EventNote {
    let stop_ms = stop.as_millis() as u64;
    let text = format!("The caller cut the answer off; it stopped {stop_ms} ms after the first sound.");
    EventNote::info(EventKind::Interruption, text).with(json!({ "stop_ms": stop_ms }))
}

/// What an account has its session do.
pub(in crate::dialogue) fn budget(act: &money::Act) -> EventNote {
    let kind = EventKind::Budget;
    let (note, budget) = match act {
        money::Act::Warn(budget) => {
            let text = format!("{} has passed its soft limit.", budget_named(Some(budget)));
            (EventNote::warning(kind, text), Some(budget))
        }
        money::Act::Cancel(budget) => {
            let named = budget_named(budget.as_deref());
            let text = format!("{named} is used up: the answer in progress is cancelled.");
            (EventNote::warning(kind, text), budget.as_ref())
        }
        money::Act::Close(budget) => {
            let text = format!("{} is used up: the session ends.", budget_named(budget.as_deref()));
            (EventNote::error(kind, text), budget.as_ref())
        }
    };
    match budget {
        Some(budget) => note.with(limits_of(budget)),
        None => note,
    }
}

fn budget_named(budget: Option<&Budget>) -> String {
    let Some(Budget { scope, window, .. }) = budget else { return "A budget".to_owned() };
    let window = match window {
        Window::Hour => "hourly",
        Window::Day => "daily",
        Window::Month => "monthly",
        Window::Total => "total",
    };
    format!("The {window} budget of {scope}")
}

fn limits_of(Budget { scope, window, soft, hard }: &Budget) -> Value {
    let nano = |limit: Option<NanoDollars>| limit.map(NanoDollars::get);
    json!({
        "budget": scope.to_string(),
        "window": window,
        "soft_nano_dollars": nano(*soft),
        "hard_nano_dollars": nano(*hard),
    })
}

/// An answer may not begin.
pub(in crate::dialogue) fn answer_refused(refusal: &limits::Refusal) -> EventNote {
    limited(refusal, "an answer is refused")
}

/// An answer that began by itself, or calls a tool, may not go on.
pub(in crate::dialogue) fn answer_taken_back(refusal: &limits::Refusal) -> EventNote {
    limited(refusal, "an answer is taken back")
}

fn limited(limits::Refusal { resource, wait }: &limits::Refusal, so: &str) -> EventNote {
    let (what, wait_ms) = (resource.phrase(), wait.as_millis() as u64);
    let text = format!("The limit of {what} is reached: {so}; there is room again in {wait_ms} ms.");
    EventNote::warning(EventKind::Limit, text).with(json!({ "limit": resource.as_str(), "wait_ms": wait_ms }))
}

pub(in crate::dialogue) fn audio_over_limit() -> EventNote {
    let text = format!("The limit of {} is reached: the session ends.", Resource::Audio.phrase());
    EventNote::error(EventKind::Limit, text).with(json!({ "limit": Resource::Audio.as_str() }))
}

/// The connection to the provider says that something failed.
pub(in crate::dialogue) fn fault(fault: &Fault) -> EventNote {
    let (code, is_final) = (code(&fault.code), fault.is_final);
    let so = if is_final { ": the session ends" } else { "" };
    let text = match fault.owner {
        FaultOwner::Provider => format!("The provider, or the way to it, failed with {code}{so}."),
        FaultOwner::Client => format!("What the client asked for was refused with {code}{so}."),
        FaultOwner::Gateway => format!("The gateway or its configuration failed with {code}{so}."),
    };
    let kind = EventKind::Error;
    let note = if is_final { EventNote::error(kind, text) } else { EventNote::warning(kind, text) };
    note.with(json!({ "code": code, "owner": fault.owner, "final": is_final }))
}

/// What came from the provider went wrong, if it did, and nothing else says so.
pub(super) fn failure(event: &BridgeEvent) -> Option<EventNote> {
    let warning = |text: String, code: &str| {
        Some(EventNote::warning(EventKind::Error, text).with(json!({ "code": code })))
    };
    match event {
        BridgeEvent::Closed { .. } => {
            let text = "The provider closed its connection in order: the session ends.";
            Some(EventNote::error(EventKind::Error, text).with(json!({ "code": "provider_closed" })))
        }
        BridgeEvent::InputTranscriptFailed { .. } => {
            warning("The caller's words could not be recognised.".to_owned(), "transcription_failed")
        }
        BridgeEvent::ResponseDone { status: ResponseStatus::Failed { code: told, .. }, .. } => {
            let told = code(told);
            warning(format!("An answer failed with {told}."), told)
        }
        BridgeEvent::ResponseDone { status: ResponseStatus::IncompleteByFilter, .. } => {
            warning("The provider's filter stopped an answer.".to_owned(), "content_filter")
        }
        _ => None,
    }
}

/// The provider takes nothing more, and something must not be lost.
pub(in crate::dialogue) fn provider_congested() -> EventNote {
    let text = "The connection to the provider takes nothing any more: the session ends.";
    EventNote::error(EventKind::Error, text).with(json!({ "code": "provider_congested" }))
}

/// The provider takes nothing more, and audio is what is lost.
pub(super) fn audio_dropped() -> EventNote {
    let text = "The connection to the provider takes nothing at present: audio of the caller is lost.";
    EventNote::warning(EventKind::Error, text).with(json!({ "code": "provider_congested" }))
}

/// What the client, or a connection beside it, wants cannot be done.
pub(super) fn client_refused(told: &str) -> EventNote {
    let told = code(told);
    let text = format!("A message of the client was refused with {told}.");
    EventNote::warning(EventKind::Error, text).with(json!({ "code": told, "owner": FaultOwner::Client }))
}

/// The same of many more messages.
pub(super) fn more_client_refused(more: u64) -> EventNote {
    let text = format!("{more} more messages of the client were refused.");
    EventNote::warning(EventKind::Error, text).with(json!({ "count": more, "owner": FaultOwner::Client }))
}

/// Why a conversation leaves a connection.
const fn cause(reason: Reason) -> &'static str {
    match reason {
        Reason::Age => "the connection was as old as it may become",
        Reason::Expired => "the provider ended the session at its limit",
        Reason::Closed => "the provider closed the connection",
        Reason::Lost => "the connection broke",
        Reason::Stalled => "the provider said nothing for too long",
        Reason::Silent => "an answer was owed and nothing of it came",
        Reason::Setup => "the first connection did not come about",
        Reason::Refused => "the provider refused what another one may grant",
        Reason::Better => "a better target is well again",
        Reason::Slow => "its turns are too slow",
    }
}

/// The caller waits, and another connection is tried.
pub(in crate::dialogue) fn retry(reason: Reason) -> EventNote {
    let text =
        format!("No provider serves the session, since {}: another connection is tried.", cause(reason));
    EventNote::warning(EventKind::Retry, text).with(json!({ "reason": reason.as_str() }))
}

/// No connection came about.
pub(in crate::dialogue) fn gave_up(reason: Reason, event: &BridgeEvent) -> EventNote {
    let code = match event {
        BridgeEvent::Fault(fault) => code(&fault.code),
        _ => "provider_closed",
    };
    let text =
        format!("No other connection to a provider came about, after {}: the session ends.", cause(reason));
    EventNote::error(EventKind::Error, text).with(json!({ "reason": reason.as_str(), "code": code }))
}

/// A conversation that moved.
pub(in crate::dialogue) struct Move<'a> {
    pub(in crate::dialogue) reason: Reason,
    pub(in crate::dialogue) from: Option<&'a Target>,
    /// `None` for a new connection to the same target.
    pub(in crate::dialogue) to: Option<&'a Target>,
    /// How long the caller had no provider.
    pub(in crate::dialogue) waited: Option<Duration>,
    /// If turns were too slow: which, and how many.
    pub(in crate::dialogue) grounds: Option<Grounds>,
}

pub(in crate::dialogue) fn moved(moved: &Move<'_>) -> EventNote {
    let Move { reason, from, to, waited, grounds } = moved;
    let from = from.map_or_else(|| "its provider".to_owned(), Target::name);
    let why = match grounds {
        Some(grounds) => format!("{from} {}", over(grounds, &format!(" for {}", grounds.subject.as_str()))),
        None => cause(*reason).to_owned(),
    };
    let gap = waited.map(|waited| waited.as_millis() as u64);
    let gap_text = gap.map_or_else(String::new, |gap| format!(", after {gap} ms without a provider"));
    let mut detail = json!({ "reason": reason.as_str(), "from": from, "waited_ms": gap });
    merge(&mut detail, grounds.as_ref().map_or(Value::Null, figures));
    let Some(to) = to else {
        let text = format!("Moved to a new connection to {from}{gap_text}: {why}.");
        return EventNote::info(EventKind::Rotation, text).with(detail);
    };
    let name = to.name();
    let text = format!("Moved from {from} to {name}{gap_text}: {why}.");
    merge(&mut detail, json!({ "to": name, "provider": to.provider, "region": to.region }));
    EventNote::warning(EventKind::Failover, text).with(detail)
}

/// Optional work is left out from now on.
pub(in crate::dialogue) fn left_out(
    work: Optional,
    rule: Option<&str>,
    grounds: Option<&Grounds>,
) -> EventNote {
    let what = match (work, rule) {
        (Optional::Opinion, Some(rule)) => format!("the guardrail {rule} is not asked"),
        (Optional::Opinion, None) => "a guardrail is not asked".to_owned(),
        (Optional::Voices, _) => "the voices are not kept in the log".to_owned(),
    };
    let why = match grounds {
        Some(grounds) => format!("{} {}", grounds.subject.as_str(), over(grounds, "")),
        None => "turns are too slow".to_owned(),
    };
    let mut detail = json!({ "work": work.as_str(), "rule": rule });
    merge(&mut detail, grounds.map_or(Value::Null, figures));
    EventNote::warning(EventKind::Shed, format!("Left out, since {why}: {what}.")).with(detail)
}

/// A guardrail that was left out is asked again.
pub(super) fn asked_again(rule: &str, left_out: u64) -> EventNote {
    let text = format!("The guardrail {rule} is asked again; it was left out {left_out} times.");
    let detail = json!({ "work": Optional::Opinion.as_str(), "rule": rule, "count": left_out });
    EventNote::info(EventKind::Shed, text).with(detail)
}

/// How a budget is broken.
fn over(Grounds { budget, spending, .. }: &Grounds, of: &str) -> String {
    let budget = budget.map_or_else(String::new, |budget| format!(" of {}", milliseconds(budget)));
    let often = if spending.breaches == 0 {
        String::new()
    } else {
        format!(" in {} of {} turns of the last hour", spending.breaches, spending.turns)
    };
    format!("has been over its budget{budget}{of}{often}")
}

/// Budgets may be below a millisecond.
fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_micros() as f64 / 1_000.0)
}

fn figures(Grounds { subject, budget, spending }: &Grounds) -> Value {
    let budget_ms = budget.map(|budget| budget.as_micros() as f64 / 1_000.0);
    let subject = subject.as_str();
    json!({ "subject": subject, "budget_ms": budget_ms, "breaches": spending.breaches, "turns": spending.turns })
}

fn merge(detail: &mut Value, more: Value) {
    if let (Value::Object(detail), Value::Object(more)) = (detail, more) {
        detail.extend(more);
    }
}

/// A rule matched, or its judge was not heard and something is done none the less.
pub(in crate::dialogue) fn guardrail(note: &Note) -> EventNote {
    let Note { rule, direction, act, is_unheard } = note;
    let text = if *is_unheard {
        format!("The guardrail {rule} gave no opinion, and its rule then demands: {act}.")
    } else {
        format!("The guardrail {rule} found something: {act}.")
    };
    let detail = json!({ "rule": rule, "direction": direction, "act": act, "unheard": is_unheard });
    EventNote::warning(EventKind::Guardrail, text).with(detail)
}

/// A judge is not heard, and words go on without it.
pub(super) fn judge_is_silent(rule: &str) -> EventNote {
    let text = format!("The guardrail {rule} gives no opinion: words go on without it.");
    EventNote::warning(EventKind::Guardrail, text).with(json!({ "rule": rule, "unheard": true }))
}

/// It is heard again.
pub(super) fn judge_is_back(rule: &str, missed: u64) -> EventNote {
    let text = format!("The guardrail {rule} gives opinions again; {missed} are missing.");
    EventNote::info(EventKind::Guardrail, text).with(json!({ "rule": rule, "count": missed }))
}

pub(super) fn tool_called(tool: &str) -> EventNote {
    EventNote::info(EventKind::ToolCall, format!("The model calls the tool {tool}."))
        .with(json!({ "tool": tool }))
}

pub(in crate::dialogue) fn tool_forbidden(tool: &str, risk: Risk, decision: &Decision) -> EventNote {
    let detail = json!({ "tool": tool, "risk": risk.as_str(), "policies": decision.policies });
    EventNote::warning(EventKind::ToolCall, format!("The policies forbid the tool {tool}.")).with(detail)
}

/// No policy forbids the call, and nobody gets it.
pub(in crate::dialogue) fn tool_refused(tool: &str, is_crowded: bool) -> EventNote {
    let text = if is_crowded {
        format!("A call of the tool {tool} is refused: too many calls wait for a person.")
    } else {
        format!("A call of the tool {tool} is refused: it is outside the limits of the agent.")
    };
    EventNote::warning(EventKind::ToolCall, text).with(json!({ "tool": tool }))
}

pub(in crate::dialogue) fn person_asked(held: &HeldCall) -> EventNote {
    let text = format!("A person is asked whether the tool {} may be called.", held.tool);
    let detail = json!({ "call": held.call_id.as_str(), "tool": held.tool, "risk": held.risk.as_str() });
    EventNote::info(EventKind::Approval, text).with(detail)
}

pub(in crate::dialogue) fn person_decided(call: &str, state: ApprovalState) -> EventNote {
    let text = format!("A tool call that waited for a person is {}.", state.as_str());
    EventNote::info(EventKind::Approval, text).with(json!({ "call": call, "state": state.as_str() }))
}

/// A turn broke its budgets, this one first.
pub(in crate::dialogue) fn breached(turn: u32, worst: &Breach) -> EventNote {
    let (spent, budget) = (worst.spent.as_millis() as u64, worst.budget.as_millis() as u64);
    let subject = worst.subject.as_str();
    let text = match (worst.subject, worst.spender) {
        (Subject::Whole, Some(spender)) => {
            let spender = spender.as_str();
            format!("Turn {turn} took {spent} ms of {budget} ms it may take; most of it went to {spender}.")
        }
        _ => format!("In turn {turn} {subject} took {spent} ms of {budget} ms it may take."),
    };
    let detail = json!({
        "turn": turn, "subject": subject, "spender": worst.spender, "spent_ms": spent, "budget_ms": budget,
    });
    EventNote::warning(EventKind::Breach, text).with(detail)
}

/// The session is over.
pub(in crate::dialogue) fn ended(reason: EndReason) -> EventNote {
    let why = match reason {
        EndReason::ClientClosed => "the client closed its connection",
        EndReason::ClientLost => "nothing was heard of the client any more",
        EndReason::HungUp => "it was hung up",
        EndReason::ProviderFailed => "no provider serves it any more",
        EndReason::MaximumDuration => "it lasted as long as it may",
        EndReason::Drained => "the gateway is shutting down",
        EndReason::SetupTimeout => "its client did not connect in time",
        EndReason::KeyRevoked => "its key was taken back",
        EndReason::EndedByOperator => "somebody ended it in the administration",
        EndReason::Guardrail => "a guardrail ends calls in which that is said",
        EndReason::BudgetExhausted => "its budget is used up",
        EndReason::RateLimited => "its audio is over a limit",
        EndReason::InternalError => "the gateway made a mistake, which its log describes",
    };
    let (kind, text) = (EventKind::Ended, format!("The session is over: {why}."));
    let note = match reason {
        EndReason::ClientClosed | EndReason::HungUp | EndReason::EndedByOperator => {
            EventNote::info(kind, text)
        }
        EndReason::ProviderFailed | EndReason::InternalError => EventNote::error(kind, text),
        EndReason::ClientLost
        | EndReason::MaximumDuration
        | EndReason::Drained
        | EndReason::SetupTimeout
        | EndReason::KeyRevoked
        | EndReason::Guardrail
        | EndReason::BudgetExhausted
        | EndReason::RateLimited => EventNote::warning(kind, text),
    };
    note.with(json!({ "reason": reason.as_str() }))
}

#[cfg(test)]
mod tests;
