//! The vendor's schemas, one validator for each event type.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

static CLIENT: LazyLock<Schema> =
    LazyLock::new(|| Schema::parse(include_str!("../../specs/realtime_client_event.schema.json")));
static SERVER: LazyLock<Schema> =
    LazyLock::new(|| Schema::parse(include_str!("../../specs/realtime_server_event.schema.json")));

pub(crate) struct Schema {
    validators: BTreeMap<String, Validator>,
}

impl Schema {
    pub(crate) fn client() -> &'static Self {
        &CLIENT
    }

    pub(crate) fn server() -> &'static Self {
        &SERVER
    }

    fn parse(text: &str) -> Self {
        let schema: Value = serde_json::from_str(text).unwrap();
        let definitions = &schema["$defs"];
        let mut validators = BTreeMap::new();
        for option in schema["anyOf"].as_array().unwrap() {
            let reference = option["$ref"].as_str().unwrap();
            let name = reference.rsplit('/').next().unwrap();
            let kind = definitions[name]["properties"]["type"]["const"].as_str().unwrap();
            let single = json!({ "$ref": reference, "$defs": definitions });
            validators.insert(kind.to_owned(), jsonschema::validator_for(&single).unwrap());
        }
        Self { validators }
    }

    /// Panics with the event and what is wrong with it.
    pub(crate) fn check(&self, event: &Value) {
        let kind = event["type"].as_str().unwrap();
        let validator = self.validators.get(kind).unwrap_or_else(|| panic!("{kind} is not in the schema"));
        let errors: Vec<String> =
            validator.iter_errors(event).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{event:#}\n{errors:#?}");
    }
}

#[test]
fn the_validators_refuse_what_the_vendor_would_not_send() {
    let schema = Schema::server();
    let broken = json!({"type": "response.output_audio.done", "event_id": "e", "item_id": 7});
    let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| schema.check(&broken)));
    assert!(seen.is_err());
}
