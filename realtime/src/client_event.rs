//! Client events: from wire text to what the client wants.

use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;
use voxgate_protocol::conversation::Position;
use voxgate_protocol::id::{ItemId, ResponseId};

use crate::allowed_events::EventKind;
use crate::append::Append;
use crate::error::{ApiError, excerpt};
use crate::fields::Fields;
use crate::item::{self, NewItem};
use crate::limits::MOST_AUDIO_BYTES;
use crate::response_params::{self, ResponseParams};

/// Longest `event_id` that is repeated in an error (API: `maxLength: 512`).
const LONGEST_EVENT_ID: usize = 512;

/// Padding is optional: clients of several languages leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a client wants.
pub(crate) enum ClientEvent {
    UpdateSession(Value),
    AppendAudio(Vec<u8>),
    CommitInput,
    ClearInput,
    ClearOutput,
    CreateItem { item: NewItem, position: Position },
    DeleteItem(ItemId),
    RetrieveItem(ItemId),
    TruncateItem { item_id: ItemId, content_index: u32, heard: Duration },
    CreateResponse(Box<ResponseParams>),
    CancelResponse(Option<ResponseId>),
}

/// A client event and the name the client gave it.
pub(crate) struct Envelope {
    pub(crate) event_id: Option<String>,
    /// What it claims to be; none if that is nothing the API knows.
    pub(crate) kind: Option<EventKind>,
    pub(crate) event: Result<ClientEvent, ApiError>,
}

/// Reads one message. Text that is not a JSON object has no event id.
pub(crate) fn parse(text: &str) -> Envelope {
    match Append::read(text) {
        Some(append) => Envelope {
            event_id: known_id(append.event_id),
            kind: Some(EventKind::AppendAudio),
            event: audio(append.audio).map(ClientEvent::AppendAudio),
        },
        None => parse_any(text),
    }
}

/// An id that is repeated in an error.
fn known_id(event_id: Option<&str>) -> Option<String> {
    event_id.filter(|id| id.len() <= LONGEST_EVENT_ID).map(str::to_owned)
}

fn parse_any(text: &str) -> Envelope {
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        let refusal = ApiError::invalid_event("The message is not valid JSON.");
        return Envelope { event_id: None, kind: None, event: Err(refusal) };
    };
    let event_id = known_id(value.get("event_id").and_then(Value::as_str));
    let kind = value.get("type").and_then(Value::as_str).and_then(EventKind::of);
    Envelope { event_id, kind, event: event(value) }
}

fn event(mut value: Value) -> Result<ClientEvent, ApiError> {
    if !value.is_object() {
        return Err(ApiError::invalid_event("The message is not a JSON object."));
    }
    // Taken before the fields are borrowed: a session can be large and is kept whole.
    if value.get("type").and_then(Value::as_str) == Some(EventKind::UpdateSession.name()) {
        return match value.get_mut("session").map(Value::take) {
            None | Some(Value::Null) => Err(ApiError::missing_parameter("session")),
            Some(session) => Ok(ClientEvent::UpdateSession(session)),
        };
    }
    let fields = Fields::of(&value, "")?;
    let name = fields.required_text("type")?;
    match EventKind::of(name) {
        Some(EventKind::AppendAudio) => {
            fields.required_text("audio").and_then(audio).map(ClientEvent::AppendAudio)
        }
        Some(EventKind::CommitInput) => Ok(ClientEvent::CommitInput),
        Some(EventKind::ClearInput) => Ok(ClientEvent::ClearInput),
        Some(EventKind::ClearOutput) => Ok(ClientEvent::ClearOutput),
        Some(EventKind::CreateItem) => create_item(&fields),
        Some(EventKind::DeleteItem) => item_id(&fields).map(ClientEvent::DeleteItem),
        Some(EventKind::RetrieveItem) => item_id(&fields).map(ClientEvent::RetrieveItem),
        Some(EventKind::TruncateItem) => truncate(&fields),
        Some(EventKind::CreateResponse) => {
            response_params::parse(fields.get("response")).map(Box::new).map(ClientEvent::CreateResponse)
        }
        Some(EventKind::CancelResponse) => {
            Ok(ClientEvent::CancelResponse(fields.text("response_id")?.map(ResponseId::from)))
        }
        Some(EventKind::UpdateSession) | None => {
            let reason = format!("'{}'; supported values are {}.", excerpt(name), EventKind::names());
            Err(ApiError::invalid_value("type", reason))
        }
    }
}

fn audio(base64: &str) -> Result<Vec<u8>, ApiError> {
    let bytes = BASE64
        .decode(base64)
        .map_err(|_| ApiError::invalid_value("audio", "expected base64-encoded audio bytes."))?;
    if bytes.len() > MOST_AUDIO_BYTES {
        return Err(ApiError::invalid_value("audio", format!("expected at most {MOST_AUDIO_BYTES} bytes.")));
    }
    Ok(bytes)
}

fn create_item(fields: &Fields<'_>) -> Result<ClientEvent, ApiError> {
    let value = fields.value("item").ok_or_else(|| ApiError::missing_parameter("item"))?;
    let item = item::parse(value, "item")?;
    let position = match fields.text("previous_item_id")? {
        None => Position::Last,
        Some("root") => Position::First,
        Some(id) => Position::After(id.into()),
    };
    Ok(ClientEvent::CreateItem { item, position })
}

fn item_id(fields: &Fields<'_>) -> Result<ItemId, ApiError> {
    fields.required_text("item_id").map(ItemId::from)
}

fn truncate(fields: &Fields<'_>) -> Result<ClientEvent, ApiError> {
    let required = |key| {
        let number = fields.whole(key, 0..=u64::from(u32::MAX))?;
        number.ok_or_else(|| ApiError::missing_parameter(key))
    };
    Ok(ClientEvent::TruncateItem {
        item_id: item_id(fields)?,
        content_index: u32::try_from(required("content_index")?).unwrap_or(u32::MAX),
        heard: Duration::from_millis(required("audio_end_ms")?),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a message came to.
    fn read(envelope: Envelope) -> (Option<String>, Option<EventKind>, Result<Vec<u8>, String>) {
        let event = match envelope.event {
            Ok(ClientEvent::AppendAudio(bytes)) => Ok(bytes),
            Ok(_) => Err("another event".to_owned()),
            Err(refusal) => Err(refusal.to_json().to_string()),
        };
        (envelope.event_id, envelope.kind, event)
    }

    /// A field of an append as clients write it, and as they should not.
    fn field() -> impl Strategy<Value = String> {
        let audio = proptest::collection::vec(any::<u8>(), 0..40);
        prop_oneof![
            3 => Just(r#""type":"input_audio_buffer.append""#.to_owned()),
            1 => Just(r#""type":"input_audio_buffer.commit""#.to_owned()),
            1 => Just(r#""type":7"#.to_owned()),
            1 => Just(r#""type":"input_audio_buffer.append\u0020""#.to_owned()),
            3 => audio.prop_map(|audio| format!(r#""audio":"{}""#, BASE64.encode(audio))),
            1 => Just(r#""audio":"AAE\u003d""#.to_owned()),
            1 => Just(r#""audio":null"#.to_owned()),
            1 => Just(r#""audio":"=A""#.to_owned()),
            2 => "[a-z]{0,8}".prop_map(|id| format!(r#""event_id":"{id}""#)),
            1 => Just(format!(r#""event_id":"{}""#, "e".repeat(600))),
            1 => Just(r#""event_id":3"#.to_owned()),
            1 => Just(r#""event_id":null"#.to_owned()),
            1 => Just(r#""other":{"audio":["input_audio_buffer.append"]}"#.to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn an_append_is_read_the_same_the_short_way_and_the_long(
            fields in proptest::collection::vec(field(), 0..5),
            cut in proptest::option::weighted(0.1, 0_usize..60),
        ) {
            let mut message = format!("{{{}}}", fields.join(","));
            message.truncate(cut.unwrap_or(message.len()).min(message.len()));
            prop_assert_eq!(read(parse(&message)), read(parse_any(&message)));
        }
    }

    #[test]
    fn an_append_as_clients_write_it_is_read_the_short_way() {
        for message in [
            r#"{"type":"input_audio_buffer.append","audio":"AAEC"}"#,
            r#"{"event_id": "event_1", "type": "input_audio_buffer.append", "audio": "AAEC"}"#,
        ] {
            assert!(Append::read(message).is_some());
            assert_eq!(read(parse(message)).2.unwrap(), [0, 1, 2]);
        }
        for message in
            [r#"{"type":"input_audio_buffer.clear"}"#, r#"["input_audio_buffer.append","event_1","AAEC"]"#]
        {
            assert!(Append::read(message).is_none());
        }
    }
}
