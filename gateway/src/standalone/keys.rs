//! Keys that come and go while the gateway runs.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use voxgate_policy::key::KeyHash;
use voxgate_signaling::audit_queue::{AuditQueue, Note};
use voxgate_signaling::directory::Revoked;
use voxgate_signaling::roster::KeyBook;

use crate::config::{self, Loaded, Source};
use crate::process::ReloadSignals;
use crate::transceiver::Command;

/// At every SIGHUP, takes over the keys of the configuration. One with a fault changes nothing.
pub(super) async fn follow_file(
    mut signals: ReloadSignals,
    source: Arc<dyn Source>,
    first: KeyHash,
    book: KeyBook,
    audit: AuditQueue,
) {
    loop {
        signals.next().await;
        let replaced = source.read().map_err(|error| error.to_string()).and_then(
            |Loaded { checked: config, .. }| {
                let keys = config::first_and(first, &config.key_hashes, &config.keys);
                book.set_configured(keys).map_err(|error| error.to_string())
            },
        );
        match replaced {
            Ok(lost) => {
                let detail = serde_json::json!({ "revoked": lost });
                audit.note(Note::now("gateway", "keys.reload", "", detail));
                tracing::info!(lost, "the keys were read again; nothing else of the configuration was")
            }
            Err(error) => tracing::error!(%error, "the configuration was read again and is not used"),
        }
    }
}

/// Lets the calls of revoked keys end.
pub(super) async fn tell_calls(
    mut revoked: watch::Receiver<Revoked>,
    commands: mpsc::UnboundedSender<Command>,
) {
    loop {
        let now = Revoked::clone(&revoked.borrow_and_update());
        if commands.send(Command::Revoke(now)).is_err() || revoked.changed().await.is_err() {
            return;
        }
    }
}
