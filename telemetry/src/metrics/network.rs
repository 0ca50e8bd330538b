//! What each second of a call was like on the network, all calls together.

use super::Metrics;
use crate::session::facts::{DownlinkNote, NetworkNote, UplinkNote};
use crate::session::quality;

/// From the caller to the gateway.
const UP: &str = "up";

/// From the gateway to the caller, as the client says.
const DOWN: &str = "down";

impl Metrics {
    /// A second of a call passed. What is not known is not counted.
    pub fn network_second(&self, second: &NetworkNote) {
        if let Some(time) = second.round_trip {
            self.call_round_trip_seconds.observe(time.as_secs_f64());
        }
        if let Some(uplink) = &second.uplink {
            self.uplink_second(uplink);
        }
        if let Some(downlink) = &second.downlink {
            self.downlink_second(downlink);
        }
        if let Some(rating) = quality::rating(second) {
            self.call_mos_score.observe(quality::opinion(rating));
        }
    }

    fn uplink_second(&self, uplink: &UplinkNote) {
        self.direction_second(UP, uplink.lost.map(|lost| (uplink.packets, lost)), uplink.jitter);
        let concealed = uplink.concealed.unwrap_or_default().as_secs_f64();
        self.call_concealed_seconds.with_label_values(&[UP]).inc_by(concealed);
    }

    fn downlink_second(&self, downlink: &DownlinkNote) {
        self.direction_second(DOWN, downlink.packets.zip(downlink.lost), downlink.jitter);
        let concealed = downlink.concealed.unwrap_or_default().as_secs_f64();
        self.call_concealed_seconds.with_label_values(&[DOWN]).inc_by(concealed);
    }

    fn direction_second(
        &self,
        direction: &str,
        packets: Option<(u32, u32)>,
        jitter: Option<std::time::Duration>,
    ) {
        // Of a second in which nothing was sent there is no share.
        let share = packets.and_then(|(came, lost)| {
            let sent = u64::from(came) + u64::from(lost);
            (sent > 0).then(|| f64::from(lost) / sent as f64)
        });
        if let Some(share) = share {
            self.call_loss_ratio.with_label_values(&[direction]).observe(share);
        }
        if let Some(jitter) = jitter {
            self.call_jitter_seconds.with_label_values(&[direction]).observe(jitter.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shown(metrics: &Metrics, line: &str) -> bool {
        metrics.render().unwrap().lines().any(|shown| shown == line)
    }

    #[test]
    fn a_second_is_counted_by_direction_and_what_is_not_known_is_not() {
        let metrics = Metrics::new().unwrap();
        metrics.network_second(&NetworkNote::default());
        let uplink = UplinkNote {
            packets: 45,
            lost: Some(5),
            concealed: Some(Duration::from_millis(60)),
            jitter: Some(Duration::from_millis(3)),
            ..UplinkNote::default()
        };
        let downlink = DownlinkNote { packets: Some(50), ..DownlinkNote::default() };
        let round_trip = Some(Duration::from_millis(40));
        metrics.network_second(&NetworkNote {
            round_trip,
            uplink: Some(uplink),
            downlink: Some(downlink),
            pair: None,
        });
        for line in [
            r#"voxgate_call_round_trip_seconds_sum 0.04"#,
            r#"voxgate_call_loss_ratio_sum{direction="up"} 0.1"#,
            r#"voxgate_call_jitter_seconds_sum{direction="up"} 0.003"#,
            r#"voxgate_call_concealed_seconds_total{direction="up"} 0.06"#,
            r#"voxgate_call_mos_score_count 1"#,
        ] {
            assert!(shown(&metrics, line), "{line}\n{}", metrics.render().unwrap());
        }
        let text = metrics.render().unwrap();
        assert!(
            !text.contains(r#"voxgate_call_loss_ratio_count{direction="down"}"#),
            "nobody said what was lost"
        );
    }
}
