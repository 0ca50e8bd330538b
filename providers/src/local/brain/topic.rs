//! What the brain can talk about, and how it finds out what is meant.

use super::super::agreement::likeness;
use super::words::{fits, words_of};

/// Something a caller may want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    Hello,
    HowAreYou,
    Name,
    Abilities,
    Time,
    Date,
    WhatIsIt,
    HowItWorks,
    Relay,
    Transceiver,
    Licence,
    Speech,
    Thinking,
    Latency,
    CallLength,
    Tools,
    Interruption,
    Story,
    Joke,
    GoOn,
    Again,
    Stop,
    Test,
    Yes,
    No,
    Thanks,
    Goodbye,
}

/// How a topic is recognised.
#[derive(Debug)]
pub(super) struct TopicEntry {
    pub(super) topic: Topic,
    /// Whole phrases: the recogniser's grammar, and what garbled words are compared with. Every word is in the CMU
    /// dictionary or taught by the recogniser.
    pub(super) phrases: &'static [&'static str],
    /// Sets of words; all of one set have to occur. `a|b` means either.
    keys: &'static [&'static str],
}

const fn entry(topic: Topic, phrases: &'static [&'static str], keys: &'static [&'static str]) -> TopicEntry {
    TopicEntry { topic, phrases, keys }
}

/// All topics. Where two fit equally well the earlier wins.
pub(super) const TOPICS: &[TopicEntry] = &[
    entry(
        Topic::Hello,
        &["hello", "hi there", "hello there", "good morning", "good evening", "hey"],
        &["hello", "hi", "hey", "good morning|evening|afternoon"],
    ),
    entry(
        Topic::HowAreYou,
        &["how are you", "how are you doing today", "how is it going"],
        &["how are you", "how going"],
    ),
    entry(
        Topic::Name,
        &["what is your name", "who are you", "who am i talking to", "what are you"],
        &["your name", "who you", "who talking", "who speaking"],
    ),
    entry(
        Topic::Abilities,
        &["what can you do", "what can i ask you", "help me", "help", "what do you know"],
        &["what can you|do", "can ask", "help", "your abilities|features|topics"],
    ),
    entry(
        Topic::Time,
        &["what time is it", "what's the time", "can you tell me the time", "tell me the time"],
        &["what time", "the time", "clock", "time is it"],
    ),
    entry(
        Topic::Date,
        &["what day is it", "what day is it today", "what's the date today", "what is the date"],
        &["what day", "date", "which day|month|year", "what month|year"],
    ),
    entry(
        Topic::WhatIsIt,
        &[
            "what is voxgate",
            "what is this",
            "what is a voice gateway",
            "tell me about voxgate",
            "tell me about this project",
            "what does the gateway do",
            "what is this gateway",
        ],
        &[
            "what voxgate|gateway|gate|boxgate",
            "tell about voxgate|project|gateway|this",
            "vox gate",
            "what box|vox",
        ],
    ),
    entry(
        Topic::HowItWorks,
        &[
            "how does it work",
            "how do you work",
            "how does this work",
            "explain how it works",
            "how does the gateway work",
            "how does voxgate work",
        ],
        &["how work|works|working", "explain works|gateway|architecture", "how inside"],
    ),
    entry(
        Topic::Relay,
        &["what is a relay", "what does the relay do", "tell me about the relay", "why do you need a relay"],
        &["relay"],
    ),
    entry(
        Topic::Transceiver,
        &["what is the transceiver", "what does the transceiver do", "tell me about the transceiver"],
        &["transceiver", "trans receiver|either"],
    ),
    entry(
        Topic::Licence,
        &[
            "is it free",
            "is this free",
            "is it open source",
            "what is the license",
            "how much does it cost",
            "what does it cost",
            "can i use it for free",
        ],
        &["free", "open source", "license|licence", "how much cost", "what cost|costs", "price"],
    ),
    entry(
        Topic::Speech,
        &[
            "which voice is this",
            "whose voice is this",
            "what voice are you using",
            "how do you understand me",
            "which speech recognition is this",
            "how do you hear me",
            "how do you speak",
            "can you hear me",
        ],
        &[
            "which|what|whose voice",
            "speech recognition|recognizer",
            "understand me",
            "can|do hear me",
            "how speak|hear|talk",
        ],
    ),
    entry(
        Topic::Thinking,
        &[
            "are you a language model",
            "are you an artificial intelligence",
            "are you a robot",
            "are you real",
            "are you human",
            "which model is this",
            "what model are you",
        ],
        &[
            "language model",
            "artificial intelligence",
            "you robot|human|real|computer|machine|person",
            "which|what model",
        ],
    ),
    entry(
        Topic::Latency,
        &[
            "how fast was that",
            "how fast are you",
            "what was the latency",
            "what is the latency",
            "how long did that take",
            "how quick was that",
            "why did that take so long",
        ],
        &["how fast|quick|quickly", "latency", "long take|took", "response time", "how slow"],
    ),
    entry(
        Topic::CallLength,
        &["how long have we been talking", "how long is this call", "how long have i been on this call"],
        &["how long call|talking|conversation"],
    ),
    entry(
        Topic::Tools,
        &["which tools do you have", "what tools can you use", "can you use tools"],
        &["tools|tool", "functions|function"],
    ),
    entry(
        Topic::Interruption,
        &["can i interrupt you", "what happens when i interrupt you"],
        &["interrupt|interruption|interrupting"],
    ),
    entry(
        Topic::Story,
        &["tell me a story", "tell me a long story", "read me something", "talk for a long time"],
        &["story|stories", "read something", "talk long"],
    ),
    entry(
        Topic::Joke,
        &["tell me a joke", "say something funny", "make me laugh"],
        &["joke|jokes", "something funny", "me laugh"],
    ),
    entry(
        Topic::GoOn,
        &["go on", "continue", "please continue", "keep going", "carry on", "go ahead"],
        &["go on", "continue", "keep going|talking", "carry on"],
    ),
    entry(
        Topic::Again,
        &["say that again", "can you repeat that", "repeat that", "what did you say", "pardon"],
        &["that again", "repeat", "did you say", "once more", "pardon"],
    ),
    entry(
        Topic::Stop,
        &["stop", "be quiet", "wait a moment", "wait", "hold on", "never mind"],
        &["stop", "be quiet", "hold on", "never mind", "shut up", "wait"],
    ),
    entry(Topic::Test, &["testing", "testing one two three", "this is a test", "test"], &["test|testing"]),
    entry(
        Topic::Thanks,
        &["thank you", "thanks", "thank you very much", "thanks a lot", "that was great"],
        &["thank you", "thanks", "that great|good|nice|cool", "well done"],
    ),
    entry(
        Topic::Goodbye,
        &["goodbye", "bye", "bye bye", "see you later", "good night", "hang up"],
        &["goodbye", "bye", "see later", "good night|bye", "hang up"],
    ),
    entry(
        Topic::Yes,
        &["yes", "yes please", "sure", "okay", "alright"],
        &["yes", "sure", "okay", "yeah", "alright"],
    ),
    entry(Topic::No, &["no", "no thank you", "not now"], &["no", "nope"]),
];

/// Below this, nothing is meant.
const UNDERSTOOD: f32 = 50.0;

/// How alike the letters of a whole phrase have to be to count.
const ALIKE: f32 = 0.7;

/// What is meant, if the brain knows it.
pub(super) fn meant(text: &str) -> Option<Topic> {
    let words = words_of(text);
    let joined = words.join(" ");
    let mut best: Option<(f32, Topic)> = None;
    for entry in TOPICS {
        let score = entry.score(&words, &joined);
        if score >= UNDERSTOOD && best.is_none_or(|(top, _)| score > top) {
            best = Some((score, entry.topic));
        }
    }
    best.map(|(_, topic)| topic)
}

impl TopicEntry {
    fn score(&self, words: &[String], joined: &str) -> f32 {
        let phrases = self.phrases.iter().map(|phrase| likeness(joined, phrase)).fold(0.0, f32::max);
        let keys = self.keys.iter().map(|set| key_score(set, words)).fold(0.0, f32::max);
        // An exact phrase beats every set of keys; a garbled one competes with them.
        if phrases >= 0.999 {
            return 200.0;
        }
        if phrases >= ALIKE { keys.max(phrases * 100.0) } else { keys }
    }
}

/// 0 unless every key of the set occurs; longer sets and rarer words say more. A short word alone in a long sentence
/// says little.
fn key_score(set: &str, words: &[String]) -> f32 {
    let (mut keys, mut letters) = (0_u32, 0_usize);
    for key in set.split(' ') {
        let matched =
            key.split('|').filter(|one| words.iter().any(|word| fits(word, one))).map(str::len).max();
        let Some(length) = matched else { return 0.0 };
        keys += 1;
        letters += length;
    }
    let alone = if keys == 1 && letters < 4 && words.len() > 4 { 25.0 } else { 0.0 };
    45.0 + 12.0 * keys as f32 + letters as f32 - alone
}
