//! The course of the benchmark: set-ups one after the other, then rounds of conversations.

use std::io::Write as _;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::provider_sim::voice::{RATE, marker_hz};
use crate::provider_sim::{AnswerAudio, SimConfig};

use super::caller::Caller;
use super::figures::{Inside, SetUp, Times, between, egress, ingress, read_inside};
use super::gateway::{Gateway, configuration, cpu_time, free_udp_address};
use super::log::Log;
use super::speech::tones;
use super::wire::Wire;
use super::{Options, Plan};

/// Length of an answer.
const ANSWER: Duration = Duration::from_millis(300);

/// How often a running round says that it is still there.
const REMINDER: Duration = Duration::from_secs(5);

/// One round.
#[derive(Debug)]
pub struct Round {
    /// Callers at once.
    pub sessions: usize,
    /// Its number among the rounds of this size, from 1.
    pub number: usize,
    /// How long everybody talked.
    pub length: Duration,
    /// What the gateway says about itself in that time.
    pub inside: Inside,
    /// Caller's wire to provider, by session.
    pub ingress: Times,
    /// Provider to caller's wire, by session.
    pub egress: Times,
    /// CPU time of the gateway.
    pub gateway_cpu: Duration,
    /// CPU time of the callers, the tap and the provider.
    pub bench_cpu: Duration,
    /// Resident memory of the gateway at the end, in bytes.
    pub resident_bytes: u64,
    /// How the callers of the round were connected, one after the other, those before them being idle.
    pub set_ups: Vec<SetUp>,
}

/// Everything that was measured.
#[derive(Debug)]
pub struct Outcome {
    /// Set-ups one after the other with nobody else there.
    pub set_ups: Vec<SetUp>,
    /// What the gateway says about them.
    pub set_up_inside: Inside,
    /// Resident memory of the gateway before the first call, in bytes.
    pub idle_bytes: u64,
    /// The rounds in order.
    pub rounds: Vec<Round>,
}

/// A gateway between a tap and a provider, and the numbers of sessions.
struct Course {
    gateway: Gateway,
    wire: Wire,
    log: Log,
    next_session: usize,
}

/// Runs a plan.
///
/// # Errors
/// The gateway cannot be started, a call fails, or an answer does not come. Slowness is no error.
pub async fn run(options: &Options) -> anyhow::Result<Outcome> {
    let plan = &options.plan;
    let log = Log::default();
    let relay = free_udp_address()?;
    let (wire, provider) = start_wires(relay, log.clone()).await?;
    let gateway = Gateway::start(&options.gateway, &configuration(provider), relay, wire.public)?;
    let idle_bytes = gateway.resident_bytes()?;
    let mut course = Course { gateway, wire, log, next_session: 0 };
    let result = Box::pin(course.run(plan, idle_bytes)).await;
    result.with_context(|| format!("the gateway's log ends with:\n{}", last_lines(&course.gateway.log())))
}

impl Course {
    async fn run(&mut self, plan: &Plan, idle_bytes: u64) -> anyhow::Result<Outcome> {
        say(&format!("{} calls are set up one after the other", plan.set_ups));
        let before = read_inside(&self.gateway.metrics().await?);
        let mut set_ups = Vec::new();
        for _ in 0..plan.set_ups {
            let caller = self.connect().await?;
            set_ups.extend(self.set_up_of(&caller));
            caller.hang_up().await?;
        }
        let set_up_inside = between(&before, &read_inside(&self.gateway.metrics().await?));
        let mut rounds = Vec::new();
        for sessions in &plan.sizes {
            for number in 1..=plan.rounds {
                say(&format!("round {number} of {} with {sessions} session(s): connecting", plan.rounds));
                rounds.push(self.round(*sessions, number, plan.round_length).await?);
            }
        }
        Ok(Outcome { set_ups, set_up_inside, idle_bytes, rounds })
    }

    async fn connect(&mut self) -> anyhow::Result<Caller> {
        self.next_session += 1;
        Box::pin(Caller::connect(&self.gateway.base_url(), self.next_session, &mut self.wire)).await
    }

    fn set_up_of(&self, caller: &Caller) -> Option<SetUp> {
        SetUp::of(caller.session, &caller.timings(), &self.log.take())
    }

    async fn round(&mut self, sessions: usize, number: usize, length: Duration) -> anyhow::Result<Round> {
        let (mut callers, mut set_ups) = (Vec::new(), Vec::new());
        for _ in 0..sessions {
            let caller = self.connect().await?;
            set_ups.extend(self.set_up_of(&caller));
            callers.push(caller);
        }
        let streams: Vec<(usize, u32)> = callers.iter().map(|caller| (caller.session, caller.ssrc)).collect();
        let _ = self.log.take();
        let before = read_inside(&self.gateway.metrics().await?);
        let (gateway_cpu, bench_cpu) = (self.gateway.cpu_time()?, cpu_time("self")?);
        let began = Instant::now();
        let callers = talk(callers, began + length).await?;
        let talked = began.elapsed();
        let round = Round {
            sessions,
            number,
            length: talked,
            gateway_cpu: self.gateway.cpu_time()?.saturating_sub(gateway_cpu),
            bench_cpu: cpu_time("self")?.saturating_sub(bench_cpu),
            resident_bytes: self.gateway.resident_bytes()?,
            inside: between(&before, &read_inside(&self.gateway.metrics().await?)),
            ingress: Times::new(),
            egress: Times::new(),
            set_ups,
        };
        let log = self.log.take();
        for caller in callers {
            caller.hang_up().await?;
        }
        Ok(Round { ingress: ingress(&log, &streams), egress: egress(&log, &streams), ..round })
    }
}

/// Lets all callers talk at once and says how far they are.
async fn talk(callers: Vec<Caller>, until: Instant) -> anyhow::Result<Vec<Caller>> {
    let speech = tones(until.saturating_duration_since(Instant::now()));
    let mut talking = JoinSet::new();
    for caller in callers {
        talking.spawn(caller.converse(speech.clone(), until));
    }
    let mut done = Vec::new();
    let mut reminder = Box::pin(tokio::time::sleep(REMINDER));
    loop {
        tokio::select! {
            caller = talking.join_next() => match caller {
                Some(caller) => done.push(caller??),
                None => return Ok(done),
            },
            () = &mut reminder => {
                let left = until.saturating_duration_since(Instant::now());
                say(&format!("  {} talking, {} s left", talking.len(), left.as_secs()));
                reminder.as_mut().reset(tokio::time::Instant::now() + REMINDER);
            }
        }
    }
}

/// Tap and provider live on a thread of their own, so that the callers' work delays their stamps as little as
/// possible.
async fn start_wires(relay: std::net::SocketAddr, log: Log) -> anyhow::Result<(Wire, std::net::SocketAddr)> {
    let (ready, started) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("wires".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let wires = async {
                let wire = Wire::open(relay, log.clone()).await?;
                Ok((wire, super::provider::start(provider_behaviour(), log).await?))
            };
            let result: std::io::Result<_> = wires.await;
            // If the benchmark was given up meanwhile, the thread ends with the process.
            let _ = ready.send(result);
            std::future::pending::<()>().await;
        });
    })?;
    Ok(started.await??)
}

/// Answers at once and faster than real time: what is left is the gateway's time.
fn provider_behaviour() -> SimConfig {
    let samples = (ANSWER.as_millis() * u128::from(RATE) / 1_000) as usize;
    let step = std::f64::consts::TAU * marker_hz(0) / f64::from(RATE);
    let tone: Arc<[i16]> = (0..samples).map(|index| ((step * index as f64).sin() * 8_000.0) as i16).collect();
    SimConfig { model_delay: Duration::ZERO, answer: AnswerAudio::Samples(tone), ..SimConfig::default() }
}

fn last_lines(log: &str) -> String {
    const SHOWN: usize = 20;
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

/// A sign of life for the person who waits.
fn say(line: &str) {
    // A closed terminal does not end the benchmark.
    let _ = writeln!(std::io::stderr(), "{line}");
}
