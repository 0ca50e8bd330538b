//! Sessions that are over.

use std::collections::VecDeque;

use voxgate_protocol::id::SessionId;
use voxgate_telemetry::session::SessionRecord;

/// Sessions that are kept.
const MOST_SESSIONS: usize = 1_000;

/// What they may take, in bytes.
const MOST_BYTES: usize = 64 * 1_024 * 1_024;

/// The last sessions that are over.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// With their sizes; the last one is the newest.
    sessions: VecDeque<(SessionRecord, usize)>,
    bytes: usize,
}

impl Past {
    /// Adds a session. Those that had to go for it: to be dropped outside the lock.
    pub(super) fn add(&mut self, record: SessionRecord, size: usize) -> Vec<SessionRecord> {
        self.sessions.push_back((record, size));
        self.bytes += size;
        let mut gone = Vec::new();
        while self.sessions.len() > MOST_SESSIONS || self.bytes > MOST_BYTES {
            let Some((oldest, size)) = self.sessions.pop_front() else { break };
            self.bytes -= size;
            gone.push(oldest);
        }
        gone
    }

    pub(super) fn get(&self, session: &SessionId) -> Option<SessionRecord> {
        let found = self.sessions.iter().find(|(record, _)| record.facts().session == *session);
        found.map(|(record, _)| record.clone())
    }

    /// The newest first.
    pub(super) fn records(&self) -> impl Iterator<Item = &SessionRecord> {
        self.sessions.iter().rev().map(|(record, _)| record)
    }
}
