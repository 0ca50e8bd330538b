//! Turns of callers with their pauses, run through the machine in virtual time.
//!
//! The turns are written by hand after what people say to restaurants, clinics, shops and help desks; a number is a pause
//! in milliseconds. About every fifth pause comes after words that could be the end: there a judge of words must fail, and the
//! figures say so.

use voxgate_protocol::settings::{SemanticVad, ServerVad};

use super::*;
use crate::voice::SILENCE_DBFS;

const TURNS: &str = "
I'd like to book a table 700 for four people tomorrow evening
hello 400 I'm calling about my order 600 the number is 900 four five five 800 nine one two
yes
no thanks
can I 600 speak to someone about 900 my last bill
what time do you close
I was wondering 800 if you have anything 500 a bit later in the day
um 900 I think it was on Tuesday
it's for my daughter 700 she's six
we are staying until 650 the end of the month
could you please 800 send me the invoice again
okay
the address is 1200 twenty four 700 Park Lane
I want to change my flight to 1500 let me see 2200 the nineteenth of March
that's right
my name is 600 Anna 500 Schmidt
where are you from
if it rains on Saturday 750 can we move it to Sunday
I already paid for that
I need 800 uh 900 two rooms with 600 separate beds
how much does it cost
and the other thing is 1100 that the door doesn't close properly
please cancel my subscription
well 700 it started last week and 900 it's getting worse
turn it off
so what you're saying is 700 I have to come in again
thank you very much
my phone number is 700 oh one six three 900 five five five 800 two one four
yes I do
because I never received 550 the confirmation email
let me think 1800 maybe the blue one
do you have this in 1000 a larger size
I'll call back later
it costs more than 850 I expected
what's the difference between 700 the basic and 600 the premium plan
I agree
tell me 600 about your opening hours
we'd like the 900 vegetarian menu please
is there a train before 700 eight o'clock
it broke 1300 yesterday morning
I'm looking for 800 a present for my wife 700 she likes music
the package was damaged so I'd like 750 a refund
when does the museum open
I live in a small town near 600 Leeds
never mind
";

/// A turn as text and time: each word with the moment it ends, then the moments speech is heard at.
struct Spoken {
    words: Vec<(Duration, &'static str)>,
    speech: Vec<std::ops::Range<Duration>>,
    end: Duration,
}

const WORD: Duration = Duration::from_millis(320);

/// How far behind the speaker a streaming recogniser is.
const RECOGNISER_LAG: Duration = Duration::from_millis(200);

fn spoken(line: &'static str) -> Spoken {
    let mut now = WORD;
    let (mut words, mut speech) = (Vec::new(), vec![now..now]);
    for token in line.split(' ') {
        if let Ok(pause) = token.parse() {
            now += Duration::from_millis(pause);
            speech.push(now..now);
        } else {
            now += WORD;
            words.push((now, token));
            speech.last_mut().unwrap().end = now;
        }
    }
    Spoken { words, speech, end: now }
}

/// What a detection did with all turns.
#[derive(Debug, Default)]
struct Figures {
    pauses: usize,
    cut_off: usize,
    delays: Vec<Duration>,
}

impl Figures {
    fn median_delay(&mut self) -> Duration {
        self.delays.sort();
        self.delays[self.delays.len() / 2]
    }

    fn longest_delay(&mut self) -> Duration {
        self.delays.sort();
        *self.delays.last().unwrap()
    }
}

fn run(detection: &TurnDetection) -> Figures {
    let mut figures = Figures::default();
    for line in TURNS.lines().filter(|line| !line.is_empty()) {
        let spoken = spoken(line);
        let stops = stops(detection, &spoken);
        figures.pauses += spoken.speech.len() - 1;
        figures.cut_off += stops.iter().filter(|stop| **stop < spoken.end).count();
        figures.delays.push(*stops.last().unwrap() - spoken.end);
    }
    figures
}

/// When the machine ends a turn. The words reach it as interim transcripts do.
fn stops(detection: &TurnDetection, spoken: &Spoken) -> Vec<Duration> {
    let rate = SampleRate::HZ_16000;
    let mut machine = TurnMachine::new(detection, rate);
    let (mut stops, mut known, mut turn_begins) = (Vec::new(), 0, Duration::ZERO);
    let mut now = Duration::ZERO;
    while now < spoken.end + Duration::from_secs(9) {
        now += VOICE_FRAME;
        let is_speech = spoken.speech.iter().any(|range| range.contains(&(now - VOICE_FRAME)));
        let (probability, level) = if is_speech { (0.9, -20.0) } else { (0.0, SILENCE_DBFS) };
        machine.push(VoiceFrame { end: rate.samples_in(now), probability, halves: [level; 2] });
        let recognised = spoken.words.iter().take_while(|(at, _)| *at + RECOGNISER_LAG <= now).count();
        if recognised > known {
            known = recognised;
            let words: Vec<&str> = spoken.words[..known]
                .iter()
                .filter(|(at, _)| *at > turn_begins)
                .map(|(_, word)| *word)
                .collect();
            let words = words.join(" ");
            machine.estimate_complete(TranscriptShape.estimate(TurnSoFar { words: &words, language: None }));
        }
        while let Some(event) = machine.poll_event() {
            if let TurnEvent::SpeechStopped { at, .. } = event {
                stops.push(at);
                turn_begins = at;
            }
        }
    }
    stops
}

fn semantic(eagerness: Eagerness) -> TurnDetection {
    TurnDetection::Semantic(SemanticVad { eagerness, ..SemanticVad::default() })
}

/// Prints the figures; `cargo nextest run -p voxgate-media --no-capture corpus`.
#[test]
fn semantic_detection_cuts_off_less_and_answers_whole_turns_sooner_than_a_fixed_pause() {
    let mut fixed = run(&TurnDetection::ServerVad(ServerVad::default()));
    println!("{:16} {:>8} {:>8} {:>10} {:>10}", "", "pauses", "cut off", "median ms", "worst ms");
    let print = |name: &str, figures: &mut Figures| {
        let (median, worst) = (figures.median_delay().as_millis(), figures.longest_delay().as_millis());
        println!("{name:16} {:>8} {:>8} {median:>10} {worst:>10}", figures.pauses, figures.cut_off);
    };
    print("server_vad", &mut fixed);
    for (eagerness, most_cut_off) in
        [(Eagerness::High, 0.5), (Eagerness::Medium, 0.35), (Eagerness::Low, 0.25)]
    {
        let mut figures = run(&semantic(eagerness));
        print(&format!("semantic {eagerness:?}"), &mut figures);
        assert!(figures.cut_off as f32 <= fixed.cut_off as f32 * most_cut_off, "{eagerness:?}: {figures:?}");
        if eagerness != Eagerness::Low {
            assert!(figures.median_delay() < fixed.median_delay(), "{eagerness:?}: {figures:?}");
        }
    }
}

#[test]
fn a_pause_inside_an_unfinished_sentence_does_not_end_the_turn() {
    let spoken = spoken("I'd like to book a table for 1500 four people tomorrow evening");
    let fixed = stops(&TurnDetection::ServerVad(ServerVad::default()), &spoken);
    let semantic = stops(&semantic(Eagerness::Auto), &spoken);
    assert_eq!((fixed.len(), semantic.len()), (2, 1), "{semantic:?}");
    assert!(semantic[0] < fixed[1], "the whole sentence ends sooner: {semantic:?} and {fixed:?}");
}

#[test]
fn a_caller_who_stops_in_the_middle_is_answered_after_the_documented_maximum() {
    let spoken = spoken("I'd like to book a table and");
    for (eagerness, maximum) in
        [(Eagerness::High, 2), (Eagerness::Medium, 4), (Eagerness::Auto, 4), (Eagerness::Low, 8)]
    {
        let stops = stops(&semantic(eagerness), &spoken);
        let maximum = Duration::from_secs(maximum);
        let delay = stops[0] - spoken.end;
        assert!(delay >= maximum && delay < maximum + 2 * VOICE_FRAME, "{eagerness:?}: {delay:?}");
    }
}
