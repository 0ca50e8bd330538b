//! Connections beside the client's own: an application server that watches and steers a call.

use super::Adapter;
use crate::asker::{Origin, SidebandId};
use crate::error::ApiError;

/// Most sideband connections of a session: a supervisor, an executor of tools, a recorder, and one that takes over.
const MOST_SIDEBANDS: usize = 4;

impl Adapter {
    /// Whether [`Adapter::attach`] would take one more sideband connection.
    ///
    /// # Errors
    /// Those of [`Adapter::attach`].
    pub fn may_attach(&self) -> Result<(), ApiError> {
        if self.has_ended {
            return Err(ApiError::call_id_not_found());
        }
        if self.sidebands.len() >= MOST_SIDEBANDS {
            let message =
                format!("A call has at most {MOST_SIDEBANDS} sideband connections; close one first.");
            return Err(ApiError::rate_limit_exceeded(message));
        }
        Ok(())
    }

    /// From now on a sideband connection sees every event the client sees, except `session.created`, and may send every
    /// client event. What answers its own events in particular (`error`, `conversation.item.retrieved`) is seen by it
    /// alone: some clients end a call at any error.
    ///
    /// # Errors
    /// `call_id_not_found` if the session is over, `rate_limit_exceeded` if it has as many as it may have.
    pub fn attach(&mut self, id: SidebandId) -> Result<(), ApiError> {
        self.may_attach()?;
        self.sidebands.push(id);
        self.outbox.set_sidebands(true);
        Ok(())
    }

    /// A sideband connection is gone. The session goes on; what it asked for is still done.
    pub fn detach(&mut self, id: SidebandId) {
        self.sidebands.retain(|known| *known != id);
        self.outbox.set_sidebands(!self.sidebands.is_empty());
    }

    /// One message of a sideband connection; anything else than an attached one is not heard.
    pub fn handle_sideband(&mut self, id: SidebandId, text: &str) {
        if self.sidebands.contains(&id) {
            self.take_text(Origin::Sideband(id), text);
        }
    }
}
