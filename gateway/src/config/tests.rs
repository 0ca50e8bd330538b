use super::*;

fn nothing(_: &str) -> Option<String> {
    None
}

#[test]
fn an_empty_configuration_is_the_first_run() {
    let checked = check(&parse("# nothing\n").unwrap(), &nothing).unwrap();
    assert_eq!(checked.http.to_string(), "127.0.0.1:8080");
    assert_eq!(checked.https.to_string(), "127.0.0.1:8443");
    assert_eq!(checked.relay_listen.to_string(), "127.0.0.1:3478");
    assert!(checked.routes.resolve("whatever-model").is_ok());
}

#[test]
fn every_listener_is_on_loopback_unless_told_otherwise() {
    let written = Written::default();
    for address in [written.http.listen, written.https.listen, written.relay.listen] {
        assert!(address.ip().is_loopback(), "{address}");
    }
}

#[test]
fn an_unknown_key_is_an_error_that_names_it() {
    let error = parse("relay:\n  lisen: 127.0.0.1:1\n").unwrap_err();
    assert!(error.contains("lisen"), "{error}");
}

#[test]
fn all_problems_are_reported_together() {
    let text = "
limits: { session_duration: 1s, silence_timeout: 0s }
audio: { complexity: 11 }
providers:
  cloud: { kind: openai-realtime, api_key_env: NO_SUCH_VARIABLE }
routes:
  - { model: 'a*b', provider: cloud }
  - { model: x, provider: missing }
key_hashes: [short]
";
    let error = check(&parse(text).unwrap(), &nothing).unwrap_err();
    let ConfigError::Problems(problems) = error else { panic!("{error}") };
    assert_eq!(problems.len(), 7, "{problems:#?}");
}

#[test]
fn a_key_comes_from_the_environment_and_stays_out_of_debug_output() {
    let text = "
providers:
  cloud: { kind: openai-realtime, api_key_env: CLOUD_KEY }
routes: [{ model: '*', provider: cloud }]
";
    let environment = |name: &str| (name == "CLOUD_KEY").then(|| "sk-very-secret".to_owned());
    let checked = check(&parse(text).unwrap(), &environment).unwrap();
    assert!(!format!("{checked:?}").contains("very-secret"));
}

#[test]
fn the_example_configuration_is_a_valid_one() {
    let example = include_str!("../../../deploy/voxgate.example.yaml");
    let written = parse(example).unwrap();
    let environment = |_: &str| Some("key".to_owned());
    assert!(check(&written, &environment).is_ok());
}

#[test]
fn an_unspecified_relay_address_needs_one_to_advertise() {
    let error = check(&parse("relay: { listen: '0.0.0.0:3478' }").unwrap(), &nothing).unwrap_err();
    assert!(error.to_string().contains("relay.advertise"), "{error}");
}
