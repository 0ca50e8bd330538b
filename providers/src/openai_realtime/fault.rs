//! Errors, refusals and closes of the vendor as faults.

use serde_json::Value;
use voxgate_protocol::bridge::{Fault, FaultOwner};

/// Longest text taken over from a vendor, in characters.
const LONGEST_SENTENCE: usize = 400;

/// A vendor's text, shortened to what fits into a log line. Words that look like a key are left out.
pub(super) fn sentence(text: &str) -> String {
    let short: String = text.chars().take(LONGEST_SENTENCE).collect();
    if !["sk-", "ek_", "Bearer "].iter().any(|mark| short.contains(mark)) {
        return short;
    }
    let is_key = |word: &str| word.contains("sk-") || word.contains("ek_");
    let after_bearer = |words: &[&str], index: usize| index > 0 && words[index - 1].ends_with("Bearer");
    let words: Vec<&str> = short.split(' ').collect();
    let shown = words
        .iter()
        .enumerate()
        .map(|(index, word)| if is_key(word) || after_bearer(&words, index) { "(key)" } else { *word });
    shown.collect::<Vec<_>>().join(" ")
}

/// What may be done about a fault.
#[derive(Clone, Copy)]
struct Remedy {
    may_retry: bool,
    may_switch: bool,
    is_final: bool,
}

const KEY_REFUSED: Remedy = Remedy { may_retry: false, may_switch: true, is_final: true };
const ELSEWHERE: Remedy = Remedy { may_retry: true, may_switch: true, is_final: true };
const PASSING: Remedy = Remedy { may_retry: true, may_switch: true, is_final: false };
const REQUEST: Remedy = Remedy { may_retry: false, may_switch: false, is_final: false };

fn fault(owner: FaultOwner, code: &str, message: String, remedy: Remedy) -> Fault {
    let Remedy { may_retry, may_switch, is_final } = remedy;
    Fault { owner, code: sentence(code), message, may_retry, may_switch, is_final }
}

/// The meaning of a code that says nothing about the request itself.
fn fault_of_code(code: &str, message: &str) -> Option<Fault> {
    let known = match code {
        "invalid_api_key" | "account_deactivated" | "invalid_organization" | "authentication_error" => fault(
            FaultOwner::Gateway,
            "provider_refused_key",
            format!("The provider refused the gateway's key ({code})."),
            KEY_REFUSED,
        ),
        "insufficient_quota" | "credit_balance_exhausted" | "billing_hard_limit_reached" => {
            fault(FaultOwner::Provider, code, sentence(message), KEY_REFUSED)
        }
        "session_expired" => fault(FaultOwner::Provider, code, sentence(message), ELSEWHERE),
        "beta_api_shape_disabled" | "model_not_found" => {
            fault(FaultOwner::Gateway, code, sentence(message), KEY_REFUSED)
        }
        "rate_limit_exceeded" => fault(FaultOwner::Provider, code, sentence(message), PASSING),
        _ => return None,
    };
    Some(known)
}

/// An `error` event's `error` object.
pub(super) fn of_error(error: &Value) -> Fault {
    let kind = error["type"].as_str().unwrap_or("server_error");
    let code = error["code"].as_str().unwrap_or(kind);
    let message = error["message"].as_str().unwrap_or("The provider reported an error without a message.");
    if let Some(known) = fault_of_code(code, message) {
        return known;
    }
    if kind == "invalid_request_error" {
        return fault(FaultOwner::Client, code, sentence(message), REQUEST);
    }
    fault(FaultOwner::Provider, code, sentence(message), PASSING)
}

/// The first settings were refused: a session without its instructions and tools must not talk to anybody.
pub(super) fn of_refused_settings(error: &Value) -> Fault {
    let mut refused = of_error(error);
    refused.message = format!("The provider refused the session's settings: {}", refused.message);
    refused.is_final = true;
    refused.may_switch = true;
    refused
}

/// An HTTP answer other than 101 to the WebSocket request.
pub(super) fn of_refusal(status: u16, body: &[u8]) -> Fault {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &body["error"];
    let told = error["message"].as_str().unwrap_or("no reason was given");
    if let Some(mut known) = error["code"].as_str().and_then(|code| fault_of_code(code, told)) {
        known.is_final = true;
        return known;
    }
    let message = format!("The provider refused the connection with HTTP {status}: {}", sentence(told));
    let (owner, code, remedy) = match status {
        401 | 403 => (FaultOwner::Gateway, "provider_refused_key", KEY_REFUSED),
        404 => (FaultOwner::Gateway, "provider_not_found", KEY_REFUSED),
        429 => (FaultOwner::Provider, "rate_limit_exceeded", ELSEWHERE),
        400..=499 => (FaultOwner::Gateway, "provider_refused_request", KEY_REFUSED),
        _ => (FaultOwner::Provider, "provider_unavailable", ELSEWHERE),
    };
    // The body of a refused key may repeat the key in a form nobody foresees.
    let message = if code == "provider_refused_key" {
        format!("The provider refused the gateway's key with HTTP {status}.")
    } else {
        message
    };
    fault(owner, code, message, remedy)
}

/// The vendor closed the WebSocket. `None` as code means that the connection broke without a close frame.
pub(super) fn of_close(code: Option<u16>, reason: &str) -> Fault {
    if let Some(known) = fault_of_code(reason, "The provider closed the connection.") {
        return Fault { is_final: true, ..known };
    }
    if code == Some(4_000) {
        let message = format!("The provider closed the connection: {}", sentence(reason));
        return fault(FaultOwner::Gateway, "beta_api_shape_disabled", message, KEY_REFUSED);
    }
    if reason.contains("maximum duration") {
        return fault(FaultOwner::Provider, "session_expired", sentence(reason), ELSEWHERE);
    }
    let message = match code {
        None => "The connection to the provider broke.".to_owned(),
        Some(code) if reason.is_empty() => format!("The provider closed the connection with code {code}."),
        Some(code) => format!("The provider closed the connection with code {code}: {}", sentence(reason)),
    };
    fault(FaultOwner::Provider, "provider_disconnected", message, ELSEWHERE)
}

/// The provider could not be reached or does not answer.
pub(super) fn unreachable(code: &str, message: String) -> Fault {
    fault(FaultOwner::Provider, code, message, ELSEWHERE)
}

/// The configured address or key cannot be used.
pub(super) fn misconfigured(message: String) -> Fault {
    fault(FaultOwner::Gateway, "provider_misconfigured", message, KEY_REFUSED)
}
