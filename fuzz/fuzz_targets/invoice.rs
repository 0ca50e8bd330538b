#![no_main]
//! An invoice somebody imports. Corpus: policy/corpus/invoices.
use voxgate_policy::money::invoice::{MOST_LINES, compare, parse};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(lines) = parse(&String::from_utf8_lossy(data)) else { return };
    assert!(lines.len() <= MOST_LINES && lines.iter().all(|line| !line.model.is_empty()));
    let Ok(compared) = compare(&lines, []) else { return };
    let billed: i128 = compared.iter().map(|both| i128::from(both.billed.get())).sum();
    assert_eq!(billed, lines.iter().map(|line| i128::from(line.amount.get())).sum::<i128>());
});
