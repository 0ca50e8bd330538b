//! Whether a session may begin although something it should be judged by cannot be asked.

use std::sync::Arc;
use std::time::Duration;

use voxgate_policy::limits::rules::LimitRules;
use voxgate_protocol::id::SessionId;
use voxgate_protocol::tenant::TenantPath;
use voxgate_realtime::ApiError;

use crate::limits::desk::{LimitDesk, LimitLease};
use crate::roster::StoreHealth;

/// When somebody who was refused because something is away may try again.
pub(crate) const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What becomes of sessions that want to begin while something they should be judged by is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenAway {
    /// They are refused.
    #[default]
    Refuse,
    /// They begin, judged by what was known last.
    Allow,
}

/// A session that may not begin, and when to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// What the client is told.
    pub error: ApiError,
    /// For how long it should wait.
    pub retry_after: Duration,
}

/// What every session passes before it begins. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    store: Option<(StoreHealth, WhenAway)>,
    limits: Option<Arc<LimitDesk>>,
}

impl Gate {
    /// Closes while the store is away, if the setting says so.
    #[must_use]
    pub fn following(mut self, store: StoreHealth, when_away: WhenAway) -> Self {
        self.store = Some((store, when_away));
        self
    }

    /// Lets through what is within the limits.
    #[must_use]
    pub fn counting(mut self, limits: Arc<LimitDesk>) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Lets a session begin, and takes its place.
    ///
    /// # Errors
    /// [`Closed`] if it may not.
    pub async fn admit(
        &self,
        rules: &LimitRules,
        session: &SessionId,
        tenant: &TenantPath,
        model: &str,
    ) -> Result<LimitLease, Closed> {
        self.is_open()?;
        match &self.limits {
            Some(limits) => limits.admit(rules, session, tenant, model).await,
            None => Ok(LimitLease::unlimited(session.clone())),
        }
    }

    fn is_open(&self) -> Result<(), Closed> {
        match &self.store {
            Some((health, WhenAway::Refuse)) if health.is_away() => {
                let message =
                    "The gateway cannot reach its store and begins no sessions until it can; try again soon.";
                Err(Closed { error: ApiError::service_unavailable(message), retry_after: TRY_AGAIN })
            }
            _ => Ok(()),
        }
    }
}
