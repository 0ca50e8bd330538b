//! What happens when configuration and keys change while the gateway runs.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use voxgate_signaling::directory::Revoked;

use crate::process::ReloadSignals;
use crate::revision::keeper::Keeper;
use crate::transceiver::Command;

/// At every SIGHUP, puts the file in force. One with a fault changes nothing.
pub(super) async fn follow_file(mut signals: ReloadSignals, keeper: Arc<Keeper>) {
    loop {
        signals.next().await;
        keeper.reload().await;
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
