mod listening;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use voxgate_media::encode::{Encoder, EncoderConfig};
use voxgate_media::session::{InterruptionRule, Leg};
use voxgate_media::turn::Backchannels;
use voxgate_media::uplink::RtpAudio;
use voxgate_protocol::audio::{Pcm, SampleRate};
use voxgate_protocol::bridge::{BridgeEvent, BridgeTraits, OutputPart, TurnOwner};
use voxgate_protocol::id::{IdSource, ItemId, ResponseId, SessionId};
use voxgate_protocol::session::EndReason;
use voxgate_protocol::settings::{InputSettings, ServerVad, SessionSettings, TurnDetection};
use voxgate_realtime::ParkedConversation;

use super::writer::Bounds;
use super::*;
use crate::dialogue::core::{CoreConfig, CoreInput, CoreOutput, DialogueCore};

const FRAME: Duration = Duration::from_millis(20);

const EVERYTHING: Kept = Kept { audio: true, words: true };

/// The same sentence as in the tests of `media`.
const SENTENCE: &[u8] = include_bytes!("../../../media/tests/data/speech-16khz.wav");

/// A folder of its own for a test, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("voxgate-replay-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn logs(&self) -> Vec<PathBuf> {
        std::fs::read_dir(&self.0).unwrap().map(|file| file.unwrap().path()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A call being recorded.
struct Call {
    owner: TurnOwner,
    core: DialogueCore,
    recorder: Recorder,
    now: Instant,
    encoder: Encoder,
    sequence: u16,
    cleared: usize,
}

fn config(owner: TurnOwner) -> CoreConfig {
    let detection = TurnDetection::ServerVad(ServerVad::default());
    let input = InputSettings { turn_detection: Some(detection), ..InputSettings::default() };
    CoreConfig {
        session_id: SessionId::from("sess_recorded"),
        settings: SessionSettings { input, ..SessionSettings::default() },
        traits: BridgeTraits {
            input_rate: SampleRate::HZ_16000,
            output_rate: SampleRate::HZ_24000,
            turn_owner: owner,
            truncates: true,
            transcribes: false,
        },
        leg: Leg::Rtp,
        encoder: EncoderConfig::default(),
        interruption: None,
        listening: None,
        expires_at_unix: 1_800_000_000,
        max_session: Duration::from_secs(3_600),
        allowed_events: None,
        seed: 77,
    }
}

impl Call {
    fn new(log: &ReplayLog, config: CoreConfig, resumed: Option<ParkedConversation>) -> Self {
        Self::keeping(log, config, resumed, EVERYTHING)
    }

    fn keeping(log: &ReplayLog, config: CoreConfig, resumed: Option<ParkedConversation>, kept: Kept) -> Self {
        let now = Instant::now();
        let recorder = log.record(&config, resumed.as_ref(), kept, now);
        let owner = config.traits.turn_owner;
        let core = DialogueCore::new(config).unwrap();
        Self {
            owner,
            core: match resumed {
                Some(parked) => core.resume(parked),
                None => core,
            },
            recorder,
            now,
            encoder: Encoder::new(SampleRate::HZ_16000, EncoderConfig::default()).unwrap(),
            sequence: 7,
            cleared: 0,
        }
    }

    fn take(&mut self, input: CoreInput<'_>) {
        self.recorder.input(self.now, &input);
        self.core.handle(self.now, input);
        let mut begins = false;
        while let Some(output) = self.core.poll_output() {
            self.recorder.output(&output);
            match &output {
                CoreOutput::Audio { is_measured, .. } => begins |= is_measured,
                CoreOutput::ConfirmSent => begins = true,
                CoreOutput::Text(text) => {
                    self.cleared += usize::from(text.contains("output_audio_buffer.cleared"));
                }
                _ => {}
            }
        }
        if begins {
            self.take(CoreInput::Sent);
        }
    }

    fn hear(&mut self, samples: &[i16]) {
        let until = self.now + FRAME;
        while let Some(at) = self.core.poll_timeout().filter(|at| *at < until) {
            self.now = at.max(self.now);
            self.take(CoreInput::Timeout);
        }
        self.now = until;
        let payload = self.encoder.encode(samples).unwrap();
        let (sequence, timestamp) = (self.sequence, u32::from(self.sequence) * 960);
        let arrived = self.now;
        self.take(CoreInput::Rtp(RtpAudio {
            sequence,
            timestamp,
            marker: false,
            payload: &payload,
            arrived,
        }));
        self.sequence += 1;
    }

    fn bridge(&mut self, event: BridgeEvent) {
        self.take(CoreInput::Bridge { at: self.now, event });
    }

    /// A question, an answer, and a caller who speaks over it.
    fn run(mut self) -> usize {
        self.answer_a_question();
        self.take(CoreInput::Text(r#"{"type":"session.update","session":{"instructions":"Be brief."}}"#));
        if self.cleared == 0 {
            sentence().chunks_exact(320).for_each(|frame| self.hear(frame));
        }
        self.take(CoreInput::End(EndReason::HungUp));
        self.cleared
    }

    /// A question, and the first 400 ms of its answer.
    fn answer_a_question(&mut self) {
        self.take(CoreInput::Opened);
        sentence().chunks_exact(320).for_each(|frame| self.hear(frame));
        (0..45).for_each(|_| self.hear(&[0; 320]));
        if self.owner == TurnOwner::Provider {
            let item_id = ItemId::from("item_0");
            let at = Duration::from_millis(200);
            self.bridge(BridgeEvent::SpeechStarted { item_id: item_id.clone(), at });
            self.bridge(BridgeEvent::SpeechStopped { item_id, at: Duration::from_millis(1_500) });
        }
        let response_id = ResponseId::from("resp_1");
        self.bridge(BridgeEvent::ResponseStarted { response_id: response_id.clone() });
        let item_id = ItemId::from("item_1");
        let mut noise = IdSource::new(3);
        for part in [
            OutputPart::Transcript("a long answer ".to_owned()),
            OutputPart::Audio(Pcm {
                rate: SampleRate::HZ_24000,
                samples: (0..96_000).map(|_| noise.next_bits() as i16 / 8).collect(),
            }),
        ] {
            let (response_id, item_id) = (response_id.clone(), item_id.clone());
            self.bridge(BridgeEvent::Output { response_id, item_id, part });
        }
        (0..20).for_each(|_| self.hear(&[0; 320]));
    }
}

fn sentence() -> Vec<i16> {
    let mut reader = hound::WavReader::new(SENTENCE).unwrap();
    reader.samples::<i16>().map(Result::unwrap).collect()
}

/// Records a call and hands over its log once the writer is through with it.
fn recorded(folder: &Folder, audio: bool, owner: TurnOwner) -> (Vec<u8>, usize) {
    written(folder, audio, Bounds::default(), |log| Call::new(log, config(owner), None).run())
}

/// The log of whatever is done with it.
fn written<T>(
    folder: &Folder,
    audio: bool,
    bounds: Bounds,
    record: impl FnOnce(&ReplayLog) -> T,
) -> (Vec<u8>, T) {
    let retention = Retention { dir: folder.0.clone(), audio, keep: Duration::from_secs(3_600) };
    let (log, writer) = ReplayLog::start_joinable(retention, bounds).unwrap();
    let result = record(&log);
    drop(log);
    writer.join().unwrap();
    let files = folder.logs();
    assert_eq!(files.len(), 1);
    (std::fs::read(&files[0]).unwrap(), result)
}

/// A conversation a lost client left behind.
fn parked() -> ParkedConversation {
    let mut core = DialogueCore::new(config(TurnOwner::Provider)).unwrap();
    let now = Instant::now();
    core.handle(now, CoreInput::Opened);
    let item = r#"{"type":"message","id":"item_old","role":"user","content":[{"type":"input_text","text":"marmalade"}]}"#;
    let create = format!(r#"{{"type":"conversation.item.create","item":{item}}}"#);
    core.handle(now, CoreInput::Text(&create));
    core.handle(now, CoreInput::End(EndReason::ClientLost));
    core.park()
}

fn verdict(log: &[u8]) -> Outcome {
    replay(log, |_| {}).unwrap()
}

#[test]
fn a_call_with_an_interruption_is_replayed_decision_for_decision() {
    let folder = Folder::new("whole");
    let (log, cleared) = recorded(&folder, true, TurnOwner::Gateway);
    assert_eq!(cleared, 1, "the caller spoke over the answer");
    let mut shown = Vec::new();
    let outcome = replay(log.as_slice(), |line| shown.push(line.to_owned())).unwrap();
    assert_eq!(outcome.verdict, Verdict::Identical);
    assert!(outcome.is_whole && outcome.inputs > 300, "{outcome:?}");
    assert!(shown.iter().any(|line| line.contains("output_audio_buffer.cleared")));
    assert!(!shown.iter().any(|line| line.contains("long answer")), "no words in the timeline");
}

#[test]
fn a_log_that_was_tampered_with_tells_where_it_differs() {
    let folder = Folder::new("tampered");
    let (log, _) = recorded(&folder, true, TurnOwner::Gateway);
    let text = String::from_utf8(log).unwrap();
    let tampered = text.replacen("Be brief.", "Be long.", 1);
    assert_ne!(text, tampered);
    let expected = 1 + text.lines().position(|line| line.contains("Be brief.")).unwrap() as u64;
    let Verdict::Different { line, input, recorded, replayed, .. } = verdict(tampered.as_bytes()).verdict
    else {
        panic!("nobody noticed")
    };
    assert_eq!((line, input.as_str()), (expected, "client session.update"));
    assert_eq!((recorded.len(), replayed.len()), (2, 2), "the provider's settings and the client's");
    assert!(recorded[1].starts_with("session.updated") && replayed[1].starts_with("session.updated"));
}

#[test]
fn a_log_without_audio_holds_none_and_replays_turns_the_provider_found() {
    let folder = Folder::new("silent");
    let (log, _) = recorded(&folder, false, TurnOwner::Provider);
    let outcome = verdict(&log);
    assert_eq!(outcome.verdict, Verdict::Identical);
    assert!(!outcome.lacks_voice);
    let longest = log.split(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap();
    assert!(longest < 4_096, "a line of {longest} bytes");
}

#[test]
fn a_session_whose_voices_may_not_be_kept_leaves_none_in_a_folder_that_has_those_of_others() {
    let folder = Folder::new("unheard-here");
    let (log, ()) = written(&folder, true, Bounds::default(), |log| {
        let kept = Kept { audio: false, ..EVERYTHING };
        let mut call = Call::keeping(log, config(TurnOwner::Provider), None, kept);
        call.take(CoreInput::Opened);
        sentence().chunks_exact(320).for_each(|frame| call.hear(frame));
        call.take(CoreInput::End(EndReason::HungUp));
    });
    let outcome = verdict(&log);
    assert_eq!(outcome.verdict, Verdict::Identical);
    let longest = log.split(|byte| *byte == b'\n').skip(1).map(<[u8]>::len).max().unwrap();
    assert!(longest < 500, "a line of {longest} bytes");
    let payloads = String::from_utf8(log).unwrap();
    let longest = payloads.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["step"]["input"]["rtp"]["payload"].as_str().map(str::len)
    });
    assert_eq!(longest.max(), Some(4), "a packet keeps its first byte alone");
}

#[test]
fn a_log_without_words_holds_none_and_replays_all_the_same() {
    let folder = Folder::new("wordless");
    let (log, ()) = written(&folder, false, Bounds::default(), |log| {
        let mut call =
            Call::keeping(log, config(TurnOwner::Provider), None, Kept { words: false, ..EVERYTHING });
        call.take(CoreInput::Opened);
        let content = r#"[{"type":"input_text","text":"my card is zebu"}]"#;
        let item = format!(r#"{{"type":"message","role":"user","content":{content}}}"#);
        call.take(CoreInput::Text(&format!(r#"{{"type":"conversation.item.create","item":{item}}}"#)));
        let now = call.now;
        let (response_id, item_id) = (ResponseId::from("resp_1"), ItemId::from("item_1"));
        let words = OutputPart::Transcript("Your card is zebu.".to_owned());
        for event in [
            BridgeEvent::InputWords { item_id: ItemId::from("item_0"), words: "card zebu".to_owned() },
            BridgeEvent::ResponseStarted { response_id: response_id.clone() },
            BridgeEvent::Output { response_id, item_id, part: words },
        ] {
            call.take(CoreInput::Bridge { at: now, event });
        }
        call.take(CoreInput::End(EndReason::HungUp));
    });
    let text = String::from_utf8(log.clone()).unwrap();
    assert!(!text.contains("zebu") && !text.contains("card"), "{text}");
    assert!(text.contains("xxxx xxxx xx xxxx."));
    let outcome = verdict(&log);
    assert_eq!(outcome.verdict, Verdict::Identical);
    assert!(outcome.lacks_words && outcome.is_whole);
}

#[test]
fn a_log_without_audio_says_that_turns_found_here_are_not_found_again() {
    let folder = Folder::new("unheard");
    let (log, _) = recorded(&folder, false, TurnOwner::Gateway);
    let outcome = verdict(&log);
    assert!(outcome.lacks_voice && matches!(outcome.verdict, Verdict::Different { .. }));
}

#[test]
fn a_held_answer_goes_on_in_the_replay_too() {
    let folder = Folder::new("held");
    let rule = InterruptionRule {
        minimum_speech: Duration::from_millis(500),
        resume_after: Duration::from_secs(1),
        backchannels: Backchannels::new(["yeah"]),
    };
    let (log, resumed) = written(&folder, true, Bounds::default(), |log| {
        let config = CoreConfig { interruption: Some(rule), ..config(TurnOwner::Gateway) };
        let mut call = Call::new(log, config, None);
        call.answer_a_question();
        for frame in sentence().chunks_exact(320).take(20) {
            call.hear(frame);
        }
        call.bridge(BridgeEvent::InterimTranscript { words: "yeah".to_owned() });
        (0..50).for_each(|_| call.hear(&[0; 320]));
        let backchannels = call.core.stats().backchannels;
        call.take(CoreInput::End(EndReason::HungUp));
        (backchannels, call.core.stats().interruptions)
    });
    assert_eq!(resumed, (1, 0), "the answer was held and went on");
    let outcome = verdict(&log);
    assert_eq!(outcome.verdict, Verdict::Identical);
    assert!(outcome.is_whole);
}

#[test]
fn a_session_that_goes_on_with_a_conversation_is_replayed_with_it() {
    let folder = Folder::new("resumed");
    let (log, ()) = written(&folder, false, Bounds::default(), |log| {
        let mut call = Call::new(log, config(TurnOwner::Provider), Some(parked()));
        call.take(CoreInput::Opened);
        call.take(CoreInput::Text(r#"{"type":"conversation.item.retrieve","item_id":"item_old"}"#));
        call.take(CoreInput::Text(r#"{"type":"conversation.item.delete","item_id":"item_old"}"#));
        call.take(CoreInput::End(EndReason::HungUp));
    });
    let mut shown = Vec::new();
    let outcome = replay(log.as_slice(), |line| shown.push(line.to_owned())).unwrap();
    assert_eq!(outcome.verdict, Verdict::Identical);
    assert!(outcome.is_whole);
    assert!(shown.iter().any(|line| line.contains("conversation.item.retrieved")));
    assert!(!shown.iter().any(|line| line.contains("marmalade")), "no words in the timeline");

    // Without the old conversation the first question about it has another answer.
    let text = String::from_utf8(log).unwrap();
    let (header, steps) = text.split_once('\n').unwrap();
    let mut header: serde_json::Value = serde_json::from_str(header).unwrap();
    assert!(header.as_object_mut().unwrap().remove("resumed").is_some());
    let Verdict::Different { input, .. } = verdict(format!("{header}\n{steps}").as_bytes()).verdict else {
        panic!("nobody noticed")
    };
    assert_eq!(input, "client conversation.item.retrieve");
}

#[test]
fn what_a_sideband_sends_is_refused_alike_in_a_replay_without_audio() {
    let folder = Folder::new("sideband");
    let (log, ()) = written(&folder, false, Bounds::default(), |log| {
        let mut call = Call::new(log, config(TurnOwner::Provider), None);
        let sideband = voxgate_realtime::SidebandId(1);
        call.take(CoreInput::Opened);
        call.take(CoreInput::Attach(sideband));
        for audio in [r#""!not base64!""#, r#""AAAA""#, r#""""#, "7", "null", "[7]", r#"{"a":7}"#] {
            let append = format!(r#"{{"type":"input_audio_buffer.append","event_id":"e","audio":{audio}}}"#);
            call.take(CoreInput::Sideband(sideband, &append));
            call.take(CoreInput::Text(&append));
        }
        call.take(CoreInput::End(EndReason::HungUp));
    });
    assert!(!String::from_utf8_lossy(&log).contains("AAAA"), "audio was kept");
    let outcome = verdict(&log);
    assert_eq!(outcome.verdict, Verdict::Identical);
    assert!(outcome.is_whole && outcome.outputs > 10, "{outcome:?}");
}

#[test]
fn a_log_that_grows_too_long_ends_and_says_so() {
    const LONGEST: u64 = 30_000;
    let folder = Folder::new("long");
    let bounds = Bounds { log_bytes: LONGEST, ..Bounds::default() };
    let (log, _) =
        written(&folder, true, bounds, |log| Call::new(log, config(TurnOwner::Provider), None).run());
    let length = log.len() as u64;
    let longest_line = log.split(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap() as u64;
    assert!(length > LONGEST && length <= LONGEST + longest_line + 1, "{length} bytes");
    let outcome = verdict(&log);
    assert_eq!((outcome.verdict, outcome.is_whole), (Verdict::Identical, false));
}

#[test]
fn what_finds_no_room_in_front_of_the_disk_ends_the_log_and_nothing_follows() {
    let folder = Folder::new("full");
    // Room for the header, and for what is small.
    let bounds = Bounds { waiting_bytes: 1_000, ..Bounds::default() };
    let (log, answered) = written(&folder, true, bounds, |log| {
        let mut call = Call::new(log, config(TurnOwner::Provider), None);
        // `session.created` is longer than that.
        call.take(CoreInput::Opened);
        for _ in 0..10 {
            call.take(CoreInput::Timeout);
        }
        let before = call.core.stats();
        call.take(CoreInput::End(EndReason::HungUp));
        before == call.core.stats() && call.core.ended() == Some(EndReason::HungUp)
    });
    assert!(answered, "the call itself went on");
    let outcome = verdict(&log);
    assert_eq!((outcome.inputs, outcome.is_whole), (0, false));
}

#[test]
fn a_log_that_ends_early_is_no_whole_log() {
    let folder = Folder::new("early");
    let (log, _) = recorded(&folder, true, TurnOwner::Provider);
    let end = log[..log.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    assert!(!verdict(&log[..end]).is_whole);
    assert!(matches!(replay(&log[..end - 1], |_| {}), Err(LogError::Malformed { .. })));
}

#[test]
fn damaged_logs_are_refused_or_differ_and_never_stop_the_tool() {
    let folder = Folder::new("damaged");
    let (log, _) = recorded(&folder, false, TurnOwner::Provider);
    let short: Vec<u8> = log.split_inclusive(|byte| *byte == b'\n').take(40).flatten().copied().collect();
    let mut chance = IdSource::new(9);
    for _ in 0..300 {
        let mut damaged = short.clone();
        let bits = chance.next_bits();
        let place = (bits as u64 % damaged.len() as u64) as usize;
        damaged[place] = b"0123456789-,:\"{}[]ex"[(bits >> 64) as usize % 20];
        if let Ok(outcome) = replay(damaged.as_slice(), |_| {}) {
            assert!(outcome.inputs <= 40);
        }
    }
}

#[test]
fn logs_are_private_and_old_ones_are_removed() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new("old");
    recorded(&folder, true, TurnOwner::Provider);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder.0), mode(&folder.logs()[0])), (0o700, 0o600));
    std::fs::write(folder.0.join("notes.txt"), "not a log").unwrap();
    let file = std::fs::File::options().write(true).open(folder.logs().iter().find(is_log).unwrap()).unwrap();
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(7_200)).unwrap();
    let retention = Retention { dir: folder.0.clone(), audio: false, keep: Duration::from_secs(3_600) };
    drop(ReplayLog::start(retention).unwrap());
    assert_eq!(folder.logs(), [folder.0.join("notes.txt")]);
}

#[test]
fn the_corpus_of_logs_is_understood_or_refused_and_never_stops_the_tool() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/replay-log");
    let mut replayed = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).unwrap();
        let is_understood = crate::fuzz::replay_log(&bytes);
        // What a fuzzer finds is named by its digest and promises nothing.
        if ["valid-", "hostile-"].iter().any(|kind| name.starts_with(kind)) {
            assert_eq!(is_understood, name.starts_with("valid-"), "{name}");
            replayed += 1;
        }
    }
    assert!(replayed >= 20, "the corpus has only {replayed} seeds");
}

fn is_log(path: &&PathBuf) -> bool {
    path.to_string_lossy().ends_with(".replay.jsonl")
}
