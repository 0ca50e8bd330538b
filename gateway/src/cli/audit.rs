//! `voxgate audit`.

use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use humantime_serde::re::humantime::format_rfc3339_millis;
use voxgate_policy::audit::{AuditEntry, Head, StoredEntry};
use voxgate_signaling::store::{Store, StoreError};

use super::store::StoreArguments;
use super::{complain, say};

/// What `voxgate audit` takes.
#[derive(clap::Args)]
pub(crate) struct AuditArguments {
    #[command(subcommand)]
    task: AuditTask,
}

#[derive(clap::Subcommand)]
enum AuditTask {
    /// Check that no row of the audit log was changed, removed or inserted. Exits with 0 if none was, with 1 otherwise, with 2
    /// if the log cannot be read.
    #[command(after_help = "\
The last line printed is the head of the log. Keep it somewhere else, and give it back with --head: whoever can write to\n\
the store could otherwise rewrite the log as a whole.")]
    Verify {
        #[command(flatten)]
        store: StoreArguments,
        /// A head that was printed earlier; the log must still pass through it.
        #[arg(long, value_name = "SEQUENCE:HASH")]
        head: Option<String>,
    },
    /// List entries of the audit log, oldest first: sequence, time, actor, action, subject, detail.
    List {
        #[command(flatten)]
        store: StoreArguments,
        /// Only entries behind this sequence. Default: the last ones.
        #[arg(long, value_name = "SEQUENCE")]
        after: Option<i64>,
        /// How many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        most: u32,
        /// Only entries whose action begins so, such as `policy.deny`. What is left out counts for `--most`.
        #[arg(long, default_value = "")]
        action: String,
    },
}

/// Does what the command line asks for.
pub(crate) fn run(arguments: AuditArguments) -> ExitCode {
    match arguments.task {
        AuditTask::Verify { store, head } => match head.as_deref().map(Head::from_line).transpose() {
            Ok(anchor) => store.run(async |store| verify(&store, anchor).await),
            Err(error) => complain(&error.to_string(), 2),
        },
        AuditTask::List { store, after, most, action } => {
            store.run(async |store| list(&store, after, most, &action).await)
        }
    }
}

async fn list(store: &Store, after: Option<i64>, most: u32, action: &str) -> Result<ExitCode, StoreError> {
    let after = match after {
        Some(after) => after,
        None => store.changes().await?.saturating_sub(i64::from(most)),
    };
    for StoredEntry { sequence, entry, .. } in store.audit_entries(after, most).await? {
        if entry.action.starts_with(action) {
            let at = UNIX_EPOCH + Duration::from_millis(entry.at_unix_ms.unsigned_abs());
            let AuditEntry { actor, action, subject, detail, .. } = entry;
            let at = format_rfc3339_millis(at);
            say(&format!("{sequence}  {at}  {actor}  {action}  {subject:?}  {detail}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn verify(store: &Store, anchor: Option<Head>) -> Result<ExitCode, StoreError> {
    let verdict = store.verify_audit(anchor).await?;
    for finding in &verdict.findings {
        say(&finding.to_string());
    }
    if verdict.findings.is_empty() {
        say(&format!("{} rows, each leads to the next", verdict.rows));
        say(&format!("head {}", verdict.head.to_line()));
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!("{} rows, and what is above is wrong with them", verdict.rows));
    Ok(ExitCode::FAILURE)
}
