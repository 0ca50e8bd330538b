//! Tool calls that wait for a person.

use std::fmt;

use futures_util::future::BoxFuture;
use voxgate_policy::approval::{ApprovalError, ApprovalState, Verdict};
use voxgate_policy::decision::Risk;
use voxgate_protocol::id::{SessionId, ToolCallId};
use voxgate_protocol::tenant::TenantPath;

use super::reach::Reach;

/// A tool call that is held.
#[derive(Clone)]
pub struct PendingApproval {
    /// Its name in the administration, `appr_…`: up to 64 ASCII letters, digits, `-` and `_`. Unique in the process, and
    /// not the provider's name of the call, which is unique in its session only.
    pub id: String,
    /// The session it happens in.
    pub session: SessionId,
    /// The provider's name of the call.
    pub call: ToolCallId,
    /// Whose session it is.
    pub tenancy: TenantPath,
    /// The tool.
    pub tool: String,
    /// How much harm the tool can do.
    pub risk: Risk,
    /// What the model wants it called with: JSON text. It may hold what the caller said, so it is shown to who decides and
    /// stands in no log.
    pub arguments: String,
    /// Since when it waits, in milliseconds since 1970.
    pub asked_at_unix_ms: u64,
    /// When it is too late, in milliseconds since 1970.
    pub deadline_unix_ms: u64,
}

/// Without the arguments.
impl fmt::Debug for PendingApproval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingApproval")
            .field("id", &self.id)
            .field("session", &self.session)
            .field("tool", &self.tool)
            .finish_non_exhaustive()
    }
}

/// The tool calls of this process that wait for a person.
///
/// The administration checks who asks and writes the audit log; whoever implements this keeps the list and reaches the
/// sessions.
pub trait Approvals: Send + Sync + 'static {
    /// Those inside `within`, ordered by id.
    fn pending(&self, within: &Reach) -> Vec<PendingApproval>;

    /// Decides one inside `within`. Returns once the session has taken the verdict.
    ///
    /// # Errors
    /// [`ApprovalError::Unknown`] for one that does not wait, is outside `within` or whose session has ended;
    /// [`ApprovalError::AlreadyDecided`] if somebody else or the deadline was first.
    fn decide<'a>(
        &'a self,
        id: &'a str,
        within: &'a Reach,
        verdict: Verdict,
    ) -> BoxFuture<'a, Result<ApprovalState, ApprovalError>>;
}

/// Where nothing ever waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoApprovals;

impl Approvals for NoApprovals {
    fn pending(&self, _: &Reach) -> Vec<PendingApproval> {
        Vec::new()
    }

    fn decide<'a>(
        &'a self,
        _: &'a str,
        _: &'a Reach,
        _: Verdict,
    ) -> BoxFuture<'a, Result<ApprovalState, ApprovalError>> {
        Box::pin(async { Err(ApprovalError::Unknown) })
    }
}
