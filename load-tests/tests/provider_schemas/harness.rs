//! Codec and simulator face to face, in virtual time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use voxgate_load_tests::provider_sim::{SimConfig, SimOutput, SimSession};
use voxgate_protocol::audio::{Pcm, SampleRate};
use voxgate_protocol::bridge::{BridgeCommand, BridgeEvent, OutputPart, ResponseStatus, TurnOwner};
use voxgate_protocol::id::ItemId;
use voxgate_protocol::settings::SessionSettings;
use voxgate_providers::openai_realtime::invariants::Invariants;
use voxgate_providers::openai_realtime::{Codec, OpenAiOptions};

use super::schema::Schema;

pub(crate) struct Harness {
    codec: Codec,
    session: SimSession,
    client: &'static Schema,
    server: &'static Schema,
    invariants: Invariants,
    now: Instant,
    sent: Vec<Value>,
    pub(crate) events: Vec<BridgeEvent>,
    pub(crate) closed: Option<u16>,
}

impl Harness {
    pub(crate) fn new(config: SimConfig, turn_owner: TurnOwner, settings: SessionSettings) -> Self {
        let now = Instant::now();
        let mut harness = Self {
            codec: Codec::new(OpenAiOptions { turn_owner, settings, transcription_model: None }),
            session: SimSession::new(Arc::new(config), 1, "gpt-realtime-2.1", now),
            client: Schema::client(),
            server: Schema::server(),
            invariants: Invariants::default(),
            now,
            sent: Vec::new(),
            events: Vec::new(),
            closed: None,
        };
        harness.exchange();
        harness
    }

    /// Carries frames both ways until neither side has more to say.
    fn exchange(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                SimOutput::Event(event) => {
                    self.server.check(&event);
                    for event in self.codec.decode(&event.to_string()) {
                        self.invariants.check(&event).unwrap();
                        self.events.push(event);
                    }
                    self.sent.push(event);
                }
                SimOutput::Close { code, .. } => self.closed = Some(code),
            }
            while let Some(frame) = self.codec.poll_transmit() {
                self.deliver(&frame);
            }
        }
    }

    fn deliver(&mut self, frame: &str) {
        self.client.check(&serde_json::from_str(frame).unwrap());
        self.session.handle_text(frame, self.now);
    }

    pub(crate) fn send(&mut self, command: &BridgeCommand) {
        for frame in self.codec.encode(command) {
            self.deliver(&frame);
        }
        self.exchange();
    }

    /// A frame the codec would not send.
    pub(crate) fn raw(&mut self, event: &Value) {
        self.session.handle_text(&event.to_string(), self.now);
        self.exchange();
    }

    /// Lets time pass up to a moment, stopping wherever the simulator wants to act.
    fn run_until(&mut self, end: Instant) {
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= end) {
            if self.closed.is_some() {
                break;
            }
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            self.exchange();
        }
        self.now = end;
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    fn utter(&mut self, duration: Duration, amplitude: i16) {
        let frame = Duration::from_millis(20);
        for _ in 0..duration.as_millis() / 20 {
            let length = SampleRate::HZ_24000.samples_in(frame).0 as usize;
            // A square wave of 200 Hz: its level is its amplitude.
            let samples = (0..length).map(|n| if n / 60 % 2 == 0 { amplitude } else { -amplitude }).collect();
            self.send(&BridgeCommand::Audio(Pcm { rate: SampleRate::HZ_24000, samples }));
            self.run_for(frame);
        }
    }

    pub(crate) fn speak(&mut self, duration: Duration) {
        self.utter(duration, 5_000);
    }

    pub(crate) fn be_silent(&mut self, duration: Duration) {
        self.utter(duration, 0);
    }

    pub(crate) fn kinds(&self, kind: &str) -> usize {
        self.sent.iter().filter(|event| event["type"] == kind).count()
    }

    pub(crate) fn last(&self, kind: &str) -> &Value {
        self.sent.iter().rev().find(|event| event["type"] == kind).unwrap_or(&Value::Null)
    }

    pub(crate) fn statuses(&self) -> Vec<ResponseStatus> {
        let status = |event: &BridgeEvent| match event {
            BridgeEvent::ResponseDone { status, .. } => Some(status.clone()),
            _ => None,
        };
        self.events.iter().filter_map(status).collect()
    }

    pub(crate) fn faults(&self) -> Vec<&str> {
        self.events
            .iter()
            .filter_map(|event| match event {
                BridgeEvent::Fault(fault) => Some(fault.code.as_str()),
                _ => None,
            })
            .collect()
    }

    fn parts(&self) -> impl Iterator<Item = (&ItemId, &OutputPart)> {
        self.events.iter().filter_map(|event| match event {
            BridgeEvent::Output { item_id, part, .. } => Some((item_id, part)),
            _ => None,
        })
    }

    pub(crate) fn spoken_samples(&self) -> u64 {
        let samples = |part: &OutputPart| if let OutputPart::Audio(pcm) = part { pcm.len().0 } else { 0 };
        self.parts().map(|(_, part)| samples(part)).sum()
    }

    pub(crate) fn spoken_item(&self) -> ItemId {
        let mut spoken = self.parts().filter(|(_, part)| matches!(part, OutputPart::Audio(_)));
        spoken.next().expect("something was spoken").0.clone()
    }

    pub(crate) fn text(&self) -> String {
        let text =
            |part: &OutputPart| if let OutputPart::Text(text) = part { text.clone() } else { String::new() };
        self.parts().map(|(_, part)| text(part)).collect()
    }
}
