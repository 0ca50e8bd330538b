use std::collections::BTreeSet;

use super::*;

impl World {
    fn revoke(&mut self, keys: impl IntoIterator<Item = KeyIndex>) {
        let keys: BTreeSet<KeyIndex> = keys.into_iter().collect();
        self.switchboard.handle_command(self.now, Command::Revoke(Arc::new(keys)));
    }

    fn end_of(&self, slot: Slot) -> Option<EndReason> {
        self.switchboard.calls.get(&slot).and_then(|call| call.end_reason())
    }
}

#[tokio::test]
async fn a_revoked_key_ends_its_calls_and_those_on_their_way() {
    let mut world = World::new(1).await;
    world.call(1);
    world.call(2);
    world.revoke([KeyIndex(1)]);
    assert_eq!((world.end_of(1), world.end_of(2)), (None, None), "another key's calls go on");
    world.revoke([KeyIndex(0), KeyIndex(1)]);
    assert_eq!(world.end_of(1), Some(EndReason::KeyRevoked));
    assert_eq!(world.end_of(2), Some(EndReason::KeyRevoked));
    world.call(3);
    assert_eq!(world.end_of(3), Some(EndReason::KeyRevoked), "its offer was in the queue behind the news");
    world.revoke([]);
    world.call(4);
    assert_eq!(world.end_of(4), None);
}
