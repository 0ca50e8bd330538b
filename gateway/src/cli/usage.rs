//! `voxgate usage` and `voxgate reconcile`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use voxgate_policy::money::day::UtcDay;
use voxgate_policy::money::invoice::{self, Booked, Compared, InvoiceLine};
use voxgate_policy::money::ledger::LedgerError;
use voxgate_signaling::store::usage::{UsageBy, UsageQuestion, UsageRow, usage_csv};
use voxgate_signaling::store::{Store, StoreError};

use super::store::{StoreArguments, deed};
use super::{EXIT_CONFIG, complain, say};
use crate::host::since_unix_epoch;

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// For spreadsheets; amounts in dollars.
    Csv,
    /// For programs; amounts in whole nano-dollars.
    Json,
}

/// What `voxgate usage` takes.
#[derive(clap::Args)]
pub(crate) struct UsageArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// What to add up by, with commas: day, organisation, team, key, agent, provider, model, hop. Names above an asked one come
    /// with it. Default: one sum.
    #[arg(long, default_value = "")]
    by: String,
    /// The first day, in UTC. Default: the first of this month.
    #[arg(long, value_name = "DAY", value_parser = UtcDay::parse)]
    from: Option<UtcDay>,
    /// The last day, included. Default: today.
    #[arg(long, value_name = "DAY", value_parser = UtcDay::parse)]
    to: Option<UtcDay>,
    /// Only this name, such as `team=support`. May be given more than once; all must fit.
    #[arg(long, value_name = "WHAT=NAME", value_parser = condition)]
    only: Vec<(UsageBy, String)>,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

fn condition(text: &str) -> Result<(UsageBy, String), String> {
    let (by, name) = text.split_once('=').ok_or("give it as team=support")?;
    let by = UsageBy::from_word(by).ok_or_else(|| unknown(by))?;
    Ok((by, name.to_owned()))
}

fn unknown(word: &str) -> String {
    let words = UsageBy::ALL.map(UsageBy::as_str).join(", ");
    format!("{word:?} is none of {words}")
}

/// Does what `voxgate usage` asks for.
pub(crate) fn run(arguments: UsageArguments) -> ExitCode {
    let by = match UsageBy::from_words(&arguments.by) {
        Ok(by) => by,
        Err(word) => return complain(&unknown(&word), EXIT_CONFIG),
    };
    let now = since_unix_epoch();
    let month = UtcDay::of(voxgate_policy::money::day::Window::Month.begins_at(now));
    let last = arguments.to.unwrap_or_else(|| UtcDay::of(now));
    let first = arguments.from.unwrap_or(month);
    let question = UsageQuestion { by, only: arguments.only, ..UsageQuestion::between(first, last) };
    let format = arguments.format;
    arguments.store.run(async |store| {
        let rows = store.usage(&question).await?;
        match format {
            Format::Json => say(&serde_json::to_string_pretty(&rows).unwrap_or_default()),
            Format::Csv => say(usage_csv(&question.columns(), &rows).trim_end()),
            Format::Table => show(&question, &rows),
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn show(question: &UsageQuestion, rows: &[UsageRow]) {
    let columns = question.columns();
    let mut table = vec![columns.iter().map(|by| by.as_str().to_owned()).collect::<Vec<_>>()];
    table[0].extend(["confirmed $", "estimated $", "unheard $", "unpriced"].map(str::to_owned));
    for row in rows {
        let names = columns.iter().map(|by| printable(row.name(*by).unwrap_or_default()));
        let amounts = [row.confirmed, row.estimated, row.unheard].map(|amount| amount.to_string());
        table.push(names.chain(amounts).chain([row.unpriced.to_string()]).collect());
    }
    show_table(&table, columns.len());
}

/// Names of models come from outside; a terminal must not obey them.
fn printable(name: &str) -> String {
    name.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// Lines up columns: names to the left, amounts to the right.
fn show_table(table: &[Vec<String>], names: usize) {
    let width = |column: usize| {
        table.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    for row in table {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = width(column);
            if column < names { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        say(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// What `voxgate reconcile` takes.
#[derive(clap::Args)]
#[command(after_help = "\
The invoice is CSV with a header. The columns day (2026-11-21, UTC), model and dollars must be there, kind may be; others\n\
are not read. Exits with 0 if nothing differs, with 1 if something does, with 2 if it cannot be told.")]
pub(crate) struct ReconcileArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The provider, as the configuration names it.
    #[arg(long)]
    provider: String,
    /// The invoice.
    #[arg(long, value_name = "FILE")]
    invoice: PathBuf,
    /// Confirm what is still estimated on the days of the invoice, up to what it bills. Today and yesterday are left alone: sessions of theirs may still run.
    #[arg(long)]
    confirm: bool,
}

/// The largest invoice, in bytes.
const LARGEST_INVOICE: u64 = 32 * 1024 * 1024;

/// Does what `voxgate reconcile` asks for.
pub(crate) fn reconcile(arguments: ReconcileArguments) -> ExitCode {
    let lines = match read(&arguments.invoice) {
        Ok(lines) => lines,
        Err(problem) => return complain(&problem, 2),
    };
    let ReconcileArguments { store, provider, confirm, .. } = arguments;
    store.run(async |store| settle(&store, &provider, &lines, confirm).await)
}

fn read(path: &PathBuf) -> Result<Vec<InvoiceLine>, String> {
    let refused = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let length = std::fs::metadata(path).map_err(refused)?.len();
    if length > LARGEST_INVOICE {
        return Err(format!("{} is larger than {LARGEST_INVOICE} bytes", path.display()));
    }
    let text = std::fs::read_to_string(path).map_err(refused)?;
    let lines = invoice::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    if lines.is_empty() { Err(format!("{} has no lines", path.display())) } else { Ok(lines) }
}

async fn settle(
    store: &Store,
    provider: &str,
    lines: &[InvoiceLine],
    confirms: bool,
) -> Result<ExitCode, StoreError> {
    let mut compared = compare(store, provider, lines).await?;
    if confirms {
        let confirmed = confirm(store, provider, &compared).await?;
        say(&format!("{confirmed} estimates confirmed"));
        compared = compare(store, provider, lines).await?;
    }
    let mut table = vec![
        ["day", "model", "billed $", "confirmed $", "estimated $", "difference $"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for both in &compared {
        let difference = both.difference().map_err(overflow)?;
        if difference.get() != 0 {
            let Booked { confirmed, estimated, .. } = both.booked;
            let amounts = [both.billed, confirmed, estimated, difference].map(|amount| amount.to_string());
            table.push([both.day.to_string(), printable(&both.model)].into_iter().chain(amounts).collect());
        }
    }
    if table.len() == 1 {
        say(&format!("nothing differs on {} days and models", compared.len()));
        return Ok(ExitCode::SUCCESS);
    }
    show_table(&table, 2);
    Ok(ExitCode::FAILURE)
}

fn overflow(_: LedgerError) -> StoreError {
    StoreError::Damaged { what: "sum of the ledger" }
}

fn days(lines: &[InvoiceLine]) -> Option<(UtcDay, UtcDay)> {
    let days = || lines.iter().map(|line| line.day);
    days().min().zip(days().max())
}

async fn compare(store: &Store, provider: &str, lines: &[InvoiceLine]) -> Result<Vec<Compared>, StoreError> {
    let Some((first, last)) = days(lines) else { return Ok(Vec::new()) };
    let question = UsageQuestion {
        by: [UsageBy::Day, UsageBy::Model].into(),
        only: vec![(UsageBy::Provider, provider.to_owned())],
        ..UsageQuestion::between(first, last)
    };
    let mut booked = BTreeMap::new();
    for row in store.usage(&question).await? {
        let day = row.day.as_deref().and_then(|day| UtcDay::parse(day).ok());
        let day = day.ok_or(StoreError::Damaged { what: "day of the ledger" })?;
        let Some(model) = row.model else { continue };
        let UsageRow { confirmed, estimated, unpriced, .. } = row;
        booked.insert((day, model), Booked { confirmed, estimated, unpriced });
    }
    invoice::compare(lines, booked).map_err(overflow)
}

/// Sessions that began on a day may go on into the next, and their meters still have a word to say.
const A_DAY: Duration = Duration::from_secs(86_400);

/// Confirms what is estimated on days that are over for a day. Gives how many estimates.
async fn confirm(store: &Store, provider: &str, compared: &[Compared]) -> Result<usize, StoreError> {
    let yesterday = UtcDay::of(since_unix_epoch().saturating_sub(A_DAY));
    let mut confirmed = 0;
    for both in compared.iter().filter(|both| both.day < yesterday) {
        let estimates = store.open_estimates(provider, both.day, both.day).await?;
        let of_model = |estimate: &invoice::OpenEstimate| *estimate.entry.model == *both.model;
        let estimates: Vec<_> = estimates.into_iter().filter(of_model).collect();
        let entries = invoice::confirm(both, &estimates).map_err(overflow)?;
        let detail = json!({
            "day": both.day.to_string(), "model": both.model, "billed_nano_dollars": both.billed.get(),
            "estimates": estimates.len(), "entries": entries.len(),
        });
        let added = store.settle_ledger(&deed(), &entries, provider, &detail).await?;
        if let Some(conflict) = added.conflicts.first() {
            tracing::error!(%conflict, "an estimate was confirmed meanwhile");
        }
        confirmed += estimates.len();
    }
    Ok(confirmed)
}
