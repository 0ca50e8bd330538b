//! The scripted brain: what the local provider answers.
//!
//! It is pure. What it cannot know (the time, how fast the last turn was) comes in as [`BrainFacts`]. Recognition is
//! noisy, so it goes by keywords and by how alike the letters of a whole phrase are, never by exact text.

use std::time::Duration;

use voxgate_protocol::settings::{Tool, ToolChoice};
use voxgate_protocol::timeline::TurnTimeline;

pub mod phrases;

mod answers;
mod arithmetic;
mod clauses;
mod clock;
mod instructions;
mod story;
mod tools;
mod topic;
mod words;

pub use clock::LocalTime;
pub use tools::ToolRequest;

use clauses::clauses;
use instructions::Instructions;

/// What a session told the brain about its task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrainSettings {
    /// See the three lines that are understood: `Say exactly: ...`, `Greeting: ...`, `Name: ...`.
    pub instructions: Option<String>,
    /// Functions it may ask for.
    pub tools: Vec<Tool>,
    /// Which it has to use.
    pub tool_choice: ToolChoice,
    /// The model name the client asked for.
    pub model: String,
}

/// What the brain is to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrainInput {
    /// Nothing was said or written since the last answer: the client asks it to begin, or to speak again.
    Opening,
    /// The caller said or typed this; empty if no word was recognised.
    Words(String),
    /// The caller's words could not be recognised at all.
    Unheard,
    /// The caller has said nothing for as long as the client wanted to wait.
    Silence,
    /// Tools answered.
    ToolOutputs(Vec<ToolAnswer>),
}

/// What one tool answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolAnswer {
    /// The tool.
    pub name: String,
    /// Free text, usually JSON.
    pub output: String,
}

/// How long the last turn took, as far as the provider can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastTurn {
    /// From the end of the turn to the words.
    pub recognition: Duration,
    /// From the words to the first sample of the voice.
    pub voice: Duration,
}

/// What the brain cannot know by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrainFacts {
    /// The time.
    pub time: LocalTime,
    /// How long the call has lasted.
    pub call: Duration,
    /// The provider's own part of the last turn.
    pub last_turn: Option<LastTurn>,
    /// All hops of the last turn, if the gateway tells.
    pub timeline: Option<TurnTimeline>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// What to say, clause by clause; the first one is short.
    pub clauses: Vec<String>,
    /// A tool to call, after what is said.
    pub tool_call: Option<ToolRequest>,
}

impl Reply {
    fn say(text: &str) -> Self {
        Self { clauses: clauses(text), tool_call: None }
    }
}

/// The state of one conversation.
#[derive(Clone, Debug, Default)]
pub struct Brain {
    settings: BrainSettings,
    instructions: Instructions,
    /// The clauses of the last answer.
    last: Vec<String>,
    /// What of the last answer the caller has not heard.
    unheard: Vec<String>,
    misunderstood: usize,
    jokes: usize,
}

impl Brain {
    /// A brain at the beginning of a conversation.
    #[must_use]
    pub fn new(settings: BrainSettings) -> Self {
        let mut brain = Self::default();
        brain.configure(settings);
        brain
    }

    /// Takes new settings; what was said stays remembered.
    pub fn configure(&mut self, settings: BrainSettings) {
        self.instructions = Instructions::read(settings.instructions.as_deref().unwrap_or_default());
        self.settings = settings;
    }

    /// The caller heard only the first clauses of the last answer; "go on" continues with the others.
    pub fn heard_only(&mut self, clauses: usize) {
        self.unheard = self.last.get(clauses..).unwrap_or_default().to_vec();
    }

    /// Answers.
    pub fn reply(&mut self, input: &BrainInput, facts: &BrainFacts) -> Reply {
        let reply = self.think(input, facts);
        self.has_said(&reply);
        reply
    }

    /// Remembers an answer as its last one.
    pub fn has_said(&mut self, reply: &Reply) {
        if !reply.clauses.is_empty() {
            self.last.clone_from(&reply.clauses);
            self.unheard.clear();
        }
    }

    fn think(&mut self, input: &BrainInput, facts: &BrainFacts) -> Reply {
        if let BrainInput::ToolOutputs(answers) = input {
            let spoken: Vec<_> =
                answers.iter().map(|answer| tools::spoken_output(&answer.name, &answer.output)).collect();
            return Reply::say(&spoken.join(" "));
        }
        if let Some(text) = &self.instructions.say_exactly {
            return Reply::say(text);
        }
        match input {
            BrainInput::Words(text) if !text.trim().is_empty() => self.answer_words(text, facts),
            BrainInput::Words(_) => Reply::say(answers::NOTHING_HEARD),
            BrainInput::Unheard => Reply::say(answers::COULD_NOT_LISTEN),
            BrainInput::Silence => Reply::say(answers::STILL_THERE),
            BrainInput::Opening | BrainInput::ToolOutputs(_) if self.last.is_empty() => {
                Reply::say(&self.greeting())
            }
            BrainInput::Opening | BrainInput::ToolOutputs(_) if !self.unheard.is_empty() => {
                Reply { clauses: std::mem::take(&mut self.unheard), tool_call: None }
            }
            BrainInput::Opening | BrainInput::ToolOutputs(_) => Reply::say(answers::NOTHING_NEW),
        }
    }

    fn answer_words(&mut self, text: &str, facts: &BrainFacts) -> Reply {
        if let Some(request) = tools::wanted(text, &self.settings.tools, &self.settings.tool_choice) {
            let clauses = if request.arguments.len() > 2 { Vec::new() } else { clauses("One moment.") };
            return Reply { clauses, tool_call: Some(request) };
        }
        if let Some(sum) = arithmetic::answer(&words::words_of(text)) {
            return Reply::say(&sum);
        }
        match topic::meant(text) {
            Some(topic) => self.answer_topic(topic, facts),
            None => {
                self.misunderstood += 1;
                Reply::say(&answers::not_understood(text, self.misunderstood))
            }
        }
    }
}

#[cfg(test)]
mod tests;
