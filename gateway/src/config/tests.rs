use std::time::Duration;

use voxgate_telemetry::latency::budget::LatencyBudget;

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
fn an_interruption_is_judged_only_if_configured_and_only_within_reason() {
    assert_eq!(check(&Written::default(), &nothing).unwrap().interruption, None);
    let text = "conversation: { interruption: { backchannels: [Mm-hm, yeah] } }";
    let rule = check(&parse(text).unwrap(), &nothing).unwrap().interruption.unwrap();
    assert_eq!((rule.minimum_speech.as_millis(), rule.resume_after.as_millis()), (500, 2_000));
    assert!(rule.backchannels.are_all("mm hm, yeah"));
    let text =
        "conversation: { interruption: { minimum_speech: 10s, resume_after: 1ms, backchannels: ['-'] } }";
    let error = check(&parse(text).unwrap(), &nothing).unwrap_err();
    let ConfigError::Problems(problems) = error else { panic!("{error}") };
    assert_eq!(problems.len(), 3, "{problems:#?}");
}

#[test]
fn a_model_that_cannot_be_used_is_one_problem_of_the_configuration() {
    let of = |text: &str| problems(check(&parse(text).unwrap(), &nothing));
    let missing = of("conversation: { end_of_turn: { model: /nonexistent.onnx } }");
    assert_eq!(missing.len(), 1);
    assert!(
        missing[0].contains("conversation.end_of_turn.model: /nonexistent.onnx cannot be read"),
        "{missing:?}"
    );
    let file = env!("CARGO_MANIFEST_PATH");
    let wrong = of(&format!("conversation: {{ end_of_turn: {{ model: '{file}', patience: 3s }} }}"));
    assert_eq!(wrong.len(), 2);
    assert!(wrong[0].contains("patience") && wrong[1].contains("is no ONNX model"), "{wrong:?}");
    assert_eq!(of("conversation: { end_of_turn: { model: x, threads: 0 } }").len(), 1);
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
fn words_are_recognised_by_openais_own_model_there_and_by_none_elsewhere_unless_told() {
    let model = |fields: &str| {
        let text = format!(
            "providers: {{ p: {{ kind: openai-realtime{fields} }} }}\nroutes: [{{ model: '*', provider: p }}]"
        );
        let checked = check(&parse(&text).unwrap(), &nothing).unwrap();
        match &checked.providers["p"].kind {
            ProviderKind::OpenAiRealtime { transcription_model, .. } => transcription_model.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(model("").as_deref(), Some("gpt-4o-mini-transcribe"));
    assert_eq!(model(", transcription_model: ''"), None);
    assert_eq!(model(", base_url: 'http://127.0.0.1:1/v1'"), None);
    let named = ", base_url: 'http://127.0.0.1:1/v1', transcription_model: scribe";
    assert_eq!(model(named).as_deref(), Some("scribe"));
}

#[test]
fn logs_of_sessions_are_written_only_if_asked_for_and_kept_for_a_sane_time() {
    let of = |text: &str| check(&parse(text).unwrap(), &|_| None).map(|checked| checked.replay);
    assert!(of("{}").unwrap().is_none());
    let replay = of("replay: { dir: logs }").unwrap().unwrap();
    assert!(!replay.audio && replay.keep.as_secs() == 24 * 3_600);
    for wrong in ["replay: { dir: '' }", "replay: { dir: logs, keep: 1s }", "replay: { dir: logs, keep: 2y }"]
    {
        assert!(matches!(of(wrong), Err(ConfigError::Problems(problems)) if problems.len() == 1), "{wrong}");
    }
}

#[test]
fn the_example_configuration_is_a_valid_one() {
    let example = include_str!("../../../deploy/voxgate.example.yaml");
    let written = parse(example).unwrap();
    let environment = |name: &str| (!name.starts_with("OTEL_")).then(|| "key".to_owned());
    let budgets = check(&written, &environment).unwrap().latency;
    assert_eq!(budgets.routes["*"], LatencyBudget::cascade(), "the example shows the defaults");
    assert_eq!(budgets.routes["support-*"], LatencyBudget::speech_to_speech());
    assert_eq!(budgets.routes["gpt-realtime*"].whole, Some(Duration::from_secs(1)));
}

#[test]
fn an_unspecified_relay_address_needs_one_to_advertise() {
    let error = check(&parse("relay: { listen: '0.0.0.0:3478' }").unwrap(), &nothing).unwrap_err();
    assert!(error.to_string().contains("relay.advertise"), "{error}");
}

const TOKEN: &str = "0123456789abcdef";

fn with_token(name: &str) -> Option<String> {
    (name == "VOXGATE_RELAY_TOKEN").then(|| TOKEN.to_owned())
}

fn problems<T: std::fmt::Debug>(result: Result<T, ConfigError>) -> Vec<String> {
    match result {
        Err(ConfigError::Problems(problems)) => problems,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_example_of_a_gateway_with_two_relays_is_a_valid_one() {
    let example = include_str!("../../../deploy/two-relays.example.yaml");
    assert!(!is_relay_file(example));
    let checked = check(&parse(example).unwrap(), &with_token).unwrap();
    assert_eq!(checked.relays.len(), 2);
    assert_eq!(checked.control.unwrap().token, TOKEN);
}

#[test]
fn the_example_of_a_relay_is_a_valid_one_and_fits_the_gateways() {
    let example = include_str!("../../../deploy/relay.example.yaml");
    assert!(is_relay_file(example));
    let relay = check_relay(&parse_relay(example).unwrap(), &with_token).unwrap();
    let gateway = include_str!("../../../deploy/two-relays.example.yaml");
    let gateway = check(&parse(gateway).unwrap(), &with_token).unwrap();
    let place = gateway.relays.iter().find(|place| place.id == relay.id.0).unwrap();
    assert_eq!(place.advertise, relay.listen);
    assert_eq!(place.tunnel_ip, relay.tunnel.ip());
    let otlp = relay.otlp.unwrap();
    assert_eq!(otlp.metrics.unwrap().as_str(), "http://127.0.0.1:4318/v1/metrics");
}

#[test]
fn a_relay_pushes_its_metrics_where_its_file_or_the_environment_says_and_under_a_name_of_its_own() {
    let relay = |telemetry: &str, variables: &dyn Fn(&str) -> Option<String>| {
        let text = format!("relay: {{ id: 2, control: 'http://127.0.0.1:9' }}\n{telemetry}");
        check_relay(&parse_relay(&text).unwrap(), variables)
    };
    assert!(relay("", &with_token).unwrap().otlp.is_none());
    let endpoint = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://127.0.0.1:1".to_owned()),
        _ => with_token(name),
    };
    let otlp = relay("", &endpoint).unwrap().otlp.unwrap();
    assert_eq!(otlp.metrics.unwrap().as_str(), "http://127.0.0.1:1/v1/metrics");
    assert!(otlp.resource.contains(&("service.name".to_owned(), "voxgate-relay".to_owned())));
    let wrong = relay("telemetry: { otlp: { endpoint: 'grpc://collector' } }", &with_token);
    assert!(wrong.unwrap_err().to_string().contains("telemetry.otlp"));
}

#[test]
fn the_examples_of_gateways_are_not_taken_for_relays() {
    assert!(!is_relay_file(include_str!("../../../deploy/voxgate.example.yaml")));
    assert!(!is_relay_file("relay: { listen: 127.0.0.1:1 }"));
    assert!(is_relay_file("relay: { id: 4, lisen: 127.0.0.1:1 }"));
}

#[test]
fn all_problems_of_relays_are_reported_together() {
    let text = "
control: { listen: '127.0.0.1:0' }
transceiver: { tunnel: '0.0.0.0:4000' }
relays:
  - { id: 0, advertise: '127.0.0.1:3479', tunnel_ip: 127.0.0.1 }
  - { id: 2, advertise: '127.0.0.1:3479', tunnel_ip: 127.0.0.1 }
  - { id: 2, advertise: '0.0.0.0:3480', tunnel_ip: 0.0.0.0 }
  - { id: 4, advertise: '127.0.0.1:3481', tunnel_ip: '::1' }
";
    let problems = problems(check(&parse(text).unwrap(), &nothing));
    for part in [
        "relays[0].id is 0",
        "relays[1].advertise is 127.0.0.1:3479, which another relay has too",
        "relays[2].id is 2",
        "relays[2].advertise is 0.0.0.0:3480",
        "relays[2].tunnel_ip is 0.0.0.0",
        "relays[3].tunnel_ip is ::1, which cannot send to",
        "transceiver.tunnel is an unspecified address",
        "control takes its token from VOXGATE_RELAY_TOKEN, which is not set",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(part)), "{part}: {problems:#?}");
    }
    assert_eq!(problems.len(), 8, "{problems:#?}");
}

#[test]
fn relays_without_a_control_listener_would_never_get_a_list() {
    let text = "relays: [{ id: 2, advertise: '127.0.0.1:3479', tunnel_ip: 127.0.0.1 }]";
    let problems = problems(check(&parse(text).unwrap(), &nothing));
    assert!(problems[0].contains("control.listen"), "{problems:?}");
}

#[test]
fn a_relay_without_the_necessary_is_told_what_is_missing() {
    let problems = problems(check_relay(&parse_relay("").unwrap(), &nothing));
    for part in ["relay.id must be given", "relay.control must be given", "VOXGATE_RELAY_TOKEN"] {
        assert!(problems.iter().any(|problem| problem.contains(part)), "{part}: {problems:#?}");
    }
}

#[test]
fn all_problems_of_a_relay_are_reported_together() {
    let text = "
relay:
  id: 2
  listen: '127.0.0.1:3479'
  tunnel: '127.0.0.1:3479'
  control: 'ftp://host'
  token_env: SHORT
  threads: 64
  heartbeat: 1ms
  drain_deadline: 2days
  stream_key: /nowhere/key.pem
";
    let short = |name: &str| (name == "SHORT").then(|| "short".to_owned());
    let problems = problems(check_relay(&parse_relay(text).unwrap(), &short));
    for part in [
        "both have port 3479",
        "relay.control is \"ftp://host\"",
        "the token of relay must be 16 or more",
        "relay.threads is 64",
        "relay.heartbeat",
        "relay.drain_deadline",
        "belong together",
        "relay.stream_key cannot be read",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(part)), "{part}: {problems:#?}");
    }
    assert_eq!(problems.len(), 8, "{problems:#?}");
}

#[test]
fn threads_are_auto_or_a_number() {
    let threads =
        |text: &str| parse_relay(&format!("relay: {{ threads: {text} }}")).map(|file| file.relay.threads);
    assert_eq!(threads("auto").unwrap(), ThreadCount::Auto);
    assert_eq!(threads("3").unwrap(), ThreadCount::Fixed(3));
    assert!(threads("many").unwrap_err().contains("threads"), "{:?}", threads("many"));
    assert!(threads("-1").is_err());
}

#[test]
fn a_token_stays_out_of_debug_output() {
    let example = include_str!("../../../deploy/relay.example.yaml");
    let relay = check_relay(&parse_relay(example).unwrap(), &with_token).unwrap();
    assert!(!format!("{relay:?}").contains(TOKEN));
    let gateway = include_str!("../../../deploy/two-relays.example.yaml");
    assert!(!format!("{:?}", check(&parse(gateway).unwrap(), &with_token).unwrap()).contains(TOKEN));
}

#[test]
fn budgets_and_prices_are_checked_and_every_problem_of_them_is_reported() {
    let text = "
money:
  unknown_price: refuse
  lease: 0.02
  budgets:
    - { window: day, soft: '80', hard: '100.50' }
    - { team: default, key: key-1, window: month, hard: 5 }
";
    let money = check(&parse(text).unwrap(), &nothing).unwrap().money;
    assert_eq!((money.budgets.len(), money.pricing.lease.get()), (2, 20_000_000));
    assert_eq!(money.budgets[0].hard.unwrap().get(), 100_500_000_000);
    assert_eq!(money.pricing.vendors["local"], "local");
    let text = "
money:
  prices: /nowhere/prices.yaml
  lease: '0'
  vendors: { cloud: openai }
  budgets:
    - { key: key-1, window: day, hard: '1' }
    - { window: hour }
    - { window: total, soft: '2', hard: '1' }
    - { window: total, hard: much }
";
    let problems = problems(check(&parse(text).unwrap(), &nothing));
    assert_eq!(problems.len(), 7, "{problems:#?}");
    assert!(parse("money: { budgets: [{ window: week, hard: '1' }] }").is_err());
}

#[test]
fn the_corpus_of_configurations_is_understood_or_refused_and_never_stops_the_tool() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/configuration");
    let mut read = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_usable = crate::fuzz::configuration(&std::fs::read(&path).unwrap());
        // What a fuzzer finds is named by its digest and promises nothing.
        if ["valid-", "hostile-"].iter().any(|kind| name.starts_with(kind)) {
            assert_eq!(is_usable, name.starts_with("valid-"), "{name}");
            read += 1;
        }
    }
    assert!(read >= 20, "the corpus has only {read} seeds");
}
