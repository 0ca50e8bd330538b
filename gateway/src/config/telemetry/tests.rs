use super::super::{ConfigError, check as check_all, parse};
use super::*;

fn otlp(text: &str, environment: &[(&str, &str)]) -> Result<Option<Otlp>, Vec<String>> {
    let value = |name: &str| {
        let found = environment.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    match check_all(&parse(text).unwrap(), &value) {
        Ok(checked) => Ok(checked.otlp),
        Err(ConfigError::Problems(problems)) => Err(problems),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn sessions_are_measured_unless_somebody_says_otherwise() {
    let measuring = |text| check_all(&parse(text).unwrap(), &|_| None).unwrap().measuring;
    assert!(measuring("# nothing") && measuring("telemetry: { otlp: { interval: 1s } }"));
    assert!(measuring("telemetry: { measuring: true }"));
    assert!(!measuring("telemetry: { measuring: false }"));
}

fn place(url: Option<&Url>) -> &str {
    url.map_or("", Url::as_str)
}

#[test]
fn nothing_is_sent_unless_somebody_says_where_to() {
    assert!(otlp("# nothing", &[]).unwrap().is_none());
    assert!(otlp("telemetry: { otlp: { interval: 1s } }", &[]).unwrap().is_none());
    assert!(otlp("# nothing", &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).unwrap().is_none());
}

#[test]
fn an_endpoint_is_for_both_signals_and_one_of_a_signal_is_taken_as_it_stands() {
    let text = "telemetry: { otlp: { endpoint: 'http://c:4318/', metrics_endpoint: 'https://m/push' } }";
    let otlp = otlp(text, &[]).unwrap().unwrap();
    assert_eq!(place(otlp.traces.as_ref()), "http://c:4318/v1/traces");
    assert_eq!(place(otlp.metrics.as_ref()), "https://m/push");
    assert_eq!(otlp.compression, Compression::Gzip);
    assert_eq!(otlp.resource, [("service.name".to_owned(), "voxgate".to_owned())]);
}

#[test]
fn the_variables_of_opentelemetry_count_where_the_configuration_says_nothing() {
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c/base"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://m"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20abc,x-team= red "),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=a%2Cb"),
        ("OTEL_SERVICE_NAME", "voice"),
    ];
    let of_environment = otlp("# nothing", &environment).unwrap().unwrap();
    assert_eq!(place(of_environment.traces.as_ref()), "https://c/base/v1/traces");
    assert_eq!(place(of_environment.metrics.as_ref()), "https://m/");
    assert_eq!(of_environment.headers["authorization"], "Basic abc");
    assert_eq!(of_environment.headers["x-team"], "red");
    assert_eq!(of_environment.timeout, Duration::from_millis(2_500));
    assert_eq!(of_environment.compression, Compression::None);
    let resource = [("deployment.environment.name", "a,b"), ("service.name", "voice")];
    assert_eq!(of_environment.resource, resource.map(|(name, value)| (name.to_owned(), value.to_owned())));

    let text =
        "telemetry: { otlp: { endpoint: 'http://here', timeout: 1s, compression: gzip, service_name: me } }";
    let written = otlp(text, &environment).unwrap().unwrap();
    assert_eq!(place(written.traces.as_ref()), "http://here/v1/traces");
    assert_eq!((written.timeout, written.compression), (Duration::from_secs(1), Compression::Gzip));
    assert!(written.resource.contains(&("service.name".to_owned(), "me".to_owned())));
}

#[test]
fn either_signal_or_both_can_be_turned_off() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c");
    let sent = otlp("telemetry: { otlp: { traces: false } }", &[endpoint]).unwrap().unwrap();
    assert!(sent.traces.is_none() && sent.metrics.is_some());
    let sent = otlp("# nothing", &[endpoint, ("OTEL_METRICS_EXPORTER", "none")]).unwrap().unwrap();
    assert!(sent.traces.is_some() && sent.metrics.is_none());
    assert!(otlp("# nothing", &[endpoint, ("OTEL_SDK_DISABLED", "true")]).unwrap().is_none());
}

#[test]
fn what_cannot_be_used_is_a_problem_that_shows_no_key() {
    for (text, variables) in [
        ("telemetry: { otlp: { endpoint: 'grpc://c' } }", vec![]),
        ("telemetry: { otlp: { endpoint: 'http://me:hush@c' } }", vec![]),
        ("telemetry: { otlp: { endpoint: 'http://c', headers_env: ABSENT } }", vec![]),
        (
            "telemetry: { otlp: { endpoint: 'http://c', headers_env: A, headers_file: b } }",
            vec![("A", "b=c")],
        ),
        ("telemetry: { otlp: { endpoint: 'http://c', headers_env: A } }", vec![("A", "hush")]),
        ("telemetry: { otlp: { endpoint: 'http://c', headers_env: A } }", vec![("A", "a=hush%2")]),
        ("telemetry: { otlp: { endpoint: 'http://c', headers_env: A } }", vec![("A", "a=hush%0Ahush")]),
        ("telemetry: { otlp: { endpoint: 'http://c', interval: 0s } }", vec![]),
        ("telemetry: { otlp: { endpoint: 'http://c', queue: 1 } }", vec![]),
        ("telemetry: { otlp: { endpoint: 'http://c', ca_file: /no/such/file } }", vec![]),
        ("# nothing", vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4318")]),
        (
            "# nothing",
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "1 s")],
        ),
    ] {
        let problems = otlp(text, &variables).unwrap_err();
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        assert!(problems[0].contains("telemetry.otlp"), "{problems:?}");
        assert!(!problems[0].contains("hush"), "{problems:?}");
    }
}

#[test]
fn conventions_can_be_chosen() {
    let text = "telemetry: { otlp: { endpoint: 'http://c', conventions: { gen_ai: '1.36', voice: proposed, openinference: false } } }";
    let wanted = Conventions { gen_ai: GenAi::V1_36, voice: Voice::Proposed, open_inference: false };
    assert_eq!(otlp(text, &[]).unwrap().unwrap().conventions, wanted);
}
