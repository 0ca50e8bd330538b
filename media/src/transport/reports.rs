//! What RTCP tells about the downlink: round trip, loss and jitter as the caller sees them (RFC 3550 section 6.4).

use std::time::{Duration, Instant};

use rtc::rtcp::Packet;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;

/// Pause between sender reports: fresh enough for a round-trip display, 30 bytes each.
const INTERVAL: Duration = Duration::from_secs(2);
/// Ticks of the Opus RTP clock per second (RFC 7587 section 4.1).
const CLOCK_RATE: f64 = 48_000.0;

/// Jitter above this is none.
const MOST_JITTER: Duration = Duration::from_secs(10);

/// The stream a fuzzed caller reports about.
const FUZZED_SSRC: u32 = 7;

/// What is known about a call's packets. Counters start at the beginning of the call.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TransportStats {
    /// Latest round trip between this server and the caller, from the caller's answer to a sender report.
    pub round_trip: Option<Duration>,
    /// RTP packets received and authenticated.
    pub packets_received: u64,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// Reports of the caller about what it receives.
    pub reports_of_caller: u64,
    /// RTP packets these reports are about, received or lost.
    pub packets_reported_by_caller: u64,
    /// RTP packets the caller says it never got.
    pub packets_lost_by_caller: u64,
    /// Share of packets the caller lost since its report before, 0 to 1.
    pub recent_loss: Option<f32>,
    /// Inter-arrival jitter the caller measures.
    pub jitter_at_caller: Option<Duration>,
}

/// The reception reports in a compound packet, about whatever stream. Everything else in it is left out.
pub(super) fn reception_reports(packets: &[Box<dyn Packet>]) -> Vec<ReceptionReport> {
    let of = |packet: &dyn Packet| {
        let receivers = packet.as_any().downcast_ref::<ReceiverReport>().map(|report| &report.reports);
        receivers
            .or_else(|| packet.as_any().downcast_ref::<SenderReport>().map(|report| &report.reports))
            .cloned()
    };
    packets.iter().filter_map(|packet| of(packet.as_ref())).flatten().collect()
}

/// Hears arbitrary bytes as the RTCP of a caller that was sent a thousand packets; for fuzzing. `None` if they are no RTCP.
pub(crate) fn hears(start: Instant, data: &[u8]) -> Option<TransportStats> {
    let packets = rtc::rtcp::packet::unmarshal(&mut &*data).ok()?;
    let mut reports = Reports::new(start, FUZZED_SSRC);
    for sequence in 0..1_000 {
        reports.sent(start, (sequence, 960), 80);
    }
    reports.answered(start + INTERVAL, &reception_reports(&packets));
    Some(reports.stats)
}

/// The packet that was sent last.
#[derive(Debug, Clone, Copy)]
struct Newest {
    sequence: u16,
    timestamp: u32,
    sent: Instant,
}

/// Writes sender reports and reads the answers. Its clock starts with the call: RFC 3550 section 4 allows any
/// epoch, and the answers only ever give back what was written.
#[derive(Debug)]
pub(super) struct Reports {
    epoch: Instant,
    next: Instant,
    ssrc: u32,
    octets_sent: u32,
    newest: Option<Newest>,
    pub(super) stats: TransportStats,
}

impl Reports {
    pub(super) fn new(now: Instant, ssrc: u32) -> Self {
        let stats = TransportStats::default();
        Self { epoch: now, next: now + INTERVAL, ssrc, octets_sent: 0, newest: None, stats }
    }

    pub(super) fn sent(&mut self, now: Instant, (sequence, timestamp): (u16, u32), payload: usize) {
        self.stats.packets_sent += 1;
        self.octets_sent = self.octets_sent.wrapping_add(payload as u32);
        self.newest = Some(Newest { sequence, timestamp, sent: now });
    }

    pub(super) fn received(&mut self) {
        self.stats.packets_received += 1;
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.next
    }

    /// Whether the interval is over; starts the next one.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.next;
        if due {
            self.next = now + INTERVAL;
        }
        due
    }

    /// A report about what was sent; none before the first packet.
    pub(super) fn report(&self, now: Instant) -> Option<SenderReport> {
        let Newest { timestamp, sent, .. } = self.newest?;
        let since = (now.saturating_duration_since(sent).as_secs_f64() * CLOCK_RATE) as u32;
        Some(SenderReport {
            ssrc: self.ssrc,
            ntp_time: self.ntp(now),
            rtp_time: timestamp.wrapping_add(since),
            packet_count: self.stats.packets_sent as u32,
            octet_count: self.octets_sent,
            ..Default::default()
        })
    }

    /// What a caller reports is outside input: what cannot be is left out.
    pub(super) fn answered(&mut self, now: Instant, reports: &[ReceptionReport]) {
        for report in reports.iter().filter(|report| report.ssrc == self.ssrc) {
            let heard_of = self.heard_of(report.last_sequence_number);
            let stats = &mut self.stats;
            stats.reports_of_caller += 1;
            stats.packets_reported_by_caller =
                stats.packets_reported_by_caller.max(heard_of.unwrap_or_default());
            // Cumulative loss is a signed 24-bit number; duplicates make it negative.
            let lost = if report.total_lost & 0x80_0000 == 0 { report.total_lost } else { 0 };
            stats.packets_lost_by_caller = u64::from(lost).min(stats.packets_reported_by_caller);
            stats.recent_loss = Some(f32::from(report.fraction_lost) / 256.0);
            let jitter = Duration::from_secs_f64(f64::from(report.jitter) / CLOCK_RATE);
            stats.jitter_at_caller = Some(jitter).filter(|jitter| *jitter <= MOST_JITTER);
            if let Some(round_trip) = self.round_trip(now, report) {
                self.stats.round_trip = Some(round_trip);
            }
        }
    }

    /// How many packets were sent up to this sequence number. Not every client extends it beyond 16 bits, so only these
    /// count: 22 minutes of sound lie between two numbers that are alike.
    fn heard_of(&self, highest: u32) -> Option<u64> {
        let behind = self.newest?.sequence.wrapping_sub(highest as u16);
        self.stats.packets_sent.checked_sub(u64::from(behind))
    }

    /// RFC 3550 section 6.4.1: A - LSR - DLSR in units of 1/65536 s.
    fn round_trip(&self, now: Instant, report: &ReceptionReport) -> Option<Duration> {
        if report.last_sender_report == 0 {
            return None;
        }
        let middle = (self.ntp(now) >> 16) as u32;
        let units = middle.wrapping_sub(report.last_sender_report).wrapping_sub(report.delay);
        // A caller whose delay field is too large must not become a round trip of 18 hours.
        (units < 1 << 22).then(|| Duration::from_secs_f64(f64::from(units) / 65_536.0))
    }

    /// 32.32 fixed point seconds since one second before the call, so that no report carries the reserved zero.
    fn ntp(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.epoch) + Duration::from_secs(1);
        (elapsed.as_secs() << 32) | ((u64::from(elapsed.subsec_nanos()) << 32) / 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_round_trip_excludes_the_callers_own_delay() {
        let start = Instant::now();
        let mut reports = Reports::new(start, 7);
        for sequence in 65_530..65_550_u32 {
            reports.sent(start, (sequence as u16, 960), 80);
        }
        let sent = start + Duration::from_secs(2);
        let report = reports.report(sent).unwrap();
        assert_eq!(report.rtp_time, 960 + 96_000);
        let answer = ReceptionReport {
            ssrc: 7,
            last_sender_report: (report.ntp_time >> 16) as u32,
            delay: 65_536 / 2,
            fraction_lost: 64,
            total_lost: 5,
            last_sequence_number: 65_545,
            jitter: 480,
        };
        reports.answered(sent + Duration::from_millis(580), &[answer]);
        let measured = reports.stats.round_trip.unwrap();
        assert!(measured.abs_diff(Duration::from_millis(80)) < Duration::from_millis(1), "{measured:?}");
        assert_eq!(reports.stats.recent_loss, Some(0.25));
        assert_eq!(reports.stats.jitter_at_caller, Some(Duration::from_millis(10)));
        assert_eq!(reports.stats.packets_lost_by_caller, 5);
        assert_eq!((reports.stats.packets_reported_by_caller, reports.stats.reports_of_caller), (16, 1));
    }

    #[test]
    fn what_a_caller_cannot_have_seen_is_left_out() {
        let start = Instant::now();
        let mut reports = Reports::new(start, 7);
        let report = |last_sequence_number, total_lost, jitter| ReceptionReport {
            ssrc: 7,
            last_sequence_number,
            total_lost,
            jitter,
            ..Default::default()
        };
        reports.answered(start, &[report(9, 3, 1)]);
        assert_eq!((reports.stats.packets_reported_by_caller, reports.stats.packets_lost_by_caller), (0, 0));
        for sequence in 100..150 {
            reports.sent(start, (sequence, 960), 80);
        }
        reports.answered(start, &[report(139, 4, 48)]);
        let sane = reports.stats;
        assert_eq!((sane.packets_reported_by_caller, sane.packets_lost_by_caller), (40, 4));
        assert_eq!(sane.jitter_at_caller, Some(Duration::from_millis(1)));
        // Of the future, of before the first packet, and an older one.
        for highest in [150, 99, 120] {
            reports.answered(start, &[report(highest, 0x7f_ffff, u32::MAX)]);
            assert_eq!(reports.stats.packets_reported_by_caller, 40, "{highest}");
            assert_eq!((reports.stats.packets_lost_by_caller, reports.stats.jitter_at_caller), (40, None));
        }
    }

    #[test]
    fn a_nonsensical_report_changes_no_round_trip() {
        let start = Instant::now();
        let mut reports = Reports::new(start, 7);
        let no_report_seen = ReceptionReport { ssrc: 7, delay: 5, ..Default::default() };
        let too_slow =
            ReceptionReport { ssrc: 7, last_sender_report: 65_536, delay: 65_537, ..Default::default() };
        let of_another_stream = ReceptionReport { ssrc: 8, last_sender_report: 1, ..Default::default() };
        reports.answered(start, &[no_report_seen, too_slow, of_another_stream]);
        assert_eq!(reports.stats.round_trip, None);
    }

    #[test]
    fn the_corpus_of_rtcp_is_understood_or_refused_and_says_nothing_impossible() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/rtcp");
        let mut understood = 0;
        let mut files = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            files += 1;
            let Some(stats) = hears(Instant::now(), &std::fs::read(file.unwrap().path()).unwrap()) else {
                continue;
            };
            understood += u32::from(stats.reports_of_caller > 0);
            assert!(stats.packets_lost_by_caller <= stats.packets_reported_by_caller, "{stats:?}");
            assert!(stats.packets_reported_by_caller <= 1_000, "{stats:?}");
            assert!(stats.jitter_at_caller.is_none_or(|jitter| jitter <= MOST_JITTER), "{stats:?}");
        }
        assert!(files >= 10 && understood >= 5, "{understood} of {files}");
    }
}
