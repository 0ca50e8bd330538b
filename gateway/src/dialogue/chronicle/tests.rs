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
    assert_eq!((note.packets, note.lost, note.recovered), (49, 2, 1));
    assert_eq!((note.concealed, note.jitter, note.buffer), (40 * MS, Some(2 * MS), Some(10 * MS)));
}

#[test]
fn a_client_that_says_nothing_has_no_downlink_and_its_reports_are_enough_for_one() {
    let before = Transported { sent: 100, lost: 2, ..Transported::default() };
    let now = Transported { sent: 150, lost: 5, ..before.clone() };
    assert_eq!(downlink_note(&before, &now, None), None);
    let told = Transported { jitter: Some(3 * MS), ..now.clone() };
    let note = downlink_note(&before, &told, None).unwrap();
    assert_eq!((note.packets, note.lost, note.jitter), (Some(47), Some(3), Some(3 * MS)));
    let report = ClientReport { jitter_buffer: Some(40 * MS), ..ClientReport::default() };
    let note = downlink_note(&before, &now, Some(report)).unwrap();
    assert_eq!((note.packets, note.buffer, note.playout), (None, Some(40 * MS), None));
}
