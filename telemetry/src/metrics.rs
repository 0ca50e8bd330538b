//! The metric catalogue.

mod network;
mod observing;
mod shelf;

use std::sync::Arc;

use prometheus::{
    CounterVec, Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Registry,
};

use crate::catalogue::Described;
use crate::gen_ai::GenAiFigures;

pub(crate) use self::shelf::Shelf;

/// Bounds for what happens inside the gateway: 20 µs to 50 ms.
const INSIDE_SECONDS: &[f64] =
    &[0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_3, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05];

/// Bounds for what a caller feels: 1 ms to 10 s, dense where conversations are won (200 ms to 1.5 s).
const FELT_SECONDS: &[f64] = &[
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.25, 1.5, 2.0,
    3.0, 5.0, 10.0,
];

/// Bounds for shares of packets: none, then 0.1 % to half.
const SHARES: &[f64] = &[0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];

/// Bounds for opinion scores, 1 to 4.41; at 3.6 many, at 3.1 nearly all callers are dissatisfied (G.107, annex B).
const SCORES: &[f64] = &[1.5, 2.0, 2.6, 3.1, 3.4, 3.6, 3.8, 4.0, 4.1, 4.2, 4.3, 4.4];

/// Bounds for what a person takes: 1 s to 1 h.
const PERSON_SECONDS: &[f64] =
    &[1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0];

/// Every metric, registered once per process.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    described: Arc<[Described]>,
    /// Answers under the names of OpenTelemetry, which leave by OTLP only.
    pub gen_ai: GenAiFigures,
    /// Sessions running now.
    pub sessions: IntGauge,
    /// Sessions that may run at once.
    pub sessions_limit: IntGauge,
    /// Sideband connections attached to calls now.
    pub sidebands: IntGauge,
    /// Sessions started, by leg (`webrtc`, `websocket`).
    pub sessions_started: IntCounterVec,
    /// Sessions ended, by reason.
    pub sessions_ended: IntCounterVec,
    /// Sessions refused before they started, by reason.
    pub sessions_refused: IntCounterVec,
    /// Decisions by the policies, by act and effect.
    pub policy_decisions: IntCounterVec,
    /// Time one decision took.
    pub policy_seconds: Histogram,
    /// Spans for an OpenTelemetry collector, by what became of them: `sent`, `queue_full`, `refused`, `unreachable`.
    pub otlp_spans: IntCounterVec,
    /// Requests to it, retries not counted, by signal (`traces`, `metrics`) and outcome.
    pub otlp_requests: IntCounterVec,
    /// Offer received to SDP answer made.
    pub answer_seconds: Histogram,
    /// UDP receive at the transceiver to PCM handed to the provider's queue.
    pub ingress_seconds: Histogram,
    /// Audio from the provider's queue to the first RTP packet of the answer on the socket.
    pub egress_seconds: Histogram,
    /// How late a packet of a running answer left, against its 20 ms deadline.
    pub pacing_late_seconds: Histogram,
    /// Turn time by hop.
    pub turn_hop_seconds: HistogramVec,
    /// Whole turn.
    pub turn_seconds: HistogramVec,
    /// Turns whose moments contradict each other.
    pub turns_unreckoned: IntCounter,
    /// What a turn of a route may take, by subject (`whole` or a hop).
    pub latency_budget_seconds: GaugeVec,
    /// The share of turns that may be slower than a budget.
    pub latency_allowed: Gauge,
    /// Turns slower than a budget, by route, subject, the hop that spent it and its owner.
    pub latency_breaches: IntCounterVec,
    /// How fast slow turns use up their allowance, by route, subject and window.
    pub latency_burn: GaugeVec,
    /// Whole turns of a target.
    pub target_turn_seconds: HistogramVec,
    /// Turns of a target slower than a budget, by target, subject and the hop that spent it.
    pub latency_target_breaches: IntCounterVec,
    /// What is done, or would be, about slow turns, by route, target, subject, owner and action.
    pub latency_advice: IntGaugeVec,
    /// Times optional work was left out, by route and work (`opinion`, `voices`).
    pub latency_shed: IntCounterVec,
    /// How long the model of the end of turns ran.
    pub end_of_turn_seconds: Histogram,
    /// What became of the questions to that model: `used`, `late`, `no_room`, `stale`, `failed`.
    pub end_of_turn_verdicts: IntCounterVec,
    /// Round trip between client and gateway, of each second of each call.
    pub call_round_trip_seconds: Histogram,
    /// Share of packets lost, of each second of each call, by direction (`up`, `down`).
    pub call_loss_ratio: HistogramVec,
    /// Interarrival jitter, of each second of each call, by direction.
    pub call_jitter_seconds: HistogramVec,
    /// Audio made up because packets did not come, by direction.
    pub call_concealed_seconds: CounterVec,
    /// Mean opinion score, of each second of each call.
    pub call_mos_score: Histogram,
    /// Answers cut off by the caller.
    pub interruptions: IntCounter,
    /// Sounds over an answer after which it went on, by what they were (`noise`, `backchannel`).
    pub false_interruptions: IntCounterVec,
    /// Frames made up because no packet came.
    pub concealed_frames: IntCounter,
    /// Times an answer ran out of audio.
    pub playout_underruns: IntCounter,
    /// Faults on the way to or at providers, by whose fault it was. Codes are the vendor's and unbounded.
    pub provider_faults: IntCounterVec,
    /// Conversations that moved, or had to move, to a new connection to their provider, by the reason and by how that
    /// went.
    pub provider_rotations: IntCounterVec,
    /// Whether a target gets sessions: one for the state that holds, by target and state (`closed`, `open`, `half_open`).
    pub routing_target_state: IntGaugeVec,
    /// Sessions a target serves now, by target and region.
    pub routing_target_sessions: IntGaugeVec,
    /// Sessions a target began to serve, by target.
    pub routing_sessions: IntCounterVec,
    /// Sessions that had to leave, or left, their target for another, by reason and by how that went.
    pub routing_failovers: IntCounterVec,
    /// From the loss of a target to the moment the conversation goes on at another.
    pub routing_failover_seconds: Histogram,
    /// How soon answers begin to sound, as the choice of targets sees it, by target.
    pub routing_first_audio_seconds: GaugeVec,
    /// Times a guardrail matched, by rule, by whose words it matched and by what it asked for.
    pub guardrail_matches: IntCounterVec,
    /// Words that break a rule received from the provider to the answer taken back.
    pub guardrail_stop_seconds: Histogram,
    /// Questions to guardrail webhooks, by rule and by what came of them.
    pub guardrail_webhooks: IntCounterVec,
    /// Words shown to a webhook to its opinion.
    pub guardrail_webhook_seconds: Histogram,
    /// Notices of sessions to servers of the operator, by webhook and by what came of them.
    pub session_webhooks: IntCounterVec,
    /// Tool calls of models, by what became of them.
    pub tool_calls: IntCounterVec,
    /// Tool call held to its verdict or deadline.
    pub tool_approval_wait_seconds: Histogram,
    /// Tunnel frames the transceiver dropped, by reason.
    pub tunnel_drops: IntCounterVec,
    /// What each relay can be used for, as this node sees it: one for the state that holds, by relay id and state.
    pub relay_state: IntGaugeVec,
    /// Calls that had to leave the relay that carried them, by cause.
    pub relay_failovers: IntCounterVec,
    /// Smoothed round trip of the tunnel to each relay, by relay id.
    pub tunnel_round_trip_seconds: GaugeVec,
    /// What was confirmed, by provider and hop.
    pub cost_dollars: CounterVec,
    /// Estimated and not yet confirmed, by provider.
    pub cost_estimated_dollars: GaugeVec,
    /// Of it for audio nobody heard, by provider.
    pub cost_unheard_dollars: CounterVec,
    /// Usage without a price, by provider.
    pub usage_unpriced: IntCounterVec,
    /// What budgets did to sessions, by action (`warn`, `cancel`, `close`, `refuse`).
    pub budget_actions: IntCounterVec,
    /// Times a limit held something up during a call, by resource.
    pub limits_reached: IntCounterVec,
    /// Entries of the audit log that could not be kept. Must stay at zero.
    pub audit_lost: IntCounter,
    /// Entries in the node's outbox that the store does not have yet.
    pub ledger_waiting: IntGauge,
    /// Entries of the ledger that could not be written. Must stay at zero.
    pub ledger_lost: IntCounter,
    /// The configuration that is in force: one, by the beginning of its hash and its number.
    pub config_revision_info: IntGaugeVec,
    /// When a configuration was put in force last, in seconds since 1970; zero if none was since the start.
    pub config_applied_at: IntGauge,
    /// Attempts to put a configuration in force, by outcome.
    pub config_applies: IntCounterVec,
    /// One while something else runs than the configuration file says, because the file is broken.
    pub config_file_refused: IntGauge,
    /// Settings in force that need a restart to take effect.
    pub config_awaiting_restart: IntGauge,
    /// Sessions ended because their state machine panicked. Must stay at zero.
    pub session_panics: IntCounter,
}

impl Metrics {
    /// Declares and registers the catalogue.
    ///
    /// # Errors
    /// If two metrics carry one name, which a test rules out.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let shelf = Shelf::new(&registry);
        Ok(Self {
            sessions: shelf.gauge("voxgate_sessions", "Sessions running now.")?,
            sessions_limit: shelf.gauge(
                "voxgate_sessions_limit",
                "Sessions that may run at once, by limits.sessions.",
            )?,
            sidebands: shelf.gauge(
                "voxgate_sidebands",
                "Sideband connections attached to calls now.",
            )?,
            sessions_started: shelf.counters(
                "voxgate_sessions_started_total",
                "Sessions started, by the way the client's audio travels.",
                &["leg"],
            )?,
            sessions_ended: shelf.counters(
                "voxgate_sessions_ended_total",
                "Sessions ended, by reason.",
                &["reason"],
            )?,
            sessions_refused: shelf.counters(
                "voxgate_sessions_refused_total",
                "Sessions refused before they started, by the code of the error.",
                &["code"],
            )?,
            policy_decisions: shelf.counters(
                "voxgate_policy_decisions_total",
                "Decisions by the policies, by act and effect.",
                &["act", "effect"],
            )?,
            policy_seconds: shelf.histogram(
                "voxgate_policy_seconds",
                "Time one decision by the policies took.",
                INSIDE_SECONDS,
            )?,
            otlp_spans: shelf.counters(
                "voxgate_otlp_spans_total",
                "Spans for the OpenTelemetry collector, by what became of them.",
                &["outcome"],
            )?,
            otlp_requests: shelf.otlp_requests()?,
            answer_seconds: shelf.histogram(
                "voxgate_answer_seconds",
                "Time from the offer to the SDP answer, inside the gateway.",
                FELT_SECONDS,
            )?,
            ingress_seconds: shelf.histogram(
                "voxgate_ingress_seconds",
                "Time from UDP receive at the transceiver to PCM in the provider's queue; excludes waits for lost packets.",
                INSIDE_SECONDS,
            )?,
            egress_seconds: shelf.histogram(
                "voxgate_egress_seconds",
                "Time from the provider's bytes to the first RTP packet of the answer on the socket.",
                INSIDE_SECONDS,
            )?,
            pacing_late_seconds: shelf.histogram(
                "voxgate_pacing_late_seconds",
                "How late an audio packet left, against its absolute 20 ms deadline.",
                INSIDE_SECONDS,
            )?,
            turn_hop_seconds: shelf.histograms(
                "voxgate_turn_hop_seconds",
                "Time a turn spent in each hop between the caller's last word and the caller's ear.",
                FELT_SECONDS,
                &["hop", "owner", "route"],
            )?,
            turn_seconds: shelf.histograms(
                "voxgate_turn_seconds",
                "Time from the caller's last word to the caller's ear.",
                FELT_SECONDS,
                &["route"],
            )?,
            turns_unreckoned: shelf.counter(
                "voxgate_turns_unreckoned_total",
                "Turns whose moments contradict each other, so that nobody can say where their time went. Anything above zero is a bug to report.",
            )?,
            latency_budget_seconds: shelf.real_gauges(
                "voxgate_latency_budget_seconds",
                "What a turn of a route, or one of its hops, may take.",
                &["route", "subject"],
            )?,
            latency_allowed: shelf.real_gauge(
                "voxgate_latency_allowed_ratio",
                "Share of the turns of a route that may be slower than a budget, by latency.allowed.",
            )?,
            latency_breaches: shelf.counters(
                "voxgate_latency_breaches_total",
                "Turns that took more than a budget of their route, by the hop that spent it and by who can make that hop shorter.",
                &["route", "subject", "spender", "owner"],
            )?,
            latency_burn: shelf.real_gauges(
                "voxgate_latency_burn_ratio",
                "How many times the share of slow turns a route may have was slow, over 5m, 1h and 6h: 1 uses the allowance as allotted.",
                &["route", "subject", "window"],
            )?,
            target_turn_seconds: shelf.histograms(
                "voxgate_target_turn_seconds",
                "Time from the caller's last word to the caller's ear, by the target that served the turn.",
                FELT_SECONDS,
                &["target"],
            )?,
            latency_target_breaches: shelf.counters(
                "voxgate_latency_target_breaches_total",
                "Turns that took more than a budget of their route, by the target that served them and the hop that spent it.",
                &["target", "subject", "spender"],
            )?,
            latency_advice: shelf.gauges(
                "voxgate_latency_advice",
                "1 while something is to be done about the slow turns of a route, or of one target of it (else empty): alert, prefer_another, shed_optional. Whether it is done is for latency.actions to say.",
                &["route", "target", "subject", "owner", "action"],
            )?,
            latency_shed: shelf.counters(
                "voxgate_latency_shed_total",
                "Optional work left out while turns were slow: opinion (a guardrail webhook not asked), voices (a replay log begun without them).",
                &["route", "work"],
            )?,
            end_of_turn_seconds: shelf.histogram(
                "voxgate_end_of_turn_inference_seconds",
                "How long the model of the end of turns ran for one question.",
                FELT_SECONDS,
            )?,
            end_of_turn_verdicts: shelf.counters(
                "voxgate_end_of_turn_verdicts_total",
                "What became of the questions to the model of the end of turns: used, late (the turn was over or the caller spoke on), no_room (too many waited), stale (waited too long), failed.",
                &["outcome"],
            )?,
            call_round_trip_seconds: shelf.histogram(
                "voxgate_call_round_trip_seconds",
                "Round trip between client and gateway, once for each second of each call over WebRTC.",
                FELT_SECONDS,
            )?,
            call_loss_ratio: shelf.histograms(
                "voxgate_call_loss_ratio",
                "Share of audio packets that did not arrive, up once for each second of each call, down once for each report of a client.",
                SHARES,
                &["direction"],
            )?,
            call_jitter_seconds: shelf.histograms(
                "voxgate_call_jitter_seconds",
                "Interarrival jitter of audio packets (RFC 3550), once for each second of each call, by direction.",
                FELT_SECONDS,
                &["direction"],
            )?,
            call_concealed_seconds: shelf.real_counters(
                "voxgate_call_concealed_seconds_total",
                "Audio made up because packets did not come, by direction: up by the gateway, down by the client as far as it says so.",
                &["direction"],
            )?,
            call_mos_score: shelf.histogram(
                "voxgate_call_mos_score",
                "Mean opinion score of each second of each call, by the E-model (1 to 4.41).",
                SCORES,
            )?,
            interruptions: shelf.counter("voxgate_interruptions_total", "Answers cut off by the caller.")?,
            false_interruptions: shelf.counters(
                "voxgate_false_interruptions_total",
                "Sounds of callers over an answer that was held and went on: noise, backchannel.",
                &["sound"],
            )?,
            concealed_frames: shelf.counter(
                "voxgate_concealed_frames_total",
                "20 ms frames of callers made up because no packet came.",
            )?,
            playout_underruns: shelf.counter(
                "voxgate_playout_underruns_total",
                "Times an answer ran out of audio before its end.",
            )?,
            provider_faults: shelf.counters(
                "voxgate_provider_faults_total",
                "Faults on the way to or at a provider, by whose fault it was.",
                &["owner"],
            )?,
            provider_rotations: shelf.counters(
                "voxgate_provider_rotations_total",
                "Conversations that moved (or failed to move) to a new connection to their provider, by the reason: age, expired, closed, lost.",
                &["reason", "outcome"],
            )?,
            routing_target_state: shelf.gauges(
                "voxgate_routing_target_state",
                "Whether a target gets sessions: 1 for the state that holds (closed: as many as its share is; open: none; half_open: one, to see whether it is well again).",
                &["target", "state"],
            )?,
            routing_target_sessions: shelf.gauges(
                "voxgate_routing_target_sessions",
                "Sessions a target serves now, with the region policies know it by (else empty).",
                &["target", "region"],
            )?,
            routing_sessions: shelf.counters(
                "voxgate_routing_sessions_total",
                "Sessions a target began to serve, at their beginning or later.",
                &["target"],
            )?,
            routing_failovers: shelf.counters(
                "voxgate_routing_failovers_total",
                "Sessions that moved (or failed to move) to another target, by the reason: setup, lost, silent, stalled, closed, expired, refused, better.",
                &["reason", "outcome"],
            )?,
            routing_failover_seconds: shelf.histogram(
                "voxgate_routing_failover_seconds",
                "Time from the loss of a target to the moment the conversation goes on at another one.",
                FELT_SECONDS,
            )?,
            routing_first_audio_seconds: shelf.real_gauges(
                "voxgate_routing_first_audio_seconds",
                "Smoothed time from the question to the first audio of an answer, as the choice of targets sees it.",
                &["target"],
            )?,
            guardrail_matches: shelf.counters(
                "voxgate_guardrail_matches_total",
                "Times a guardrail matched, by its name, by whose words it matched and by what it asked for.",
                &["rule", "direction", "act"],
            )?,
            guardrail_stop_seconds: shelf.histogram(
                "voxgate_guardrail_stop_seconds",
                "Time from words that break a rule to the moment their answer is taken back and nothing more of it is sent.",
                INSIDE_SECONDS,
            )?,
            guardrail_webhooks: shelf.counters(
                "voxgate_guardrail_webhooks_total",
                "Questions to guardrail webhooks, by the name of the rule and by what came of them: answered, late, failed, unasked (too many waited).",
                &["rule", "outcome"],
            )?,
            guardrail_webhook_seconds: shelf.histogram(
                "voxgate_guardrail_webhook_seconds",
                "Time from words shown to a guardrail webhook to its opinion, or to its deadline.",
                FELT_SECONDS,
            )?,
            session_webhooks: shelf.counters(
                "voxgate_session_webhooks_total",
                "Notices of sessions to webhooks, by the name of the webhook and by what came of them: delivered, failed (given up), dropped (too many waited).",
                &["webhook", "outcome"],
            )?,
            tool_calls: shelf.counters(
                "voxgate_tool_calls_total",
                "Tool calls of models, by what became of them: allowed, refused (by limits or policies), dropped (their answer was cut off); of those a person was asked about: approved, denied, expired, withdrawn (the session ended first).",
                &["outcome"],
            )?,
            tool_approval_wait_seconds: shelf.histogram(
                "voxgate_tool_approval_wait_seconds",
                "Time from a tool call held for a person to the verdict, or to the deadline.",
                PERSON_SECONDS,
            )?,
            tunnel_drops: shelf.counters(
                "voxgate_tunnel_drops_total",
                "Tunnel frames the transceiver dropped, by reason.",
                &["reason"],
            )?,
            relay_state: shelf.gauges(
                "voxgate_relay_state",
                "What each relay can be used for, as this node sees it: 1 for the state that holds (alive, draining, silent).",
                &["relay", "state"],
            )?,
            relay_failovers: shelf.counters(
                "voxgate_relay_failovers_total",
                "Calls that had to leave the relay that carried them, by cause.",
                &["cause"],
            )?,
            tunnel_round_trip_seconds: shelf.real_gauges(
                "voxgate_tunnel_round_trip_seconds",
                "Smoothed round trip of the tunnel to each relay, from live traffic.",
                &["relay"],
            )?,
            cost_dollars: shelf.real_counters(
                "voxgate_cost_dollars_total",
                "What providers will bill, confirmed, by the part of a turn it was for.",
                &["provider", "hop"],
            )?,
            cost_estimated_dollars: shelf.real_gauges(
                "voxgate_cost_estimated_dollars",
                "What this process has estimated and no provider has confirmed yet.",
                &["provider"],
            )?,
            cost_unheard_dollars: shelf.real_counters(
                "voxgate_cost_unheard_dollars_total",
                "What was paid for audio nobody heard. Part of the cost, not in addition.",
                &["provider"],
            )?,
            usage_unpriced: shelf.counters(
                "voxgate_usage_unpriced_total",
                "Answers and recognitions the price book has no price for.",
                &["provider"],
            )?,
            budget_actions: shelf.counters(
                "voxgate_budget_actions_total",
                "What budgets did to sessions: warn, cancel, close, refuse.",
                &["action"],
            )?,
            limits_reached: shelf.counters(
                "voxgate_limits_reached_total",
                "Times a limit held up an answer or a tool call, or ended a call, by what is limited.",
                &["resource"],
            )?,
            audit_lost: shelf.counter(
                "voxgate_audit_lost_total",
                "Entries of the audit log that were lost because the store was away for too long.",
            )?,
            ledger_waiting: shelf.gauge(
                "voxgate_ledger_waiting_entries",
                "Entries of the ledger that wait on this node until the store takes them, looked at every few seconds.",
            )?,
            ledger_lost: shelf.counter(
                "voxgate_ledger_lost_entries_total",
                "Entries of the ledger that could not be written. Anything above zero means that money is missing from it.",
            )?,
            config_revision_info: shelf.gauges(
                "voxgate_config_revision_info",
                "The configuration in force, by the first twelve digits of its hash and its number in the store: always 1.",
                &["hash", "revision"],
            )?,
            config_applied_at: shelf.gauge(
                "voxgate_config_last_apply_success_timestamp_seconds",
                "When a configuration was put in force last while the process ran.",
            )?,
            config_applies: shelf.counters(
                "voxgate_config_applies_total",
                "Attempts to put a configuration in force, by outcome: applied, unchanged, refused (it has problems), stale (another one runs than it was meant to follow), failed.",
                &["outcome"],
            )?,
            config_file_refused: shelf.gauge(
                "voxgate_config_file_refused",
                "1 while the configuration file is broken and the last good configuration runs instead.",
            )?,
            config_awaiting_restart: shelf.gauge(
                "voxgate_config_settings_awaiting_restart",
                "Settings in force that take effect when the gateway is started again.",
            )?,
            session_panics: shelf.counter(
                "voxgate_session_panics_total",
                "Sessions ended because their state machine panicked. Anything above zero is a bug to report.",
            )?,
            described: shelf.described(),
            gen_ai: GenAiFigures::new()?,
            registry,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use voxgate_protocol::timeline::Hop;
    use voxgate_protocol::trace::{Moment, TurnTrace, Work};

    use super::*;
    use crate::latency::account::TurnAccount;

    #[test]
    fn every_metric_has_a_name_of_its_own_and_a_sentence() {
        let metrics = Metrics::new().unwrap();
        metrics.sessions_ended.with_label_values(&["hung_up"]).inc();
        let text = metrics.render().unwrap();
        assert!(text.contains("# HELP voxgate_sessions Sessions running now."));
        assert!(text.contains("voxgate_sessions_ended_total{reason=\"hung_up\"} 1"));
    }

    #[test]
    fn a_measured_turn_reaches_the_whole_and_each_of_its_hops() {
        let metrics = Metrics::new().unwrap();
        let at = |ms| Moment::read(Duration::from_millis(ms));
        let work = |hop, from, to| Work { hop, from: at(from), to: at(to) };
        let works = vec![work(Hop::Endpointing, 0, 500), work(Hop::Model, 500, 800)];
        let trace = TurnTrace::new(1, at(0), at(850), works);
        metrics.turn_measured("*", &TurnAccount::from_trace(&trace).unwrap());
        let text = metrics.render().unwrap();
        assert!(text.contains(r#"voxgate_turn_seconds_sum{route="*"} 0.85"#));
        for (hop, owner, time) in [
            ("model", "provider", "0.3"),
            ("endpointing", "setting", "0.5"),
            ("unattributed", "none", "0.05"),
        ] {
            let line =
                format!(r#"voxgate_turn_hop_seconds_sum{{hop="{hop}",owner="{owner}",route="*"}} {time}"#);
            assert!(text.contains(&line), "{line}\n{text}");
        }
    }
}
