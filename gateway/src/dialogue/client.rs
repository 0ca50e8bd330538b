//! The client's side of a session: its clock, and what it saw of its turns.
//!
//! A client that listens is asked for the time, quickly at first, and when the first sound of an answer left, when it came out.
//! A turn waits for that for a bounded time; the call waits for nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use voxgate_protocol::session::ClientReport;
use voxgate_protocol::trace::{AudioMark, ClientMoments, Moment, TurnTrace};
use voxgate_telemetry::latency::LatencyError;
use voxgate_telemetry::latency::account::TurnAccount;
use voxgate_telemetry::latency::capture::CaptureTimes;
use voxgate_telemetry::latency::clock::{ClientClock, ClockOffset, Exchange};
use voxgate_telemetry::latency::joining::ClientView;

/// Questions that follow quickly on each other, since one quick exchange is what a clock is known by.
const QUICK_QUESTIONS: u32 = 6;
const QUICK_INTERVAL: Duration = Duration::from_millis(250);

/// Later ones follow the drift of the clock: 1 ms of possible drift lies between two. A turn asks as well, so in a conversation
/// nothing is asked besides.
const INTERVAL: Duration = Duration::from_secs(10);

/// A client that leaves this many questions in a row unanswered does not know them.
const MOST_UNANSWERED: usize = 6;

/// A turn whose client has not said when it was heard by then is reckoned without: jitter buffers of browsers hold at most
/// about half of it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Turns that wait at once. A turn takes longer than [`PATIENCE`], so more is a client that plays games.
const MOST_WAITING: usize = 4;

/// How wrong a capture time may be that comes with packets: browsers stamp in whole milliseconds and leave out stamps that say
/// nearly the same as the one before, and the clock they stamp by is told to two more.
const STAMP_ERROR: Duration = Duration::from_millis(4);

/// How much earlier or later than its neighbours a piece of sound may be handed on and stamped: a device on a busy machine and a
/// page that makes its track itself hand several on at once, and a packet is stamped by the first of its pieces.
const UNEVEN_STAMPS: Duration = Duration::from_millis(10);

/// The microphone of a client that does not say how long its sound takes to where it is stamped, which may be twice this or
/// nothing: one device buffer.
const UNKNOWN_DEVICE: Duration = Duration::from_millis(10);

/// A capture time that says that a packet took longer to get here is by another clock.
const LONGEST_WAY: Duration = Duration::from_millis(500);

/// Messages of one fuzzed input that are heard.
const MOST_FUZZED: usize = 64;

/// What a client says of itself: one of these or several at once, since every message is a packet and an acknowledgement.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ClientMessage {
    /// The answer to the question about the time with that number.
    pub(crate) time: Option<(u32, TimeAnswer)>,
    /// What it measured since it last said so.
    pub(crate) report: Option<ClientReport>,
    /// What it saw of the turn with that number.
    pub(crate) turn: Option<(u32, ClientMoments)>,
}

impl From<ClientReport> for ClientMessage {
    fn from(report: ClientReport) -> Self {
        Self { report: Some(report), ..Self::default() }
    }
}

/// The time on a client's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeAnswer {
    /// When the question came.
    pub(crate) received: Duration,
    /// When the answer left.
    pub(crate) replied: Duration,
    /// The same moment since 1970, on the clock its packets are stamped by. `None` if it does not know that clock.
    pub(crate) unix: Option<Duration>,
}

/// What a client is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientQuestion {
    /// What time is it?
    Time(u32),
    /// When did you capture one sample, and when did you play the other? `time` is the number of a question about the time
    /// that may be answered with it.
    Turn { turn: u32, time: Option<u32>, spoken: Option<AudioMark>, heard: Option<AudioMark> },
}

/// A turn that waits for nothing any more.
#[derive(Debug, PartialEq)]
pub(crate) struct ReckonedTurn {
    /// Its number.
    pub(crate) turn: u32,
    /// When the caller's last word was, as the session estimates it.
    pub(crate) mouth: Instant,
    pub(crate) account: Result<TurnAccount, LatencyError>,
}

/// A turn that waits for what its client saw.
struct WaitingTurn {
    trace: Box<TurnTrace>,
    sent: Instant,
    /// The zero of the trace.
    zero: Duration,
    until: Instant,
}

/// A clock question without an answer.
#[derive(Clone, Copy, Debug)]
struct Asked {
    number: u32,
    at: Instant,
}

/// Follows one client.
pub(crate) struct ClientSide {
    /// The zero of moments.
    began: Instant,
    clock: ClientClock,
    /// One moment on its own clock, and on that of its packets.
    stamping: Option<(Duration, Duration)>,
    captures: CaptureTimes,
    /// From its microphone to where its sound is stamped.
    before_stamp: Option<Duration>,
    /// Without an answer so far, the oldest first: on a long way several are under way at once.
    asked: VecDeque<Asked>,
    questions: u32,
    /// While the client listens.
    next_question: Option<Instant>,
    waiting: VecDeque<WaitingTurn>,
    ready: VecDeque<ReckonedTurn>,
}

impl ClientSide {
    pub(super) fn new(began: Instant) -> Self {
        Self {
            began,
            clock: ClientClock::default(),
            stamping: None,
            captures: CaptureTimes::default(),
            before_stamp: None,
            asked: VecDeque::new(),
            questions: 0,
            next_question: None,
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
        }
    }

    /// The client can be asked from now on, or no longer. One that listens anew may be another page with another clock.
    pub(super) fn listens(&mut self, now: Instant, is_listening: bool) {
        self.clock = ClientClock::default();
        (self.stamping, self.before_stamp) = (None, None);
        self.asked.clear();
        self.questions = 0;
        self.next_question = is_listening.then_some(now);
    }

    /// The next question about the time, if it is time for one.
    pub(super) fn poll_question(&mut self, now: Instant) -> Option<ClientQuestion> {
        self.next_question.filter(|at| *at <= now)?;
        if self.asked.len() == MOST_UNANSWERED {
            self.next_question = None;
            return None;
        }
        let number = self.ask(now);
        let interval = if number < QUICK_QUESTIONS { QUICK_INTERVAL } else { INTERVAL };
        self.next_question = now.checked_add(interval);
        Some(ClientQuestion::Time(number))
    }

    fn ask(&mut self, now: Instant) -> u32 {
        self.questions = self.questions.wrapping_add(1);
        self.asked.push_back(Asked { number: self.questions, at: now });
        self.questions
    }

    /// What it says of itself.
    pub(super) fn told(&mut self, now: Instant, message: &ClientMessage) {
        if let Some((question, answer)) = &message.time {
            self.told_time(now, *question, answer);
        }
        if let Some(report) = &message.report {
            self.before_stamp = report.before_stamp;
        }
        if let Some((turn, moments)) = &message.turn {
            self.told_turn(now, *turn, moments);
        }
    }

    /// The answer to a question about the time. Questions before it are not waited for any longer.
    fn told_time(&mut self, now: Instant, question: u32, answer: &TimeAnswer) {
        let Some(index) = self.asked.iter().position(|asked| asked.number == question) else { return };
        let Some(asked) = self.asked.drain(..=index).next_back() else { return };
        let (asked, answered) = (self.since_begun(asked.at), self.since_begun(now));
        let TimeAnswer { received, replied, unix } = *answer;
        self.stamping = unix.map(|unix| (replied, unix));
        self.clock.exchanged(Exchange { asked, received, replied, answered });
        if self.questions >= QUICK_QUESTIONS {
            self.next_question = self.next_question.and_then(|_| now.checked_add(INTERVAL));
        }
    }

    /// A packet says when its first sample was captured.
    pub(super) fn captured(&mut self, sample: u32, at: Duration) {
        self.captures.stamped(sample, at);
    }

    /// A turn whose first sound was handed to the network at `sent`. The question its account waits for, if the client can
    /// answer one; otherwise the account is ready at once.
    pub(super) fn turn(&mut self, sent: Instant, trace: Box<TurnTrace>) -> Option<ClientQuestion> {
        let (spoken, heard) = (trace.spoken, trace.heard);
        let knows_time = self.clock.offset(self.since_begun(sent)).is_some();
        let until =
            sent.checked_add(PATIENCE).filter(|_| knows_time && (spoken.is_some() || heard.is_some()));
        let Some(until) = until else {
            self.ready.push_back(alone(sent, &trace));
            return None;
        };
        if self.waiting.len() == MOST_WAITING {
            let oldest = self.waiting.pop_front();
            self.ready.extend(oldest.map(|turn| alone(turn.sent, &turn.trace)));
        }
        let turn = trace.turn;
        let zero = self.since_begun(sent).saturating_sub(trace.sent);
        self.waiting.push_back(WaitingTurn { trace, sent, zero, until });
        // One at a time: a client that does not tell the time with its turns must not seem to leave every question unanswered.
        let time = self.asked.is_empty().then(|| self.ask(sent));
        Some(ClientQuestion::Turn { turn, time, spoken, heard })
    }

    /// What the client saw of a turn that waits for it.
    fn told_turn(&mut self, now: Instant, turn: u32, moments: &ClientMoments) {
        let Some(index) = self.waiting.iter().position(|waiting| waiting.trace.turn == turn) else { return };
        let offset = self.clock.offset(self.since_begun(now));
        let Some((waiting, offset)) = self.waiting.remove(index).zip(offset) else { return };
        let spoken = moments.spoken.map(|spoken| (spoken, moments.spoken_error));
        let spoken = spoken.or_else(|| self.spoken(&waiting, &offset));
        let spoken_error = spoken.map(|(_, error)| error).unwrap_or_default();
        let moments = &ClientMoments { spoken: spoken.map(|(at, _)| at), spoken_error, ..*moments };
        let view = ClientView { moments, offset, zero: waiting.zero };
        let alone = alone(waiting.sent, &waiting.trace);
        // What contradicts itself is worth nothing; what the session saw still is.
        self.ready.push_back(match TurnAccount::joined(&waiting.trace, &view) {
            Ok(joined) => ReckonedTurn { account: Ok(joined), ..alone },
            Err(_) => alone,
        });
    }

    /// When the last word of a turn was said by the client's clock, and how wrong that may be: from the stamps of its packets.
    fn spoken(&self, turn: &WaitingTurn, offset: &ClockOffset) -> Option<(Duration, Duration)> {
        let captured = self.captures.captured(turn.trace.spoken?.sample)?;
        let (own, unix) = self.stamping?;
        let stamped = captured.checked_add(own)?.checked_sub(unix)?;
        let at = offset.to_gateway(stamped)?;
        let arrived = turn.zero.saturating_add(turn.trace.arrived);
        let earliest = arrived.saturating_sub(LONGEST_WAY);
        let latest = arrived.saturating_add(offset.error()).saturating_add(STAMP_ERROR);
        if !(earliest..=latest).contains(&at) {
            return None;
        }
        let (before, error) = match self.before_stamp {
            Some(before) => (before, Duration::ZERO),
            None => (UNKNOWN_DEVICE, UNKNOWN_DEVICE),
        };
        Some((stamped.checked_sub(before)?, STAMP_ERROR + UNEVEN_STAMPS + error))
    }

    /// The next turn that waits for nothing any more.
    pub(super) fn poll_turn(&mut self, now: Instant) -> Option<ReckonedTurn> {
        while let Some(overdue) = self.waiting.pop_front_if(|turn| turn.until <= now) {
            self.ready.push_back(alone(overdue.sent, &overdue.trace));
        }
        self.ready.pop_front()
    }

    /// Nobody will say anything any more.
    pub(super) fn end(&mut self) {
        self.next_question = None;
        let waiting = std::mem::take(&mut self.waiting);
        self.ready.extend(waiting.iter().map(|turn| alone(turn.sent, &turn.trace)));
    }

    /// When to look for questions and accounts.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let overdue = self.waiting.front().map(|turn| turn.until);
        self.next_question.into_iter().chain(overdue).min()
    }

    /// Hears messages as a call would, a millisecond apart and with a turn before each; for fuzzing.
    pub(crate) fn hears(messages: &[ClientMessage]) {
        let began = Instant::now();
        let mut now = began;
        let mut client = Self::new(began);
        client.listens(began, true);
        for message in messages.iter().take(MOST_FUZZED) {
            now += Duration::from_millis(1);
            let _ = client.poll_question(now);
            if let Some((turn, _)) = message.turn {
                let mark = Some(AudioMark { packet: 0, sample: 0 });
                let (mouth, ear) = (Moment::read(Duration::ZERO), Moment::read(Duration::from_millis(1)));
                let trace = TurnTrace::new(turn, mouth, ear, Vec::new());
                let _ = client.turn(now, Box::new(TurnTrace { spoken: mark, heard: mark, ..trace }));
            }
            // As if a packet said the same of its clock.
            let unix = message.time.and_then(|(_, answer)| answer.unix);
            unix.into_iter().for_each(|unix| client.captured(0, unix));
            client.told(now, message);
            while client.poll_turn(now).is_some() {}
        }
    }

    fn since_begun(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.began)
    }
}

/// As the session saw it; its first sound was handed to the network at `sent`.
fn alone(sent: Instant, trace: &TurnTrace) -> ReckonedTurn {
    let mouth = sent.checked_sub(trace.sent.saturating_sub(trace.mouth.at)).unwrap_or(sent);
    ReckonedTurn { turn: trace.turn, mouth, account: TurnAccount::from_trace(trace) }
}

#[cfg(test)]
mod tests {
    use voxgate_protocol::timeline::{Certainty, Hop};
    use voxgate_protocol::trace::Work;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// What the client's clock shows when the session begins.
    const AHEAD: Duration = Duration::from_secs(60);

    /// As a session estimates it: 20 ms each way, 60 ms of playout, and 6 ms within the first packet.
    fn trace(turn: u32) -> Box<TurnTrace> {
        let at = |ms| Moment::derived(Duration::from_millis(ms), Duration::ZERO);
        let read = |ms| Moment::read(Duration::from_millis(ms));
        let works = vec![
            Work { hop: Hop::Capture, from: at(0), to: at(30) },
            Work { hop: Hop::Uplink, from: at(30), to: at(50) },
            Work { hop: Hop::Model, from: read(50), to: read(650) },
            Work { hop: Hop::Downlink, from: at(650), to: at(670) },
            Work { hop: Hop::Playout, from: at(670), to: at(730) },
            Work { hop: Hop::Encode, from: read(730), to: read(736) },
        ];
        let mark = Some(AudioMark { packet: 960, sample: 1_000 });
        let trace = TurnTrace::new(turn, at(0), at(736), works);
        Box::new(TurnTrace { arrived: 50 * MS, sent: 650 * MS, spoken: mark, heard: mark, ..trace })
    }

    /// A client whose clock is known to half a millisecond.
    fn client(start: Instant) -> ClientSide {
        let mut client = ClientSide::new(start);
        client.listens(start, true);
        let now = start + 10 * MS;
        let Some(ClientQuestion::Time(number)) = client.poll_question(now) else { panic!("no question") };
        let then = AHEAD + 10 * MS + MS / 2;
        client.told_time(now + MS, number, &answer(then));
        client
    }

    /// Given at once by a client whose clock began a minute after 1970.
    fn answer(at: Duration) -> TimeAnswer {
        TimeAnswer { received: at, replied: at, unix: Some(at + AHEAD) }
    }

    fn hop(account: &TurnAccount, hop: Hop) -> (Duration, Certainty) {
        let account = account.hop(hop).unwrap();
        (account.duration, account.certainty)
    }

    #[test]
    fn a_client_that_saw_both_ends_measures_the_whole_and_its_own_hops() {
        let start = Instant::now();
        let mut client = client(start);
        // The trace begins 9,350 ms after the session did.
        let sent = start + 10_000 * MS;
        assert!(matches!(client.turn(sent, trace(3)), Some(ClientQuestion::Turn { turn: 3, .. })));
        assert_eq!(client.poll_turn(sent), None);
        let at = |ms: u32| Some(AHEAD + 9_350 * MS + ms * MS);
        let moments = ClientMoments {
            spoken: at(10),
            sent: at(35),
            received: at(700),
            heard: at(786),
            ..ClientMoments::default()
        };
        client.told_turn(sent + 150 * MS, 3, &moments);
        let account = client.poll_turn(sent + 150 * MS).unwrap().account.unwrap();
        assert_eq!((account.whole.duration, account.whole.certainty), (776 * MS, Certainty::Measured));
        assert_eq!(hop(&account, Hop::Capture), (25 * MS, Certainty::Measured));
        assert_eq!(hop(&account, Hop::Uplink), (15 * MS, Certainty::Estimated));
        assert_eq!(hop(&account, Hop::Model), (600 * MS, Certainty::Measured));
        assert_eq!(hop(&account, Hop::Downlink), (50 * MS, Certainty::Estimated));
        assert_eq!(hop(&account, Hop::Playout), (80 * MS, Certainty::Measured));
        assert_eq!((hop(&account, Hop::Encode).0, account.unattributed), (6 * MS, Duration::ZERO));
        assert_eq!(client.poll_turn(sent + 5_000 * MS), None, "a turn is told once");
    }

    #[test]
    fn a_client_that_knows_its_ear_only_leaves_the_mouth_as_it_was_estimated() {
        let start = Instant::now();
        let mut client = client(start);
        let sent = start + 10_000 * MS;
        client.turn(sent, trace(1));
        let heard = Some(AHEAD + 9_350 * MS + 800 * MS);
        let moments = ClientMoments { heard, heard_error: 5 * MS, ..ClientMoments::default() };
        client.told_turn(sent + 160 * MS, 1, &moments);
        let account = client.poll_turn(sent).unwrap().account.unwrap();
        assert_eq!((account.whole.duration, account.whole.certainty), (800 * MS, Certainty::Estimated));
        assert!((5 * MS..8 * MS).contains(&account.whole.error), "{:?}", account.whole.error);
        assert_eq!(hop(&account, Hop::Capture).0, 30 * MS);
        assert_eq!((hop(&account, Hop::Downlink).0, hop(&account, Hop::Playout).0), (20 * MS, 124 * MS));
        assert_eq!(account.unattributed, Duration::ZERO);
    }

    #[test]
    fn the_mouth_of_a_client_whose_packets_are_stamped_is_measured_by_its_own_clock() {
        let start = Instant::now();
        let mut client = client(start);
        let sent = start + 10_000 * MS;
        let at = |ms: u32| AHEAD + 9_350 * MS + ms * MS;
        let turn = |client: &mut ClientSide, turn: u32| {
            client.turn(sent, trace(turn));
            let moments = ClientMoments { heard: Some(at(786)), ..ClientMoments::default() };
            client.told_turn(sent, turn, &moments);
            client.poll_turn(sent).unwrap().account.unwrap()
        };
        // The sample of the last word is number 1,000: 20 ms behind this one.
        client.captured(40, at(3) + AHEAD);
        // What the device took is in the stamps, unless the client says that they are taken behind it.
        let report = ClientReport { capture: Some(40 * MS), ..ClientReport::default() };
        client.told(sent, &ClientReport { before_stamp: Some(8 * MS), ..report }.into());
        let account = turn(&mut client, 1);
        assert_eq!((account.whole.duration, account.whole.certainty), (771 * MS, Certainty::Measured));
        assert_eq!(account.whole.error, STAMP_ERROR + UNEVEN_STAMPS);
        assert_eq!((hop(&account, Hop::Capture).0, hop(&account, Hop::Uplink).0), (15 * MS, 20 * MS));
        assert_eq!(account.unattributed, Duration::ZERO);
        client.told(sent, &ClientReport::default().into());
        let account = turn(&mut client, 2);
        let error = STAMP_ERROR + UNEVEN_STAMPS + UNKNOWN_DEVICE;
        assert_eq!((account.whole.duration, account.whole.error), (773 * MS, error));
    }

    #[test]
    fn stamps_by_a_clock_that_cannot_be_the_clients_leave_its_mouth_an_estimate() {
        let start = Instant::now();
        let sent = start + 10_000 * MS;
        let at = |ms: u32| AHEAD + 9_350 * MS + ms * MS;
        for stamp in [Duration::ZERO, at(0), at(60) + AHEAD, at(0) + AHEAD - LONGEST_WAY, Duration::MAX] {
            let mut client = client(start);
            client.captured(1_000, stamp);
            client.turn(sent, trace(1));
            let moments = ClientMoments { heard: Some(at(786)), ..ClientMoments::default() };
            client.told_turn(sent, 1, &moments);
            let account = client.poll_turn(sent).unwrap().account.unwrap();
            assert_eq!((account.whole.duration, account.whole.certainty), (786 * MS, Certainty::Estimated));
        }
    }

    #[test]
    fn a_client_that_tells_the_time_with_its_turns_is_not_asked_for_it_besides() {
        let (start, second) = (Instant::now(), 1_000 * MS);
        let mut now = start;
        let mut client = ClientSide::new(start);
        client.listens(start, true);
        for _ in 0..QUICK_QUESTIONS {
            now = client.poll_timeout().unwrap();
            let Some(ClientQuestion::Time(number)) = client.poll_question(now) else { panic!("no question") };
            let time = Some((number, answer(AHEAD + (now - start))));
            client.told(now, &ClientMessage { time, ..ClientMessage::default() });
        }
        for number in 1..=5 {
            now += 6 * second;
            assert_eq!(client.poll_question(now), None);
            let Some(ClientQuestion::Turn { time: Some(time), .. }) = client.turn(now, trace(number)) else {
                panic!("no question")
            };
            let another = client.turn(now, trace(number + 100));
            assert!(matches!(another, Some(ClientQuestion::Turn { time: None, .. })), "one is enough");
            let received = AHEAD + (now - start);
            let answer = TimeAnswer { received, replied: received + 300 * MS, unix: None };
            let time = Some((time, answer));
            let turn = Some((number, ClientMoments::default()));
            client.told(now + 300 * MS, &ClientMessage { time, turn, report: None });
            let error = client.clock.offset(client.since_begun(now + second)).unwrap().error();
            assert!(error < MS, "{error:?}");
        }
        while client.poll_turn(now + 2 * second).is_some() {}
        assert_eq!(client.poll_timeout(), Some(now + 300 * MS + INTERVAL));
    }

    #[test]
    fn a_client_that_tells_no_time_with_its_turns_is_asked_as_without_them() {
        let start = Instant::now();
        let mut client = client(start);
        let mut asked = 0;
        for seconds in 1..=60_u32 {
            let now = start + seconds * 1_000 * MS;
            client.turn(now, trace(seconds));
            client.told(
                now,
                &ClientMessage {
                    turn: Some((seconds, ClientMoments::default())),
                    ..ClientMessage::default()
                },
            );
            while let Some(ClientQuestion::Time(number)) = client.poll_question(now) {
                asked += 1;
                let time = Some((number, answer(AHEAD + (now - start))));
                client.told(now, &ClientMessage { time, ..ClientMessage::default() });
            }
        }
        assert!((8..=12).contains(&asked), "{asked}");
    }

    #[test]
    fn a_turn_waits_for_its_client_no_longer_than_a_second_and_not_at_all_without_a_clock() {
        let start = Instant::now();
        let mut known = client(start);
        let sent = start + 10_000 * MS;
        known.turn(sent, trace(1));
        assert_eq!(known.poll_turn(sent + PATIENCE - MS), None);
        assert_eq!(known.poll_timeout().unwrap().min(sent + PATIENCE), known.poll_timeout().unwrap());
        let account = known.poll_turn(sent + PATIENCE).unwrap().account.unwrap();
        assert_eq!(account.whole.duration, 736 * MS);
        let mut unknown = ClientSide::new(start);
        unknown.listens(start, true);
        assert_eq!(unknown.turn(sent, trace(1)), None);
        assert!(unknown.poll_turn(sent).is_some());
        known.turn(sent, trace(2));
        known.end();
        assert!(known.poll_turn(sent).is_some(), "a session that ends leaves no turn behind");
    }

    #[test]
    fn what_cannot_be_true_changes_nothing_and_ends_the_wait() {
        let start = Instant::now();
        let mut client = client(start);
        let sent = start + 10_000 * MS;
        for (turn, moments) in [
            ClientMoments { heard: Some(Duration::MAX), ..ClientMoments::default() },
            ClientMoments { heard: Some(Duration::ZERO), ..ClientMoments::default() },
            ClientMoments { spoken: Some(AHEAD + 11_000 * MS), ..ClientMoments::default() },
            ClientMoments::default(),
        ]
        .into_iter()
        .enumerate()
        {
            let turn = turn as u32 + 1;
            client.turn(sent, trace(turn));
            client.told_turn(sent, turn, &moments);
            let account = client.poll_turn(sent).unwrap().account.unwrap();
            assert_eq!((account.turn, account.whole.duration), (turn, 736 * MS), "{moments:?}");
        }
        client.told_turn(sent, 99, &ClientMoments::default());
        assert_eq!(client.poll_turn(sent), None);
    }

    #[test]
    fn the_time_is_asked_quickly_at_first_and_never_again_of_a_client_that_does_not_answer() {
        let start = Instant::now();
        let mut client = ClientSide::new(start);
        assert_eq!((client.poll_question(start), client.poll_timeout()), (None, None));
        client.listens(start, true);
        let mut now = start;
        let mut asked = Vec::new();
        while let Some(at) = client.poll_timeout() {
            now = now.max(at);
            asked.extend(client.poll_question(now).map(|_| now - start));
        }
        assert_eq!(asked.len(), MOST_UNANSWERED);
        assert_eq!(asked[1], QUICK_INTERVAL);
        client.listens(now, true);
        for _ in 0..20 {
            now = client.poll_timeout().unwrap();
            let Some(ClientQuestion::Time(number)) = client.poll_question(now) else { panic!("no question") };
            client.told_time(now, number, &answer(AHEAD));
            client.told_time(now, number, &answer(AHEAD));
        }
        assert_eq!(client.poll_timeout(), Some(now + INTERVAL));
    }
}
