use proptest::prelude::*;
use voxgate_protocol::bridge::{Fault, FaultOwner};
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::settings::{OutputModality, Purpose, SessionSettings, Tool, Transcription};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn route(pattern: &str, provider: &str) -> Route {
    Route::to(ModelPattern::parse(pattern).unwrap(), Target::new(provider, None))
}

fn among(targets: Vec<Target>) -> Route {
    Route { targets, ..route("*", "nobody") }
}

fn of_priority(provider: &str, priority: u32) -> Target {
    Target { priority, ..Target::new(provider, None) }
}

fn pair() -> Route {
    among(vec![of_priority("first", 0), of_priority("second", 1)])
}

fn choose(router: &mut Router, now: Duration, route: &Route) -> Result<usize, RoutingError> {
    router.choose(now, Ask { route, needs: &Needs::default(), avoid: &[], draw: 0 })
}

fn fail(router: &mut Router, now: Duration, route: &Route, index: usize, trouble: Trouble) {
    router.report(now, &route.targets[index], Outcome::Failed(trouble));
}

fn fault(owner: FaultOwner, code: &str, may_retry: bool, may_switch: bool) -> Fault {
    Fault { owner, code: code.to_owned(), message: String::new(), may_retry, may_switch, is_final: true }
}

#[test]
fn the_narrowest_pattern_wins_whatever_the_order() {
    let table = RouteTable::new(vec![
        route("*", "local"),
        route("gpt-*", "openai"),
        route("gpt-realtime-mini", "azure"),
        route("gpt-realtime*", "eu"),
    ]);
    let provider = |model| table.resolve(model).unwrap().targets[0].provider.clone();
    assert_eq!(provider("gpt-realtime-mini"), "azure");
    assert_eq!(provider("gpt-realtime-2"), "eu");
    assert_eq!(provider("gpt-4o"), "openai");
    assert_eq!(provider("anything"), "local");
}

#[test]
fn a_model_without_a_route_is_refused_by_name() {
    let table = RouteTable::new(vec![route("gpt-*", "openai")]);
    let error = table.resolve("grok").unwrap_err();
    assert_eq!(error.to_string(), "the model \"grok\" is not served by this gateway");
}

#[test]
fn no_pattern_serves_a_name_with_control_characters() {
    let table = RouteTable::new(vec![route("*", "local"), route("gpt-*", "openai")]);
    for name in ["gpt-\0", "m\u{1b}[2J", "\n"] {
        assert!(table.resolve(name).is_err(), "{name:?}");
    }
}

#[test]
fn a_star_may_only_stand_at_the_end() {
    for wrong in ["", "g*t", "**", "*x"] {
        assert!(ModelPattern::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_next_priority_serves_only_while_the_first_cannot() {
    let (mut router, route) = (Router::default(), pair());
    for _ in 0..3 {
        assert_eq!(choose(&mut router, SECOND, &route), Ok(0));
        fail(&mut router, SECOND, &route, 0, Trouble::Unreachable);
    }
    assert_eq!(router.state(&route.targets[0]), CircuitState::Open);
    assert_eq!(choose(&mut router, SECOND * 2, &route), Ok(1));
    // One session is let through after the cool-down, and no other until it is known how that went.
    assert_eq!(choose(&mut router, SECOND * 11, &route), Ok(0));
    assert_eq!(choose(&mut router, SECOND * 11, &route), Ok(1));
    router.report(SECOND * 12, &route.targets[0], Outcome::Ready);
    assert_eq!(choose(&mut router, SECOND * 12, &route), Ok(0));
    assert_eq!(choose(&mut router, SECOND * 12, &route), Ok(0));
}

#[test]
fn each_failed_probe_doubles_the_cool_down_up_to_its_longest() {
    let rule = BreakerRule { failures: 1, cool_down: SECOND, longest_cool_down: SECOND * 6 };
    let (mut router, route) = (Router::new(rule), pair());
    let mut now = Duration::ZERO;
    for pause in [1, 2, 4, 6, 6] {
        assert_eq!(choose(&mut router, now, &route), Ok(0));
        fail(&mut router, now, &route, 0, Trouble::Unreachable);
        now += SECOND * pause;
        assert_eq!(choose(&mut router, now - Duration::from_nanos(1), &route), Ok(1));
    }
}

#[test]
fn a_target_that_takes_connections_and_never_answers_is_closed_off() {
    let (mut router, route) = (Router::default(), pair());
    for _ in 0..3 {
        assert_eq!(choose(&mut router, SECOND, &route), Ok(0));
        router.report(SECOND, &route.targets[0], Outcome::Ready);
        fail(&mut router, SECOND, &route, 0, Trouble::Silent);
    }
    assert_eq!(choose(&mut router, SECOND, &route), Ok(1));
    // The connection of the probe proves nothing; only its answer does.
    assert_eq!(choose(&mut router, SECOND * 11, &route), Ok(0));
    router.report(SECOND * 11, &route.targets[0], Outcome::Ready);
    assert_eq!(choose(&mut router, SECOND * 11, &route), Ok(1));
    router.report(SECOND * 12, &route.targets[0], Outcome::Answered(None));
    assert_eq!(choose(&mut router, SECOND * 12, &route), Ok(0));
}

#[test]
fn a_refused_key_closes_a_target_off_at_once_and_for_longer() {
    let (mut router, route) = (Router::default(), pair());
    assert_eq!(choose(&mut router, SECOND, &route), Ok(0));
    fail(&mut router, SECOND, &route, 0, Trouble::Refused);
    assert_eq!(choose(&mut router, SECOND * 60, &route), Ok(1));
    assert_eq!(choose(&mut router, SECOND * 61, &route), Ok(0));
}

#[test]
fn a_probe_whose_caller_hung_up_does_not_keep_the_target_out_for_ever() {
    let (mut router, route) = (Router::default(), pair());
    fail(&mut router, Duration::ZERO, &route, 0, Trouble::Busy);
    assert_eq!(choose(&mut router, SECOND * 10, &route), Ok(0));
    assert_eq!(choose(&mut router, SECOND * 39, &route), Ok(1));
    assert_eq!(choose(&mut router, SECOND * 40, &route), Ok(0));
}

#[test]
fn without_a_target_the_error_says_why_and_for_how_long() {
    let (mut router, route) = (Router::default(), pair());
    fail(&mut router, SECOND, &route, 0, Trouble::Refused);
    fail(&mut router, SECOND * 4, &route, 1, Trouble::Busy);
    let error = choose(&mut router, SECOND * 6, &route).unwrap_err();
    assert_eq!(error, RoutingError::AllCoolingDown { retry_after: SECOND * 8 });
    let mut dumb = Target::new("dumb", None);
    dumb.offers.tools = false;
    let needs = Needs { tools: true, ..Needs::default() };
    let route = among(vec![dumb.clone(), dumb]);
    let ask = Ask { route: &route, needs: &needs, avoid: &[], draw: 0 };
    assert_eq!(router.choose(SECOND, ask), Err(RoutingError::NothingFits { need: "tools" }));
}

#[test]
fn a_route_with_one_target_never_closes_it_off() {
    let (mut router, route) = (Router::default(), route("*", "only"));
    for _ in 0..5 {
        fail(&mut router, SECOND, &route, 0, Trouble::Unreachable);
        assert_eq!(choose(&mut router, SECOND, &route), Ok(0));
    }
}

#[test]
fn the_cheapest_and_the_fastest_go_first_where_the_route_prefers_them() {
    let mut route = among(["plain", "cheap", "fast"].map(|name| Target::new(name, None)).to_vec());
    route.targets[1].cost = Some(NanoDollars::new(5));
    route.targets[2].cost = Some(NanoDollars::new(9));
    let mut router = Router::default();
    let milliseconds = Duration::from_millis;
    for (index, first_audio) in [(0, 400), (1, 300), (2, 200)] {
        let heard = Outcome::Answered(Some(milliseconds(first_audio)));
        router.report(SECOND, &route.targets[index], heard);
    }
    route.preference = Preference::Cost;
    assert_eq!(choose(&mut router, SECOND, &route), Ok(1));
    route.preference = Preference::Latency;
    assert_eq!(choose(&mut router, SECOND, &route), Ok(2));
    // A measurement that is old is none: whoever was not measured is tried again.
    assert_eq!(choose(&mut router, SECOND * 602, &route), Ok(0));
    // One slow answer is no reason; slowness that lasts is.
    router.report(SECOND, &route.targets[2], Outcome::Answered(Some(milliseconds(300))));
    assert_eq!(choose(&mut router, SECOND, &route), Ok(2));
    for _ in 0..20 {
        router.report(SECOND, &route.targets[2], Outcome::Answered(Some(milliseconds(2_000))));
    }
    assert_eq!(choose(&mut router, SECOND, &route), Ok(1));
}

#[test]
fn what_a_session_needs_is_read_from_its_settings() {
    let mut settings = SessionSettings::default();
    assert_eq!(Needs::of(&settings), Needs { speech: true, ..Needs::default() });
    settings.modality = OutputModality::Text;
    settings.tools =
        vec![Tool { name: "end".to_owned(), description: None, parameters: serde_json::json!({}) }];
    settings.input.transcription =
        Some(Transcription { language: Some("de-AT".to_owned()), ..Transcription::default() });
    let needs = Needs::of(&settings);
    let wanted = Needs { tools: true, language: Some("de".to_owned()), ..Needs::default() };
    assert_eq!(needs, wanted);
    let mut target = Target::new("english", None);
    target.offers.languages = Some(["en".to_owned()].into());
    assert_eq!(needs.met_by(&target), Err(RoutingError::NothingFits { need: "the language" }));
    target.offers.languages = Some(["de".to_owned()].into());
    assert_eq!(needs.met_by(&target), Ok(()));
    settings.purpose = Purpose::Transcription;
    assert!(Needs::of(&settings).transcription);
}

#[test]
fn a_fault_says_whose_it_is_and_what_helps() {
    use FaultOwner::{Client, Gateway, Provider};
    for (fault, trouble, with_others, alone) in [
        (fault(Client, "invalid_value", false, false), None, Remedy::Tell, Remedy::Tell),
        (fault(Provider, "session_expired", true, true), None, Remedy::Retry, Remedy::Retry),
        (
            fault(Provider, "provider_disconnected", true, true),
            Some(Trouble::Broken),
            Remedy::Switch,
            Remedy::Retry,
        ),
        (
            fault(Provider, "provider_stalled", true, true),
            Some(Trouble::Silent),
            Remedy::Switch,
            Remedy::Retry,
        ),
        (
            fault(Provider, "provider_connect_timeout", true, true),
            Some(Trouble::Unreachable),
            Remedy::Switch,
            Remedy::Retry,
        ),
        (
            fault(Provider, "rate_limit_exceeded", true, true),
            Some(Trouble::Busy),
            Remedy::Switch,
            Remedy::Retry,
        ),
        (
            fault(Gateway, "provider_refused_key", false, true),
            Some(Trouble::Refused),
            Remedy::Switch,
            Remedy::Tell,
        ),
    ] {
        assert_eq!(Trouble::of(&fault), trouble, "{}", fault.code);
        assert_eq!(Remedy::of(&fault, true), with_others, "{}", fault.code);
        assert_eq!(Remedy::of(&fault, false), alone, "{}", fault.code);
    }
}

#[test]
fn a_session_goes_from_target_to_target_and_asks_nobody_twice_while_another_is_left() {
    let route = among(["a", "b", "c"].map(|name| Target::new(name, None)).to_vec());
    let (mut router, needs) = (Router::default(), Needs::default());
    let mut way = Itinerary::begin(&mut router, SECOND, route, &needs, 0).unwrap();
    assert_eq!(way.current().unwrap().name(), "a");
    way.report(&mut router, SECOND, Outcome::Failed(Trouble::Broken));
    assert!(way.has_other(&router, SECOND, &needs));
    way.choose(&mut router, SECOND, &needs, 0).unwrap();
    assert_eq!(way.next().unwrap().name(), "b");
    assert!(way.has_other(&router, SECOND, &needs), "there is still c");
    way.report_next(&mut router, SECOND, Outcome::Failed(Trouble::Unreachable));
    way.choose(&mut router, SECOND, &needs, 0).unwrap();
    assert!(!way.has_other(&router, SECOND, &needs), "c, which is being asked, is the last");
    way.report_next(&mut router, SECOND, Outcome::Ready);
    assert!(way.moved());
    assert_eq!(way.current().unwrap().name(), "c");
    assert!(!way.has_other(&router, SECOND, &needs), "both others have failed this session");
    // An answer makes up for what was before.
    way.report(&mut router, SECOND, Outcome::Answered(None));
    assert!(way.has_other(&router, SECOND, &needs));
    // A connection that has merely become old is replaced at the same target.
    way.choose(&mut router, SECOND, &needs, 0).unwrap();
    assert!(!way.moved());
}

#[test]
fn a_session_goes_back_to_those_that_failed_it_when_nobody_else_is_left() {
    let (mut router, needs) = (Router::default(), Needs::default());
    let mut way = Itinerary::begin(&mut router, SECOND, pair(), &needs, 0).unwrap();
    way.report(&mut router, SECOND, Outcome::Failed(Trouble::Broken));
    way.choose(&mut router, SECOND, &needs, 0).unwrap();
    assert!(way.moved());
    way.report(&mut router, SECOND, Outcome::Failed(Trouble::Broken));
    way.choose(&mut router, SECOND, &needs, 0).unwrap();
    assert!(way.moved());
    assert_eq!(way.current().unwrap().name(), "first");
}

#[test]
fn what_a_client_asks_for_in_vain_is_no_fault_of_the_target() {
    let (mut router, needs) = (Router::default(), Needs::default());
    for _ in 0..10 {
        let mut way = Itinerary::begin(&mut router, SECOND, pair(), &needs, 0).unwrap();
        assert_eq!(way.current().unwrap().name(), "first");
        way.leave();
        way.choose(&mut router, SECOND, &needs, 0).unwrap();
        assert_eq!(way.next().unwrap().name(), "second");
        way.leave_next();
        assert!(!way.has_other(&router, SECOND, &needs));
    }
}

#[test]
fn a_better_target_is_one_that_is_well_and_goes_before_the_present_one() {
    let (mut router, needs) = (Router::default(), Needs::default());
    fail(&mut router, Duration::ZERO, &pair(), 0, Trouble::Busy);
    let mut way = Itinerary::begin(&mut router, SECOND, pair(), &needs, 0).unwrap();
    assert_eq!(way.current().unwrap().name(), "second");
    assert!(!way.prefer(&router, SECOND * 20, &needs, 0), "one that has yet to prove itself is not better");
    assert_eq!(choose(&mut router, SECOND * 20, &pair()), Ok(0));
    router.report(SECOND * 20, &pair().targets[0], Outcome::Ready);
    assert!(way.prefer(&router, SECOND * 20, &needs, 0));
    assert!(way.moved());
    assert!(!way.prefer(&router, SECOND * 20, &needs, 0), "there is nothing better than the first");
}

fn slow(names: &[&str]) -> std::collections::BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_slow_target_is_passed_over_while_the_route_has_another_and_its_circuit_stays_closed() {
    let (mut router, route) = (Router::default(), pair());
    router.pass_over(&route, slow(&["first"]));
    assert_eq!(choose(&mut router, SECOND, &route), Ok(1));
    assert_eq!(router.state(&route.targets[0]), CircuitState::Closed);
    // Better a slow one than none, and better a slow one than one that failed.
    fail(&mut router, SECOND, &route, 1, Trouble::Busy);
    assert_eq!(choose(&mut router, SECOND * 2, &route), Ok(0));
    router.report(SECOND * 30, &route.targets[1], Outcome::Answered(None));
    router.pass_over(&route, slow(&["first", "second"]));
    assert_eq!(choose(&mut router, SECOND * 60, &route), Ok(0), "if all are slow the order is as ever");
    // Of another route nothing was said.
    let other = Route { pattern: ModelPattern::parse("gpt-*").unwrap(), ..pair() };
    assert_eq!(choose(&mut router, SECOND * 60, &other), Ok(0));
    router.pass_over(&route, slow(&[]));
    assert_eq!(choose(&mut router, SECOND * 60, &route), Ok(0));
}

#[test]
fn any_target_that_is_not_slow_is_better_than_one_that_is_and_no_slow_one_is_better() {
    let (mut router, needs) = (Router::default(), Needs::default());
    let mut way = Itinerary::begin(&mut router, SECOND, pair(), &needs, 0).unwrap();
    assert_eq!(way.current().unwrap().name(), "first");
    assert!(!way.prefer(&router, SECOND, &needs, 0));
    router.pass_over(&pair(), slow(&["first", "second"]));
    assert!(!way.prefer(&router, SECOND, &needs, 0), "nobody is moved from one slow target to another");
    router.pass_over(&pair(), slow(&["first"]));
    assert!(way.prefer(&router, SECOND, &needs, 0));
    assert!(way.moved());
    assert_eq!(way.current().unwrap().name(), "second");
    assert!(!way.prefer(&router, SECOND, &needs, 0), "the first goes before it, and is slow");
    // One that has failed is left for a slow one that has not.
    fail(&mut router, SECOND, &pair(), 1, Trouble::Refused);
    assert!(way.prefer(&router, SECOND, &needs, 0));
}

#[test]
fn a_session_that_a_target_failed_goes_to_a_slow_one_rather_than_to_none() {
    let (mut router, needs) = (Router::default(), Needs::default());
    let mut way = Itinerary::begin(&mut router, SECOND, pair(), &needs, 0).unwrap();
    router.pass_over(&pair(), slow(&["second"]));
    way.report(&mut router, SECOND, Outcome::Failed(Trouble::Broken));
    assert!(way.has_other(&router, SECOND, &needs));
    way.choose(&mut router, SECOND, &needs, 0).unwrap();
    assert_eq!(way.next().unwrap().name(), "second");
}

/// Anything that may happen to a router.
#[derive(Clone, Debug)]
enum Event {
    Wait(u64),
    Choose(u64),
    Report(usize, Outcome),
    /// Those whose place is set in these bits are slow.
    PassOver(u8),
}

fn event() -> impl Strategy<Value = Event> {
    let trouble = proptest::sample::select(Trouble::ALL.to_vec());
    let outcome = prop_oneof![
        Just(Outcome::Ready),
        (0_u64..3_000).prop_map(|ms| Outcome::Answered(Some(Duration::from_millis(ms)))),
        trouble.prop_map(Outcome::Failed),
    ];
    prop_oneof![
        (0_u64..20_000).prop_map(Event::Wait),
        any::<u64>().prop_map(Event::Choose),
        (0_usize..4, outcome).prop_map(|(index, outcome)| Event::Report(index, outcome)),
        (0_u8..16).prop_map(Event::PassOver),
    ]
}

proptest! {
    /// Whatever happens: only what may serve is chosen, nobody is passed over who goes first and is free unless it is slow
    /// and another is not, a target that cools down gets nothing, and one that is tried again gets one session.
    #[test]
    fn whatever_happens_a_choice_keeps_the_rules(
        events in proptest::collection::vec(event(), 1..200),
        priorities in proptest::collection::vec(0_u32..3, 4),
        weights in proptest::collection::vec(0_u32..4, 4),
    ) {
        let mut targets: Vec<Target> = Vec::new();
        for (index, (priority, weight)) in priorities.into_iter().zip(weights).enumerate() {
            targets.push(Target { priority, weight, ..Target::new(&format!("p{index}"), None) });
        }
        let (mut router, route) = (Router::default(), among(targets));
        let mut now = Duration::ZERO;
        for event in events {
            match event {
                Event::Wait(ms) => now += Duration::from_millis(ms),
                Event::Report(index, outcome) => drop(router.report(now, &route.targets[index], outcome)),
                Event::PassOver(bits) => {
                    let names = (0..4).filter(|index| bits & (1 << index) != 0);
                    router.pass_over(&route, names.map(|index| format!("p{index}")).collect());
                }
                Event::Choose(draw) => {
                    let may = |target: &&Target| target.weight > 0 && router.is_free(now, target);
                    let quick = |target: &&Target| may(target) && !router.is_passed_over(&route, target);
                    let any_quick = route.targets.iter().any(|target| quick(&target));
                    let counts = |target: &&Target| if any_quick { quick(target) } else { may(target) };
                    let first = route.targets.iter().filter(counts).map(|target| target.priority).min();
                    let ask = Ask { route: &route, needs: &Needs::default(), avoid: &[], draw };
                    let was_closed = |router: &Router, index: usize| {
                        router.state(&route.targets[index]) == CircuitState::Closed
                    };
                    let before = router.clone();
                    match router.choose(now, ask) {
                        Ok(index) => {
                            let target = &route.targets[index];
                            prop_assert!(before.is_free(now, target) && target.weight > 0);
                            prop_assert!(!any_quick || !before.is_passed_over(&route, target));
                            prop_assert_eq!(Some(target.priority), first);
                            prop_assert!(was_closed(&before, index) || !router.is_free(now, target));
                        }
                        Err(RoutingError::AllCoolingDown { retry_after }) => {
                            prop_assert_eq!(first, None);
                            prop_assert!(router.choose(now + retry_after, ask).is_ok());
                        }
                        Err(_) => prop_assert!(route.targets.iter().all(|target| target.weight == 0)),
                    }
                }
            }
        }
    }
}
