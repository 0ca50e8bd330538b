//! The data channels of a call and what comes over them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::peer_connection::{PeerConnection, RTCPeerConnectionState, StatsSelector};

use crate::call::is_over;
use crate::news::News;
use crate::samples::SampleLog;
use crate::timings::{Step, TimingCard};
use crate::turn::{
    CallerMessage, ClientReport, ClientTurn, ClockAnswer, GatewayMessage, TurnAsked, TurnMeasured,
};

/// How often the caller looks at its own side.
const READ_INTERVAL: Duration = Duration::from_secs(1);

/// How often a turn somebody asked about is looked at until its first sound was played.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// The gateway waits a second; what is not known by then is not told.
const LONGEST_LOOK: Duration = Duration::from_millis(900);

/// Turns asked about at once.
const MOST_ASKED: usize = 8;

/// Something the other side said.
#[derive(Clone, Debug)]
pub enum CallNotice {
    /// A Realtime API event.
    Event(ServerEvent),
    /// What a turn took, as a voxgate gateway measured it.
    Turn(TurnMeasured),
    /// The call is over, with what is known about why.
    Ended(String),
}

/// A Realtime API event and when it came.
#[derive(Clone, Debug)]
pub struct ServerEvent {
    /// When it was read.
    pub received_at: Instant,
    /// The event.
    pub json: Value,
}

impl ServerEvent {
    /// Its `type`; empty if it has none.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.json["type"].as_str().unwrap_or_default()
    }
}

/// Where the tasks of a call put what they learn.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) notices: mpsc::Sender<CallNotice>,
    pub(crate) timings: TimingCard,
}

impl Post {
    /// Never waits: the engine delivers media and data from one loop, and an unread channel would stop both.
    fn put(&self, notice: CallNotice) {
        if self.notices.try_send(notice).is_err() {
            tracing::warn!("a notice was dropped because nobody reads them");
        }
    }
}

/// Reads `oai-events` until it closes.
pub(crate) async fn read_events(
    channel: Arc<dyn DataChannel>,
    post: Post,
    open: oneshot::Sender<()>,
    mut stopped: watch::Receiver<()>,
) {
    let mut open = Some(open);
    loop {
        let event = tokio::select! {
            event = channel.poll() => event,
            _ = stopped.changed() => return,
        };
        match event {
            Some(DataChannelEvent::OnOpen) => {
                post.timings.stamp(Step::ChannelOpen, Instant::now());
                open.take().map(|open| open.send(()));
            }
            Some(DataChannelEvent::OnMessage(message)) => {
                let received_at = Instant::now();
                post.timings.stamp(Step::FirstEvent, received_at);
                match serde_json::from_slice(&message.data) {
                    Ok(json) => post.put(CallNotice::Event(ServerEvent { received_at, json })),
                    Err(_) => tracing::warn!("an event that is not JSON was left out"),
                }
            }
            Some(DataChannelEvent::OnClose) | None => {
                return post.put(CallNotice::Ended("the event channel was closed".to_owned()));
            }
            Some(_) => {}
        }
    }
}

/// Tells when the connection is lost for good.
pub(crate) async fn watch_connection(
    mut state: watch::Receiver<RTCPeerConnectionState>,
    post: Post,
    mut stopped: watch::Receiver<()>,
) {
    tokio::select! {
        lost = state.wait_for(|state| is_over(*state)) => {
            let reason = lost.map_or_else(|_| "the connection is gone".to_owned(), |state| format!("the connection is {}", *state));
            post.put(CallNotice::Ended(reason));
        }
        _ = stopped.changed() => {}
    }
}

/// What the reports of the caller are made of.
pub(crate) struct Reporter {
    pub(crate) channel: Arc<dyn DataChannel>,
    pub(crate) connection: Arc<dyn PeerConnection>,
    pub(crate) samples: SampleLog,
    /// The zero of the caller's clock.
    pub(crate) started: Instant,
    pub(crate) news: News,
    /// Turns whose first sound was not played so far.
    pub(crate) asked: Vec<AskedTurn>,
    /// Counts the notices that the relay of the call is lost or about to stop.
    pub(crate) relay_trouble: watch::Sender<u64>,
}

/// A turn somebody asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AskedTurn {
    what: TurnAsked,
    received: Instant,
    /// The end of the patience with it.
    until: Instant,
}

/// Reads `voxgate`, answers and reports on it, until it closes.
pub(crate) async fn read_voxgate(mut reporter: Reporter, post: Post, mut stopped: watch::Receiver<()>) {
    let mut ticks = tokio::time::interval(READ_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut open = false;
    loop {
        let event = tokio::select! {
            event = reporter.channel.poll() => event,
            _ = ticks.tick(), if open => {
                reporter.read().await;
                continue;
            }
            () = tokio::time::sleep(LOOK_INTERVAL), if !reporter.asked.is_empty() => {
                reporter.tell_turns(Instant::now()).await;
                continue;
            }
            _ = stopped.changed() => return,
        };
        match event {
            Some(DataChannelEvent::OnOpen) => open = true,
            Some(DataChannelEvent::OnMessage(message)) => {
                let received = Instant::now();
                if let Ok(message) = serde_json::from_slice(&message.data) {
                    reporter.hear(message, received, &post).await;
                }
            }
            Some(DataChannelEvent::OnClose) | None => return,
            Some(_) => {}
        }
    }
}

impl Reporter {
    async fn hear(&mut self, message: GatewayMessage, received: Instant, post: &Post) {
        match message {
            GatewayMessage::TurnMeasured(turn) => post.put(CallNotice::Turn(turn)),
            GatewayMessage::ClockAsked { question } => {
                let now = Instant::now();
                let clock = self.clock(question, received, now);
                let report = self.news.take(now);
                self.tell(&CallerMessage::Clock { clock, report }).await;
            }
            GatewayMessage::TurnAsked(asked) => {
                if self.asked.len() < MOST_ASKED {
                    self.asked.push(AskedTurn { what: asked, received, until: received + LONGEST_LOOK });
                }
                self.tell_turns(received).await;
            }
            GatewayMessage::RelayLost | GatewayMessage::RelayDraining => {
                self.relay_trouble.send_modify(|count| *count += 1);
            }
            GatewayMessage::Unknown => {}
        }
    }

    /// Tells of the turns whose first sound was played, or is not waited for any longer.
    async fn tell_turns(&mut self, now: Instant) {
        for asked in std::mem::take(&mut self.asked) {
            let AskedTurn { what, received, until } = asked;
            let seen = self.saw(&what);
            if seen.heard_at_ms.is_none() && what.heard.is_some() && now < until {
                self.asked.push(asked);
                continue;
            }
            let clock = what.question.map(|question| self.clock(question, received, Instant::now()));
            let report = self.news.take(now);
            self.tell(&CallerMessage::Turn { seen, clock, report }).await;
        }
    }

    fn clock(&self, question: u32, received: Instant, replied: Instant) -> ClockAnswer {
        ClockAnswer { question, received_ms: self.shows(received), replied_ms: self.shows(replied) }
    }

    fn saw(&self, asked: &TurnAsked) -> ClientTurn {
        let shows = |at: Option<Instant>| at.map(|at| self.shows(at));
        let samples = self.samples.lock();
        let (spoken, heard) = (asked.spoken, asked.heard);
        ClientTurn {
            turn: asked.turn,
            spoken_at_ms: shows(spoken.and_then(|mark| samples.spoken.sounded_at(mark.sample))),
            sent_at_ms: shows(spoken.and_then(|mark| samples.spoken.passed_at(mark.packet))),
            received_at_ms: shows(heard.and_then(|mark| samples.heard.passed_at(mark.packet))),
            heard_at_ms: shows(heard.and_then(|mark| samples.heard.sounded_at(mark.sample))),
        }
    }

    /// The caller's clock counts from dialling.
    fn shows(&self, at: Instant) -> f64 {
        milliseconds(at.saturating_duration_since(self.started))
    }

    async fn tell(&self, message: &CallerMessage) {
        if let Ok(text) = serde_json::to_string(message)
            && let Err(error) = self.channel.send_text(&text).await
        {
            tracing::debug!(%error, "a message about the caller could not be sent");
        }
    }

    async fn read(&mut self) {
        let stats = self.connection.get_stats(Instant::now(), StatsSelector::None).await;
        let round_trip = stats
            .candidate_pairs()
            .filter(|pair| pair.current_round_trip_time > 0.0)
            .max_by_key(|pair| pair.bytes_sent)
            .map(|pair| pair.current_round_trip_time * 1_000.0);
        let (packets, waited, lost) = self.samples.lock().counts.take();
        let reading = ClientReport {
            packets,
            lost,
            round_trip_ms: round_trip,
            jitter_buffer_ms: waited.map(milliseconds),
            // What arrives is heard at once: there is no loudspeaker.
            playout_ms: Some(0.0),
            // A frame is sent when its last sample was captured: there is no device in between. How long a word waited
            // inside its frame is known to the gateway from the audio itself.
            capture_ms: Some(0.0),
        };
        if let Some(report) = self.news.read(Instant::now(), reading) {
            self.tell(&CallerMessage::Report(report)).await;
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
