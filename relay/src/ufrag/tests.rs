use proptest::prelude::*;

use super::*;

const ROUTE_A: Route = Route {
    cell: 0x0102,
    node: NodeIndex(0x0a_0b0c),
    node_epoch: 3,
    session_end_minutes: 0xfffe,
    random: 0xdead_beef,
    flags: 0x80,
};

fn key(id: u8) -> UfragKey {
    UfragKey::new(id, [id + 1; 16], 7).unwrap()
}

#[test]
fn a_sealed_ufrag_is_forty_ice_chars_and_opens_to_its_route() {
    let ufrag = seal(&key(5), &ROUTE_A).unwrap();
    assert_eq!(ufrag.as_str().len(), UFRAG_LENGTH);
    assert!(ufrag.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'));
    assert_eq!(KeyRing::new([key(5)]).open(ufrag.as_ref()), Ok(ROUTE_A));
}

#[test]
fn any_altered_character_makes_a_ufrag_worthless() {
    let ring = KeyRing::new((0..16).map(key));
    let ufrag = seal(&key(5), &ROUTE_A).unwrap();
    for position in 0..UFRAG_LENGTH {
        for other in (0..=u8::MAX).filter(|byte| *byte != ufrag.0[position]) {
            let mut altered = ufrag.0;
            altered[position] = other;
            assert!(ring.open(&altered).is_err(), "character {position} as {other}");
        }
    }
}

#[test]
fn a_ufrag_of_another_group_or_secret_is_forged() {
    let ufrag = seal(&key(5), &ROUTE_A).unwrap();
    for other in [UfragKey::new(5, [6; 16], 8), UfragKey::new(5, [9; 16], 7)] {
        assert_eq!(KeyRing::new(other).open(ufrag.as_ref()), Err(UfragError::Forged));
    }
}

#[test]
fn old_keys_open_until_they_are_removed() {
    let mut ring = KeyRing::new([key(1)]);
    let old = seal(&key(1), &ROUTE_A).unwrap();
    ring.insert(key(2));
    let new = seal(&key(2), &ROUTE_A).unwrap();
    assert_eq!(ring.open(old.as_ref()), Ok(ROUTE_A));
    assert_eq!(ring.open(new.as_ref()), Ok(ROUTE_A));
    ring.remove(1);
    assert_eq!(ring.open(old.as_ref()), Err(UfragError::UnknownKey));
    assert_eq!(ring.open(new.as_ref()), Ok(ROUTE_A));
}

#[test]
fn a_key_id_above_fifteen_and_a_node_above_24_bits_are_refused() {
    assert_eq!(UfragKey::new(16, [0; 16], 0).map(|_| ()), Err(UfragError::KeyId));
    let route = Route { node: NodeIndex(1 << 24), ..ROUTE_A };
    assert_eq!(seal(&key(0), &route), Err(UfragError::Node));
}

#[test]
fn a_session_has_ended_when_its_minute_and_the_grace_have_passed() {
    let grace = Duration::from_mins(5);
    assert!(!ROUTE_A.has_ended(0xfff0, grace));
    assert!(!ROUTE_A.has_ended(0xfffe, grace));
    assert!(!ROUTE_A.has_ended(3, grace));
    assert!(ROUTE_A.has_ended(4, grace));
    assert!(ROUTE_A.has_ended(4000, grace));
}

#[test]
fn minutes_wrap_after_45_days() {
    assert_eq!(session_end_minutes(Duration::from_secs(59)), 0);
    assert_eq!(session_end_minutes(Duration::from_secs(60 * 65_536 + 120)), 2);
}

proptest! {
    #[test]
    fn every_route_survives_sealing(
        cell: u16, node in 0..=LARGEST_NODE, node_epoch: u8, session_end_minutes: u16, random: u32, flags: u8,
    ) {
        let route = Route { cell, node: NodeIndex(node), node_epoch, session_end_minutes, random, flags };
        let ufrag = seal(&key(15), &route).unwrap();
        prop_assert_eq!(KeyRing::new([key(15)]).open(ufrag.as_ref()), Ok(route));
    }
}
