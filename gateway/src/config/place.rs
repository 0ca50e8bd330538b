//! Where in a YAML text a setting stands.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

/// A place in a text, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

impl Place {
    pub(super) fn of(location: Location) -> Option<Self> {
        let (line, column) = (location.line(), location.column());
        (line > 0).then_some(Self { line, column })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A part of a YAML text and where it begins.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) at: Location,
    pub(super) what: What,
}

/// What a part is.
#[derive(Debug)]
pub(super) enum What {
    /// A text, a number and so on; the text of those that are one.
    Scalar(Option<String>),
    List(Vec<Part>),
    Map(Vec<(Spanned<String>, Part)>),
}

impl Part {
    /// The parts of a text; `None` if it is no YAML.
    pub(super) fn read(text: &str) -> Option<Self> {
        serde_saphyr::from_str::<Spanned<What>>(text).ok().map(Self::from)
    }

    /// Where the setting stands that a sentence begins with, such as `routes[1] leads to …`. If it does not stand there, where
    /// the smallest part around it does. `None` for a sentence that begins with something else.
    pub(super) fn find(&self, sentence: &str) -> Option<Place> {
        let (mut part, mut rest, mut found) = (self, sentence, None);
        loop {
            let next = match &part.what {
                What::Scalar(_) => None,
                What::Map(entries) => {
                    let named = entries.iter().filter(|(key, _)| names(rest, &key.value));
                    let longest = named.max_by_key(|(key, _)| key.value.len());
                    longest.map(|(key, value)| (key.referenced, value, rest.split_at(key.value.len()).1))
                }
                What::List(items) => item(items, rest).map(|(item, rest)| (item.at, item, rest)),
            };
            let Some((at, value, behind)) = next else { return found };
            found = Place::of(at).or(found);
            part = value;
            rest = behind;
            if matches!(part.what, What::Map(_)) {
                let Some(inner) = rest.strip_prefix('.') else { return found };
                rest = inner;
            }
        }
    }
}

/// Whether a sentence begins with this word, and the word ends there.
fn names(sentence: &str, word: &str) -> bool {
    let goes_on = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
    sentence.strip_prefix(word).is_some_and(|rest| !rest.starts_with(goes_on))
}

/// The member of a list a sentence begins with, `[1]` or `.name`, and what is behind it.
fn item<'a, 'b>(items: &'a [Part], sentence: &'b str) -> Option<(&'a Part, &'b str)> {
    if let Some((index, rest)) = sentence.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let index: usize = index.parse().ok()?;
        return items.get(index).map(|item| (item, rest));
    }
    let rest = sentence.strip_prefix('.')?;
    let name_of = |item: &'a Part| match &item.what {
        What::Map(entries) => entries.iter().find_map(|(key, value)| match &value.what {
            What::Scalar(Some(name)) if key.value == "name" => Some(name.as_str()),
            _ => None,
        }),
        _ => None,
    };
    items.iter().find_map(|item| {
        let name = name_of(item).filter(|name| names(rest, name))?;
        Some((item, rest.split_at(name.len()).1))
    })
}

impl From<Spanned<What>> for Part {
    fn from(read: Spanned<What>) -> Self {
        Self { at: read.referenced, what: read.value }
    }
}

impl<'de> Deserialize<'de> for What {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = What;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E>(self, _: bool) -> Result<What, E> {
        Ok(What::Scalar(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<What, E> {
        Ok(What::Scalar(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<What, E> {
        Ok(What::Scalar(None))
    }

    fn visit_i128<E>(self, _: i128) -> Result<What, E> {
        Ok(What::Scalar(None))
    }

    fn visit_u128<E>(self, _: u128) -> Result<What, E> {
        Ok(What::Scalar(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<What, E> {
        Ok(What::Scalar(None))
    }

    fn visit_str<E>(self, text: &str) -> Result<What, E> {
        Ok(What::Scalar(Some(text.to_owned())))
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<What, E> {
        Ok(What::Scalar(None))
    }

    fn visit_none<E>(self) -> Result<What, E> {
        Ok(What::Scalar(None))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<What, D::Error> {
        What::deserialize(deserializer)
    }

    fn visit_unit<E>(self) -> Result<What, E> {
        Ok(What::Scalar(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<What, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<Spanned<What>>()? {
            items.push(item.into());
        }
        Ok(What::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<What, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            entries.push((key, map.next_value::<Spanned<What>>()?.into()));
        }
        Ok(What::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
limits:
  sessions: 0
routes:
  - { model: a, provider: b }
  - model: c
    provider: d
guardrails: [{ name: legal-advice, on: [agent] }]
organisations: { acme: { teams: { red: { keys: { w b: { hash: zz } } } } } }
";

    fn place(sentence: &str) -> Option<String> {
        Part::read(TEXT).unwrap().find(sentence).map(|place| place.to_string())
    }

    #[test]
    fn a_sentence_leads_to_the_setting_it_begins_with() {
        let at = |sentence: &str| place(sentence).unwrap();
        assert_eq!(at("limits.sessions and limits.x must be 1"), "2:3");
        assert_eq!(at("routes[1].provider is odd"), "6:5");
        assert_eq!(at("routes[0]: the pattern"), "4:5");
        assert_eq!(at("guardrails.legal-advice: act"), "7:14");
        assert_eq!(at("organisations.acme.teams.red.keys.w b.hash: no"), "8:57");
    }

    #[test]
    fn what_is_missing_is_looked_for_where_it_should_be() {
        let at = |sentence: &str| place(sentence).unwrap();
        assert_eq!(at("limits.sessions_per_key is 0"), "1:1");
        assert_eq!(at("routes[7] leads nowhere"), "3:1");
        assert_eq!(at("guardrails.other: act"), "7:1");
    }

    #[test]
    fn a_sentence_about_something_else_has_no_place() {
        for sentence in ["the URL of store", "limitsx is", "", "[0]", "policies.cedar:3: no"] {
            assert_eq!(place(sentence), None, "{sentence}");
        }
        assert!(Part::read("a: [").is_none());
    }
}
