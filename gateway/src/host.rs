//! Runs the sessions signaling admits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::extract::ws::WebSocket;
use futures_util::future::BoxFuture;
use tokio::sync::{RwLock, mpsc, oneshot, watch};
use tracing::Instrument as _;
use voxgate_policy::decision::{Decision, Question};
use voxgate_policy::directory::Caller;
use voxgate_policy::key::KeyIndex;
use voxgate_protocol::id::{CallId, IdSource};
use voxgate_realtime::{ApiError, SidebandId};
use voxgate_signaling::audit_queue::AuditQueue;
use voxgate_signaling::directory::Revoked;
use voxgate_signaling::host::{Recording, ServeSideband, SessionHost, SessionRequest};
use voxgate_telemetry::metrics::Metrics;

use crate::audit;
use crate::dialogue::{Pen, sentences};
use crate::logging;
use crate::money::Money;
use crate::replay::ReplayLog;
use crate::revision::Revision;
use crate::routing::{Routing, Way};
use crate::sealing::Sealing;
use crate::sideband::{self, SidebandLink};
use crate::socket;
use crate::transceiver::{Attach, Command, Restart, Start, client_report};

/// The transceiver and the WebSocket sessions of this process, which begins them with one revision of the configuration.
#[derive(Clone)]
pub(crate) struct LocalHost {
    /// What sessions take and keep.
    pub(crate) revision: Arc<Revision>,
    /// The health of targets, whatever the revision.
    pub(crate) routing: Arc<Routing>,
    pub(crate) transceiver: mpsc::UnboundedSender<Command>,
    pub(crate) sealing: Arc<Sealing>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) replay: Option<Arc<ReplayLog>>,
    pub(crate) money: Arc<Money>,
    /// Where decisions are written down.
    pub(crate) audit: AuditQueue,
    /// Turns to the time at which sessions have to end, once the process shuts down.
    pub(crate) drain: watch::Receiver<Option<Instant>>,
    /// The keys whose sessions have to end.
    pub(crate) revoked: watch::Receiver<Revoked>,
    /// Held for reading by every WebSocket session; whoever gets it for writing knows that all have ended.
    pub(crate) sockets: Arc<RwLock<()>>,
    /// Names calls and sideband connections.
    pub(crate) slots: Arc<AtomicU64>,
}

impl LocalHost {
    /// The same process, beginning sessions with another revision.
    pub(crate) fn with(&self, revision: Arc<Revision>) -> Self {
        Self { revision, ..self.clone() }
    }

    async fn start(
        &self,
        call_id: CallId,
        offer: String,
        request: SessionRequest,
    ) -> Result<String, ApiError> {
        let began = Instant::now();
        let max_session = self.longest(&request);
        let slot = self.slots.fetch_add(1, Ordering::Relaxed);
        let mut seeds = IdSource::new(random_word()?);
        let transceiver = self.transceiver.clone();
        let ring = move || {
            // A loop that has ended needs no waking.
            let _ = transceiver.send(Command::BridgeReady(slot));
        };
        request.limits.hang(Arc::new(ring.clone()));
        if let Some(ticket) = &request.ticket {
            ticket.hang(Arc::new(ring.clone()));
        }
        request.presence.hang(Arc::new(ring.clone()));
        let way = self.choose(&request, seeds.next_seed());
        let bridge =
            way.and_then(|way| self.revision.bridges.open(way, &request.settings, seeds.next_seed(), ring));
        let bridge = bridge.inspect_err(|error| not_begun(&request, error))?;
        let (reply, answer) = oneshot::channel();
        let tag = random_word()? as u32 | 1;
        let start = Start {
            slot,
            call_id,
            offer,
            request,
            revision: Arc::clone(&self.revision),
            bridge,
            expires_at_unix: expires_at_unix(max_session),
            ends_at: began + max_session,
            max_session,
            seed: seeds.next_seed(),
            ufrag: self.seal_ufrag(tag, max_session)?,
            tag,
            password: password()?,
            reply,
        };
        self.transceiver.send(Command::Start(Box::new(start))).map_err(|_| shutting_down())?;
        let answer = answer.await.map_err(|_| shutting_down())??;
        Metrics::observe(&self.metrics.answer_seconds, began.elapsed());
        Ok(answer)
    }

    async fn restart(&self, call_id: CallId, key: KeyIndex, offer: String) -> Result<String, ApiError> {
        let (reply, answer) = oneshot::channel();
        let restart =
            Restart { call_id, key, offer, password: password()?, sealing: Arc::clone(&self.sealing), reply };
        self.transceiver.send(Command::RestartIce(Box::new(restart))).map_err(|_| shutting_down())?;
        answer.await.map_err(|_| shutting_down())?
    }

    async fn attach_sideband(&self, call_id: CallId, key: KeyIndex) -> Result<ServeSideband, ApiError> {
        let id = SidebandId(self.slots.fetch_add(1, Ordering::Relaxed));
        let (queue, events) = sideband::queue(id);
        let (reply, answer) = oneshot::channel();
        let attach = Attach { call_id, key, queue, reply };
        self.transceiver.send(Command::Attach(attach)).map_err(|_| shutting_down())?;
        let slot = answer.await.map_err(|_| shutting_down())??;
        let link = SidebandLink::new(
            slot,
            id,
            self.transceiver.clone(),
            events,
            self.revision.max_session,
            Arc::clone(&self.metrics),
        );
        let sockets = Arc::clone(&self.sockets);
        Ok(Box::new(move |socket| {
            Box::pin(async move {
                let _runs = sockets.read_owned().await;
                sideband::serve(socket, link).await;
            })
        }))
    }

    /// How long the session may last: as the configuration says, or shorter where a policy demands it.
    fn longest(&self, request: &SessionRequest) -> Duration {
        let most = self.revision.max_session;
        request.obligations.max_session.map_or(most, |demanded| demanded.min(most))
    }

    /// Who serves the session, among those targets there is money for.
    fn choose(&self, request: &SessionRequest, seed: u64) -> Result<Way, ApiError> {
        let SessionRequest { caller, route, settings, .. } = request;
        let (now, pricing) = (since_unix_epoch(), &self.revision.pricing);
        let mut refusal = ApiError::model_not_found(&settings.model);
        let affordable = route.only(|target| {
            let may_start = self.money.may_start(now, pricing, &caller.tenancy, target, &settings.model);
            may_start.map_err(|error| refusal = error).is_ok()
        });
        self.routing.begin(affordable.ok_or(refusal)?, settings, seed)
    }

    fn seal_ufrag(&self, tag: u32, max_session: Duration) -> Result<String, ApiError> {
        self.sealing
            .seal(tag, 0, since_unix_epoch() + max_session)
            .map_err(|_| ApiError::server_error("The gateway could not name the call; report this."))
    }
}

impl SessionHost for LocalHost {
    fn answer(
        &self,
        call_id: CallId,
        offer: String,
        request: SessionRequest,
    ) -> BoxFuture<'_, Result<String, ApiError>> {
        let span = logging::session_span(&request.session_id, &request.presence.trace());
        Box::pin(self.start(call_id, offer, request).instrument(span))
    }

    fn restart_ice(
        &self,
        call_id: CallId,
        key: KeyIndex,
        offer: String,
    ) -> BoxFuture<'_, Result<String, ApiError>> {
        Box::pin(self.restart(call_id, key, offer))
    }

    fn attach(&self, call_id: CallId, key: KeyIndex) -> BoxFuture<'_, Result<ServeSideband, ApiError>> {
        Box::pin(self.attach_sideband(call_id, key))
    }

    fn hang_up(&self, call_id: CallId, key: KeyIndex) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.transceiver.send(Command::HangUp { call_id, key, reply }).is_ok()
                && answer.await.unwrap_or(false)
        })
    }

    fn report(&self, call_id: CallId, key: KeyIndex, report: String) -> BoxFuture<'_, Result<(), ApiError>> {
        Box::pin(async move {
            let report =
                client_report(&report).ok_or_else(|| ApiError::invalid_type("type", "client.report"))?;
            let (reply, answer) = oneshot::channel();
            let is_sent = self.transceiver.send(Command::Report { call_id, key, report, reply }).is_ok();
            let is_known = is_sent && answer.await.unwrap_or(false);
            if is_known { Ok(()) } else { Err(ApiError::call_id_not_found()) }
        })
    }

    fn refused(&self, error: &ApiError) {
        // The codes of the HTTP API are a fixed set, so the label is bounded.
        let code = error.code.as_deref().unwrap_or("none");
        self.metrics.sessions_refused.with_label_values(&[code]).inc();
    }

    fn decided(&self, caller: &Caller, question: &Question<'_>, decision: &Decision, took: Duration) {
        if let Some(note) = audit::note_of(caller, question, decision) {
            self.audit.note(note);
        }
        let labels = [question.act().as_str(), decision.effect.as_str()];
        self.metrics.policy_decisions.with_label_values(&labels).inc();
        Metrics::observe(&self.metrics.policy_seconds, took);
    }

    fn recording(&self) -> Option<Recording> {
        self.replay.as_ref().map(|log| log.recording())
    }

    fn serve_socket(&self, socket: WebSocket, request: SessionRequest) -> BoxFuture<'static, ()> {
        let span = logging::session_span(&request.session_id, &request.presence.trace());
        let max_session = self.longest(&request);
        let config = socket::SocketConfig {
            revision: Arc::clone(&self.revision),
            expires_at_unix: expires_at_unix(max_session),
            max_session,
            metrics: Arc::clone(&self.metrics),
            replay: self.replay.clone(),
            money: Some(Arc::clone(&self.money)),
            drain: self.drain.clone(),
            revoked: self.revoked.clone(),
        };
        let ringing = Arc::new(tokio::sync::Notify::new());
        let shared = Arc::clone(&ringing);
        let rung = Arc::clone(&ringing);
        request.limits.hang(Arc::new(move || rung.notify_one()));
        if let Some(ticket) = &request.ticket {
            let shared = Arc::clone(&ringing);
            ticket.hang(Arc::new(move || shared.notify_one()));
        }
        let bell = Arc::clone(&ringing);
        request.presence.hang(Arc::new(move || bell.notify_one()));
        let entered = span.enter();
        let opened = random_word().and_then(|seed| {
            let mut seeds = IdSource::new(seed);
            let way = self.choose(&request, seeds.next_seed())?;
            let ring = move || shared.notify_one();
            let bridge = self.revision.bridges.open(way, &request.settings, seeds.next_seed(), ring)?;
            Ok((seeds.next_seed(), bridge))
        });
        drop(entered);
        let sockets = Arc::clone(&self.sockets);
        let session = async move {
            let _runs = sockets.read_owned().await;
            match opened {
                Ok((seed, bridge)) => {
                    Box::pin(socket::serve(socket, request, bridge, seed, &ringing, config)).await;
                }
                Err(error) => {
                    not_begun(&request, &error);
                    socket::refuse(socket, &error).await;
                }
            }
        };
        Box::pin(session.instrument(span))
    }
}

/// Writes down why a session that was admitted does not begin.
fn not_begun(request: &SessionRequest, error: &ApiError) {
    Pen::of(&request.presence).event(Instant::now(), sentences::not_begun(error));
}

fn shutting_down() -> ApiError {
    ApiError::service_unavailable("This gateway is shutting down and takes no new sessions.")
}

pub(crate) fn since_unix_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn expires_at_unix(max_session: Duration) -> u64 {
    (since_unix_epoch() + max_session).as_secs()
}

fn random_word() -> Result<u64, ApiError> {
    getrandom::u64()
        .map_err(|_| ApiError::service_unavailable("The operating system gave no random numbers; try again."))
}

/// An ICE password: 128 bits or more of the ice-char alphabet (RFC 8839 section 5.4).
fn password() -> Result<String, ApiError> {
    let words = [random_word()?, random_word()?, random_word()?];
    Ok(words.iter().map(|word| format!("{word:016x}")).collect())
}
