use voxgate_media::jitter::JitterStats;

use super::*;

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_second_is_what_came_between_two_counts() {
    let jitter = JitterStats { released: 100, lost: 4, late: 1, ..JitterStats::default() };
    let before = UplinkStats { jitter, recovered: 3, concealed: 20 * MS, ..UplinkStats::default() };
    let jitter = JitterStats { released: 148, lost: 6, late: 2, interarrival: 2 * MS, ..jitter };
    let now = UplinkStats { jitter, recovered: 4, concealed: 60 * MS, wait: 10 * MS, ..before };
    let note = uplink_note(&before, &now);
    assert_eq!((note.packets, note.lost, note.recovered), (49, Some(2), Some(1)));
    assert_eq!((note.concealed, note.jitter, note.buffer), (Some(40 * MS), Some(2 * MS), Some(10 * MS)));
}

#[test]
fn a_client_that_says_nothing_has_no_downlink_and_its_rtcp_reports_are_enough_for_one() {
    let before = Transported::default();
    assert_eq!(downlink_note(&before, &before, None, false), None);
    let told = Transported { reports: 1, expected: 50, lost: 3, jitter: Some(3 * MS), ..before.clone() };
    let note = downlink_note(&before, &told, None, true).unwrap();
    assert_eq!((note.packets, note.lost, note.jitter), (Some(47), Some(3), Some(3 * MS)));
    assert_eq!((note.buffer, note.playout, note.concealed), (None, None, None), "nobody knows");
    assert_eq!(note.probable_wait, Some(ClientBuffer::of(3 * MS).wait));
    let quiet = downlink_note(&told, &told, None, false).unwrap();
    assert_eq!((quiet.packets, quiet.lost, quiet.jitter), (None, None, Some(3 * MS)), "no report");
    let late = Transported { reports: 2, expected: 150, lost: 2, ..told.clone() };
    let note = downlink_note(&told, &late, None, true).unwrap();
    assert_eq!((note.packets, note.lost), (Some(100), Some(0)), "what came late was not lost");
}

#[test]
fn what_the_script_says_comes_before_what_rtcp_does_and_rtcp_fills_what_it_leaves_out() {
    let before = Transported { reports: 4, expected: 100, lost: 2, ..Transported::default() };
    let report = ClientReport { jitter_buffer: Some(40 * MS), ..ClientReport::default() };
    let note = downlink_note(&before, &before, Some(report), false).unwrap();
    assert_eq!((note.packets, note.buffer, note.playout), (None, Some(40 * MS), None));
    assert_eq!(note.probable_wait, None, "it says itself");
    let now = Transported { reports: 5, expected: 150, lost: 5, jitter: Some(9 * MS), ..before.clone() };
    let note = downlink_note(&before, &now, Some(report), true).unwrap();
    assert_eq!((note.packets, note.lost, note.jitter), (Some(47), Some(3), Some(9 * MS)));
    let report = ClientReport { packets: Some(50), lost: Some(0), jitter: Some(MS), ..report };
    let note = downlink_note(&before, &now, Some(report), true).unwrap();
    assert_eq!((note.packets, note.lost, note.jitter), (Some(50), Some(0), Some(MS)));
}
