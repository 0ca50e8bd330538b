//! Every fault of a text that is no configuration: a reader stops at the first; the part it complains about is taken out, and
//! the rest is read again.

use serde_saphyr::Location;

use super::place::{Part, Place, What};
use super::written::Written;

/// Faults told at once. Whoever has more has another kind of file.
const MOST: usize = 100;

/// What is wrong at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// `None` if nobody knows where.
    pub(crate) place: Option<Place>,
    pub(crate) message: String,
}

/// What can be made of a text.
pub(crate) struct Understood {
    pub(crate) faults: Vec<Fault>,
    /// What it says besides, if the faults are settings that do not exist and nothing else: the rest can be checked then.
    pub(crate) rest: Option<Written>,
}

/// Reads a text as far as it goes.
pub(crate) fn understand(text: &str) -> Understood {
    if super::is_empty(text) {
        return Understood { faults: Vec::new(), rest: Some(Written::default()) };
    }
    let (mut text, mut faults) = (text.to_owned(), Vec::new());
    let mut only_unknown = true;
    while faults.len() < MOST {
        let error = match serde_saphyr::from_str::<Written>(&text) {
            Ok(rest) => return Understood { faults, rest: only_unknown.then_some(rest) },
            Err(error) => error,
        };
        let error = error.without_snippet();
        let is_unknown = matches!(error, serde_saphyr::Error::SerdeUnknownField { .. });
        let location = error.location();
        // A part that was taken out is missed where it was needed.
        if faults.is_empty() || !matches!(error, serde_saphyr::Error::SerdeMissingField { .. }) {
            only_unknown &= is_unknown;
            faults.push(Fault { place: location.and_then(Place::of), message: message(error) });
        }
        let without = location.and_then(|at| take_out(&text, at));
        match without {
            Some(without) if without != text => text = without,
            _ => break,
        }
    }
    Understood { faults, rest: None }
}

/// What a reader says, without its own idea of the place and without a piece of the text, which may hold what is secret.
fn message(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    first.split(" at line ").next().unwrap_or_default().to_owned()
}

/// The text with blanks where the smallest entry around a place stands, so that everything else stays where it is.
fn take_out(text: &str, at: Location) -> Option<String> {
    let at = offset(at)?;
    let root = Part::read(text)?;
    let entries = entries(text, &root, 0..text.len());
    let around = entries.iter().filter(|entry| entry.start <= at && at < entry.end);
    let entry = around.min_by_key(|entry| entry.end - entry.start)?.clone();
    let mut without = String::with_capacity(text.len());
    for (place, letter) in text.char_indices() {
        if entry.contains(&place) && letter != '\n' {
            without.extend(std::iter::repeat_n(' ', letter.len_utf8()));
        } else {
            without.push(letter);
        }
    }
    Some(without)
}

fn offset(at: Location) -> Option<usize> {
    usize::try_from(at.span().byte_offset()?).ok()
}

type Range = std::ops::Range<usize>;

/// Where every entry of every map and list inside a part stands. An entry that is the only one is as large as what it is in.
fn entries(text: &str, part: &Part, within: Range) -> Vec<Range> {
    let parts: Vec<(Option<usize>, &Part)> = match &part.what {
        What::Scalar(_) => return Vec::new(),
        What::Map(entries) => entries.iter().map(|(key, value)| (offset(key.referenced), value)).collect(),
        What::List(items) => items.iter().map(|item| (item_start(text, item), item)).collect(),
    };
    let starts: Vec<usize> = parts.iter().filter_map(|(start, _)| *start).collect();
    let mut found = Vec::new();
    for (index, (start, value)) in parts.iter().enumerate() {
        let Some(start) = *start else { continue };
        let end = match starts.get(index + 1) {
            Some(next) => *next,
            None => end_of_last(text, start, within.end),
        };
        if start >= end {
            continue;
        }
        found.extend(entries(text, value, start..end));
        found.push(if parts.len() == 1 { within.clone() } else { start..end });
    }
    found
}

/// A member of a list in lines of its own begins with its dash.
fn item_start(text: &str, item: &Part) -> Option<usize> {
    let start = offset(item.at)?;
    let before = text.get(..start)?.trim_end_matches(' ');
    Some(if before.ends_with('-') { before.len() - 1 } else { start })
}

/// The end of the last entry: in braces it ends before the brace that is not its own.
fn end_of_last(text: &str, start: usize, limit: usize) -> usize {
    let (mut depth, mut quote) = (0_usize, None);
    let mut before = '\n';
    for (place, letter) in text.get(start..limit).unwrap_or_default().char_indices() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some(_), _) => {}
            // A quote opens a text only where a value may begin; elsewhere it is an apostrophe.
            (None, '"' | '\'') if !before.is_alphanumeric() => quote = Some(letter),
            (None, '{' | '[') => depth += 1,
            (None, '}' | ']') if depth == 0 => return start + place,
            (None, '}' | ']') => depth -= 1,
            (None, _) => {}
        }
        before = letter;
    }
    limit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let show = |fault: &Fault| match fault.place {
            Some(place) => format!("{place}: {}", fault.message),
            None => format!("?: {}", fault.message),
        };
        understand(text).faults.iter().map(show).collect()
    }

    #[test]
    fn every_setting_that_does_not_exist_is_told_with_its_place_and_the_rest_is_read() {
        let text = "\
relay:
  lisen: 127.0.0.1:1
limits: { sessons: 1, sessions: 7, sesions: 2 }
htp: {}
providers:
  local: { kind: local, decoders: 2 }
routes:
  - { model: a, provider: local, prize: 1 }
  - model: b
    provider: local
    cost: 2
";
        let found = faults(text);
        let places: Vec<_> = found.iter().map(|fault| fault.split(": ").next().unwrap()).collect();
        assert_eq!(places, ["2:3", "3:11", "3:36", "4:1", "8:34", "11:5"], "{found:#?}");
        assert!(found[0].contains("lisen") && found[3].contains("htp"), "{found:#?}");
        let rest = understand(text).rest.unwrap();
        assert_eq!((rest.limits.sessions, rest.routes.len()), (7, 2));
    }

    #[test]
    fn values_of_the_wrong_kind_are_all_told_and_the_rest_is_not_judged() {
        let text = "\
http: { listen: nowhere }
audio:
  bitrate: loud
  complexity: 5
guardrails:
  - { name: a, on: [nobody], act: note }
  - { name: b, on: [agent], act: shout }
";
        let found = faults(text);
        let lines: Vec<_> = found.iter().map(|fault| fault.split(':').next().unwrap()).collect();
        assert_eq!(lines, ["1", "3", "6", "7"], "{found:#?}");
        assert!(understand(text).rest.is_none());
    }

    #[test]
    fn what_is_no_yaml_is_one_fault_and_nothing_of_the_text_is_repeated() {
        let found = faults("providers: { cloud: { api_key: sk-secret-of-mine, \n");
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(!found[0].contains("sk-secret"), "{found:#?}");
        let unknown = faults("providers:\n  cloud: { kind: openai-realtime, api_key: sk-secret-of-mine }\n");
        assert_eq!(unknown.len(), 1);
        assert!(unknown[0].contains("api_key") && !unknown[0].contains("sk-secret"), "{unknown:#?}");
    }

    #[test]
    fn a_good_text_has_no_fault() {
        let understood = understand(include_str!("../../../deploy/voxgate.example.yaml"));
        assert!(understood.faults.is_empty() && understood.rest.is_some());
    }
}
