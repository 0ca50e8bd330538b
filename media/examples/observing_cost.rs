//! What it costs a session that somebody looks on: `cargo run --release -p voxgate-media --example observing_cost`.
//!
//! A session that does little else (messages of PCM in, PCM out, no conversion and no detection of turns) is fed both voices
//! without a pause, with and without [`Session::observe_since`]. Of many rounds the quickest counts: nothing in it waits, so
//! what made the others longer is somebody else's.

use std::error::Error;
use std::io::Write as _;
use std::time::{Duration, Instant};

use voxgate_media::encode::EncoderConfig;
use voxgate_media::session::{Leg, Session, SessionConfig};
use voxgate_protocol::audio::{Pcm, SampleRate};
use voxgate_protocol::bridge::{BridgeEvent, BridgeTraits, OutputPart, TurnOwner};
use voxgate_protocol::id::{ItemId, ResponseId};
use voxgate_protocol::session::SessionCommand;
use voxgate_protocol::settings::SessionSettings;

const SECONDS: u32 = 120;
const ROUNDS: usize = 25;
const PIECE: Duration = Duration::from_millis(20);

/// One session; the time of one second of it.
fn round(is_observed: bool) -> Result<Duration, Box<dyn Error>> {
    let rate = SampleRate::HZ_24000;
    let traits = BridgeTraits {
        input_rate: rate,
        output_rate: rate,
        turn_owner: TurnOwner::Provider,
        truncates: true,
        transcribes: false,
    };
    let mut session = Session::new(SessionConfig {
        traits,
        settings: SessionSettings::default(),
        leg: Leg::Pcm,
        encoder: EncoderConfig::default(),
        interruption: None,
        listening: None,
        seed: 1,
    })?;
    let start = Instant::now();
    if is_observed {
        session.observe_since(start);
    }
    let (response_id, item_id) = (ResponseId::from("resp_1"), ItemId::from("item_1"));
    session.handle_bridge(start, start, BridgeEvent::ResponseStarted { response_id: response_id.clone() });
    let voice: Vec<i16> = (0..480).map(|sample| ((sample * 7_919) % 20_011 - 10_005) as i16).collect();
    let before = Instant::now();
    for step in 0..SECONDS * 50 {
        let now = start + PIECE * step;
        let pcm = Pcm { rate, samples: voice.clone() };
        session.handle_command(now, SessionCommand::AppendAudio(pcm.clone()));
        let (response_id, item_id) = (response_id.clone(), item_id.clone());
        let part = OutputPart::Audio(pcm);
        session.handle_bridge(now, now, BridgeEvent::Output { response_id, item_id, part });
        while session.poll_output().is_some() {}
        if step % 50 == 49 {
            std::hint::black_box(session.take_loudness(now));
            while session.poll_observed().is_some() {}
        }
    }
    Ok(before.elapsed() / SECONDS)
}

fn quickest(is_observed: bool) -> Result<Duration, Box<dyn Error>> {
    let mut quickest = round(is_observed)?;
    for _ in 1..ROUNDS {
        quickest = quickest.min(round(is_observed)?);
    }
    Ok(quickest)
}

fn main() -> Result<(), Box<dyn Error>> {
    let (without, with) = (quickest(false)?, quickest(true)?);
    let observing = with.saturating_sub(without);
    writeln!(
        std::io::stdout(),
        "a second of both voices: {without:?} unobserved, {with:?} observed: observing costs {observing:?}"
    )?;
    Ok(())
}
