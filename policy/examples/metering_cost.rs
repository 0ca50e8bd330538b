//! What it costs to meter an event: `make bench-policy`.
//!
//! One session after another is fed what a call brings: 20 ms of the caller's audio and 20 ms of an answer in turn, a budget at
//! each of three levels above it, and every entry taken out as it would be for the outbox. *By tokens* is a model whose answers
//! are estimated until the vendor counts, *by time* one whose connection is billed, which looks at the clock at each event.
//! Times are of single events; processor time is what the kernel counted for this thread.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use voxgate_policy::money::budget::{Budget, BudgetTree, Scope};
use voxgate_policy::money::day::{UtcDay, Window};
use voxgate_policy::money::meter::{MeterConfig, Recogniser};
use voxgate_policy::money::price::PriceBook;
use voxgate_policy::money::spending::{Spending, SpendingOutput};
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::tenant::{OrganisationId, TeamId, TenantPath};
use voxgate_protocol::usage::TokenUsage;

const START: Duration = Duration::from_secs(20_778 * 86_400);
const FRAME: Duration = Duration::from_millis(20);
/// Ten minutes of a call that both sides fill.
const FRAMES: usize = 30_000;
/// Answers of ten seconds.
const FRAMES_OF_AN_ANSWER: usize = 500;
const SESSIONS: usize = 20;
const LEASE: NanoDollars = NanoDollars::new(50_000_000);

/// Time this thread ran, as the kernel counts it (proc_pid_schedstat: nanoseconds on the processor come first).
fn processor_time() -> Result<Duration, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(text.split(' ').next().unwrap_or_default().parse()?))
}

/// A budget for the organisation, one for its team and one for the key, none of which runs out.
fn budgets(tenant: &TenantPath) -> BudgetTree {
    let organisation =
        Scope { organisation: tenant.organisation.clone(), team: None, key: None, agent: None };
    let team = Scope { team: Some(tenant.team.clone()), ..organisation.clone() };
    let key = Scope { key: Some(tenant.key.clone()), ..team.clone() };
    let hard = NanoDollars::dollars(1_000_000);
    BudgetTree::new([organisation, team, key].map(|scope| Budget {
        scope,
        window: Window::Day,
        soft: hard,
        hard,
    }))
}

struct Run {
    spending: Spending,
    budgets: BudgetTree,
    tenant: TenantPath,
    entries: usize,
}

impl Run {
    fn settle(&mut self, now: Duration) {
        while let Some(output) = self.spending.poll_output() {
            match output {
                SpendingOutput::Entry(entry) => self.entries += usize::from(!entry.provider.is_empty()),
                SpendingOutput::Draw(demand) => {
                    let draw = self.budgets.draw(now, &self.tenant, demand);
                    self.spending.drew(now, draw);
                }
                SpendingOutput::Warn(_) | SpendingOutput::Cancel(_) | SpendingOutput::Close(_) => {}
            }
        }
    }
}

/// One call, event by event. Gives the number of its entries.
fn call(book: &PriceBook, model: &str, times: &mut Vec<Duration>) -> Result<usize, Box<dyn Error>> {
    let tenant = TenantPath {
        organisation: OrganisationId::new("acme")?,
        team: TeamId::new("red")?,
        ..TenantPath::default()
    };
    let config = MeterConfig {
        session: "sess_1".into(),
        tenant: tenant.clone(),
        provider: "openai".into(),
        model: model.into(),
        prices: Some(*book.find("openai", model, UtcDay::of(START))?),
        version: Arc::clone(book.version()),
        recogniser: Recogniser { model: "".into(), prices: None },
    };
    let budgets = budgets(&tenant);
    let mut run = Run { spending: Spending::new(START, config, LEASE), budgets, tenant, entries: 0 };
    let item = "item_1".into();
    for frame in 0..FRAMES {
        let now = START + FRAME * u32::try_from(frame)?;
        let response = format!("resp_{}", frame / FRAMES_OF_AN_ANSWER).as_str().into();
        if frame % FRAMES_OF_AN_ANSWER == 0 {
            run.spending.answer_started(now, &response);
        }
        let began = Instant::now();
        run.spending.listened(now, FRAME);
        run.settle(now);
        let middle = Instant::now();
        run.spending.spoke(now, &response, &item, FRAME, 0);
        run.settle(now);
        times.extend([middle - began, middle.elapsed()]);
        if frame % FRAMES_OF_AN_ANSWER == FRAMES_OF_AN_ANSWER - 1 {
            let usage = TokenUsage {
                input_audio: 1_000,
                cached_audio: 900,
                output_audio: 200,
                ..TokenUsage::default()
            };
            run.spending.answer_done(now, &response, Some(usage));
            run.settle(now);
        }
    }
    Ok(run.entries)
}

fn measure(kind: &str, book: &PriceBook, model: &str) -> Result<String, Box<dyn Error>> {
    let mut times = Vec::with_capacity(2 * FRAMES * SESSIONS);
    call(book, model, &mut times)?;
    times.clear();
    let before = processor_time()?;
    let mut entries = 0;
    for _ in 0..SESSIONS {
        entries += call(book, model, &mut times)?;
    }
    let used = (processor_time()? - before).as_secs_f64() * 1e9 / times.len() as f64;
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_nanos();
    let seconds = SESSIONS as f64 * FRAMES as f64 * FRAME.as_secs_f64();
    Ok(format!(
        "| {kind} | {} | {} | {} | {used:.0} | {:.2} |\n",
        at(0.5),
        at(0.99),
        at(0.999),
        entries as f64 / seconds
    ))
}

fn main() -> Result<(), Box<dyn Error>> {
    let book = PriceBook::built_in()?;
    let mut report = "| metering | p50 ns | p99 ns | p99.9 ns | CPU ns an event | entries a second |\n\
                      |---|---|---|---|---|---|\n"
        .to_owned();
    for (kind, model) in [("by tokens", "gpt-realtime-2.1"), ("by time", "gpt-live-1")] {
        let _ = write!(report, "{}", measure(kind, &book, model)?);
    }
    std::io::stdout().write_all(report.as_bytes())?;
    Ok(())
}
