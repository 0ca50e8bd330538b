//! `voxgate standalone`: every role in one process, over the same paths as a cluster, UDP relay and tunnel included.

mod admittance;
mod edge;
mod farewell;
mod ground;
mod keys;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::{Router, middleware};
use axum_server::Handle;
use rustls::ServerConfig;
use tokio::task::JoinHandle;
use voxgate_policy::admission::Admission;
use voxgate_protocol::revision::RevisionName;
use voxgate_relay::shell::RelayHandle;
use voxgate_signaling::admin::feed::Feeds;
use voxgate_signaling::admin::money::Treasury;
use voxgate_signaling::admin::revisions::Configuration;
use voxgate_signaling::admin::voices::Listening;
use voxgate_signaling::admin::{self, AdminApi};
use voxgate_signaling::api::{self, ClientApi};
use voxgate_signaling::gate::Gate;
use voxgate_signaling::heard::HeardTurns;
use voxgate_signaling::identity::Identity;
use voxgate_signaling::live::LiveSessions;
use voxgate_signaling::permit::Places;
use voxgate_signaling::remainder::read_remainder;
use voxgate_signaling::resume::Resumptions;
use voxgate_signaling::terms::TermsInForce;
use voxgate_telemetry::metrics::Metrics;

use crate::approvals::HeldCalls;
use crate::bridges::Bridges;
use crate::cli::say;
use crate::config::{Checked, Loaded, Source};
use crate::control;
use crate::data_dir::{DataDir, FirstKey};
use crate::end_of_turn::Listener;
use crate::fleet::{self, Standing};
use crate::host::LocalHost;
use crate::http_server;
use crate::latency::LatencyDesk;
use crate::operations::{self, Operations};
use crate::otlp::Exporter;
use crate::pages;
use crate::process::{ReloadSignals, StartError, StopSignals, listen_tcp};
use crate::replay::KeptVoices;
use crate::revision::keeper::{self, InForce, Keeper, Reached};
use crate::revision::last_good::Beginning;
use crate::revision::{self, Revision, Shared};
use crate::routing::Routing;
use crate::tls;
use crate::webhook::Webhooks;

use self::admittance::Admittance;
use self::edge::EdgeParts;
use self::farewell::Farewell;
use self::ground::{Ground, of_this_gateway};

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
    // First, so that a signal during the start is not lost and does not kill.
    let mut stop = StopSignals::listen()?;
    let asked_to_reload = ReloadSignals::listen()?;
    let Beginning { loaded, before, file, refused_file } = beginning;
    let Loaded { bundle, meaning, checked: mut config } = loaded;
    let data = DataDir::open(&config.data_dir)?;
    let listeners = Listeners::open(&config)?;
    let ground = Ground::lay(&config, data).await?;
    let edge = edge::start(&config, &ground)?;
    let tls = tls::server_config(&ground.data, config.https)?;
    let admittance = Admittance::open(&config, &ground).await?;
    ground.audit.note(of_this_gateway("gateway.start"));
    tokio::spawn(keys::tell_calls(admittance.directory.watch_revoked(), edge.commands.clone()));
    let farewell = Farewell::new(Places::new(Admission::new(config.sessions)), edge.commands.clone());
    let bridges = bridges(&mut config, &ground.metrics)?;
    let facts = keeper::at_start(&ground.store, &bundle, before).await;
    let parts = Parts { ground: &ground, edge: &edge, admittance: &admittance, farewell: &farewell };
    let reached = parts.reach(&config, facts.name(), &bridges)?;
    let exporter = config.otlp.clone().map(|otlp| Exporter::start(otlp, &ground.metrics));
    if let Some(sink) = exporter.as_ref().and_then(Exporter::sink) {
        reached.live.add_sink(sink);
    }
    reached.show_limit(config.sessions);
    let (keys, drain_deadline) = (admittance.keys.clone(), config.limits.drain_deadline);
    let in_force = InForce { facts, bundle, meaning, keys, bridges, drain_deadline, file, refused_file };
    let keeper = Arc::new(Keeper::new(source, reached, in_force));
    tokio::spawn(keys::follow_file(asked_to_reload, Arc::clone(&keeper)));
    let service = router(&keeper, admittance.identity(&config)?, admittance.gate, edge.embedded)?;
    let addresses = listeners.addresses(&config, edge.public, edge.streams);
    let control =
        config.control.as_ref().map(|control| control::server::router(edge.control, &control.token));
    let handle = Handle::new();
    let servers = listeners.serve(service, control, tls, &handle)?;
    greet(&addresses, &ground.data, &admittance.first_key, &keeper);
    stop.next().await;
    farewell.shut_down(keeper.drain_deadline(), &mut stop).await;
    handle.graceful_shutdown(Some(Duration::from_secs(1)));
    let _ = servers.await;
    if let Some(exporter) = exporter {
        exporter.finish().await;
    }
    ground.leave().await;
    say("voxgate has stopped.");
    Ok(())
}

/// Leads to the providers, heard by the model of the end of turns if there is one.
fn bridges(config: &mut Checked, metrics: &Arc<Metrics>) -> Result<Bridges, StartError> {
    let listener = config
        .end_of_turn
        .take()
        .map(|end_of_turn| Listener::start(end_of_turn.model, end_of_turn.rule, Arc::clone(metrics)));
    let listener = listener.transpose().map_err(StartError::system("the thread of the end of turns"))?;
    Ok(Bridges::start(&config.providers)?.heard_by(listener))
}

/// What stays the same whatever configuration is in force.
struct Parts<'a> {
    ground: &'a Ground,
    edge: &'a EdgeParts,
    admittance: &'a Admittance,
    farewell: &'a Farewell,
}

impl Parts<'_> {
    /// What a change of the configuration reaches, with the first one in force.
    fn reach(&self, config: &Checked, name: RevisionName, bridges: &Bridges) -> Result<Reached, StartError> {
        let Self { ground, edge, admittance, farewell } = self;
        let metrics = &ground.metrics;
        let held = HeldCalls::new(Arc::clone(metrics), getrandom::u64().map_err(StartError::internal)?);
        let held = held.told_to(ground.audit.clone());
        let latency = Arc::new(LatencyDesk::new(config.latency.clone(), Arc::clone(metrics)));
        latency.measure(config.measuring);
        let routing = Routing::new(config.breaker, Arc::clone(&latency), Arc::clone(metrics));
        let routing = Arc::new(routing);
        let shared = Shared { held, webhooks: Webhooks::start(Arc::clone(metrics)), latency };
        routing.show(config.routes.targets());
        let host = LocalHost {
            routing,
            revision: Revision::new(name, config, bridges.clone(), shared.clone()),
            transceiver: edge.commands.clone(),
            sealing: edge.control.sealing(),
            metrics: Arc::clone(metrics),
            replay: ground.replay.clone(),
            money: Arc::clone(&ground.money),
            audit: ground.audit.clone(),
            drain: farewell.watch(),
            revoked: admittance.directory.watch_revoked(),
            sockets: Arc::clone(&farewell.sockets),
            slots: Arc::new(AtomicU64::new(1)),
        };
        let live = LiveSessions::default();
        if !config.recipients.is_empty() {
            live.add_sink(Arc::new(ground.notices.clone()));
        }
        Ok(Reached {
            terms: TermsInForce::new(revision::terms(config, host.clone())),
            host,
            shared,
            keys: admittance.book.clone(),
            first_key: admittance.first_key.hash,
            places: farewell.places.clone(),
            resumptions: Resumptions::new(config.limits.resume_window, config.limits.resumable_sessions),
            control: Arc::clone(&edge.control),
            store: ground.store.clone(),
            data: ground.data.clone(),
            metrics: Arc::clone(metrics),
            live,
        })
    }
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

/// What the HTTP listeners lead to.
fn router(
    keeper: &Arc<Keeper>,
    identity: Identity,
    gate: Gate,
    embedded: Option<Arc<RelayHandle>>,
) -> Result<Router, StartError> {
    let Reached { terms, keys, places, resumptions, store, metrics, live, shared, host, .. } =
        keeper.reached();
    let configured = keys.clone();
    let turns = HeardTurns::default();
    live.add_sink(Arc::new(turns.clone()));
    let standing = Standing::new(fleet::Parts {
        metrics: Arc::clone(metrics),
        places: places.clone(),
        terms: terms.clone(),
        live: live.clone(),
        latency: Arc::clone(&shared.latency),
        embedded,
    });
    let admin = AdminApi {
        identity: Arc::new(identity),
        terms: terms.clone(),
        live: live.clone(),
        feeds: Feeds::default(),
        turns,
        fleet: Arc::new(standing),
        voices: Listening::to(Arc::new(KeptVoices(host.replay.clone()))),
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
    say(&format!("Dashboard   {page}dashboard"));
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
