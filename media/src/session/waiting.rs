//! What policy has the model answer, and when the conversation is free for it.

use voxgate_protocol::id::ResponseId;
use voxgate_protocol::settings::ResponseOptions;

use super::Session;

impl Session {
    /// Asks for an answer once none is under way.
    pub(super) fn answer_when_free(&mut self, options: Box<ResponseOptions>) {
        // The turn that is being spoken will be answered, and its answer knows what there is to know.
        if self.user_item.is_some() && self.answers_turns() {
            return;
        }
        self.waiting = Some(options);
        self.create_what_waited();
    }

    /// Whether an answer that somebody else has made would disturb none: nothing is asked for, in progress or about to be
    /// taken back.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.responses.is_idle() && !self.withdrawal.awaits_answer()
    }

    /// Whether an answer in progress stays outside the conversation.
    #[must_use]
    pub fn is_beside(&self, response_id: &ResponseId) -> bool {
        self.responses.is_beside(response_id)
    }
}
