use std::time::Duration;

use proptest::prelude::*;
use voxgate_protocol::tenant::TenantPath;
use voxgate_protocol::timeline::Hop;

use super::*;
use crate::money::ledger::{Certainty, EntryId, MemoryLedger, Quantities, Source, Subject, totals_by};

fn day(text: &str) -> UtcDay {
    UtcDay::parse(text).unwrap()
}

fn line(on: &str, model: &str, kind: &str, nano: i64) -> InvoiceLine {
    InvoiceLine {
        day: day(on),
        model: model.to_owned(),
        kind: kind.to_owned(),
        amount: NanoDollars::new(nano),
    }
}

fn estimate(session: usize, nano: i64) -> Entry {
    Entry {
        id: EntryId {
            session: format!("sess_{session}").into(),
            subject: Subject::Response("resp_1".into()),
            source: Source::Wire,
            sequence: 0,
        },
        tenant: TenantPath::default(),
        provider: "openai".into(),
        model: "m".into(),
        hop: Hop::Model,
        day: day("2026-11-21"),
        at: day("2026-11-21").begins_at() + Duration::from_secs(session as u64),
        prices: "v1".into(),
        certainty: Certainty::Estimated,
        amount: NanoDollars::new(nano),
        unheard: NanoDollars::ZERO,
        used: Quantities::default(),
    }
}

#[test]
fn an_invoice_is_read_to_the_last_nano_dollar() {
    let text = "\u{feff}model,region,kind,dollars,day\r\n\
                gpt-realtime,eu,\"audio, \"\"output\"\"\",1.000000001,2026-11-20\r\n\
                \r\n\
                \"gpt-realtime\",us,credit,-0.5,2026-11-21";
    let expected = [
        line("2026-11-20", "gpt-realtime", "audio, \"output\"", 1_000_000_001),
        line("2026-11-21", "gpt-realtime", "credit", -500_000_000),
    ];
    assert_eq!(parse(text).unwrap(), expected);
    assert_eq!(parse("day,model,dollars\n").unwrap(), []);
}

#[test]
fn a_line_that_cannot_be_read_is_named_and_nothing_is_taken() {
    for (text, line, problem) in [
        ("", 1, "has no header"),
        ("day,model,amount\n", 1, "has no column named dollars"),
        ("day,model,dollars\n2026-11-21,m,1\n21.11.2026,m,1\n", 3, "has no day such as 2026-11-21"),
        ("day,model,dollars\n2026-11-21,m\n", 2, "has no amount in dollars with up to nine decimal places"),
        ("day,model,dollars\n2026-11-21,,1\n", 2, "names no model"),
        ("day,model,dollars\n2026-11-21,\"m,1\n", 2, "has a quote that is never closed"),
        ("day,model,dollars\n2026-11-21,\"m\"x,1\n", 2, "goes on behind a closing quote"),
    ] {
        assert_eq!(parse(text), Err(InvoiceError { line, problem }), "{text:?}");
    }
    let long = format!("day,model,dollars\n2026-11-21,{},1\n", "m".repeat(LONGEST_FIELD + 1));
    assert_eq!(parse(&long).unwrap_err().problem, "has a field that is too long");
}

#[test]
fn what_only_one_side_knows_is_a_difference() {
    let booked = |confirmed, estimated| Booked {
        confirmed: NanoDollars::new(confirmed),
        estimated: NanoDollars::new(estimated),
        unpriced: 0,
    };
    let ledger = [
        ((day("2026-11-20"), "m".to_owned()), booked(100, 0)),
        ((day("2026-11-21"), "m".to_owned()), booked(60, 50)),
    ];
    let invoice = [
        line("2026-11-21", "m", "audio", 70),
        line("2026-11-21", "m", "text", 30),
        line("2026-11-21", "other", "", 5),
    ];
    let compared = compare(&invoice, ledger).unwrap();
    let shown: Vec<_> = compared
        .iter()
        .map(|both| (both.day.to_string(), both.model.as_str(), both.difference().unwrap().get()))
        .collect();
    assert_eq!(
        shown,
        [
            ("2026-11-20".to_owned(), "m", -100),
            ("2026-11-21".to_owned(), "m", -10),
            ("2026-11-21".to_owned(), "other", 5),
        ]
    );
}

fn confirmed(billed: i64, known: i64, estimates: &[i64]) -> (MemoryLedger, Vec<Entry>) {
    let mut ledger = MemoryLedger::default();
    let open: Vec<OpenEstimate> = estimates
        .iter()
        .enumerate()
        .map(|(session, nano)| {
            let entry = estimate(session, *nano);
            ledger.append(&entry).unwrap();
            OpenEstimate { entry, open: NanoDollars::new(*nano), invoiced: 0 }
        })
        .collect();
    let booked = Booked {
        confirmed: NanoDollars::new(known),
        estimated: NanoDollars::new(estimates.iter().sum()),
        unpriced: 0,
    };
    let compared =
        Compared { day: day("2026-11-21"), model: "m".to_owned(), billed: NanoDollars::new(billed), booked };
    let made = confirm(&compared, &open).unwrap();
    for entry in &made {
        assert!(ledger.append(entry).unwrap());
    }
    (ledger, made)
}

#[test]
fn an_invoice_below_what_is_confirmed_makes_estimates_nothing() {
    let (ledger, made) = confirmed(50, 60, &[10, 20]);
    assert!(ledger.open_estimates().is_empty());
    assert!(
        made.iter().all(|entry| entry.certainty == Certainty::Estimated || entry.amount == NanoDollars::ZERO)
    );
}

#[test]
fn an_estimate_that_comes_late_can_be_confirmed_beside_the_first() {
    let late = OpenEstimate { entry: estimate(1, 7), open: NanoDollars::new(7), invoiced: 2 };
    let compared = Compared {
        day: day("2026-11-21"),
        model: "m".to_owned(),
        billed: NanoDollars::new(7),
        booked: Booked::default(),
    };
    let sequences: Vec<u32> =
        confirm(&compared, &[late]).unwrap().iter().map(|entry| entry.id.sequence).collect();
    assert_eq!(sequences, [2, 3]);
}

proptest! {
    #[test]
    fn confirmed_estimates_add_up_to_the_invoice(
        estimates in prop::collection::vec(1_i64..1_000_000_000, 1..40),
        known in 0_i64..1_000_000,
        more in 0_i64..5_000_000_000,
    ) {
        let (ledger, _) = confirmed(known + more, known, &estimates);
        let totals = totals_by(ledger.entries(), |entry| entry.day).unwrap();
        let totals = totals.values().next().unwrap();
        prop_assert_eq!(totals.estimated, NanoDollars::ZERO);
        prop_assert_eq!(totals.confirmed, NanoDollars::new(more));
    }

    #[test]
    fn whatever_an_invoice_holds_reading_it_ends_without_harm(text in "[day,molrsk\"\r\n0-9.-]{0,200}") {
        let _ = parse(&text);
        let _ = parse(&format!("day,model,dollars\n{text}"));
    }
}
