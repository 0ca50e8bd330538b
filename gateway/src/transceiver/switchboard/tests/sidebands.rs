use serde_json::{Value, json};
use tokio::sync::Semaphore;
use voxgate_realtime::SidebandId;

use super::super::super::Attach;
use super::*;
use crate::sideband::{Farewell, SidebandEvents, SidebandNews, queue};

impl World {
    fn attach(&mut self, slot: Slot, key: KeyIndex, id: u64) -> Result<SidebandEvents, ApiError> {
        let (queue, events) = queue(SidebandId(id));
        let (reply, mut answer) = oneshot::channel();
        let attach = Attach { call_id: call_id(slot), key, queue, reply };
        self.switchboard.handle_command(self.now, Command::Attach(attach));
        answer.try_recv().unwrap().map(|attached| {
            assert_eq!(attached, slot);
            events
        })
    }

    async fn says(&mut self, slot: Slot, id: u64, event: Value) {
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let news = SidebandNews::Said(event.to_string(), permit);
        self.switchboard.handle_command(self.now, Command::Sideband(slot, SidebandId(id), news));
    }
}

async fn next(events: &mut SidebandEvents) -> Value {
    serde_json::from_str(&events.waiting.next().await.unwrap()).unwrap()
}

#[tokio::test]
async fn sidebands_of_the_calls_own_key_attach_and_see_what_either_does() {
    let mut world = World::new(1).await;
    world.call(1);
    assert_eq!(world.attach(1, KeyIndex(1), 7).err().unwrap().code.unwrap(), "call_id_not_found");
    assert_eq!(world.attach(2, KeyIndex(0), 7).err().unwrap().code.unwrap(), "call_id_not_found");
    let mut first = world.attach(1, KeyIndex(0), 7).unwrap();
    let mut second = world.attach(1, KeyIndex(0), 8).unwrap();
    world.says(1, 7, json!({"type": "session.update", "session": {"instructions": "x"}})).await;
    let updated = next(&mut first).await;
    assert_eq!(updated["session"]["instructions"], "x");
    assert_eq!(next(&mut second).await, updated);
    world.says(1, 8, json!({"type": "response.cancel", "event_id": "mine"})).await;
    assert_eq!(next(&mut second).await["error"]["event_id"], "mine");
    world.switchboard.work(world.now, 1, |call, sink| call.end(Instant::now(), EndReason::HungUp, sink));
    assert_eq!(first.waiting.next().await, None, "the error was not for the first");
    assert_eq!(first.farewell.await, Ok(Farewell::CallEnded(EndReason::HungUp)));
    assert_eq!(second.farewell.await, Ok(Farewell::CallEnded(EndReason::HungUp)));
}

#[tokio::test]
async fn a_sideband_that_goes_leaves_the_call_and_its_place_behind() {
    let mut world = World::new(1).await;
    world.call(1);
    let kept: Vec<_> = (0..4).map(|id| world.attach(1, KeyIndex(0), id).unwrap()).collect();
    assert_eq!(world.attach(1, KeyIndex(0), 4).err().unwrap().status, 429);
    world.switchboard.handle_command(world.now, Command::Sideband(1, SidebandId(2), SidebandNews::Gone));
    let mut late = world.attach(1, KeyIndex(0), 5).unwrap();
    world.says(1, 5, json!({"type": "session.update", "session": {}})).await;
    assert_eq!(next(&mut late).await["type"], "session.updated");
    drop(kept);
}

#[tokio::test]
async fn whoever_asked_to_attach_and_went_away_holds_no_place() {
    let mut world = World::new(1).await;
    world.call(1);
    for id in 0..10 {
        let (queue, _events) = queue(SidebandId(id));
        let (reply, _) = oneshot::channel();
        let attach = Attach { call_id: call_id(1), key: KeyIndex(0), queue, reply };
        world.switchboard.handle_command(world.now, Command::Attach(attach));
    }
    assert!(world.attach(1, KeyIndex(0), 11).is_ok());
}

#[tokio::test]
async fn a_sideband_that_does_not_listen_is_closed_and_the_call_goes_on() {
    let mut world = World::new(1).await;
    world.call(1);
    let idle = world.attach(1, KeyIndex(0), 1).unwrap();
    let mut busy = world.attach(1, KeyIndex(0), 2).unwrap();
    let text = "x".repeat(600_000);
    for _ in 0..10 {
        let content = json!([{"type": "input_text", "text": text}]);
        let item = json!({"type": "message", "role": "user", "content": content});
        world.says(1, 2, json!({"type": "conversation.item.create", "item": item})).await;
        assert_eq!(next(&mut busy).await["type"], "conversation.item.added");
        assert_eq!(next(&mut busy).await["type"], "conversation.item.done");
    }
    assert_eq!(idle.farewell.await, Ok(Farewell::TooSlow));
    for id in 3..6 {
        assert!(world.attach(1, KeyIndex(0), id).is_ok(), "its place is free");
    }
}
