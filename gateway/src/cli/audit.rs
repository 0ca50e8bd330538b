//! `voxgate audit`.

use std::process::ExitCode;

use voxgate_policy::audit::Head;
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
}

/// Does what the command line asks for.
pub(crate) fn run(arguments: AuditArguments) -> ExitCode {
    let AuditTask::Verify { store, head } = arguments.task;
    let anchor = match head.as_deref().map(Head::from_line).transpose() {
        Ok(anchor) => anchor,
        Err(error) => return complain(&error.to_string(), 2),
    };
    store.run(async |store| verify(&store, anchor).await)
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
