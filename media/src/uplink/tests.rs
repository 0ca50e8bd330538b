use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use voxgate_protocol::id::IdSource;
use voxgate_protocol::settings::{ServerVad, TurnDetection};

use super::*;
use crate::encode::{DTX_FRAME, Encoder, EncoderConfig};
use crate::speech_fixture::speech_at;
use crate::turn::{TurnEvent, TurnMachine};
use crate::voice::VoiceActivity;

const FIRST_SEQUENCE: u16 = 65_500;
const FIRST_TIMESTAMP: u32 = u32::MAX - 50_000;

/// The spoken sentence as Opus packets of 20 ms.
fn speech_packets() -> Vec<Vec<u8>> {
    let config = EncoderConfig { expected_loss_percent: 15, ..EncoderConfig::default() };
    let mut encoder = Encoder::new(SampleRate::HZ_16000, config).unwrap();
    speech_at(SampleRate::HZ_16000)
        .samples
        .chunks_exact(320)
        .map(|frame| encoder.encode(frame).unwrap())
        .collect()
}

fn rtp(index: u32, ticks: u32, payload: &[u8], arrived: Instant) -> RtpAudio<'_> {
    RtpAudio {
        sequence: FIRST_SEQUENCE.wrapping_add(index as u16),
        timestamp: FIRST_TIMESTAMP.wrapping_add(ticks),
        marker: index == 0,
        payload,
        arrived,
    }
}

fn frames(uplink: &mut Uplink) -> Vec<UplinkFrame> {
    std::iter::from_fn(|| uplink.poll()).collect()
}

fn samples(frames: &[UplinkFrame]) -> Vec<i16> {
    frames.iter().flat_map(|frame| frame.pcm.samples.iter().copied()).collect()
}

/// Runs the deadlines of an uplink up to a moment, in virtual time.
fn run_until(uplink: &mut Uplink, until: Instant) {
    for _ in 0..10_000 {
        match uplink.poll_timeout().filter(|deadline| *deadline <= until) {
            Some(deadline) => uplink.handle_timeout(deadline),
            None => return,
        }
    }
    panic!("the deadlines do not advance");
}

/// Sends the sentence without the packets at `lost` and returns the frames.
fn receive(rate: SampleRate, lost: &BTreeSet<usize>) -> (Vec<UplinkFrame>, UplinkStats) {
    let start = Instant::now();
    let mut last = start;
    let mut uplink = Uplink::new(rate).unwrap();
    for (index, payload) in speech_packets().iter().enumerate().filter(|(index, _)| !lost.contains(index)) {
        let now = start + STEP * index as u32;
        run_until(&mut uplink, now);
        uplink.push(now, rtp(index as u32, index as u32 * 960, payload, now));
        last = now;
    }
    run_until(&mut uplink, last + STARVATION / 2);
    (frames(&mut uplink), uplink.stats())
}

fn power(samples: &[i16]) -> f64 {
    samples.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / samples.len().max(1) as f64
}

#[test]
fn clean_speech_comes_out_frame_by_frame_without_delay_at_every_rate() {
    for hz in [8_000, 16_000, 22_050, 24_000, 44_100, 48_000] {
        let (frames, stats) = receive(SampleRate::new(hz).unwrap(), &BTreeSet::new());
        assert_eq!(frames.len(), speech_packets().len());
        assert!(frames.iter().all(|frame| frame.pcm.samples.len() == hz as usize / 50), "{hz}");
        assert!(frames.iter().all(|frame| frame.jitter_wait.is_zero() && !frame.concealed), "{hz}");
        assert!(power(&samples(&frames)) > 100_000.0, "{hz}");
        assert_eq!((stats.jitter.lost, stats.recovered, stats.concealed), (0, 0, Duration::ZERO));
    }
}

#[test]
fn a_single_loss_is_recovered_from_the_next_packet() {
    let lost: BTreeSet<usize> = (20..140).step_by(10).collect();
    let (whole, _) = receive(SampleRate::HZ_16000, &BTreeSet::new());
    let (repaired, stats) = receive(SampleRate::HZ_16000, &lost);
    assert_eq!(repaired.len(), whole.len());
    assert_eq!(stats.jitter.lost, lost.len() as u64);
    assert!(stats.recovered >= 10, "{stats:?}");
    assert_eq!(samples(&repaired).len(), samples(&whole).len());
    // Redundancy brings back the waveform: most of the lost frames' power is explained.
    let (whole, repaired) = (samples(&whole), samples(&repaired));
    let at =
        |all: &[i16]| lost.iter().flat_map(|&n| all[n * 320..(n + 1) * 320].to_vec()).collect::<Vec<_>>();
    let difference: Vec<i16> =
        at(&whole).iter().zip(at(&repaired)).map(|(a, b)| a.saturating_sub(b)).collect();
    assert!(power(&difference) < power(&at(&whole)) * 0.6, "{} {}", power(&difference), power(&at(&whole)));
}

#[test]
fn any_loss_keeps_the_timeline() {
    let mut random = IdSource::new(41);
    for percent in [5, 20, 50] {
        let count = speech_packets().len();
        // The first and the last packet mark the ends of what can be known.
        let lost: BTreeSet<usize> = (1..count - 1).filter(|_| random.next_bits() % 100 < percent).collect();
        let (frames, stats) = receive(SampleRate::HZ_24000, &lost);
        assert_eq!(samples(&frames).len(), count * 480, "{percent} %");
        assert_eq!(stats.jitter.lost, lost.len() as u64);
    }
}

#[test]
fn a_long_loss_fades_to_silence_and_is_bounded() {
    let lost: BTreeSet<usize> = (30..70).collect();
    let (frames, stats) = receive(SampleRate::HZ_16000, &lost);
    let samples = samples(&frames);
    assert_eq!(samples.len(), speech_packets().len() * 320);
    assert!(samples[36 * 320..68 * 320].iter().all(|&sample| sample == 0));
    assert!(stats.surplus.is_zero());

    let start = Instant::now();
    let mut uplink = Uplink::new(SampleRate::HZ_16000).unwrap();
    uplink.push(start, rtp(0, 0, &speech_packets()[0], start));
    uplink.push(start, rtp(2_000, 2_000 * 960, &speech_packets()[1], start));
    run_until(&mut uplink, start + Duration::from_millis(50));
    let total: Duration = self::frames(&mut uplink).iter().map(|frame| frame.pcm.duration()).sum();
    assert_eq!(total, Duration::from_millis(2_040));
}

#[test]
fn a_pause_of_the_sender_is_silence_of_its_length() {
    let start = Instant::now();
    let packets = speech_packets();
    let mut uplink = Uplink::new(SampleRate::HZ_16000).unwrap();
    let mut ticks = 0;
    // A keep-alive every 400 ms is how browsers send DTX.
    for index in 0..20 {
        let now = start + ticks_duration(u64::from(ticks));
        run_until(&mut uplink, now);
        let payload = if index < 10 { &packets[40 + index as usize][..] } else { &DTX_FRAME[..] };
        uplink.push(now, rtp(index, ticks, payload, now));
        ticks += if index < 10 { 960 } else { 19_200 };
    }
    let frames = frames(&mut uplink);
    let whole = Duration::from_millis(20 * 10 + 400 * 9 + 20);
    assert_eq!(frames.iter().map(|frame| frame.pcm.duration()).sum::<Duration>(), whole);
    assert!(frames.iter().all(|frame| !frame.concealed));
    assert_eq!(uplink.stats().jitter.lost, 0);
    assert!(uplink.stats().surplus.is_zero());
}

#[test]
fn a_pause_that_arrives_in_one_piece_is_filled_up_to_two_seconds() {
    for (pause, filled) in [(300_u64, 300), (1_337, 1_337), (30_000, 2_000)] {
        let start = Instant::now();
        let mut uplink = Uplink::new(SampleRate::HZ_24000).unwrap();
        uplink.push(start, rtp(0, 0, &speech_packets()[0], start));
        uplink.push(start, rtp(1, 960 + pause as u32 * 48, &speech_packets()[1], start));
        let total: Duration = frames(&mut uplink).iter().map(|frame| frame.pcm.duration()).sum();
        assert_eq!(total, Duration::from_millis(40 + filled), "{pause}");
    }
}

#[test]
fn a_muted_track_is_silence_that_ends_the_turn() {
    let start = Instant::now();
    let rate = SampleRate::HZ_24000;
    let mut uplink = Uplink::new(rate).unwrap();
    let mut voice = VoiceActivity::new(rate).unwrap();
    let mut turns = TurnMachine::new(&TurnDetection::ServerVad(ServerVad::default()), rate);
    let packets = speech_packets();
    let mut heard = Vec::new();
    for (index, payload) in packets[..90].iter().enumerate() {
        let now = start + STEP * index as u32;
        uplink.push(now, rtp(index as u32, index as u32 * 960, payload, now));
        heard.extend(frames(&mut uplink));
    }
    let muted = start + STEP * 89;
    assert_eq!(uplink.poll_timeout(), Some(muted + STARVATION));
    run_until(&mut uplink, muted + Duration::from_secs(60));
    let silence = frames(&mut uplink);
    assert_eq!(silence.iter().map(|frame| frame.pcm.duration()).sum::<Duration>(), DEFAULT_MAX_SILENCE);
    assert!(samples(&silence).iter().all(|&sample| sample == 0));
    assert_eq!(uplink.poll_timeout(), None);
    heard.extend(silence);
    for frame in heard {
        voice.push(&frame.pcm.samples).into_iter().for_each(|verdict| turns.push(verdict));
    }
    let events: Vec<TurnEvent> = std::iter::from_fn(|| turns.poll_event()).collect();
    assert!(matches!(events.first(), Some(TurnEvent::SpeechStarted { .. })), "{events:?}");
    assert!(matches!(events.last(), Some(TurnEvent::SpeechStopped { .. })), "{events:?}");
    assert!(!turns.is_speaking());
}

#[test]
fn silence_made_in_vain_is_taken_off_the_next_pause() {
    let start = Instant::now();
    let packets = speech_packets();
    let mut uplink = Uplink::new(SampleRate::HZ_16000).unwrap();
    uplink.push(start, rtp(0, 0, &packets[0], start));
    // The network holds everything for 300 ms, then delivers it at once.
    let after = start + Duration::from_millis(300);
    run_until(&mut uplink, after);
    for index in 1..16 {
        uplink.push(after, rtp(index, index * 960, &packets[index as usize], after));
    }
    let surplus = uplink.stats().surplus;
    assert_eq!(surplus, Duration::from_millis(220));
    let before: Duration = frames(&mut uplink).iter().map(|frame| frame.pcm.duration()).sum();
    assert_eq!(before, STEP * 16 + surplus);
    uplink.push(after, rtp(16, 16 * 960 + 500 * 48, &packets[16], after));
    let pause: Duration = frames(&mut uplink).iter().map(|frame| frame.pcm.duration()).sum();
    assert_eq!(pause, Duration::from_millis(500 + 20) - surplus);
    assert!(uplink.stats().surplus.is_zero());
}

#[test]
fn a_corrupt_payload_is_concealed_and_counted() {
    let start = Instant::now();
    let packets = speech_packets();
    let mut uplink = Uplink::new(SampleRate::HZ_24000).unwrap();
    for (index, payload) in packets.iter().enumerate() {
        let now = start + STEP * index as u32;
        // Code 3 with a frame count of zero is no Opus packet (RFC 6716 section 3.2.5).
        let payload = if index % 7 == 3 { &[0b0100_1011, 0][..] } else { &payload[..] };
        uplink.push(now, rtp(index as u32, index as u32 * 960, payload, now));
    }
    let frames = frames(&mut uplink);
    assert_eq!(frames.len(), packets.len());
    assert!(frames.iter().all(|frame| frame.pcm.samples.len() == 480));
    let corrupt = frames.iter().filter(|frame| frame.concealed).count() as u64;
    assert!(corrupt > 10);
    assert_eq!(uplink.stats().corrupt, corrupt);
}

#[test]
fn padding_is_neither_audio_nor_loss() {
    let start = Instant::now();
    let packets = speech_packets();
    let mut uplink = Uplink::new(SampleRate::HZ_24000).unwrap();
    uplink.push(start, rtp(0, 0, &packets[0], start));
    uplink.push(start, rtp(1, 0, &[], start));
    uplink.push(start, rtp(2, 960, &packets[1], start));
    assert_eq!(samples(&frames(&mut uplink)).len(), 960);
    assert_eq!(uplink.stats().corrupt, 0);
    assert_eq!(uplink.stats().jitter.lost, 0);
}

/// Reads the records of `corpus/rtp-audio`: milliseconds since the record before (u8), sequence number (u16),
/// timestamp (u32), payload length (u8), payload; numbers big-endian.
fn replay(bytes: &[u8]) -> Duration {
    let start = Instant::now();
    let (mut now, mut rest) = (start, bytes);
    let mut uplink = Uplink::new(SampleRate::HZ_24000).unwrap();
    let mut total = Duration::ZERO;
    while let [pause, s0, s1, t0, t1, t2, t3, length, after @ ..] = rest {
        now += Duration::from_millis(u64::from(*pause));
        run_until(&mut uplink, now);
        let (payload, next) = after.split_at(usize::from(*length).min(after.len()));
        let packet = RtpAudio {
            sequence: u16::from_be_bytes([*s0, *s1]),
            timestamp: u32::from_be_bytes([*t0, *t1, *t2, *t3]),
            marker: false,
            payload,
            arrived: now,
        };
        uplink.push(now, packet);
        total += frames(&mut uplink).iter().map(|frame| frame.pcm.duration()).sum::<Duration>();
        rest = next;
    }
    run_until(&mut uplink, now + Duration::from_secs(10));
    total + frames(&mut uplink).iter().map(|frame| frame.pcm.duration()).sum::<Duration>()
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5);
    files.into_iter().map(|file| std::fs::read(file).unwrap()).collect()
}

#[test]
fn the_rtp_corpus_is_replayed_without_panic_and_within_bounds() {
    for bytes in corpus("rtp-audio") {
        let records = bytes.len() as u32 / 8 + 1;
        // Per record at most 120 ms of its own, 2 s of gap and the silence of a starvation.
        assert!(replay(&bytes) <= (Duration::from_millis(2_120) + DEFAULT_MAX_SILENCE) * records);
    }
}

#[test]
fn the_opus_corpus_is_decoded_or_refused_without_panic() {
    let mut decoded = 0;
    for packet in corpus("opus") {
        let mut decoder = Decoder::new(SampleRate::HZ_48000).unwrap();
        if let Ok(samples) = decoder.decode(&packet) {
            assert_eq!(Some(samples.len() as u32), packet_ticks(&packet));
            decoded += 1;
        }
        assert_eq!(decoder.recover(&packet, 960).len(), 960);
        assert_eq!(decoder.conceal(960).len(), 960);
    }
    assert!(decoded >= 3);
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(20),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn arbitrary_payloads_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        replay(&bytes);
        let mut decoder = Decoder::new(SampleRate::HZ_16000).unwrap();
        let _ = decoder.decode(&bytes);
        prop_assert_eq!(decoder.recover(&bytes, 960).len(), 320);
        let _ = carries_redundancy(&bytes);
    }
}
