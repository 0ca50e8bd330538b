//! Servers that are told of sessions, as they are written and as they are checked.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::guardrails::{address, client, secret};
use crate::notices::{Occasion, Recipient};

/// How long a server may be given for one answer.
const DEADLINES: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// Attempts after the first one: with the longest pauses about ten minutes.
const MOST_RETRIES: u32 = 15;

/// Servers; each is told of every session.
const MOST_WEBHOOKS: usize = 8;

/// Before the first retry.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// A server that is told when a session is over, or when a turn took too long: the session's figures, and nothing of what was
/// said. Nothing waits for it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionWebhook {
    /// Where: `https`, or `http` on this machine. Notices are sent there by POST; redirects are not followed.
    url: String,
    /// What it is told of: `session_ended`, `turn_breached`. Default: `session_ended`.
    #[serde(default = "default_events")]
    events: Vec<Event>,
    /// Longest wait for an answer, 100ms to 60s. Default 5 s: most servers answer in less, and no call waits for it.
    #[serde(default = "default_deadline", with = "humantime_serde")]
    deadline: Duration,
    /// How often a notice is sent again if it was not taken, 0 to 15, after 1 s, 2 s, 4 s up to 60 s each. Default 8, about
    /// four minutes: a server that is restarted misses nothing.
    #[serde(default = "default_retries")]
    retries: u32,
    /// Name of the environment variable with the secret that notices are signed with (`voxgate-signature`), 16 or more
    /// characters. Default: they are not signed.
    secret_env: Option<String>,
    /// File with that secret, instead.
    secret_file: Option<PathBuf>,
    /// PEM file with authorities to trust besides the public ones. Default: none.
    ca_file: Option<PathBuf>,
}

/// What a server can be told of.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    /// A session is over.
    SessionEnded,
    /// A turn took longer than the whole may take on its route.
    TurnBreached,
}

fn default_events() -> Vec<Event> {
    vec![Event::SessionEnded]
}

fn default_deadline() -> Duration {
    Duration::from_secs(5)
}

fn default_retries() -> u32 {
    8
}

/// The servers, or what is wrong with them.
pub(super) fn check(
    written: &BTreeMap<String, SessionWebhook>,
    environment: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<String>,
) -> Vec<Arc<Recipient>> {
    let mut recipients = Vec::new();
    for (name, webhook) in written {
        match recipient(name, webhook, environment) {
            Ok(recipient) => recipients.push(Arc::new(recipient)),
            Err(reason) => problems.push(format!("webhooks.{name}: {reason}")),
        }
    }
    if written.len() > MOST_WEBHOOKS {
        problems.push(format!("webhooks: there are more than {MOST_WEBHOOKS}"));
    }
    recipients
}

fn recipient(
    name: &str,
    written: &SessionWebhook,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Recipient, String> {
    if !DEADLINES.contains(&written.deadline) {
        return Err("deadline must be 100ms to 60s".to_owned());
    }
    if written.retries > MOST_RETRIES {
        return Err(format!("retries must be 0 to {MOST_RETRIES}"));
    }
    if written.events.is_empty() {
        return Err("events is empty; name session_ended, turn_breached or both".to_owned());
    }
    let occasions = written.events.iter().map(|event| match event {
        Event::SessionEnded => Occasion::SessionEnded,
        Event::TurnBreached => Occasion::TurnBreached,
    });
    Ok(Recipient {
        name: name.to_owned(),
        occasions: occasions.collect(),
        url: address(&written.url)?,
        deadline: written.deadline,
        retries: written.retries,
        pause: FIRST_PAUSE,
        secret: secret((written.secret_env.as_deref(), written.secret_file.as_deref()), environment)?,
        http: client(written.ca_file.as_deref())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(written: &str) -> Vec<String> {
        let written: BTreeMap<String, SessionWebhook> = serde_saphyr::from_str(written).unwrap();
        let mut problems = Vec::new();
        let environment = |name: &str| (name == "SECRET").then(|| "sixteen or more of them".to_owned());
        let recipients = check(&written, &environment, &mut problems);
        assert_eq!(recipients.len() + problems.len(), written.len());
        problems
    }

    #[test]
    fn a_server_is_reached_inside_tls_or_on_this_machine_and_no_other_way() {
        assert!(
            problems(r#"{ crm: { url: "https://crm.example.com/calls", secret_env: SECRET } }"#).is_empty()
        );
        assert!(problems(r#"{ crm: { url: "http://127.0.0.1:9/calls" } }"#).is_empty());
        for wrong in [
            r#"url: "http://crm.example.com/calls""#,
            r#"url: "https://a/", deadline: 5ms"#,
            r#"url: "https://a/", retries: 16"#,
            r#"url: "https://a/", events: []"#,
            r#"url: "https://a/", secret_env: NOT_SET"#,
        ] {
            assert_eq!(problems(&format!("{{ crm: {{ {wrong} }} }}")).len(), 1, "{wrong}");
        }
    }
}
