//! `voxgate standalone`: every role in one process, over the same paths as a cluster, UDP relay and tunnel included.

mod edge;
mod keys;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use axum::{Router, middleware};
use axum_server::Handle;
use rustls::ServerConfig;
use tokio::sync::{RwLock, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use voxgate_policy::admission::Admission;
use voxgate_signaling::admin::money::Treasury;
use voxgate_signaling::admin::revisions::Configuration;
use voxgate_signaling::admin::{self, AdminApi};
use voxgate_signaling::api::{self, ClientApi};
use voxgate_signaling::audit_queue::{AuditQueue, Note};
use voxgate_signaling::gate::Gate;
use voxgate_signaling::identity::Identity as Credentials;
use voxgate_signaling::limits::desk::LimitDesk;
use voxgate_signaling::limits::{RedisLimits, SharedLimits};
use voxgate_signaling::live::LiveSessions;
use voxgate_signaling::permit::Places;
use voxgate_signaling::remainder::read_remainder;
use voxgate_signaling::resume::Resumptions;
use voxgate_signaling::roster::{self, KeyBook, KeyMemory, Roster};
use voxgate_signaling::sign_in::SignIn;
use voxgate_signaling::store::Store;
use voxgate_signaling::terms::TermsInForce;
use voxgate_telemetry::metrics::Metrics;

use crate::approvals::HeldCalls;
use crate::bridges::Bridges;
use crate::cli::say;
use crate::config::{self, Checked, Loaded, RedisConfig, Source};
use crate::control;
use crate::data_dir::{DataDir, FirstKey};
use crate::end_of_turn::Listener;
use crate::host::LocalHost;
use crate::http_server;
use crate::latency::LatencyDesk;
use crate::money::Money;
use crate::operations::{self, Operations};
use crate::pages;
use crate::process::{ReloadSignals, StartError, StopSignals, listen_tcp};
use crate::published_keys;
use crate::relay_figures;
use crate::replay::ReplayLog;
use crate::revision::keeper::{self, InForce, Keeper, Reached};
use crate::revision::last_good::Beginning;
use crate::revision::{self, Revision, Shared};
use crate::routing::Routing;
use crate::tls;
use crate::transceiver::Command;
use crate::webhook::Webhooks;

/// Time between the deadline of a drain and the end of the process, for farewells.
const AFTER_DEADLINE: Duration = Duration::from_secs(2);

/// Runs until SIGTERM or SIGINT, then drains.
///
/// `source` reads the configuration again; SIGHUP asks for it.
pub(crate) fn run(beginning: Beginning, source: Arc<dyn Source>) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(StartError::system("threads"))?;
    runtime.block_on(serve(beginning, source))
}

async fn serve(beginning: Beginning, source: Arc<dyn Source>) -> Result<(), StartError> {
    let Beginning { loaded, before, file, refused_file } = beginning;
    let Loaded { bundle, meaning, checked: mut config } = loaded;
    // First, so that a signal during the start is not lost and does not kill.
    let mut stop = StopSignals::listen()?;
    let asked_to_reload = ReloadSignals::listen()?;
    let data = DataDir::open(&config.data_dir)?;
    let listeners = Listeners::open(&config)?;
    let metrics = Arc::new(Metrics::new().map_err(StartError::internal)?);
    let replay = config.replay.clone().map(ReplayLog::start).transpose();
    let replay = replay.map_err(StartError::system("the folder of replay.dir"))?.map(Arc::new);
    let store = Store::name(&config.store.place)?;
    let money = Money::open(config.money.clone(), &config.data_dir, store.clone(), Arc::clone(&metrics));
    let money = Arc::new(money.await?);
    let edge = edge::start(&config, &data, &metrics, replay.clone(), Arc::clone(&money))?;
    if let Some(relay) = &edge.embedded {
        let read = Arc::clone(relay);
        let shown = metrics.add_relay(Box::new(move || relay_figures::read(&read, None)));
        shown.map_err(StartError::internal)?;
        tokio::spawn(edge::follow(Arc::clone(&edge.control), Arc::clone(relay)));
    }
    let first_key = data.first_key(chosen_key(std::env::var("VOXGATE_ADMIN_KEY").ok()).as_deref())?;
    let tls = tls::server_config(&data, config.https)?;
    let keys = config::first_and(first_key.hash, &config.key_hashes, &config.keys);
    let book = KeyBook::new(keys.clone()).map_err(StartError::internal)?;
    let directory = book.directory();
    let memory = KeyMemory::new(data.path(roster::FILE_NAME));
    let roster = Roster::open(store.clone(), book.clone(), memory, config.store.tolerance).await?;
    let desk = LimitDesk::new(counters(&config.redis)?, config.redis.when_away);
    tokio::spawn(Arc::clone(&desk).keep());
    let gate = Gate::default().following(roster.health(), config.store.when_away).counting(desk);
    tokio::spawn(roster.follow());
    let lost = metrics.audit_lost.clone();
    let audit = AuditQueue::start(store.clone(), move |entries| lost.inc_by(entries));
    audit.note(of_this_gateway("gateway.start"));
    tokio::spawn(keys::tell_calls(directory.watch_revoked(), edge.commands.clone()));
    let places = Places::new(Admission::new(config.sessions));
    let (drain, drained) = watch::channel(None);
    let sockets = Arc::new(RwLock::new(()));
    let listener = config
        .end_of_turn
        .take()
        .map(|end_of_turn| Listener::start(end_of_turn.model, end_of_turn.rule, Arc::clone(&metrics)));
    let listener = listener.transpose().map_err(StartError::system("the thread of the end of turns"))?;
    let routing = Arc::new(Routing::new(config.breaker, Arc::clone(&metrics)));
    routing.show(config.routes.targets());
    let bridges = Bridges::start(&config.providers)?.heard_by(listener);
    let held = HeldCalls::new(Arc::clone(&metrics), getrandom::u64().map_err(StartError::internal)?);
    let held = held.told_to(audit.clone());
    let latency = Arc::new(LatencyDesk::new(config.latency.clone(), Arc::clone(&metrics)));
    let webhooks = Webhooks::start(Arc::clone(&metrics));
    let shared = Shared { held: held.clone(), webhooks, latency };
    let facts = keeper::at_start(&store, &bundle, before).await;
    let host = LocalHost {
        routing,
        revision: Revision::new(facts.name(), &config, bridges.clone(), shared.clone()),
        transceiver: edge.commands.clone(),
        sealing: edge.control.sealing(),
        metrics: Arc::clone(&metrics),
        replay: replay.clone(),
        money: Arc::clone(&money),
        audit: audit.clone(),
        drain: drained,
        revoked: directory.watch_revoked(),
        sockets: Arc::clone(&sockets),
        slots: Arc::new(AtomicU64::new(1)),
    };
    let reached = Reached {
        terms: TermsInForce::new(revision::terms(&config, host.clone())),
        host,
        shared,
        keys: book,
        first_key: first_key.hash,
        places: places.clone(),
        resumptions: Resumptions::new(config.limits.resume_window, config.limits.resumable_sessions),
        control: Arc::clone(&edge.control),
        store: store.clone(),
        data: data.clone(),
        metrics,
        live: LiveSessions::default(),
    };
    let drain_deadline = config.limits.drain_deadline;
    let in_force = InForce { facts, bundle, meaning, keys, bridges, drain_deadline, file, refused_file };
    let keeper = Arc::new(Keeper::new(source, reached, in_force));
    tokio::spawn(keys::follow_file(asked_to_reload, Arc::clone(&keeper)));
    let identity = Credentials::new(directory).with_sign_in(sign_in(&config)?);
    let service = router(&keeper, identity, gate)?;
    let addresses = listeners.addresses(&config, edge.public, edge.streams);
    let control =
        config.control.as_ref().map(|control| control::server::router(edge.control, &control.token));
    let handle = Handle::new();
    let servers = listeners.serve(service, control, tls, &handle)?;
    greet(&addresses, &data, &first_key, &keeper);
    stop.next().await;
    shut_down(keeper.drain_deadline(), &places, &edge.commands, &drain, &sockets, &mut stop).await;
    handle.graceful_shutdown(Some(Duration::from_secs(1)));
    let _ = servers.await;
    money.finish().await;
    if let Some(replay) = replay {
        replay.finish();
    }
    audit.note(of_this_gateway("gateway.stop"));
    audit.finish().await;
    store.close().await;
    say("voxgate has stopped.");
    Ok(())
}

/// Where limits are counted.
fn counters(redis: &RedisConfig) -> Result<SharedLimits, StartError> {
    let Some(url) = &redis.url else { return Ok(SharedLimits::default()) };
    // The error names what is wrong with the URL, and not the URL.
    Ok(SharedLimits::Redis(RedisLimits::new(url).map_err(StartError::internal)?))
}

/// What the process itself does.
fn of_this_gateway(action: &'static str) -> Note {
    Note::now("gateway", action, "", serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }))
}

/// The TCP listeners. Opened before anything else is made: a taken port is the most likely trouble and costs nothing to
/// find.
struct Listeners {
    http: TcpListener,
    https: TcpListener,
    control: Option<TcpListener>,
}

impl Listeners {
    fn open(config: &Checked) -> Result<Self, StartError> {
        let control = config.control.as_ref().map(|control| control.listen);
        let open_control = |at| listen_tcp("control", at, "control.listen in the configuration");
        Ok(Self {
            http: listen_tcp("http", config.http, "--http")?,
            https: listen_tcp("https", config.https, "--https")?,
            control: control.map(open_control).transpose()?,
        })
    }

    fn addresses(&self, config: &Checked, relays: Vec<SocketAddr>, streams: Vec<SocketAddr>) -> Addresses {
        Addresses {
            http: self.http.local_addr().unwrap_or(config.http),
            https: self.https.local_addr().unwrap_or(config.https),
            relays,
            streams,
            control: self.control.as_ref().and_then(|listener| listener.local_addr().ok()),
        }
    }

    /// Serves until the handle says otherwise. Control requests that are held for news do not hold up the end.
    fn serve(
        self,
        service: Router,
        control: Option<Router>,
        tls: Arc<ServerConfig>,
        handle: &Handle<SocketAddr>,
    ) -> Result<JoinHandle<()>, StartError> {
        let refused = StartError::system("a socket");
        let plain = http_server::plain(self.http).map_err(refused)?.handle(handle.clone());
        let plain = plain.serve(service.clone().into_make_service());
        let secure = http_server::secure(self.https, tls).map_err(refused)?.handle(handle.clone());
        let secure = secure.serve(service.into_make_service());
        if let (Some(listener), Some(router)) = (self.control, control) {
            let server = http_server::plain(listener).map_err(refused)?.handle(handle.clone());
            tokio::spawn(server.serve(router.into_make_service()));
        }
        Ok(tokio::spawn(async move {
            let _ = tokio::join!(plain, secure);
        }))
    }
}

/// A variable that is set but empty, as container files make it of a missing value, chooses nothing: an empty key
/// would let everybody in.
fn chosen_key(variable: Option<String>) -> Option<String> {
    variable.filter(|key| !key.trim().is_empty())
}

/// The identity providers, whose keys are fetched from now on.
fn sign_in(config: &Checked) -> Result<Arc<SignIn>, StartError> {
    let providers = config.issuers.iter().cloned().map(published_keys::provider);
    let providers = providers.collect::<Result<Vec<_>, _>>().map_err(StartError::internal)?;
    let sign_in = Arc::new(SignIn::new(providers));
    let fresh = Arc::clone(&sign_in);
    tokio::spawn(async move { fresh.keep_fresh().await });
    Ok(sign_in)
}

/// What the HTTP listeners lead to.
fn router(keeper: &Arc<Keeper>, identity: Credentials, gate: Gate) -> Result<Router, StartError> {
    let Reached { terms, keys, places, resumptions, store, metrics, live, shared, host, .. } =
        keeper.reached();
    let configured = keys.clone();
    let admin = AdminApi {
        identity: Arc::new(identity),
        terms: terms.clone(),
        live: live.clone(),
        store: store.clone(),
        configured: Arc::new(move || configured.configured()),
        approvals: Arc::new(shared.held.clone()),
        configuration: Arc::clone(keeper) as Arc<dyn Configuration>,
        treasury: Arc::clone(&host.money) as Arc<dyn Treasury>,
    };
    let client_api = ClientApi {
        identity: Arc::clone(&admin.identity),
        terms: terms.clone(),
        live: live.clone(),
        places: places.clone(),
        gate,
        resumptions: resumptions.clone(),
    };
    let latency = Arc::clone(&shared.latency);
    let operations = Operations { metrics: Arc::clone(metrics), latency, places: places.clone() };
    let admin = admin::router(admin).map_err(StartError::internal)?;
    let router =
        api::router(client_api).merge(admin).merge(operations::router(operations)).merge(pages::router());
    Ok(router.layer(middleware::from_fn(read_remainder)))
}

/// Where the process really listens; port 0 in the configuration lets the system choose.
struct Addresses {
    http: SocketAddr,
    https: SocketAddr,
    relays: Vec<SocketAddr>,
    streams: Vec<SocketAddr>,
    control: Option<SocketAddr>,
}

/// What a newcomer needs to know, once.
fn greet(addresses: &Addresses, data: &DataDir, first_key: &FirstKey, keeper: &Keeper) {
    let page = format!("http://{}/", addresses.http);
    match &first_key.fresh {
        Some(key) => {
            say(&format!("Talk page   {page}#key={key}"));
            say(&format!("API key     {key}   (shown this once; only its hash is kept)"));
        }
        None => say(&format!("Talk page   {page}")),
    }
    say(&format!("API base    http://{}/v1", addresses.http));
    say(&format!("            https://{}/v1   (CA: {})", addresses.https, data.path(tls::CA_FILE).display()));
    for (index, relay) in addresses.relays.iter().enumerate() {
        say(&format!("{:<12}udp {relay}", if index == 0 { "Relay" } else { "" }));
    }
    for stream in &addresses.streams {
        say(&format!("{:<12}tcp {stream}   (plain or TLS)", ""));
    }
    if let Some(control) = addresses.control {
        say(&format!("Control     http://{control}   (relays fetch their allow-lists here)"));
    }
    keeper.greet();
    say("Stop with Ctrl-C; running calls may end first.");
}

/// Stops accepting, lets sessions finish up to the deadline, then ends them.
async fn shut_down(
    drain_deadline: Duration,
    places: &Places,
    commands: &mpsc::UnboundedSender<Command>,
    drain: &watch::Sender<Option<Instant>>,
    sockets: &RwLock<()>,
    stop: &mut StopSignals,
) {
    places.drain();
    let running = places.running();
    if running > 0 {
        say(&format!(
            "Stopping: {running} session(s) may go on for up to {} s; stop again to end them now.",
            drain_deadline.as_secs()
        ));
    }
    let deadline = Instant::now() + drain_deadline;
    tokio::select! {
        () = end_sessions(deadline, commands, drain, sockets) => return,
        () = tokio::time::sleep_until((deadline + AFTER_DEADLINE).into()) => return,
        () = stop.next() => {}
    }
    // Whoever asks twice does not wait, but the callers are still told.
    let now = end_sessions(Instant::now(), commands, drain, sockets);
    let _ = tokio::time::timeout(AFTER_DEADLINE, now).await;
}

/// Ends the sessions that still run at the deadline; returns when none is left.
async fn end_sessions(
    deadline: Instant,
    commands: &mpsc::UnboundedSender<Command>,
    drain: &watch::Sender<Option<Instant>>,
    sockets: &RwLock<()>,
) {
    drain.send_replace(Some(deadline));
    let (reply, calls_ended) = oneshot::channel();
    if commands.send(Command::Drain(deadline, reply)).is_ok() {
        let _ = calls_ended.await;
    }
    // Every WebSocket session holds a read lock for as long as it runs.
    let _all = sockets.write().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_no_key() {
        assert_eq!(chosen_key(Some(String::new())), None);
        assert_eq!(chosen_key(Some(" ".to_owned())), None);
        assert_eq!(chosen_key(Some("vg_mine".to_owned())).as_deref(), Some("vg_mine"));
    }
}
