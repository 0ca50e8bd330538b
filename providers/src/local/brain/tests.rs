use serde_json::json;
use voxgate_protocol::timeline::{Certainty, Hop, HopTime};

use super::topic::{TOPICS, Topic, meant};
use super::*;

fn facts() -> BrainFacts {
    BrainFacts {
        time: LocalTime::at(Duration::from_secs(1_795_254_180), 0),
        call: Duration::from_secs(75),
        last_turn: None,
        timeline: None,
    }
}

fn ask(brain: &mut Brain, text: &str) -> String {
    brain.reply(&BrainInput::Words(text.to_owned()), &facts()).clauses.join(" ")
}

#[test]
fn every_phrase_of_the_grammar_means_its_topic() {
    for entry in TOPICS {
        for phrase in entry.phrases {
            assert_eq!(meant(phrase), Some(entry.topic), "{phrase}");
        }
    }
}

#[test]
fn garbled_and_wordy_questions_are_understood() {
    for (heard, topic) in [
        ("uh hello there", Topic::Hello),
        ("what what time is it now", Topic::Time),
        ("could you please tell me the time", Topic::Time),
        ("so what day is it today then", Topic::Date),
        ("what is a box gate", Topic::WhatIsIt),
        ("what is vox gate", Topic::WhatIsIt),
        ("tell me more about the relays", Topic::Relay),
        ("what does the trans receiver do", Topic::Transceiver),
        ("how does a gateway working", Topic::HowItWorks),
        ("is that thing for free", Topic::Licence),
        ("how fast is the", Topic::Latency),
        ("what about the latency", Topic::Latency),
        ("tell me along story", Topic::Story),
        ("tell me a very long story please", Topic::Story),
        ("could you repeat that please", Topic::Again),
        ("thank you so much", Topic::Thanks),
        ("good by", Topic::Goodbye),
        ("so are you a human", Topic::Thinking),
        ("which voice are you speaking with", Topic::Speech),
        ("what else can you do for me", Topic::Abilities),
        ("can i interrupt", Topic::Interruption),
    ] {
        assert_eq!(meant(heard), Some(topic), "{heard}");
    }
}

#[test]
fn what_it_does_not_know_gets_an_honest_and_changing_answer() {
    let mut brain = Brain::default();
    let answers: Vec<_> = (0..3).map(|_| ask(&mut brain, "the birds sang in the old oak tree")).collect();
    assert!(answers.iter().all(|answer| answer.contains("the birds sang")), "{answers:?}");
    assert_ne!(answers[0], answers[1]);
    assert_ne!(answers[1], answers[2]);
    for text in ["", "   ", "?!", "zzz"] {
        assert!(!ask(&mut brain, text).is_empty());
    }
}

#[test]
fn time_date_sums_and_call_length_come_from_facts() {
    let mut brain = Brain::default();
    assert_eq!(ask(&mut brain, "what time is it"), "It is 9 43 in the morning, universal time.");
    assert_eq!(ask(&mut brain, "what day is it"), "Today is Saturday, November 21, 2026.");
    assert_eq!(ask(&mut brain, "what is seven times six"), "7 times 6 is 42.");
    assert_eq!(
        ask(&mut brain, "how long have we been talking"),
        "We have been talking for 1 minute and 15 seconds."
    );
}

#[test]
fn its_speed_is_told_as_far_as_it_is_known() {
    let mut brain = Brain::default();
    let question = BrainInput::Words("how fast was that".to_owned());
    assert!(brain.reply(&question, &facts()).clauses.join(" ").contains("nothing to measure"));
    let last_turn = LastTurn { recognition: Duration::from_millis(12), voice: Duration::from_micros(800) };
    let mut known = BrainFacts { last_turn: Some(last_turn), ..facts() };
    let answer = brain.reply(&question, &known).clauses.join(" ");
    assert!(answer.contains("12 milliseconds") && answer.contains("less than a millisecond"), "{answer}");
    let hop = |hop, millis| HopTime {
        hop,
        duration: Duration::from_millis(millis),
        certainty: Certainty::Measured,
    };
    known.timeline =
        Some(TurnTimeline { turn: 1, hops: vec![hop(Hop::Endpointing, 500), hop(Hop::RelayIn, 2)] });
    let answer = brain.reply(&question, &known).clauses.join(" ");
    assert!(answer.contains("it took 502 milliseconds"), "{answer}");
    assert!(answer.contains("endpointing with 500 milliseconds, relay in with 2 milliseconds"), "{answer}");
}

#[test]
fn an_interrupted_story_goes_on_where_it_was_left() {
    let mut brain = Brain::default();
    let story = brain.reply(&BrainInput::Words("tell me a long story".to_owned()), &facts());
    assert!(story.clauses.len() > 10);
    brain.heard_only(3);
    let rest = brain.reply(&BrainInput::Words("go on".to_owned()), &facts());
    assert_eq!(rest.clauses, story.clauses[3..]);
    assert!(ask(&mut brain, "go on").contains("finished"));
    brain.heard_only(usize::MAX);
    assert!(ask(&mut brain, "please continue").contains("finished"));
}

#[test]
fn it_repeats_itself_on_demand() {
    let mut brain = Brain::default();
    assert!(ask(&mut brain, "say that again").contains("not said anything"));
    let answer = ask(&mut brain, "what is a relay");
    assert_eq!(ask(&mut brain, "can you repeat that"), answer);
}

#[test]
fn instructions_and_greetings_are_followed() {
    let configured = |instructions: &str| {
        Brain::new(BrainSettings { instructions: Some(instructions.to_owned()), ..BrainSettings::default() })
    };
    let mut exact = configured("Say exactly: The quick brown fox.");
    assert_eq!(ask(&mut exact, "what time is it"), "The quick brown fox.");
    let mut greeter = configured("Greeting: Welcome to the bakery.\nName: Ada");
    assert_eq!(greeter.reply(&BrainInput::Opening, &facts()).clauses.join(" "), "Welcome to the bakery.");
    assert!(ask(&mut greeter, "what is your name").starts_with("My name is Ada."));
    assert!(Brain::default().reply(&BrainInput::Opening, &facts()).clauses.join(" ").contains("Vox"));
}

#[test]
fn a_declared_tool_is_called_and_its_output_spoken() {
    let tool = Tool {
        name: "get_weather".to_owned(),
        description: None,
        parameters: json!({"properties": {"city": {"type": "string"}}, "required": ["city"]}),
    };
    let mut brain = Brain::new(BrainSettings { tools: vec![tool], ..BrainSettings::default() });
    let question = BrainInput::Words("how is the weather in paris".to_owned());
    let call = brain.reply(&question, &facts()).tool_call.unwrap();
    assert_eq!((call.name.as_str(), call.arguments.as_str()), ("get_weather", r#"{"city":"paris"}"#));
    let output = ToolAnswer { name: "get_weather".to_owned(), output: r#"{"sky": "clear"}"#.to_owned() };
    let reply = brain.reply(&BrainInput::ToolOutputs(vec![output]), &facts());
    assert_eq!(reply.clauses.join(" "), "Here is what I found: sky is clear.");
    assert!(ask(&mut brain, "which tools do you have").contains("get weather"));
    assert!(ask(&mut Brain::default(), "which tools do you have").contains("no tools"));
}

#[test]
fn every_topic_has_a_short_first_clause() {
    for entry in TOPICS {
        let reply = Brain::default().reply(&BrainInput::Words(entry.phrases[0].to_owned()), &facts());
        let first = reply.clauses.first().map_or(0, String::len);
        assert!((1..=80).contains(&first), "{:?}: {:?}", entry.topic, reply.clauses.first());
    }
}
