//! The client events of the API, and which of them an untrusted client may send.

use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::fields::Fields;

/// One of the client events of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EventKind {
    UpdateSession,
    AppendAudio,
    CommitInput,
    ClearInput,
    CreateItem,
    DeleteItem,
    RetrieveItem,
    TruncateItem,
    CreateResponse,
    CancelResponse,
    ClearOutput,
}

impl EventKind {
    pub(crate) const ALL: [(Self, &'static str); 11] = [
        (Self::UpdateSession, "session.update"),
        (Self::AppendAudio, "input_audio_buffer.append"),
        (Self::CommitInput, "input_audio_buffer.commit"),
        (Self::ClearInput, "input_audio_buffer.clear"),
        (Self::CreateItem, "conversation.item.create"),
        (Self::DeleteItem, "conversation.item.delete"),
        (Self::RetrieveItem, "conversation.item.retrieve"),
        (Self::TruncateItem, "conversation.item.truncate"),
        (Self::CreateResponse, "response.create"),
        (Self::CancelResponse, "response.cancel"),
        (Self::ClearOutput, "output_audio_buffer.clear"),
    ];

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == name).map(|(kind, _)| kind)
    }

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(kind, _)| *kind == self).map_or("event", |(_, name)| name)
    }

    /// All names, for a refusal.
    pub(crate) fn names() -> String {
        let names: Vec<_> = Self::ALL.into_iter().map(|(_, name)| format!("'{name}'")).collect();
        names.join(", ")
    }
}

/// The client events the holder of a client secret may send; an extension of the API, in the words of GPT-Live's
/// `client.data_channel.allowed_client_events`.
///
/// It binds the data channel or WebSocket of the session that the secret starts. Sideband connections of the API key are
/// not bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AllowedEvents {
    kinds: Vec<EventKind>,
}

impl AllowedEvents {
    /// Whether the holder may change the configuration of its session.
    #[must_use]
    pub fn allows_configuring(&self) -> bool {
        self.has(EventKind::UpdateSession)
    }

    /// Whether the event may be sent.
    pub(crate) fn has(&self, kind: EventKind) -> bool {
        self.kinds.contains(&kind)
    }

    /// The names on the wire, in the order of the API reference.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        EventKind::ALL.into_iter().filter(|(kind, _)| self.has(*kind)).map(|(_, name)| name).collect()
    }

    /// Reads the `client` object of a client secret request. `None` if it allows everything.
    pub(crate) fn parse(client: &Fields<'_>) -> Result<Option<Self>, ApiError> {
        client.allow_only(&["data_channel"])?;
        let Some(channel) = client.object("data_channel")? else { return Ok(None) };
        channel.allow_only(&["allowed_client_events", "allowed_server_events"])?;
        // Every event reaches the client: its SDK derives its state from all of them.
        if channel.value("allowed_server_events").is_some_and(|events| events.as_str() != Some("all")) {
            let reason = "supported values are 'all'.";
            return Err(ApiError::invalid_value(channel.path_of("allowed_server_events"), reason));
        }
        const EVENTS: &str = "allowed_client_events";
        if channel.value(EVENTS).and_then(serde_json::Value::as_str) == Some("all") {
            return Ok(None);
        }
        let Some(list) = channel.list(EVENTS)? else { return Ok(None) };
        let kinds = list.iter().map(|name| name.as_str().and_then(EventKind::of)).collect::<Option<Vec<_>>>();
        match kinds {
            Some(kinds) => Ok(Some(Self { kinds })),
            None => {
                let reason = format!("supported values are 'all' or a list of {}.", EventKind::names());
                Err(ApiError::invalid_value(channel.path_of(EVENTS), reason))
            }
        }
    }
}
