use super::*;
use crate::money::ledger::{MemoryLedger, Totals, totals_by};
use crate::money::price::PriceBook;

const START: Duration = Duration::from_secs(20_778 * 86_400);
const SECOND: Duration = Duration::from_secs(1);

fn meter(model: &str) -> Meter {
    let book = PriceBook::built_in().unwrap();
    let prices = book.find("openai", model, UtcDay::of(START)).ok().copied();
    let whisper = book.find("openai", "gpt-realtime-whisper", UtcDay::of(START)).unwrap();
    let config = MeterConfig {
        session: "sess_1".into(),
        tenant: TenantPath::default(),
        provider: "openai".into(),
        model: model.into(),
        prices,
        version: Arc::clone(book.version()),
        recogniser: Recogniser { model: "gpt-realtime-whisper".into(), prices: Some(*whisper) },
    };
    Meter::new(START, config)
}

fn response(number: u32) -> ResponseId {
    format!("resp_{number}").into()
}

fn item(number: u32) -> ItemId {
    format!("item_{number}").into()
}

/// What the ledger says once it has every entry, which must be what the meter says.
fn totals(meter: &mut Meter) -> (Totals, MemoryLedger) {
    let mut ledger = MemoryLedger::default();
    while let Some(entry) = meter.poll_entry() {
        assert!(ledger.append(&entry).unwrap(), "{} came twice", entry.id);
    }
    let totals = totals_by(ledger.entries(), |_| ()).unwrap();
    let totals = totals.get(&()).copied().unwrap_or_default();
    assert_eq!(totals.all(), Ok(meter.cost()));
    (totals, ledger)
}

const USAGE: TokenUsage = TokenUsage {
    input_text: 100,
    input_audio: 500,
    input_image: 0,
    cached_text: 0,
    cached_audio: 0,
    cached_image: 0,
    output_text: 20,
    output_audio: 200,
};

/// 100 × 4,000 + 500 × 32,000 + 20 × 24,000 + 200 × 64,000.
const USAGE_COSTS: NanoDollars = NanoDollars::new(29_680_000);

#[test]
fn an_answer_is_estimated_while_it_is_spoken_and_confirmed_by_the_providers_count() {
    let mut meter = meter("gpt-realtime-2.1");
    meter.listened(START, 50 * SECOND);
    meter.answer_started(START, &response(1));
    // Reading 500 tokens, and two seconds of speech ahead.
    assert_eq!(meter.cost(), NanoDollars::new(500 * 32_000 + 40 * 64_000));
    for _ in 0..10 {
        meter.spoke(&response(1), &item(1), SECOND, 0);
        let spoken = meter.answers[&response(1)].audio.as_secs();
        let cost = i64::try_from(500 * 32_000 + spoken * 20 * 64_000).unwrap();
        assert!(meter.cost() >= NanoDollars::new(cost), "the marks fell behind at {spoken} s");
    }
    assert!(meter.is_answering());
    meter.answer_done(&response(1), Some(USAGE));
    let (totals, ledger) = totals(&mut meter);
    assert_eq!((totals.estimated, totals.confirmed), (NanoDollars::ZERO, USAGE_COSTS));
    assert!(ledger.open_estimates().is_empty());
}

#[test]
fn a_caller_who_leaves_in_the_middle_of_an_answer_is_billed() {
    let mut meter = meter("gpt-realtime-2.1");
    meter.listened(START, 50 * SECOND);
    meter.answer_started(START, &response(1));
    meter.spoke(&response(1), &item(1), 5 * SECOND, 0);
    meter.end(START + 5 * SECOND);
    let (totals, ledger) = totals(&mut meter);
    assert_eq!(totals.confirmed, NanoDollars::ZERO);
    assert!(totals.estimated >= NanoDollars::new(500 * 32_000 + 100 * 64_000));
    assert_eq!(ledger.open_estimates().len(), 1);
}

#[test]
fn an_answer_the_provider_does_not_count_stays_estimated_at_what_the_wire_showed() {
    let mut meter = meter("gpt-realtime-2.1");
    meter.answer_started(START, &response(1));
    meter.spoke(&response(1), &item(1), 3 * SECOND, 0);
    meter.answer_done(&response(1), None);
    let (totals, _) = totals(&mut meter);
    assert_eq!((totals.estimated, totals.confirmed), (NanoDollars::new(60 * 64_000), NanoDollars::ZERO));
}

#[test]
fn audio_nobody_heard_has_a_column_of_its_own() {
    let mut meter = meter("gpt-realtime-2.1");
    meter.answer_started(START, &response(1));
    meter.spoke(&response(1), &item(1), 10 * SECOND, 0);
    meter.answer_done(&response(1), Some(USAGE));
    meter.heard(&item(1), 4 * SECOND);
    meter.heard(&item(1), 4 * SECOND);
    let (first, _) = totals(&mut meter);
    // Six of ten seconds of 200 tokens.
    assert_eq!(first.unheard, NanoDollars::new(200 * 64_000 * 6 / 10));
    assert_eq!(first.confirmed, USAGE_COSTS);
    meter.heard(&item(1), SECOND);
    let mut more = NanoDollars::ZERO;
    while let Some(entry) = meter.poll_entry() {
        more = more.saturating_add(entry.unheard);
    }
    assert_eq!(more, NanoDollars::new(200 * 64_000 * 3 / 10));
}

#[test]
fn a_vendor_who_bills_by_time_is_metered_by_the_second_and_confirmed_at_the_end() {
    let mut meter = meter("gpt-live-1");
    let mut now = START;
    for _ in 0..40 {
        now += SECOND;
        meter.tick(now);
        let owed = i64::try_from((now - START).as_secs().max(15)).unwrap() * 50_000_000 / 60;
        assert!(meter.cost() >= NanoDollars::new(owed), "behind after {:?}", now - START);
    }
    assert_eq!(meter.poll_timeout(), Some(now + MARK / 4));
    meter.end(now);
    meter.end(now);
    let (totals, _) = totals(&mut meter);
    assert_eq!((totals.estimated, totals.confirmed), (NanoDollars::ZERO, NanoDollars::new(33_333_334)));
}

#[test]
fn whenever_the_newest_mark_is_lost_the_one_before_covers_what_was_used() {
    let mut meter = meter("gpt-live-1");
    let (mut before, mut marked) = (NanoDollars::ZERO, meter.cost());
    for _ in 0..400 {
        let now = meter.poll_timeout().unwrap();
        let owed = (50_000_000 * (now - START).as_nanos().max(15_000_000_000)).div_ceil(60_000_000_000);
        meter.tick(now);
        if meter.cost() != marked {
            (before, marked) = (marked, meter.cost());
            let owed = NanoDollars::new(i64::try_from(owed).unwrap());
            assert!(before >= owed, "{before} does not cover {owed} after {:?}", now - START);
        }
    }
    assert!(before != NanoDollars::ZERO);
}

#[test]
fn recognition_is_billed_beside_the_answer_and_once() {
    let mut meter = meter("gpt-realtime-2.1");
    let usage = Some(TranscriptionUsage::Audio(60 * SECOND));
    meter.recognised(START, &item(1), usage);
    meter.recognised(START, &item(1), usage);
    meter.recognised(START, &item(2), None);
    let (totals, ledger) = totals(&mut meter);
    assert_eq!(totals.confirmed, NanoDollars::new(17_000_000));
    let entry = ledger.entries().next().unwrap();
    assert_eq!((entry.hop, &*entry.model), (Hop::Stt, "gpt-realtime-whisper"));
}

#[test]
fn a_model_without_a_price_is_flagged_and_never_free() {
    let mut meter = meter("gpt-9");
    meter.answer_started(START, &response(1));
    meter.spoke(&response(1), &item(1), SECOND, 0);
    meter.answer_done(&response(1), Some(USAGE));
    let (totals, ledger) = totals(&mut meter);
    assert_eq!(totals.unpriced, 1);
    assert_eq!(ledger.entries().next().unwrap().used.tokens, USAGE);
}

#[test]
fn usage_the_book_has_no_price_for_keeps_its_estimate() {
    let mut meter = meter("gpt-realtime-mini");
    meter.answer_started(START, &response(1));
    meter.answer_done(&response(1), Some(TokenUsage { input_image: 5, ..USAGE }));
    let (totals, _) = totals(&mut meter);
    assert_eq!(totals.unpriced, 1);
    assert!(totals.estimated > NanoDollars::ZERO);
}

#[test]
fn what_happens_twice_or_out_of_order_costs_once() {
    let mut meter = meter("gpt-realtime-2.1");
    meter.spoke(&response(1), &item(1), SECOND, 0);
    meter.answer_done(&response(1), Some(USAGE));
    assert_eq!(meter.cost(), NanoDollars::ZERO);
    for _ in 0..2 {
        meter.answer_started(START, &response(1));
        meter.answer_done(&response(1), Some(USAGE));
    }
    assert_eq!(totals(&mut meter).0.confirmed, USAGE_COSTS);
}

fn service(provider: &str, model: &str) -> Service {
    let book = PriceBook::built_in().unwrap();
    let prices = book.find("openai", model, UtcDay::of(START)).ok().copied();
    let recogniser = Recogniser { model: "none".into(), prices: None };
    Service { provider: provider.into(), model: model.into(), prices, recogniser }
}

#[test]
fn whoever_serves_the_session_is_paid_at_their_own_price_from_then_on() {
    let mut meter = meter("gpt-realtime-2.1");
    for (number, provider, model) in
        [(1, "first", "gpt-realtime-2.1"), (2, "second", "gpt-realtime-2.1"), (3, "third", "no-such-model")]
    {
        meter.serve_by(START, service(provider, model));
        meter.answer_started(START, &response(number));
        meter.answer_done(&response(number), Some(USAGE));
    }
    let (totals, ledger) = totals(&mut meter);
    let two = USAGE_COSTS.checked_add(USAGE_COSTS).unwrap();
    assert_eq!((totals.estimated, totals.confirmed), (NanoDollars::ZERO, two));
    let confirmed = |provider: &str| {
        let of = |entry: &&Entry| &*entry.provider == provider && entry.certainty == Certainty::Confirmed;
        ledger.entries().filter(of).map(|entry| entry.amount.get()).sum::<i64>()
    };
    assert_eq!(confirmed("second"), USAGE_COSTS.get());
    assert_eq!(confirmed("third"), 0, "without a price");
}

#[test]
fn whoever_is_paid_by_time_is_paid_for_their_time() {
    let mut meter = meter("gpt-live-1");
    for number in 0..3_u32 {
        meter.tick(START + 60 * SECOND * number + 30 * SECOND);
        let moved_at = START + 60 * SECOND * (number + 1);
        meter.serve_by(moved_at, service("other", "gpt-live-1"));
    }
    meter.end(START + 240 * SECOND);
    // No entry came twice, or `totals` would have failed.
    let (totals, ledger) = totals(&mut meter);
    assert_eq!((totals.estimated, totals.confirmed), (NanoDollars::ZERO, NanoDollars::new(200_000_000)));
    let first = ledger.entries().filter(|entry| &*entry.provider == "openai");
    assert_eq!(first.map(|entry| entry.amount.get()).sum::<i64>(), 50_000_000);
}
