use super::*;

#[tokio::test]
async fn a_call_whose_state_machine_panics_ends_alone_and_is_counted() {
    let mut world = World::new(1).await;
    world.call(1);
    world.call(2);
    let now = world.now;
    world.switchboard.work(now, 2, |_, _| std::panic::resume_unwind(Box::new("a mistake")));
    assert!(world.switchboard.calls.contains_key(&1) && !world.switchboard.calls.contains_key(&2));
    assert!(!world.switchboard.by_call_id.contains_key(&call_id(2)));
    assert_eq!(world.switchboard.config.metrics.session_panics.get(), 1);
    world.timeout(1);
    assert_eq!(world.switchboard.calls[&1].end_reason(), None, "the other one goes on");
}
