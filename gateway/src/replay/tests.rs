use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use voxgate_media::encode::{Encoder, EncoderConfig};
use voxgate_media::session::Leg;
use voxgate_media::uplink::RtpAudio;
use voxgate_protocol::audio::{Pcm, SampleRate};
use voxgate_protocol::bridge::{BridgeEvent, BridgeTraits, OutputPart, TurnOwner};
use voxgate_protocol::id::{IdSource, ItemId, ResponseId, SessionId};
use voxgate_protocol::session::EndReason;
use voxgate_protocol::settings::{InputSettings, ServerVad, SessionSettings, TurnDetection};

use super::*;
use crate::dialogue::core::{CoreConfig, CoreInput, CoreOutput, DialogueCore};

const FRAME: Duration = Duration::from_millis(20);

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
    core: DialogueCore,
    recorder: Recorder,
    now: Instant,
    encoder: Encoder,
    sequence: u16,
    cleared: usize,
}

impl Call {
    fn new(log: &ReplayLog, owner: TurnOwner) -> Self {
        let detection = TurnDetection::ServerVad(ServerVad::default());
        let input = InputSettings { turn_detection: Some(detection), ..InputSettings::default() };
        let config = CoreConfig {
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
            expires_at_unix: 1_800_000_000,
            max_session: Duration::from_secs(3_600),
            allowed_events: None,
            seed: 77,
        };
        let recorder = log.record(&config);
        Self {
            core: DialogueCore::new(config).unwrap(),
            recorder,
            now: Instant::now(),
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
                CoreOutput::Audio { first_received, .. } => begins |= first_received.is_some(),
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
        let mut reader = hound::WavReader::new(SENTENCE).unwrap();
        let sentence: Vec<i16> = reader.samples::<i16>().map(Result::unwrap).collect();
        self.take(CoreInput::Opened);
        sentence.chunks_exact(320).for_each(|frame| self.hear(frame));
        (0..45).for_each(|_| self.hear(&[0; 320]));
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
        self.take(CoreInput::Text(r#"{"type":"session.update","session":{"instructions":"Be brief."}}"#));
        if self.cleared == 0 {
            sentence.chunks_exact(320).for_each(|frame| self.hear(frame));
        }
        self.take(CoreInput::End(EndReason::HungUp));
        self.cleared
    }
}

/// Records a call and hands over its log once the writer is through with it.
fn recorded(folder: &Folder, audio: bool, owner: TurnOwner) -> (Vec<u8>, usize) {
    let retention = Retention { dir: folder.0.clone(), audio, keep: Duration::from_secs(3_600) };
    let (log, writer) = ReplayLog::start_joinable(retention).unwrap();
    let cleared = Call::new(&log, owner).run();
    drop(log);
    writer.join().unwrap();
    let files = folder.logs();
    assert_eq!(files.len(), 1);
    (std::fs::read(&files[0]).unwrap(), cleared)
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
fn a_log_without_audio_says_that_turns_found_here_are_not_found_again() {
    let folder = Folder::new("unheard");
    let (log, _) = recorded(&folder, false, TurnOwner::Gateway);
    let outcome = verdict(&log);
    assert!(outcome.lacks_voice && matches!(outcome.verdict, Verdict::Different { .. }));
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

fn is_log(path: &&PathBuf) -> bool {
    path.to_string_lossy().ends_with(".replay.jsonl")
}
