use voxgate_protocol::audio::{Pcm, SampleRate};
use voxgate_protocol::bridge::{FaultOwner, OutputPart, TurnOwner};
use voxgate_protocol::conversation::{Content, InputItem, Item, ItemKind, ItemStatus, Position, Role};
use voxgate_protocol::id::ResponseId;
use voxgate_protocol::settings::{ResponseOptions, ServerVad, Transcription, TurnDetection};

use super::*;

const AGE: Duration = Duration::from_mins(55);
const SECOND: Duration = Duration::from_secs(1);
const RATE: SampleRate = SampleRate::HZ_24000;

fn traits(turn_owner: TurnOwner) -> BridgeTraits {
    BridgeTraits { input_rate: RATE, output_rate: RATE, turn_owner, truncates: true, transcribes: false }
}

fn vad() -> SessionSettings {
    let mut settings = SessionSettings::default();
    settings.input.turn_detection = Some(TurnDetection::ServerVad(ServerVad::default()));
    settings
}

/// A session with its first connection ready.
struct Line {
    rotation: Rotation,
    now: Instant,
}

impl Line {
    fn new(owner: TurnOwner, settings: SessionSettings) -> Self {
        let now = Instant::now();
        let mut line = Self { rotation: Rotation::new(now, AGE, traits(owner), settings), now };
        line.hear(BridgeEvent::Ready);
        line
    }

    /// Turns found by the client.
    fn manual() -> Self {
        Self::new(TurnOwner::Provider, SessionSettings::default())
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn hear(&mut self, event: BridgeEvent) -> Vec<BridgeEvent> {
        self.rotation.hear(self.now, event)
    }

    fn route(&mut self, command: BridgeCommand) -> Option<BridgeCommand> {
        self.rotation.route(self.now, command)
    }

    fn say(&mut self, length: Duration) {
        let _ = self.route(BridgeCommand::Audio(Pcm::silence(RATE, length)));
    }

    fn step(&mut self) -> Option<Step> {
        self.rotation.step(self.now)
    }

    fn expire(&mut self) -> Vec<BridgeEvent> {
        self.hear(expiry())
    }

    fn replace(&mut self, context: Vec<ContextItem>) -> Vec<BridgeCommand> {
        assert_eq!(self.step(), Some(Step::Open));
        self.rotation.hear_standby(self.now, BridgeEvent::Ready);
        assert!(matches!(self.step(), Some(Step::Move(_))));
        self.rotation.moved(self.now, context)
    }
}

fn fault(code: &str, may_retry: bool) -> BridgeEvent {
    BridgeEvent::Fault(Fault {
        owner: FaultOwner::Provider,
        code: code.into(),
        message: "The end.".into(),
        may_retry,
        may_switch: true,
        is_final: true,
    })
}

fn expiry() -> BridgeEvent {
    fault("session_expired", true)
}

fn commit(item_id: &str) -> BridgeCommand {
    BridgeCommand::CommitInput { item_id: item_id.into(), is_silence: false }
}

fn create() -> BridgeCommand {
    BridgeCommand::CreateResponse(Box::default())
}

fn started(id: &str) -> BridgeEvent {
    BridgeEvent::ResponseStarted { response_id: id.into() }
}

fn done(id: &str) -> BridgeEvent {
    BridgeEvent::ResponseDone { response_id: id.into(), status: ResponseStatus::Completed, usage: None }
}

fn said(length: Duration) -> BridgeEvent {
    let part = OutputPart::Audio(Pcm::silence(RATE, length));
    BridgeEvent::Output { response_id: "r".into(), item_id: "a".into(), part }
}

fn item(id: &str, words: &str) -> Item {
    let kind = ItemKind::Message { role: Role::User, content: vec![Content::InputText(words.into())] };
    Item { id: id.into(), status: ItemStatus::Completed, kind }
}

fn known(id: &str, words: &str) -> ContextItem {
    ContextItem { id: id.into(), item: Some(item(id, words)) }
}

fn left_out(id: &str) -> ContextItem {
    ContextItem { id: id.into(), item: None }
}

fn asking_with(references: &[&str]) -> BridgeCommand {
    let input = references.iter().map(|id| InputItem::Reference((*id).into())).collect();
    let options = ResponseOptions { input: Some(input), ..ResponseOptions::default() };
    BridgeCommand::CreateResponse(Box::new(options))
}

fn speech_started(id: &str, at: Duration) -> BridgeEvent {
    BridgeEvent::SpeechStarted { item_id: id.into(), at }
}

fn speech_stopped(id: &str, at: Duration) -> BridgeEvent {
    BridgeEvent::SpeechStopped { item_id: id.into(), at }
}

fn committed(id: &str) -> BridgeEvent {
    BridgeEvent::InputCommitted { item_id: id.into() }
}

#[test]
fn an_answer_is_made_of_the_items_the_new_connection_knows() {
    let mut line = Line::new(TurnOwner::Gateway, vad());
    line.say(SECOND);
    let _ = line.route(commit("repeated"));
    let _ = line.route(asking_with(&["told", "wordless", "repeated"]));
    line.expire();
    let context = vec![known("told", "hello"), left_out("wordless"), left_out("repeated")];
    let commands = line.replace(context);
    assert_eq!(commands.last(), Some(&asking_with(&["told", "repeated"])));
    line.hear(started("r"));
    line.hear(done("r"));
    assert_eq!(line.route(asking_with(&["wordless", "told"])), Some(asking_with(&["told"])));
}

#[test]
fn an_old_connection_is_replaced_once_the_answer_is_over_and_heard() {
    let mut line = Line::manual();
    line.wait(AGE - SECOND);
    assert_eq!(line.step(), None);
    assert_eq!(line.rotation.poll_timeout(line.now), Some(line.now + SECOND));
    let _ = line.route(create());
    line.wait(SECOND);
    assert_eq!(line.step(), Some(Step::Open), "the new one is made while the old one serves");
    line.rotation.hear_standby(line.now, BridgeEvent::Ready);
    assert_eq!(line.step(), None, "an answer is asked for");
    line.hear(started("r"));
    line.hear(said(3 * SECOND));
    assert_eq!(line.step(), None, "an answer is being written");
    line.hear(done("r"));
    assert_eq!(line.step(), None, "the caller still hears it");
    let heard_at = line.now + 3 * SECOND + Duration::from_millis(500);
    assert_eq!(line.rotation.poll_timeout(line.now), Some(heard_at));
    line.now = heard_at;
    assert_eq!(line.step(), Some(Step::Move(Reason::Age)));
    assert_eq!(line.rotation.moved(line.now, vec![known("a", "hi")]).len(), 1);
    assert_eq!(line.step(), None);
}

#[test]
fn nobody_is_cut_off_while_speaking_or_before_the_words_are_known() {
    let mut settings = vad();
    settings.input.transcription = Some(Transcription::default());
    let mut line = Line::new(TurnOwner::Provider, settings);
    line.hear(BridgeEvent::SpeechStarted { item_id: "u".into(), at: SECOND });
    line.wait(AGE);
    assert_eq!(line.step(), Some(Step::Open));
    line.rotation.hear_standby(line.now, BridgeEvent::Ready);
    assert_eq!((line.step(), line.rotation.poll_timeout(line.now)), (None, None), "the caller speaks");
    line.hear(BridgeEvent::SpeechStopped { item_id: "u".into(), at: 2 * SECOND });
    line.hear(BridgeEvent::InputCommitted { item_id: "u".into() });
    assert_eq!(line.step(), None, "an answer is owed");
    line.hear(started("r"));
    line.hear(done("r"));
    assert_eq!(line.step(), None, "the words of the turn are to come");
    line.hear(BridgeEvent::InputTranscriptDone { item_id: "u".into(), transcript: "hi".into(), usage: None });
    assert_eq!(line.step(), Some(Step::Move(Reason::Age)));
}

#[test]
fn words_that_only_the_gateway_wants_are_waited_for_and_settle_the_turn() {
    let now = Instant::now();
    let traits = BridgeTraits { transcribes: true, ..traits(TurnOwner::Provider) };
    let mut line = Line { rotation: Rotation::new(now, AGE, traits, vad()), now };
    line.hear(BridgeEvent::Ready);
    line.wait(AGE);
    assert_eq!(line.step(), Some(Step::Open));
    line.rotation.hear_standby(line.now, BridgeEvent::Ready);
    line.say(SECOND);
    for event in
        [speech_started("u", Duration::ZERO), speech_stopped("u", SECOND), committed("u"), started("r")]
    {
        line.hear(event);
    }
    line.hear(done("r"));
    assert_eq!(line.step(), None, "the words of the turn are to come");
    let words = BridgeEvent::InputWords { item_id: "u".into(), words: "hi".into() };
    assert_eq!(line.hear(words.clone()), [words]);
    assert_eq!(line.step(), Some(Step::Move(Reason::Age)));
}

#[test]
fn with_turns_found_here_audio_means_speech() {
    let mut line = Line::new(TurnOwner::Gateway, vad());
    line.wait(AGE);
    line.say(SECOND);
    assert_eq!(line.step(), Some(Step::Open));
    line.rotation.hear_standby(line.now, BridgeEvent::Ready);
    assert_eq!(line.step(), None);
    line.wait(SECOND);
    assert_eq!(line.step(), Some(Step::Move(Reason::Age)), "a turn that was given up ends without a word");
}

#[test]
fn an_answer_in_progress_fails_and_one_that_was_asked_for_is_asked_for_again() {
    let mut line = Line::manual();
    let beside = [create(), create()];
    for command in beside {
        assert!(line.route(command).is_some());
    }
    line.hear(started("r1"));
    let told = line.expire();
    let [BridgeEvent::ResponseDone { response_id, status: ResponseStatus::Failed { code, .. }, .. }] =
        &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((response_id, code.as_str()), (&ResponseId::from("r1"), "session_expired"));
    assert_eq!(line.replace(Vec::new()), [create()]);
    assert_eq!(line.hear(started("r2")), [started("r2")]);
    line.expire();
    assert_eq!(line.replace(Vec::new()), [], "what began is not repeated");
}

#[test]
fn what_the_caller_says_while_the_provider_is_gone_comes_after_the_conversation() {
    let mut line = Line::new(TurnOwner::Provider, vad());
    line.say(10 * SECOND);
    line.hear(BridgeEvent::SpeechStarted { item_id: "u".into(), at: 9 * SECOND });
    assert_eq!(line.expire(), []);
    for _ in 0..3 {
        assert_eq!(line.route(BridgeCommand::Audio(Pcm::silence(RATE, SECOND))), None);
    }
    let commands = line.replace(vec![known("a", "hi"), left_out("b")]);
    let restored = BridgeCommand::RestoreItem { item: item("a", "hi"), position: Position::Last };
    assert_eq!(commands[0], restored);
    let audio = |command: &BridgeCommand| match command {
        BridgeCommand::Audio(pcm) => pcm.duration(),
        other => panic!("{other:?}"),
    };
    assert_eq!(commands[1..].iter().map(audio).sum::<Duration>(), 13 * SECOND);
    assert_eq!(line.hear(speech_started("v", 9 * SECOND)), [], "the client was told");
    let stopped = line.hear(speech_stopped("v", 12 * SECOND));
    assert_eq!(stopped, [speech_stopped("u", 12 * SECOND)], "the new connection heard everything");
}

#[test]
fn a_turn_that_is_heard_again_keeps_its_name() {
    let mut line = Line::new(TurnOwner::Provider, vad());
    for _ in 0..60 {
        line.say(SECOND);
    }
    line.hear(speech_started("u", 59 * SECOND + SECOND / 2));
    line.say(2 * SECOND);
    line.expire();
    line.replace(vec![known("a", "hi")]);
    // Three seconds were repeated: the last one before the turn was noticed, and the turn.
    assert_eq!(line.hear(speech_started("v", SECOND / 2)), []);
    assert_eq!(line.hear(speech_stopped("v", 4 * SECOND)), [speech_stopped("u", 63 * SECOND)]);
    assert_eq!(line.hear(committed("v")), [committed("u")]);
    let words = |id: &str| {
        let transcript = "hello".to_owned();
        BridgeEvent::InputTranscriptDone { item_id: id.into(), transcript, usage: None }
    };
    assert_eq!(line.hear(words("v")), [words("u")]);
    let delete = |id: &str| BridgeCommand::DeleteItem { item_id: id.into() };
    let behind =
        |id: &str| BridgeCommand::CreateItem { item: item("n", "x"), position: Position::After(id.into()) };
    assert_eq!(line.route(behind("u")), Some(behind("v")));
    assert_eq!(line.route(asking_with(&["u", "a"])), Some(asking_with(&["v", "a"])));
    assert_eq!(line.route(delete("u")), Some(delete("v")));
    assert_eq!(line.hear(speech_started("w", 8 * SECOND)), [speech_started("w", 67 * SECOND)]);
}

#[test]
fn a_committed_turn_that_is_heard_again_is_no_news() {
    let mut line = Line::new(TurnOwner::Provider, vad());
    line.say(SECOND);
    line.hear(speech_started("u", Duration::ZERO));
    line.say(SECOND);
    line.hear(speech_stopped("u", 2 * SECOND));
    assert_eq!(line.hear(committed("u")), [committed("u")]);
    line.expire();
    line.replace(vec![left_out("u")]);
    for event in [speech_started("v", Duration::ZERO), speech_stopped("v", 2 * SECOND), committed("v")] {
        assert_eq!(line.hear(event), []);
    }
    let behind =
        |id: &str| BridgeCommand::CreateItem { item: item("n", "x"), position: Position::After(id.into()) };
    assert_eq!(line.route(behind("u")), Some(behind("v")), "the connection has the turn now");
    assert_eq!(line.hear(started("r")), [started("r")]);
}

#[test]
fn a_new_turn_is_told_although_one_that_was_repeated_was_not_found_again() {
    let mut line = Line::new(TurnOwner::Provider, vad());
    line.say(SECOND);
    line.hear(speech_started("u", Duration::ZERO));
    line.hear(speech_stopped("u", SECOND));
    line.expire();
    line.replace(Vec::new());
    line.say(SECOND);
    let new = speech_started("v", SECOND + SECOND / 2);
    assert_eq!(line.hear(new.clone()), [new]);
}

#[test]
fn a_provider_that_stalls_is_replaced_twice_and_then_given_up() {
    let stalled = || fault("provider_stalled", true);
    let mut line = Line::manual();
    let _ = line.route(create());
    for _ in 0..2 {
        assert_eq!(line.hear(stalled()), []);
        assert_eq!(line.replace(Vec::new()), [create()], "the caller is still to be answered");
        line.wait(Duration::from_secs(15));
    }
    assert_eq!(line.hear(stalled()), [stalled()]);

    let mut recovering = Line::manual();
    for _ in 0..20 {
        recovering.wait(Duration::from_secs(15));
        assert_eq!(recovering.hear(fault("provider_unreachable", true)), []);
        recovering.replace(Vec::new());
        recovering.hear(started("r"));
        recovering.hear(done("r"));
    }
}

#[test]
fn positions_go_on_counting_from_the_beginning_of_the_session() {
    let mut line = Line::new(TurnOwner::Provider, vad());
    for _ in 0..100 {
        line.say(SECOND);
    }
    line.expire();
    let commands = line.replace(Vec::new());
    assert_eq!(commands.len(), 1, "the last second, in which somebody may have begun to speak");
    let event = BridgeEvent::SpeechStopped { item_id: "u".into(), at: 5 * SECOND };
    let expected = BridgeEvent::SpeechStopped { item_id: "u".into(), at: 104 * SECOND };
    assert_eq!(line.hear(event), [expected]);
}

#[test]
fn a_turn_nothing_answered_is_heard_again_unless_its_words_are_known() {
    for is_recognised in [false, true] {
        let mut line = Line::manual();
        line.say(SECOND);
        let _ = line.route(commit("u"));
        let committed = BridgeEvent::InputCommitted { item_id: "u".into() };
        assert_eq!(line.hear(committed.clone()), std::slice::from_ref(&committed));
        let _ = line.route(create());
        if is_recognised {
            let item_id = ItemId::from("u");
            line.hear(BridgeEvent::InputTranscriptDone { item_id, transcript: "hi".into(), usage: None });
        }
        line.expire();
        let commands = line.replace(Vec::new());
        if is_recognised {
            assert_eq!(commands, [create()]);
        } else {
            assert_eq!(commands[1..], [commit("u"), create()]);
            assert_eq!(line.hear(committed), [], "the client was told");
        }
    }
}

#[test]
fn an_answer_the_provider_owed_is_asked_for() {
    let mut settings = vad();
    settings.input.transcription = Some(Transcription::default());
    let mut line = Line::new(TurnOwner::Provider, settings);
    line.hear(BridgeEvent::SpeechStarted { item_id: "u".into(), at: SECOND });
    line.say(SECOND);
    line.hear(BridgeEvent::InputCommitted { item_id: "u".into() });
    line.hear(BridgeEvent::InputTranscriptDone { item_id: "u".into(), transcript: "hi".into(), usage: None });
    line.expire();
    assert_eq!(line.replace(Vec::new()), [create()]);
}

#[test]
fn only_so_many_connections_are_made_and_then_the_session_is_told_the_end() {
    let mut line = Line::manual();
    for _ in 0..3 {
        assert_eq!(line.expire(), []);
        line.replace(Vec::new());
    }
    assert_eq!(line.expire(), [expiry()]);
    let mut patient = Line::manual();
    for _ in 0..20 {
        patient.wait(Duration::from_secs(10));
        assert_eq!(patient.expire(), []);
        patient.replace(Vec::new());
    }
}

#[test]
fn a_provider_that_does_not_come_back_ends_the_session_with_the_last_reason() {
    let mut line = Line::manual();
    line.expire();
    assert_eq!(line.step(), Some(Step::Open));
    line.rotation.hear_standby(line.now, fault("provider_unreachable", true));
    assert_eq!(line.step(), None);
    line.now = line.rotation.poll_timeout(line.now).unwrap();
    assert_eq!(line.step(), Some(Step::Open), "once more");
    line.rotation.hear_standby(line.now, fault("provider_refused_key", false));
    let refused = Box::new(fault("provider_refused_key", false));
    assert_eq!(line.step(), Some(Step::End(Reason::Expired, refused)));
    assert_eq!((line.step(), line.rotation.poll_timeout(line.now)), (None, None));

    let mut silent = Line::manual();
    silent.expire();
    assert_eq!(silent.step(), Some(Step::Open));
    silent.now = silent.rotation.poll_timeout(silent.now).unwrap();
    assert_eq!(silent.step(), Some(Step::End(Reason::Expired, Box::new(expiry()))));
}

#[test]
fn what_a_new_connection_would_not_mend_ends_the_session() {
    for event in [fault("provider_refused_key", false), fault("insufficient_quota", false)] {
        assert_eq!(Line::manual().hear(event.clone()), [event]);
    }
    let now = Instant::now();
    let mut never_ready = Rotation::new(now, AGE, traits(TurnOwner::Provider), vad());
    assert_eq!(never_ready.hear(now, expiry()), [expiry()]);
    assert_eq!(never_ready.poll_timeout(now), None);
}

#[test]
fn a_failed_attempt_beside_a_working_connection_is_repeated_later_and_nobody_hears_of_it() {
    let mut line = Line::manual();
    line.wait(AGE);
    assert_eq!(line.step(), Some(Step::Open));
    line.rotation.hear_standby(line.now, fault("provider_refused_key", false));
    assert_eq!(line.step(), None);
    line.now = line.rotation.poll_timeout(line.now).unwrap();
    assert_eq!(line.step(), Some(Step::Open));
}

#[test]
fn settings_changed_meanwhile_are_told_first() {
    let mut line = Line::manual();
    line.expire();
    assert_eq!(line.step(), Some(Step::Open));
    let changed = BridgeCommand::Configure(Box::new(vad()));
    assert_eq!(line.route(changed.clone()), None);
    line.rotation.hear_standby(line.now, BridgeEvent::Ready);
    assert!(matches!(line.step(), Some(Step::Move(Reason::Expired))));
    assert_eq!(line.rotation.moved(line.now, Vec::new()), [changed]);
}

#[test]
fn items_of_former_connections_are_named_only_where_they_are_known() {
    let mut line = Line::manual();
    line.expire();
    line.replace(vec![left_out("a"), known("b", "hi"), left_out("c")]);
    let behind =
        |id: &str| BridgeCommand::CreateItem { item: item("n", "x"), position: Position::After(id.into()) };
    let at = |position| Some(BridgeCommand::CreateItem { item: item("n", "x"), position });
    assert_eq!(line.route(behind("a")), at(Position::First));
    assert_eq!(line.route(behind("b")), at(Position::After("b".into())));
    assert_eq!(line.route(behind("c")), at(Position::After("b".into())));
    assert_eq!(line.route(behind("new")), at(Position::After("new".into())));
}

#[test]
fn a_restored_answer_that_is_cut_is_told_anew() {
    let mut line = Line::manual();
    line.expire();
    line.replace(vec![known("u", "hi"), known("a", "one two three")]);
    let cut = |id: &str| BridgeCommand::Truncate { item_id: id.into(), content_index: 0, heard: SECOND };
    assert_eq!(line.route(cut("own")), Some(cut("own")));
    assert!(!line.rotation.has_cut());
    assert_eq!(line.route(cut("a")), None);
    assert!(line.rotation.has_cut());
    let delete = BridgeCommand::DeleteItem { item_id: "a".into() };
    let anew = BridgeCommand::RestoreItem { item: item("a", "one"), position: Position::After("u".into()) };
    assert_eq!(line.rotation.recut(&[known("u", "hi"), known("a", "one")]), [delete.clone(), anew]);
    let _ = line.route(cut("a"));
    assert_eq!(line.rotation.recut(&[known("u", "hi"), left_out("a")]), [delete], "nothing was heard");
}
