//! How long a decision takes, by the number of policies: `make bench-policy`.
//!
//! Four kinds of sets. *Spread*: a quarter of the policies is for everybody, the others for one of twenty teams each, over all
//! acts, as an installation grows. *Tools*: every policy is for the same team and the same act, each for another tool.
//! *Piled*: the same, but each policy is about every tool and says in a condition which one it means. *Strange*: piled
//! policies of which no two share a condition and each has three that must be asked, the worst there is. Times are of single
//! decisions, request and entities included, nothing remembered from one to the next; processor time is what the kernel
//! counted for this thread.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use voxgate_policy::decision::{Act, Authorizer, PolicyFile, Question, Risk};
use voxgate_policy::directory::{Caller, Role};
use voxgate_protocol::tenant::{KeyId, OrganisationId, TeamId, TenantPath};

const COUNTS: [usize; 4] = [2, 20, 200, 1_000];
const DECISIONS: usize = 20_000;
const WARM_UP: usize = 1_000;
const TEAMS: usize = 20;

fn spread(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        let act = Act::ALL[number % Act::ALL.len()].as_str();
        let scope = match number % 4 {
            0 => "principal".to_owned(),
            _ => format!("principal in Team::\"acme/team-{}\"", (number / Act::ALL.len()) % TEAMS),
        };
        let effect = if number % 10 == 9 { "forbid" } else { "permit" };
        let when = match effect {
            "forbid" => "when { principal in Role::\"auditor\" }",
            _ => "when { principal in Role::\"member\" && principal.organisation == Organisation::\"acme\" }",
        };
        let _ = writeln!(text, "{effect} ({scope}, action == Action::\"{act}\", resource) {when};");
    }
    text
}

fn tools(count: usize) -> String {
    (0..count).map(|number| tool_policy(&format!("resource == Tool::\"tool-{number}\""), "true")).collect()
}

fn piled(count: usize) -> String {
    (0..count)
        .map(|number| tool_policy("resource", &format!("resource == Tool::\"tool-{number}\"")))
        .collect()
}

fn strange(count: usize) -> String {
    let policy = |number| {
        format!(
            "permit (principal in Team::\"acme/team-0\", action == Action::\"tool.call\", resource) when {{ resource.risk != \
             \"{number}\" && principal.team != Team::\"other/team-{number}\" && resource == Tool::\"tool-{number}\" }};\n"
        )
    };
    (0..count).map(policy).collect()
}

fn tool_policy(resource: &str, condition: &str) -> String {
    format!(
        "permit (principal in Team::\"acme/team-0\", action == Action::\"tool.call\", {resource}) when {{ principal in \
         Role::\"member\" && principal.organisation == Organisation::\"acme\" && {condition} }};\n"
    )
}

/// Time this thread ran, as the kernel counts it (proc_pid_schedstat: nanoseconds on the processor come first).
fn processor_time() -> Result<Duration, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}

fn measure(kind: &str, count: usize, text: &str) -> Result<String, Box<dyn Error>> {
    let began = Instant::now();
    let loaded = Authorizer::load(&[PolicyFile { name: "bench.cedar", text }]);
    let authorizer = loaded.map_err(|problems| format!("{problems:?}"))?;
    let load = began.elapsed();
    let tenancy = TenantPath {
        organisation: OrganisationId::new("acme")?,
        team: TeamId::new("team-0")?,
        key: KeyId::new("web")?,
        agent: None,
    };
    let caller = Caller { tenancy, role: Role::Member, ..Caller::default() };
    let mut times = Vec::with_capacity(DECISIONS);
    let mut allowed = 0_usize;
    let mut before = processor_time()?;
    for number in 0..WARM_UP + DECISIONS {
        if number == WARM_UP {
            before = processor_time()?;
        }
        let tool = format!("tool-{}", number % count);
        let question = Question::ToolCall { tool: &tool, risk: Risk::Ordinary };
        let began = Instant::now();
        allowed += usize::from(authorizer.decide(&caller, &question).is_possible());
        if number >= WARM_UP {
            times.push(began.elapsed());
        }
    }
    let used = (processor_time()? - before).as_secs_f64() * 1e6 / DECISIONS as f64;
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    Ok(format!(
        "| {kind} | {count} | {:.1} | {:.1} | {:.1} | {used:.1} | {:.0} | {:.0} % |\n",
        at(0.5),
        at(0.99),
        at(0.999),
        load.as_secs_f64() * 1e3,
        100.0 * allowed as f64 / (WARM_UP + DECISIONS) as f64,
    ))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut report = "| policies | number | p50 µs | p99 µs | p99.9 µs | CPU µs | load ms | allowed |\n\
                      |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for count in COUNTS {
        report += &measure("spread", count, &spread(count))?;
        report += &measure("tools", count, &tools(count))?;
        report += &measure("piled", count, &piled(count))?;
        report += &measure("strange", count, &strange(count))?;
    }
    std::io::stdout().write_all(report.as_bytes())?;
    Ok(())
}
