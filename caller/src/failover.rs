//! Moving a call when its relay is lost or about to stop.
//!
//! The engine keeps to the path it has nominated even when that is dead (`rtc` 0.21.1). The gateway says on the channel
//! `voxgate` that a relay is gone; an ICE restart (RFC 8445 section 2.4) then finds the relays that live.
//!
//! A browser restarts once more when it is heard again, so that a path through every relay is known to work. This
//! engine forgets its path when it restarts, so that would cost the call a pause and is left out.

use std::sync::Arc;
use std::time::Duration;

use rtc::peer_connection::configuration::RTCOfferOptions;
use tokio::sync::watch;
use webrtc::peer_connection::{PeerConnection, RTCPeerConnectionState, RTCSessionDescription};

use crate::dial::Dial;
use crate::error::{CallError, media};

/// Waits before the attempts; the last of them spans a gateway that is busy with all its calls at once.
const WAITS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(2)];

/// How long the gateway may take to answer. A request may sit in a dead connection, and the next one be answered.
const ANSWER_PATIENCE: Duration = Duration::from_secs(3);

/// How long checks on the new paths may take before the restart counts as failed.
const SETTLE: Duration = Duration::from_secs(4);

/// What can move a call.
pub(crate) trait Mover {
    /// Has the gateway answer an ICE restart. After an error the call is where it was.
    async fn restart(&mut self) -> Result<(), CallError>;

    /// Returns when a path of the last answer works.
    async fn connected(&mut self);
}

/// Moves the call each time `notices` counts up, until `stopped` or until there can be no more notices.
pub(crate) async fn follow(
    mut mover: impl Mover,
    mut notices: watch::Receiver<u64>,
    mut stopped: watch::Receiver<()>,
) {
    let moves = async {
        while notices.changed().await.is_ok() {
            attempts(&mut mover, &mut notices).await;
        }
    };
    tokio::select! {
        () = moves => {}
        _ = stopped.changed() => {}
    }
}

/// Restarts until the call has a path, as often as there are [`WAITS`]. A notice that comes while an attempt is waited
/// for makes it come at once; one that comes later is left for another round.
async fn attempts(mover: &mut impl Mover, notices: &mut watch::Receiver<u64>) {
    for wait in WAITS {
        if let Ok(Err(_)) = tokio::time::timeout(wait, notices.changed()).await {
            return;
        }
        match mover.restart().await {
            Ok(()) => tokio::select! {
                settled = tokio::time::timeout(SETTLE, mover.connected()) => if settled.is_ok() { return },
                notice = notices.changed() => {
                    if notice.is_ok() { notices.mark_changed() }
                    return;
                }
            },
            Err(error) => {
                tracing::debug!(%error, "the call could not be moved");
                if is_final(&error) {
                    return;
                }
            }
        }
    }
}

/// The call is gone, the key may not speak for it, or the gateway knows no ICE restart: the same again is no use.
const fn is_final(error: &CallError) -> bool {
    matches!(error, CallError::KeyRefused { .. } | CallError::Refused { status: 400 | 404 | 405 | 410, .. })
}

/// Moves the call of a WebRTC engine.
pub(crate) struct EngineMover {
    pub(crate) connection: Arc<dyn PeerConnection>,
    pub(crate) dial: Dial,
    /// The name of the call at the gateway.
    pub(crate) id: String,
    pub(crate) state: watch::Receiver<RTCPeerConnectionState>,
}

impl Mover for EngineMover {
    /// The engine forgets its path with the local description, not with the offer, so the offer is not set before it
    /// is answered: until then, and for good if the gateway refuses, the call goes on as it was.
    async fn restart(&mut self) -> Result<(), CallError> {
        let stage = "moving to another relay";
        let restart = RTCOfferOptions { ice_restart: true };
        let offer = self.connection.create_offer(Some(restart)).await.map_err(media(stage))?;
        let answer = self.dial.restart(&self.id, &offer.sdp, ANSWER_PATIENCE).await?;
        let answer = RTCSessionDescription::answer(answer).map_err(media(stage))?;
        self.state.mark_unchanged();
        self.connection.set_local_description(offer).await.map_err(media(stage))?;
        self.connection.set_remote_description(answer).await.map_err(media(stage))
    }

    async fn connected(&mut self) {
        // The engine may not have said yet that it left the path before.
        let up = |state: &RTCPeerConnectionState| *state == RTCPeerConnectionState::Connected;
        if self.state.changed().await.is_err() || self.state.wait_for(up).await.is_err() {
            // The connection is gone, and no path will ever work.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests;
