use proptest::prelude::*;

use super::*;

fn entry(number: i64) -> AuditEntry {
    AuditEntry {
        at_unix_ms: 1_000 + number,
        actor: "cli".to_owned(),
        action: "key.create".to_owned(),
        subject: format!("key_{number}"),
        detail: "{}".to_owned(),
    }
}

/// A log of so many entries, and its head.
fn log(entries: i64) -> (Vec<StoredEntry>, Head) {
    let mut head = Head::EMPTY;
    let rows = (1..=entries).map(|sequence| {
        let entry = entry(sequence);
        let row = StoredEntry { sequence, previous: head.hash, hash: head.hash.after(&entry), entry };
        head = Head { sequence, hash: row.hash };
        row
    });
    let rows: Vec<_> = rows.collect();
    (rows, head)
}

fn verify(rows: &[StoredEntry], head: Head) -> Vec<Finding> {
    let mut verifier = Verifier::new(None);
    assert!(rows.iter().all(|row| verifier.check(row)));
    verifier.finish(head)
}

fn renumber(rows: &mut [StoredEntry]) {
    for (row, sequence) in rows.iter_mut().zip(1..) {
        row.sequence = sequence;
    }
}

#[test]
fn an_untouched_log_has_nothing_wrong_with_it() {
    for entries in [0, 1, 7] {
        let (rows, head) = log(entries);
        assert_eq!(verify(&rows, head), []);
    }
}

#[test]
fn a_changed_row_is_named_whatever_was_changed_in_it() {
    for change in [
        (|row| row.entry.at_unix_ms += 1) as fn(&mut StoredEntry),
        |row| row.entry.actor.push('x'),
        |row| row.entry.action.push('x'),
        |row| row.entry.subject.push('x'),
        |row| row.entry.detail.push('x'),
        // The same bytes, cut elsewhere.
        |row| row.entry.actor.push(row.entry.action.remove(0)),
    ] {
        let (mut rows, head) = log(5);
        change(&mut rows[2]);
        assert_eq!(verify(&rows, head), [Finding::Changed(3)]);
    }
}

#[test]
fn a_changed_row_with_a_hash_made_to_fit_is_named() {
    let (mut rows, head) = log(5);
    rows[2].entry.subject.push('x');
    rows[2].hash = rows[2].previous.after(&rows[2].entry);
    assert_eq!(verify(&rows, head), [Finding::Relinked(3)]);
    let (mut rows, head) = log(5);
    rows[4].entry.subject.push('x');
    rows[4].hash = rows[4].previous.after(&rows[4].entry);
    assert_eq!(verify(&rows, head), [Finding::HeadDiffers(5)]);
}

#[test]
fn a_removed_row_is_named_at_the_beginning_in_the_middle_and_at_the_end() {
    for place in [0, 2, 4] {
        let (mut rows, head) = log(5);
        rows.remove(place);
        let number = place as i64 + 1;
        assert_eq!(verify(&rows, head), [Finding::Removed(number, number)]);
    }
    let (mut rows, head) = log(9);
    rows.drain(3..6);
    assert_eq!(verify(&rows, head), [Finding::Removed(4, 6)]);
}

#[test]
fn a_removed_row_is_found_even_if_the_rest_is_renumbered() {
    let (mut rows, head) = log(5);
    rows.remove(2);
    renumber(&mut rows);
    assert_eq!(verify(&rows, head), [Finding::Relinked(2), Finding::Short(1)]);
}

#[test]
fn an_inserted_row_is_named_even_if_its_own_hash_is_right() {
    for place in 0..=5_usize {
        let (mut rows, head) = log(5);
        let previous = place.checked_sub(1).map_or(ChainHash::GENESIS, |before| rows[before].hash);
        let forged = entry(99);
        rows.insert(
            place,
            StoredEntry { sequence: 0, previous, hash: previous.after(&forged), entry: forged },
        );
        renumber(&mut rows);
        let number = place as i64 + 1;
        assert_eq!(verify(&rows, head), [Finding::Inserted(number)]);
    }
}

#[test]
fn a_log_that_was_rewritten_as_a_whole_misses_the_head_kept_elsewhere() {
    let (rows, head) = log(5);
    let kept = Head { sequence: 3, hash: rows[2].hash };
    let check = |rows: &[StoredEntry], head| {
        let mut verifier = Verifier::new(Some(kept));
        rows.iter().for_each(|row| assert!(verifier.check(row)));
        verifier.finish(head)
    };
    assert_eq!(check(&rows, head), []);
    let (mut rewritten, mut head) = (Vec::new(), Head::EMPTY);
    for sequence in 1..=5 {
        let mut entry = entry(sequence);
        entry.actor = "nobody".to_owned();
        let row = StoredEntry { sequence, previous: head.hash, hash: head.hash.after(&entry), entry };
        head = Head { sequence, hash: row.hash };
        rewritten.push(row);
    }
    assert_eq!(check(&rewritten, head), [Finding::AnchorMissing(3)]);
}

#[test]
fn a_head_survives_its_written_form() {
    let (_, head) = log(3);
    assert_eq!(Head::from_line(&head.to_line()), Ok(head));
    for wrong in ["", "3", "x:00", "-1:".to_owned().as_str(), &format!("3:{}", "g".repeat(64))] {
        assert!(Head::from_line(wrong).is_err(), "{wrong}");
    }
}

proptest! {
    /// Whatever one does to one row of a log shows.
    #[test]
    fn no_single_manipulation_goes_unnoticed(entries in 2_i64..20, place in 0_usize..20, what in 0..4, renumbered: bool) {
        let (mut rows, head) = log(entries);
        let place = place % rows.len();
        match what {
            0 => { rows.remove(place); }
            1 => rows[place].entry.detail = "{\"x\":1}".to_owned(),
            2 => { let row = rows[place].clone(); rows.insert(place, row); renumber(&mut rows); }
            _ => { let other = (place + 1) % rows.len(); rows.swap(place, other); renumber(&mut rows); }
        }
        if renumbered { renumber(&mut rows); }
        prop_assert_ne!(verify(&rows, head), []);
    }
}
