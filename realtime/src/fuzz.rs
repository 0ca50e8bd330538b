//! Entry points for fuzzing and for replaying a corpus. Not part of the API.

use voxgate_protocol::id::SessionId;

use crate::{Adapter, AdapterOutput, ClientKind, request};

/// Feeds arbitrary bytes to everything that reads what a client sent, one message per line, and returns the events
/// a WebRTC client and a WebSocket client would read.
#[must_use]
pub fn client_messages(data: &[u8]) -> Vec<String> {
    let _ = request::client_secret_request(data);
    let _ = request::session_config(data);
    let text = String::from_utf8_lossy(data);
    let mut events = Vec::new();
    for kind in [ClientKind::WebRtc, ClientKind::WebSocket] {
        let mut adapter = Adapter::new(kind, SessionId::from("sess_fuzz"), request::default_settings(), 0, 7);
        adapter.open();
        for line in text.lines() {
            adapter.handle_text(line);
        }
        while let Some(output) = adapter.poll_output() {
            if let AdapterOutput::ToClient(event) = output {
                events.push(event);
            }
        }
    }
    events
}
