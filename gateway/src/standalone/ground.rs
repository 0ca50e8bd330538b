//! What everything in the process stands on: its folder, its figures, and where it writes.

use std::sync::Arc;
use std::time::Duration;

use voxgate_signaling::audit_queue::{AuditQueue, Note};
use voxgate_signaling::store::Store;
use voxgate_telemetry::metrics::Metrics;

use crate::config::Checked;
use crate::data_dir::DataDir;
use crate::money::Money;
use crate::notices::Notices;
use crate::process::StartError;
use crate::process_figures;
use crate::replay::ReplayLog;

/// How long what servers are still to be told may hold up the end of the process.
const LAST_NOTICES: Duration = Duration::from_secs(2);

pub(super) struct Ground {
    pub(super) data: DataDir,
    pub(super) metrics: Arc<Metrics>,
    /// Where sessions are kept, if they are.
    pub(super) replay: Option<Arc<ReplayLog>>,
    pub(super) store: Store,
    pub(super) money: Arc<Money>,
    pub(super) audit: AuditQueue,
    /// Who is told of sessions.
    pub(super) notices: Notices,
}

impl Ground {
    pub(super) async fn lay(config: &Checked, data: DataDir) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new().map_err(StartError::internal)?);
        metrics.add_process(process_figures::reader("standalone")).map_err(StartError::internal)?;
        let replay = config.replay.clone().map(ReplayLog::start).transpose();
        let replay = replay.map_err(StartError::system("the folder of replay.dir"))?.map(Arc::new);
        let store = Store::name(&config.store.place)?;
        let money = Money::open(config.money.clone(), &config.data_dir, store.clone(), Arc::clone(&metrics));
        let money = Arc::new(money.await?);
        let lost = metrics.audit_lost.clone();
        let audit = AuditQueue::start(store.clone(), move |entries| lost.inc_by(entries));
        let notices = Notices::start(&config.recipients, &metrics);
        Ok(Self { data, metrics, replay, store, money, audit, notices })
    }

    /// Writes what is left to write. Nothing may happen afterwards.
    pub(super) async fn leave(self) {
        self.notices.finish(LAST_NOTICES).await;
        self.money.finish().await;
        if let Some(replay) = self.replay {
            replay.finish();
        }
        self.audit.note(of_this_gateway("gateway.stop"));
        self.audit.finish().await;
        self.store.close().await;
    }
}

/// What the process itself does.
pub(super) fn of_this_gateway(action: &'static str) -> Note {
    Note::now("gateway", action, "", serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }))
}
