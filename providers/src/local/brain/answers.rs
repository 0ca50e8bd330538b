//! What the brain says about each of its topics.

use std::time::Duration;

use voxgate_protocol::timeline::TurnTimeline;

use super::story::{JOKES, STORY};
use super::topic::Topic;
use super::{Brain, BrainFacts, LastTurn, Reply};

pub(super) const NOTHING_HEARD: &str =
    "Sorry, I heard no words. Please say that again, a little closer to the microphone.";

pub(super) const STILL_THERE: &str = "Are you still there? Ask me anything, or say, what can you do.";

pub(super) const NOTHING_NEW: &str = "I have said what I know. Ask me something, or say, what can you do.";

pub(super) const COULD_NOT_LISTEN: &str =
    "Sorry, I could not listen just now. My recognizers are busy. Please say that again.";

/// Longest part of what was heard that is repeated to the caller.
const REPEATED_CHARACTERS: usize = 80;

/// An honest answer to words without a known meaning, a different one each time.
pub(super) fn not_understood(text: &str, times: usize) -> String {
    let heard: String =
        text.chars().filter(|letter| !letter.is_control()).take(REPEATED_CHARACTERS).collect();
    let heard = heard.trim();
    match times % 3 {
        1 => format!("Sorry, I heard: {heard}. I have no answer to that. Ask me, what can you do."),
        2 => format!(
            "I heard: {heard}. I am a small script, not a language model, so I only know a few topics. Try, how does \
             it work, or, tell me a story."
        ),
        _ => format!(
            "That was: {heard}. Or so I heard. You could ask, what is a relay, or, how fast was that."
        ),
    }
}

impl Brain {
    fn name(&self) -> &str {
        self.instructions.name.as_deref().unwrap_or("Vox")
    }

    pub(super) fn greeting(&self) -> String {
        if let Some(greeting) = &self.instructions.greeting {
            return greeting.clone();
        }
        format!("Hello! I am {}, the local voice of voxgate. Ask me what I can do.", self.name())
    }

    pub(super) fn answer_topic(&mut self, topic: Topic, facts: &BrainFacts) -> Reply {
        match topic {
            Topic::Again if self.last.is_empty() => Reply::say("I have not said anything yet."),
            Topic::Again => Reply { clauses: self.last.clone(), tool_call: None },
            Topic::GoOn if self.unheard.is_empty() => Reply::say("I had finished. Ask me something else."),
            Topic::GoOn => Reply { clauses: std::mem::take(&mut self.unheard), tool_call: None },
            Topic::Joke => {
                self.jokes += 1;
                Reply::say(JOKES[(self.jokes - 1) % JOKES.len()])
            }
            Topic::Time => Reply::say(&facts.time.spoken_time()),
            Topic::Date => Reply::say(&facts.time.spoken_date()),
            Topic::Latency => Reply::say(&latency(facts)),
            Topic::CallLength => {
                Reply::say(&format!("We have been talking for {}.", spoken_length(facts.call)))
            }
            Topic::Name => Reply::say(&format!(
                "My name is {}. I am the local voice of the voxgate gateway, and I need no key and no network.",
                self.name()
            )),
            Topic::Hello => Reply::say(&self.greeting()),
            Topic::Tools => Reply::say(&self.tools_answer()),
            Topic::Thinking => Reply::say(&self.thinking_answer()),
            other => Reply::say(fixed(other)),
        }
    }

    fn tools_answer(&self) -> String {
        let names: Vec<_> =
            self.settings.tools.iter().take(8).map(|tool| tool.name.replace(['_', '-'], " ")).collect();
        match names.len() {
            0 => "You declared no tools for this session. If you declare some, I call the one whose name you say, \
                  and read out what it answers."
                .to_owned(),
            1 => format!("You declared one tool: {}. Say its name and I call it.", names[0]),
            count => format!("You declared {count} tools: {}. Say a name and I call it.", names.join(", ")),
        }
    }

    fn thinking_answer(&self) -> String {
        let asked_for = if self.settings.model.is_empty() || self.settings.model == "local" {
            String::new()
        } else {
            format!(" You asked for the model {}, and this session was routed to me.", self.settings.model)
        };
        format!(
            "No, I am a script of a few hundred lines. There is no language model behind me.{asked_for} Connect a \
             provider, and the same call talks to a real model."
        )
    }
}

/// Answers that never change.
fn fixed(topic: Topic) -> &'static str {
    match topic {
        Topic::HowAreYou => {
            "I am fine, thank you. My queues are empty and my buffers are short. How can I help?"
        }
        Topic::Abilities => {
            "I can chat. Ask me what voxgate is, how it works, what a relay is, or how fast my last answer was. I \
             know the time and the date, I can do small sums, and I can tell a long story, so that you can interrupt \
             me. If you declare tools, I call them."
        }
        Topic::WhatIsIt => {
            "voxgate is a gateway for voice agents. Browsers and telephones of the web call it, and it connects them \
             to speech models. It takes care of the audio, of taking turns, of interruptions, and it measures every \
             millisecond of the way."
        }
        Topic::HowItWorks => {
            "It works in three steps. Your packets reach a relay, which only reads the address. The relay hands them \
             to a transceiver, which decrypts and decodes them, and finds out when you have finished. Then a \
             provider, in this case me, recognizes your words and answers. The answer takes the same way back."
        }
        Topic::Relay => {
            "A relay is the front door. It has one public port, and it forwards your packets without decrypting \
             them. It keeps almost no state, so you can have many of them, close to the callers, and lose one \
             without losing a call."
        }
        Topic::Transceiver => {
            "The transceiver owns your call. It does the encryption, decodes the audio, detects when you speak, and \
             plays my answer at the right pace. When you interrupt me, it knows exactly what you have heard."
        }
        Topic::Licence => {
            "Yes, it is free and open source. You can choose between the Apache license and the M I T license. I \
             cost nothing, because I run on your own machine."
        }
        Topic::Speech => {
            "I can hear you. I listen with Pocket Sphinx, a classic recognizer, and I speak with Flight, a small \
             synthesizer. Both are old and light, so they run anywhere. I understand the phrases I expect much \
             better than free speech."
        }
        Topic::Interruption => {
            "Yes, just start to talk. I stop, and I remember how far you have heard me. Ask me for a long story, \
             interrupt it, and then say, go on."
        }
        Topic::Story => STORY,
        Topic::Stop => "All right, I am quiet.",
        Topic::Test => "Your test works. I hear you, and I hope that you hear me.",
        Topic::Thanks => "You are welcome.",
        Topic::Goodbye => "Goodbye! It was nice to talk to you.",
        Topic::Yes => "Good. What would you like to know?",
        Topic::No => "All right. Ask me anything else.",
        // The others depend on the conversation and are answered above.
        _ => NOTHING_HEARD,
    }
}

fn latency(facts: &BrainFacts) -> String {
    let own = facts.last_turn.map(|turn| own_part(&turn));
    match (&facts.timeline, own) {
        (Some(timeline), own) => {
            let own = own.map(|own| format!(" My own part: {own}")).unwrap_or_default();
            format!("{}{own}", all_hops(timeline))
        }
        (None, Some(own)) => format!("For my last answer, {own}"),
        (None, None) => {
            "This is my first answer, so there is nothing to measure yet. Ask me again.".to_owned()
        }
    }
}

fn own_part(turn: &LastTurn) -> String {
    format!(
        "recognizing your words took {} after you had finished, and starting my voice took {}.",
        milliseconds(turn.recognition),
        milliseconds(turn.voice)
    )
}

fn all_hops(timeline: &TurnTimeline) -> String {
    let mut hops: Vec<_> =
        timeline.hops.iter().filter(|hop| hop.duration >= Duration::from_millis(1)).collect();
    hops.sort_by_key(|hop| std::cmp::Reverse(hop.duration));
    let largest: Vec<_> = hops
        .iter()
        .take(3)
        .map(|hop| format!("{} with {}", hop.hop.as_str().replace('_', " "), milliseconds(hop.duration)))
        .collect();
    let total = milliseconds(timeline.mouth_to_ear());
    if largest.is_empty() {
        return format!("Last time, from your last word to your ear, it took {total}.");
    }
    format!(
        "Last time, it took {total} from your last word to your ear. The largest parts were {}.",
        largest.join(", ")
    )
}

fn milliseconds(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "less than a millisecond".to_owned(),
        1 => "1 millisecond".to_owned(),
        count => format!("{count} milliseconds"),
    }
}

fn spoken_length(duration: Duration) -> String {
    let plural = |count: u64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    let seconds = duration.as_secs();
    match (seconds / 60, seconds % 60) {
        (0, seconds) => plural(seconds, "second"),
        (minutes, 0) => plural(minutes, "minute"),
        (minutes, seconds) => format!("{} and {}", plural(minutes, "minute"), plural(seconds, "second")),
    }
}
