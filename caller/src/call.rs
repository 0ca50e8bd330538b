//! One call, from dialling to hanging up.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use webrtc::data_channel::DataChannel;
use webrtc::peer_connection::{PeerConnection, RTCPeerConnectionState};

use crate::channels::{self, CallNotice, ServerEvent};
use crate::dial::Dial;
use crate::ear::{Ear, Heard};
use crate::error::{CallError, media};
use crate::failover::{self, EngineMover};
use crate::microphone::{Microphone, MicrophoneCommand};
use crate::mouth::Spoken;
use crate::news::News;
use crate::pacing;
use crate::peer::{Peer, bridged_addresses, local_addresses};
use crate::samples::SampleLog;
use crate::speech::Speech;
use crate::stream::{Bridges, Dialler, Transport};
use crate::timings::{CallTimings, Step, TimingCard};

/// Notices that wait for the program; when they are not read, newer ones are dropped and counted.
const NOTICE_QUEUE: usize = 4_096;

/// Whom to call and how.
#[derive(Clone)]
pub struct CallOptions {
    /// The API's base, for example `http://127.0.0.1:8080/v1`.
    pub base_url: String,
    /// An API key of the gateway.
    pub api_key: String,
    /// The model to ask for; the gateway's default if none.
    pub model: Option<String>,
    /// A session of the caller's own. With it the offer goes out in one request under the API key; without it an
    /// ephemeral key is fetched first, as a browser's server would.
    pub session: Option<Value>,
    /// PEM file with certificate authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// What carries the media. Default UDP; the others need a relay with a stream port.
    pub transport: Transport,
    /// The limit for connecting, and for each HTTP request.
    pub timeout: Duration,
    /// Whether to open the data channel `voxgate`, on which a voxgate gateway sends its measurements. Others
    /// ignore it.
    pub voxgate_channel: bool,
    /// Packets leave at this moment and multiples of 20 ms from it: for many callers who do not all speak at once, in the same
    /// order every time. Default: in step with the moment the call connects, as people's devices do.
    pub beat: Option<Instant>,
}

impl CallOptions {
    /// Options with the defaults: no model, no session, UDP, 15 s, with the channel `voxgate`.
    #[must_use]
    pub fn new(base_url: impl Into<String>, api_key: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            api_key: api_key.into(),
            model: None,
            session: None,
            ca_file: None,
            transport: Transport::Udp,
            timeout: Duration::from_secs(15),
            voxgate_channel: true,
            beat: None,
        }
    }
}

/// Leaves the key out.
impl fmt::Debug for CallOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallOptions")
            .field("base_url", &self.base_url)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

/// A connected call. Silence is sent whenever nothing is played, so that the other side can tell when a turn is
/// over.
///
/// Dropping it closes the connection without the HTTP hang-up; [`Call::hang_up`] does both.
pub struct Call {
    dial: Dial,
    id: Option<String>,
    connection: Arc<dyn PeerConnection>,
    events: Arc<dyn DataChannel>,
    notices: mpsc::Receiver<CallNotice>,
    /// Turns that came while an event was searched for.
    kept: VecDeque<CallNotice>,
    microphone: mpsc::UnboundedSender<MicrophoneCommand>,
    heard: Heard,
    timings: TimingCard,
    /// Its end tells the tasks of the call to stop.
    _running: watch::Sender<()>,
    _bridges: Bridges,
}

impl Call {
    /// Dials and returns when audio can flow and the channel `oai-events` is open.
    ///
    /// # Errors
    /// Everything of [`CallError`] that concerns address, key, answer and connection.
    pub async fn connect(options: CallOptions) -> Result<Self, CallError> {
        let started = Instant::now();
        let stage = Stage::default();
        let connecting = Box::pin(Self::connect_in_stages(options.clone(), started, &stage));
        match tokio::time::timeout(options.timeout, connecting).await {
            Ok(result) => result,
            Err(_) => Err(CallError::ConnectTimeout { stage: stage.get(), waited: options.timeout }),
        }
    }

    async fn connect_in_stages(
        options: CallOptions,
        started: Instant,
        stage: &Stage,
    ) -> Result<Self, CallError> {
        let timings = TimingCard::new(started);
        let dial =
            Dial::new(&options.base_url, &options.api_key, options.ca_file.as_deref(), options.timeout)?;
        let dialler = Dialler::new(options.transport, options.ca_file.as_deref())?;
        let local = match options.transport {
            Transport::Udp => local_addresses(options.base_url.contains("://[")),
            Transport::Tcp | Transport::Tls => bridged_addresses(),
        };
        let mut peer = Box::pin(Peer::open(timings.clone(), options.voxgate_channel, local)).await?;
        let mut hang = CloseUnlessKept(Some(Arc::clone(&peer.connection)));
        stage.set("exchanging offer and answer with the gateway");
        let offer = peer.offer().await?;
        let opened = match &options.session {
            Some(session) => {
                timings.stamp(Step::OfferSent, Instant::now());
                dial.open_as(&with_model(session, options.model.as_deref()), &offer).await?
            }
            None => {
                let key = dial.ephemeral_key(options.model.as_deref()).await?;
                timings.stamp(Step::SecretReceived, Instant::now());
                timings.stamp(Step::OfferSent, Instant::now());
                dial.open_with(&key, &offer).await?
            }
        };
        timings.stamp(Step::AnswerReceived, Instant::now());
        stage.set("looking for a network path to the gateway");
        let (answer, bridges) = match options.transport {
            Transport::Udp => (opened.answer, Bridges::default()),
            Transport::Tcp | Transport::Tls => dialler.bridge(&opened.answer).await?,
        };
        peer.bridges = bridges;
        peer.accept(answer).await?;
        let call = Self::start(peer, dial, opened.id, options.beat, timings, stage).await?;
        hang.0 = None;
        Ok(call)
    }

    /// Starts the tasks of an answered call and waits for media and the event channel.
    async fn start(
        mut peer: Peer,
        dial: Dial,
        id: Option<String>,
        beat: Option<Instant>,
        timings: TimingCard,
        stage: &Stage,
    ) -> Result<Self, CallError> {
        let (running, stopped) = watch::channel(());
        let (notice_tx, notices) = mpsc::channel(NOTICE_QUEUE);
        let (heard, samples) = (Heard::default(), SampleLog::default());
        let (open_tx, open) = oneshot::channel();
        let post = channels::Post { notices: notice_tx, timings: timings.clone() };
        tokio::spawn(channels::read_events(Arc::clone(&peer.events), post.clone(), open_tx, stopped.clone()));
        if let Some(voxgate) = &peer.voxgate {
            let (relay_trouble, troubles) = watch::channel(0);
            let reporter = channels::Reporter {
                channel: Arc::clone(voxgate),
                connection: Arc::clone(&peer.connection),
                samples: samples.clone(),
                started: timings.read().started(),
                news: News::default(),
                asked: Vec::new(),
                relay_trouble,
            };
            // Behind bridges the engine has one path, and a bridge that breaks is made anew.
            if let (Some(id), true) = (&id, peer.bridges.is_empty()) {
                let (connection, dial) = (Arc::clone(&peer.connection), dial.clone());
                let mover = EngineMover { connection, dial, id: id.clone(), state: peer.state.clone() };
                tokio::spawn(failover::follow(mover, troubles, stopped.clone()));
            }
            tokio::spawn(channels::read_voxgate(reporter, post.clone(), stopped.clone()));
        }
        let ear = Ear { heard: heard.clone(), samples: samples.clone(), timings: timings.clone() };
        let remote_track = std::mem::replace(&mut peer.remote_tracks, mpsc::channel(1).1);
        tokio::spawn(listen(remote_track, ear, stopped.clone()));
        peer.connected().await?;
        let opened = pacing::on_beat(Instant::now(), beat);
        let microphone =
            Microphone::open(Arc::clone(&peer.track), peer.ssrc, opened, timings.clone(), samples)?;
        let (microphone_tx, microphone_rx) = mpsc::unbounded_channel();
        tokio::spawn(microphone.run(microphone_rx));
        tokio::spawn(channels::watch_connection(peer.state, post, stopped));
        stage.set("waiting for the data channel");
        open.await.map_err(|_| CallError::Ended { reason: "the data channel did not open".to_owned() })?;
        Ok(Self {
            dial,
            id,
            connection: peer.connection,
            events: peer.events,
            notices,
            kept: VecDeque::new(),
            microphone: microphone_tx,
            heard,
            timings,
            _running: running,
            _bridges: peer.bridges,
        })
    }

    /// The name of the call at the gateway, if it gave one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The next thing the other side says: an event, a measured turn, or that the call is over. Nothing after the
    /// end.
    ///
    /// Cancel safe. A program that does not read loses the newest notices beyond 4096, nothing else.
    pub async fn next(&mut self) -> Option<CallNotice> {
        match self.kept.pop_front() {
            Some(kept) => Some(kept),
            None => self.notices.recv().await,
        }
    }

    /// The next event of a type; events before it are dropped, measured turns are kept for [`Call::next`].
    ///
    /// # Errors
    /// [`CallError::NoAnswer`] after `timeout`, [`CallError::Ended`] when the call is over.
    pub async fn wait_for(&mut self, kind: &str, timeout: Duration) -> Result<ServerEvent, CallError> {
        let mut last_event = "none".to_owned();
        let search = async {
            loop {
                match self.notices.recv().await {
                    Some(CallNotice::Event(event)) if event.kind() == kind => return Ok(event),
                    Some(CallNotice::Event(event)) => event.kind().clone_into(&mut last_event),
                    Some(turn @ CallNotice::Turn(_)) => self.kept.push_back(turn),
                    Some(CallNotice::Ended(reason)) => return Err(CallError::Ended { reason }),
                    None => return Err(CallError::Ended { reason: "the call is over".to_owned() }),
                }
            }
        };
        let found = tokio::time::timeout(timeout, search).await;
        found.unwrap_or(Err(CallError::NoAnswer { waited: timeout, last_event }))
    }

    /// Sends a client event on `oai-events`.
    ///
    /// # Errors
    /// [`CallError::Media`] if the channel is closed.
    pub async fn send_event(&self, event: &Value) -> Result<(), CallError> {
        self.events.send_text(&event.to_string()).await.map_err(media("sending an event"))
    }

    /// Says something after everything asked before. The speech goes out whether or not the result is awaited.
    pub fn play(&self, speech: Speech) -> Playing {
        let (done_tx, done) = oneshot::channel();
        // A closed microphone drops the sender, which ends the wait.
        let _ = self.microphone.send(MicrophoneCommand::Say(speech, done_tx));
        Playing { done }
    }

    /// Drops everything that was not said yet; the [`Playing`]s of it end with nothing.
    pub fn fall_silent(&self) {
        let _ = self.microphone.send(MicrophoneCommand::FallSilent);
    }

    /// What was heard, readable at any time and after the call.
    #[must_use]
    pub fn heard(&self) -> Heard {
        self.heard.clone()
    }

    /// When the steps of connecting were reached.
    #[must_use]
    pub fn timings(&self) -> CallTimings {
        self.timings.read()
    }

    /// Asks the gateway to end the call and closes the connection.
    ///
    /// # Errors
    /// What the gateway says against it; the connection is closed all the same.
    pub async fn hang_up(self) -> Result<(), CallError> {
        let asked = match &self.id {
            Some(id) => self.dial.hang_up(id).await,
            None => Ok(()),
        };
        let closed = self.connection.close().await.map_err(media("closing the connection"));
        asked.and(closed)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        close_in_background(Arc::clone(&self.connection));
    }
}

/// An utterance on its way. Resolves when its last frame was sent; to nothing if the call ended or fell silent
/// before.
#[derive(Debug)]
#[must_use = "the speech is said anyway, but only this tells when"]
pub struct Playing {
    done: oneshot::Receiver<Spoken>,
}

impl Future for Playing {
    type Output = Option<Spoken>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.done).poll(context).map(Result::ok)
    }
}

/// Where connecting stands, for the error message.
#[derive(Debug)]
struct Stage(Mutex<&'static str>);

impl Default for Stage {
    fn default() -> Self {
        Self(Mutex::new("opening sockets"))
    }
}

impl Stage {
    fn set(&self, stage: &'static str) {
        if let Ok(mut current) = self.0.lock() {
            *current = stage;
        }
    }

    fn get(&self) -> &'static str {
        self.0.lock().map_or("connecting", |current| *current)
    }
}

/// The driver of a connection outlives its handle, so a call that fails half-way must close it.
struct CloseUnlessKept(Option<Arc<dyn PeerConnection>>);

impl Drop for CloseUnlessKept {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            close_in_background(connection);
        }
    }
}

fn close_in_background(connection: Arc<dyn PeerConnection>) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move { connection.close().await });
    }
}

async fn listen(
    mut tracks: mpsc::Receiver<Arc<dyn webrtc::media_stream::track_remote::TrackRemote>>,
    ear: Ear,
    mut stopped: watch::Receiver<()>,
) {
    let work = async {
        if let Some(track) = tracks.recv().await {
            ear.listen(track).await;
        }
    };
    tokio::select! {
        () = work => {}
        _ = stopped.changed() => {}
    }
}

fn with_model(session: &Value, model: Option<&str>) -> Value {
    let mut session = session.clone();
    if let (Some(model), Some(fields)) = (model, session.as_object_mut()) {
        fields.entry("model").or_insert_with(|| model.into());
        fields.entry("type").or_insert_with(|| "realtime".into());
    }
    session
}

/// Whether the connection can only be given up. `Disconnected` may heal.
pub(crate) const fn is_over(state: RTCPeerConnectionState) -> bool {
    matches!(state, RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed)
}
