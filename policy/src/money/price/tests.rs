use super::*;

fn day(text: &str) -> UtcDay {
    UtcDay::parse(text).unwrap()
}

fn dollars_of(text: &str) -> NanoDollars {
    NanoDollars::from_dollars(text).unwrap()
}

fn realtime() -> Prices {
    *PriceBook::built_in().unwrap().find("openai", "gpt-realtime-2.1", day("2026-11-21")).unwrap()
}

#[test]
fn every_entry_of_the_built_in_book_can_be_read() {
    let book = PriceBook::built_in().unwrap();
    assert_eq!(book.version().len(), 12);
    for (vendor, model) in [("openai", "gpt-realtime"), ("openai", "gpt-live-1"), ("local", "anything")] {
        assert!(book.find(vendor, model, day("2026-11-21")).is_ok(), "{model}");
    }
}

#[test]
fn an_answer_is_reckoned_token_by_token_with_the_cached_ones_apart() {
    let usage = TokenUsage {
        input_text: 1_000,
        cached_text: 400,
        input_audio: 2_000,
        cached_audio: 1_500,
        output_text: 100,
        output_audio: 300,
        ..TokenUsage::default()
    };
    // 600 × 4,000 + 400 × 400 + 500 × 32,000 + 1,500 × 400 + 100 × 24,000 + 300 × 64,000 nano-dollars.
    assert_eq!(realtime().answer(&usage), Ok(NanoDollars::new(40_760_000)));
}

#[test]
fn a_price_by_time_is_exact_and_rounds_up_only_at_the_end() {
    let book = PriceBook::built_in().unwrap();
    let whisper = book.find("openai", "gpt-realtime-whisper", day("2026-11-21")).unwrap();
    assert_eq!(whisper.listened(Duration::from_secs(60)), Ok(dollars_of("0.017")));
    // 17,000,000 ÷ 60 = 283,333.33.
    assert_eq!(whisper.listened(Duration::from_secs(1)), Ok(NanoDollars::new(283_334)));
    assert_eq!(whisper.listened(Duration::from_secs(3)), Ok(NanoDollars::new(850_000)));
}

#[test]
fn a_connection_costs_at_least_its_minimum() {
    let book = PriceBook::built_in().unwrap();
    let live = book.find("openai", "gpt-live-1", day("2026-11-21")).unwrap();
    assert_eq!(live.connected(Duration::from_secs(1)), Ok(dollars_of("0.0125")));
    assert_eq!(live.connected(Duration::from_secs(60)), Ok(dollars_of("0.05")));
    assert!(!live.is_by_token());
}

#[test]
fn a_kind_of_usage_without_a_price_is_no_free_usage() {
    let book = PriceBook::built_in().unwrap();
    let live = book.find("openai", "gpt-live-1", day("2026-11-21")).unwrap();
    let usage = TokenUsage { input_image: 1, ..TokenUsage::default() };
    assert_eq!(live.answer(&usage), Err(PriceError::Unpriced("images read")));
}

#[test]
fn an_absurd_count_is_an_error_and_no_small_amount() {
    let usage = TokenUsage { output_audio: u64::MAX, ..TokenUsage::default() };
    assert_eq!(realtime().answer(&usage), Err(PriceError::Overflow));
}

const OWN: &str = r#"
- vendor: openai
  models: [gpt-realtime]
  valid_from: 2027-01-01
  source: a contract
  per_million_tokens: { input_audio: "10", output_audio: 20.5 }
  tokens_per_second: { input_audio: 10, output_audio: 20 }
"#;

#[test]
fn a_new_price_counts_from_its_day_on() {
    let book = PriceBook::overridden(OWN).unwrap();
    let price = |on| book.find("openai", "gpt-realtime", day(on)).unwrap().tokens.output_audio;
    assert_eq!(price("2026-12-31"), Some(dollars_of("64")));
    assert_eq!(price("2027-01-01"), Some(dollars_of("20.5")));
    assert_ne!(book.version(), PriceBook::built_in().unwrap().version());
}

#[test]
fn a_model_nobody_has_priced_is_unknown() {
    let book = PriceBook::built_in().unwrap();
    assert!(matches!(book.find("openai", "gpt-9", day("2026-11-21")), Err(PriceError::Unknown { .. })));
    assert!(matches!(
        book.find("nobody", "gpt-realtime", day("2026-11-21")),
        Err(PriceError::Unknown { .. })
    ));
    assert!(matches!(
        book.find("openai", "gpt-realtime", day("2020-01-01")),
        Err(PriceError::Unknown { .. })
    ));
}

#[test]
fn mistakes_in_a_book_are_named() {
    for (change, part) in [
        (("\"10\"", "\"ten\""), "decimal places"),
        (("\"10\"", "\"-1\""), "negative"),
        (("source: a contract", "source: ''"), "lacks its source"),
        (("  tokens_per_second: { input_audio: 10, output_audio: 20 }\n", ""), "tokens_per_second"),
        (("input_audio: \"10\"", "input_sound: \"10\""), "input_sound"),
        (("2027-01-01", "2027-13-01"), "a day is written"),
        (("[gpt-realtime]", "['g*t']"), "g*t"),
    ] {
        let text = OWN.replace(change.0, change.1);
        let error = PriceBook::overridden(&text).unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
}
