//! Replays the seed corpus through the parsers: the invariants hold, and the name of a seed says whether it is valid.

#![expect(clippy::unwrap_used, reason = "a corpus that cannot be read fails the test")]

use std::fs;
use std::path::Path;

use voxgate_relay::fuzz;

/// Checks every file of a folder; `well_formed` asserts the invariants.
fn replay(folder: &str, well_formed: fn(&[u8]) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(folder);
    let mut replayed = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = fs::read(&path).unwrap();
        let accepted = well_formed(&bytes);
        // What a fuzzer finds is named by its digest and promises nothing.
        if ["valid-", "truncated-", "hostile-"].iter().any(|kind| name.starts_with(kind)) {
            assert_eq!(accepted, name.starts_with("valid-"), "{name}");
            replayed += 1;
        }
        for length in 0..bytes.len().min(200) {
            well_formed(&bytes[..length]);
        }
        for position in 0..bytes.len().min(200) {
            let mut altered = bytes.clone();
            altered[position] ^= 1 << (position % 8);
            well_formed(&altered);
        }
    }
    assert!(replayed >= 15, "the corpus has only {replayed} seeds");
}

#[test]
fn the_stun_corpus_keeps_the_invariants() {
    replay("stun", fuzz::stun);
}

#[test]
fn the_ufrag_corpus_keeps_the_invariants() {
    replay("ufrag", fuzz::ufrag);
}

#[test]
fn the_tunnel_corpus_keeps_the_invariants() {
    replay("tunnel", fuzz::tunnel);
}

#[test]
fn the_framing_corpus_keeps_the_invariants() {
    replay("framing", fuzz::framing);
}

#[test]
fn the_exchange_corpus_keeps_the_invariants() {
    replay("exchange", fuzz::exchange);
}

#[test]
fn the_flow_table_corpus_keeps_the_invariants() {
    replay("flow-table", fuzz::flow_table);
}

#[test]
fn the_snapshot_corpus_keeps_the_invariants() {
    replay("snapshot", fuzz::snapshot);
}
