//! Moving a call when its relay is lost or about to stop.
//!
//! The engine keeps to the path it has nominated even when that is dead (`rtc` 0.21.1). The gateway says on the channel
//! `voxgate` that a relay is gone; an ICE restart (RFC 8445 section 2.4) then finds the relays that live.

use std::sync::Arc;
use std::time::Duration;

use rtc::peer_connection::configuration::RTCOfferOptions;
use tokio::sync::watch;
use webrtc::peer_connection::{PeerConnection, RTCSessionDescription};

use crate::dial::Dial;
use crate::error::{CallError, media};

/// Waits before the attempts; the last of them spans a gateway that is busy with all its calls at once.
const WAITS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(2)];

/// Who moves a call.
pub(crate) struct Failover {
    pub(crate) connection: Arc<dyn PeerConnection>,
    pub(crate) dial: Dial,
    /// The name of the call at the gateway.
    pub(crate) id: String,
}

impl Failover {
    /// Moves the call each time `notices` counts up, until `stopped`.
    pub(crate) async fn run(self, mut notices: watch::Receiver<u64>, mut stopped: watch::Receiver<()>) {
        loop {
            tokio::select! {
                notice = notices.changed() => if notice.is_err() { return },
                _ = stopped.changed() => return,
            }
            tokio::select! {
                () = self.attempts() => {}
                _ = stopped.changed() => return,
            }
        }
    }

    async fn attempts(&self) {
        for wait in WAITS {
            tokio::time::sleep(wait).await;
            match self.restart().await {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "the call could not be moved"),
            }
        }
    }

    /// One offer with new credentials, and its answer.
    async fn restart(&self) -> Result<(), CallError> {
        let stage = "moving to another relay";
        let restart = RTCOfferOptions { ice_restart: true };
        let offer = self.connection.create_offer(Some(restart)).await.map_err(media(stage))?;
        let sdp = offer.sdp.clone();
        self.connection.set_local_description(offer).await.map_err(media(stage))?;
        let answer = self.dial.restart(&self.id, &sdp).await?;
        let answer = RTCSessionDescription::answer(answer).map_err(media(stage))?;
        self.connection.set_remote_description(answer).await.map_err(media(stage))
    }
}
