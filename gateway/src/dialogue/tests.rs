use std::sync::Arc;
use std::time::Duration;

use voxgate_media::encode::EncoderConfig;
use voxgate_policy::admission::{Admission, SessionLimits};
use voxgate_policy::decision::Obligations;
use voxgate_policy::directory::Caller;
use voxgate_policy::guardrail::RuleSet;
use voxgate_policy::key::KeyIndex;
use voxgate_policy::routing::{ModelPattern, Route, Target};
use voxgate_protocol::audio::SampleRate;
use voxgate_protocol::bridge::{BridgeTraits, TurnOwner};
use voxgate_protocol::id::SessionId;
use voxgate_protocol::revision::RevisionName;
use voxgate_protocol::settings::SessionSettings;
use voxgate_protocol::trace_context::TraceContext;
use voxgate_providers::bridge::{BridgeEnds, COMMAND_CAPACITY, bridge};
use voxgate_signaling::host::{Recording, SessionRequest};
use voxgate_signaling::limits::desk::LimitLease;
use voxgate_signaling::live::LiveSessions;
use voxgate_signaling::permit::Places;
use voxgate_telemetry::session::facts::SessionFacts;

use super::*;
use crate::bridges::{Connected, LastTurn, Line, Ringer};
use crate::latency::LatencyDesk;
use crate::permissions::Permissions;
use crate::replay::{ReplayLog, Retention};
use crate::routing::Way;
use crate::webhook::Webhooks;

mod record;

const TRAITS: BridgeTraits = BridgeTraits {
    input_rate: SampleRate::HZ_16000,
    output_rate: SampleRate::HZ_16000,
    turn_owner: TurnOwner::Gateway,
    truncates: true,
    transcribes: false,
};

pub(super) fn presence() -> Presence {
    LiveSessions::default().enter(SessionFacts {
        model: "m".to_owned(),
        ..SessionFacts::new(SessionId::from("sess_1"), TraceContext::begin(None, (1, 1)))
    })
}

fn dialogue(places: &Places) -> (Dialogue, BridgeEnds) {
    recorded(places, None, None)
}

/// A session of which that much may be kept, in a gateway with these logs.
fn recorded(
    places: &Places,
    replay: Option<Arc<ReplayLog>>,
    recording: Option<Recording>,
) -> (Dialogue, BridgeEnds) {
    begun(places, Kind { replay, recording, ..Kind::default() })
}

/// What kind of session begins.
struct Kind {
    traits: BridgeTraits,
    settings: SessionSettings,
    guardrails: Arc<RuleSet>,
    replay: Option<Arc<ReplayLog>>,
    recording: Option<Recording>,
    latency: Arc<LatencyDesk>,
}

impl Default for Kind {
    fn default() -> Self {
        let settings = SessionSettings::default();
        let (guardrails, latency) = (Arc::default(), LatencyDesk::idle());
        Self { traits: TRAITS, settings, guardrails, replay: None, recording: None, latency }
    }
}

fn begun(places: &Places, kind: Kind) -> (Dialogue, BridgeEnds) {
    let Kind { traits, settings, guardrails, replay, recording, latency } = kind;
    let (ringer, wake) = Ringer::new(|| {});
    let (near, far) = bridge(traits, wake);
    let request = SessionRequest {
        session_id: SessionId::from("sess_1"),
        revision: RevisionName::default(),
        settings,
        route: Route::to(ModelPattern::Exact("m".to_owned()), Target::new("p", None)),
        permit: places.take(KeyIndex(0)).unwrap(),
        presence: presence(),
        limits: LimitLease::unlimited(SessionId::from("sess_1")),
        ticket: None,
        resumed: None,
        allowed_events: None,
        caller: Caller::default(),
        obligations: Obligations::default(),
        recording,
    };
    let config = DialogueConfig {
        leg: Leg::Pcm,
        encoder: EncoderConfig::default(),
        interruption: None,
        expires_at_unix: 0,
        max_session: Duration::from_secs(3_600),
        seed: 5,
        metrics: Arc::new(Metrics::new().unwrap()),
        guardrails,
        judges: Arc::default(),
        webhooks: Webhooks::deaf(),
        permissions: Permissions::unrestricted(),
        latency,
        replay,
        money: None,
    };
    let connected = Connected {
        line: Line { bridge: near, ringer },
        way: Way::alone(Target::new("p", None)),
        last_turn: LastTurn::default(),
        successors: None,
        ear: None,
        ring: Arc::new(|| {}),
    };
    (Dialogue::new(request, connected, config).unwrap(), far)
}

fn places() -> Places {
    Places::new(Admission::new(SessionLimits { total: 1, per_key: 1 }))
}

fn ask(dialogue: &mut Dialogue, now: Instant) -> Option<EndReason> {
    dialogue.handle_command(now, SessionCommand::CancelResponse { response_id: None });
    dialogue.drain(now, None, &mut Vec::new());
    dialogue.ended()
}

#[test]
fn a_provider_that_vanished_without_a_word_ends_the_session_at_the_next_command() {
    let now = Instant::now();
    let (mut dialogue, far) = dialogue(&places());
    drop(far);
    assert_eq!(ask(&mut dialogue, now), None);
    assert_eq!(dialogue.poll_timeout(now), Some(now), "nobody rings for it");
    dialogue.handle_timeout(now);
    dialogue.drain(now, None, &mut Vec::new());
    assert_eq!(dialogue.ended(), Some(EndReason::ProviderFailed));
}

#[test]
fn a_command_the_provider_cannot_take_ends_the_session_instead_of_being_lost() {
    let now = Instant::now();
    let (mut dialogue, _far) = dialogue(&places());
    for _ in 0..COMMAND_CAPACITY {
        assert_eq!(ask(&mut dialogue, now), None);
    }
    assert_eq!(ask(&mut dialogue, now), Some(EndReason::ProviderFailed));
}

#[test]
fn a_session_that_is_gone_gives_its_place_back() {
    let places = places();
    let (dialogue, _far) = dialogue(&places);
    assert_eq!(places.running(), 1);
    drop(dialogue);
    assert_eq!(places.running(), 0);
}

/// The first line of each log of one session, in a gateway whose configuration keeps voices too.
fn headers(name: &str, recording: impl FnOnce(Recording) -> Option<Recording>) -> Vec<serde_json::Value> {
    let dir = std::env::temp_dir().join(format!("voxgate-recording-{name}-{}", std::process::id()));
    let retention = Retention { dir: dir.clone(), audio: true, keep: Duration::from_secs(60) };
    let log = Arc::new(ReplayLog::start(retention).unwrap());
    let (mut dialogue, _far) = recorded(&places(), Some(Arc::clone(&log)), recording(log.recording()));
    dialogue.open(Instant::now());
    drop(dialogue);
    log.finish();
    let files = std::fs::read_dir(&dir).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()));
    let headers = files.map(|text| serde_json::from_str(text.unwrap().lines().next().unwrap()).unwrap());
    let headers = headers.collect();
    std::fs::remove_dir_all(&dir).unwrap();
    headers
}

#[test]
fn a_session_is_logged_as_far_as_it_may_be_recorded() {
    assert_eq!(headers("none", |_| None), [] as [serde_json::Value; 0]);
    for (name, audio) in [("words", false), ("voices", true)] {
        let headers = headers(name, |most| Some(Recording { audio, ..most }));
        assert_eq!(headers.len(), 1);
        assert_eq!(headers[0]["has_audio"], audio);
        assert_eq!(headers[0]["has_words"], true);
    }
}
