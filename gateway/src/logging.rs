//! What the process writes about itself to standard error.
//!
//! A session runs inside [`session_span`], so every line that is written on its behalf, whoever writes it, carries the
//! session's name and its trace.

mod json_lines;

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing::{Level, Metadata, Span};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt, registry};
use voxgate_protocol::id::SessionId;
use voxgate_protocol::session::EndReason;
use voxgate_protocol::timeline::Hop;
use voxgate_protocol::trace_context::TraceContext;
use voxgate_telemetry::latency::account::TurnAccount;
use voxgate_telemetry::latency::budget::Breach;
use voxgate_telemetry::session::view::SummaryView;

use self::json_lines::JsonLines;

/// The WebRTC engine reports every state of every call at INFO, and every DTLS extension it does not know as a
/// warning; operators want what the gateway has to say.
const DEFAULT_LOG: &str = "warn,rtc_dtls=error,voxgate=info";

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// Starts writing. To be called once in a process.
pub(crate) fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_env("VOXGATE_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let layer = match format {
        // Colours are for people; files and log collectors get plain text.
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => {
            lines.with_ansi(false).fmt_fields(fmt::format::JsonFields::new()).event_format(JsonLines).boxed()
        }
    };
    // For everything, not for the layer: the filter of a layer forgets what it decided when a library only asks whether it
    // would log, as sqlx does, and the next line is lost.
    registry().with(filter).with(filter_fn(is_fit_to_log)).with(layer).init();
}

/// Libraries write whole messages and requests at TRACE: what callers say, and keys. No setting brings those out.
fn is_fit_to_log(record: &Metadata<'_>) -> bool {
    *record.level() != Level::TRACE || record.target().starts_with("voxgate")
}

/// The line a session ends with: all of it in figures. What is not known is left out.
pub(crate) fn session_ended(session: &SummaryView) {
    tracing::info!(
        reason = session.end_reason.map(EndReason::as_str),
        duration_ms = session.duration_ms,
        turns = session.turns,
        answers = session.answers,
        interruptions = session.interruptions,
        mouth_to_ear_p50_ms = session.mouth_to_ear_p50_ms,
        mouth_to_ear_p95_ms = session.mouth_to_ear_p95_ms,
        breaches = session.breaches,
        worst_hop = session.worst_hop.map(Hop::as_str),
        mos = session.mos,
        loss_ratio = session.loss_ratio,
        cost_nano_dollars = session.cost_nano_dollars,
        model = session.model,
        served_by = session.provider,
        region = session.region,
        relay = session.relay,
        transport = session.transport,
        organisation = session.organisation,
        team = session.team,
        agent = session.agent,
        "a session ended"
    );
}

/// The line of a turn.
pub(crate) fn turn_measured(account: &TurnAccount, breaches: &[Breach]) {
    let longest = account.hops.iter().max_by_key(|hop| hop.duration).map(|hop| hop.hop.as_str());
    tracing::debug!(
        turn = account.turn,
        mouth_to_ear_ms = account.whole.duration.as_secs_f64() * 1_000.0,
        unattributed_ms = account.unattributed.as_secs_f64() * 1_000.0,
        longest_hop = longest,
        breaches = breaches.len(),
        "a turn was measured"
    );
}

/// What everything written on behalf of a session happens in.
pub(crate) fn session_span(session: &SessionId, trace: &TraceContext) -> Span {
    // Of the highest level, so that it is there for warnings even if nothing else is logged.
    tracing::error_span!("session", session = %session, trace_id = %trace.trace, span_id = %trace.span)
}
