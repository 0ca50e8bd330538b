//! These tests need the Debian packages of the local voice; without them they fail and name the packages.

use std::time::{Duration, Instant};

use voxgate_protocol::audio::Pcm;

use super::super::flite::FliteVoice;
use super::super::voice::VoiceName;
use super::*;

fn recogniser() -> Recogniser {
    let sphinx = Sphinx::load().unwrap_or_else(|error| panic!("{error}"));
    Recogniser::load(&sphinx, &RecogniserModels::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn speech(voice: &mut FliteVoice, text: &str) -> Pcm {
    let mut pcm = voice.speak(text, 1.0).unwrap();
    let pause = vec![0; 4_800];
    pcm.samples = [pause.clone(), pcm.samples, pause].concat();
    pcm
}

fn voice(name: VoiceName) -> FliteVoice {
    FliteVoice::load(name).unwrap_or_else(|error| panic!("{error}"))
}

/// What is heard when audio comes in frames of 20 ms.
fn hear(recogniser: &mut Recogniser, pcm: &Pcm) -> String {
    recogniser.start().unwrap();
    for frame in pcm.samples.chunks(320) {
        recogniser.feed(frame);
    }
    let heard = recogniser.finish();
    recogniser.rest();
    heard.words
}

#[test]
fn phrases_of_the_grammar_are_heard_word_by_word() {
    let mut recogniser = recogniser();
    let mut voice = voice(VoiceName::Rms);
    for phrase in ["what is a relay", "tell me a long story", "what is seven plus five", "what is voxgate"] {
        let heard = hear(&mut recogniser, &speech(&mut voice, phrase));
        assert_eq!(heard, phrase);
    }
}

#[test]
fn a_sentence_outside_the_grammar_is_not_forced_into_it() {
    let mut recogniser = recogniser();
    let mut voice = voice(VoiceName::Slt);
    let sentence = "the children played football in the garden yesterday";
    let heard = hear(&mut recogniser, &speech(&mut voice, sentence));
    let right = sentence.split(' ').filter(|word| heard.split(' ').any(|one| one == *word)).count();
    assert!(right >= 5, "{heard}");
}

#[test]
fn silence_and_an_empty_utterance_have_no_words() {
    let mut recogniser = recogniser();
    for length in [0, 320, 32_000] {
        let silence = Pcm { rate: super::super::INPUT_RATE, samples: vec![0; length] };
        assert_eq!(hear(&mut recogniser, &silence), "");
    }
}

#[test]
fn models_that_are_none_are_refused() {
    let sphinx = Sphinx::load().unwrap();
    let nowhere = std::path::PathBuf::from("/nonexistent");
    let models =
        RecogniserModels { acoustic: nowhere.clone(), dictionary: nowhere.clone(), language: nowhere };
    assert!(matches!(Recogniser::load(&sphinx, &models), Err(LocalError::DecoderRefused)));
}

/// Prints accuracy and cost. Run it with
/// `cargo nextest run -p voxgate-providers --run-ignored only --no-capture figures_of_the_recogniser`.
#[test]
#[ignore = "a measurement, prints figures"]
fn figures_of_the_recogniser() {
    let mut recogniser = recogniser();
    for name in [VoiceName::Rms, VoiceName::Slt, VoiceName::Kal16, VoiceName::Awb] {
        let mut voice = voice(name);
        let (mut right, mut total, mut finishes) = (0, 0, Vec::new());
        let (mut audio, mut work) = (Duration::ZERO, Duration::ZERO);
        let mut wrong = Vec::new();
        for phrase in phrases::all() {
            let pcm = speech(&mut voice, phrase);
            let began = Instant::now();
            recogniser.start().unwrap();
            pcm.samples.chunks(320).for_each(|frame| recogniser.feed(frame));
            let end = Instant::now();
            let heard = recogniser.finish().words;
            finishes.push(end.elapsed());
            recogniser.rest();
            audio += pcm.duration();
            work += began.elapsed();
            total += 1;
            if heard == phrase {
                right += 1;
            } else {
                wrong.push(format!("{phrase} -> {heard}"));
            }
        }
        finishes.sort();
        println!(
            "{}: {right} of {total} phrases, finish median {:?} p95 {:?} max {:?}, {:.3} s CPU per s of speech",
            name.as_str(),
            finishes[total / 2],
            finishes[total * 95 / 100],
            finishes[total - 1],
            work.as_secs_f64() / audio.as_secs_f64()
        );
        wrong.iter().for_each(|line| println!("    {line}"));
        let mut forced = 0;
        let mut likest = 0.0_f32;
        for sentence in OUTSIDE {
            let pcm = speech(&mut voice, sentence);
            let heard = hear(&mut recogniser, &pcm);
            let (grammar, open) = (recogniser.grammar.hypothesis(), recogniser.open.hypothesis());
            likest = likest.max(likeness(&grammar, &open));
            forced += usize::from(heard == grammar && !grammar.is_empty());
        }
        println!(
            "    outside the grammar: {forced} of {} forced, likeness at most {likest:.2}",
            OUTSIDE.len()
        );
    }
}

/// Sentences no phrase of the brain resembles.
const OUTSIDE: [&str; 24] = [
    "the birds sang in the old oak tree",
    "please turn on the lights in the kitchen",
    "my brother bought a new red car",
    "we are going to the beach tomorrow",
    "she opened the window and looked outside",
    "there is a cat under the table",
    "the train to london was late again",
    "he plays the piano every evening",
    "i would like a cup of coffee",
    "the weather was cold and windy",
    "they built a house near the river",
    "my sister lives in a small town",
    "can you send me the report by friday",
    "the movie was better than the book",
    "put the milk in the fridge",
    "we had dinner at a restaurant",
    "the dog is barking at the mailman",
    "i forgot my keys at the office",
    "the doctor said to drink more water",
    "our team won the game last night",
    "the store closes at nine",
    "i need to buy some bread and butter",
    "the flight was cancelled because of snow",
    "he wrote a letter to his mother",
];
