//! What differs between two configurations, setting by setting.
//!
//! Compared is what the configurations mean, as trees of JSON: comments, order of keys and settings that are written out with
//! their default make no difference. Members of a list that have a name are known by it; of the others, those that are
//! the same on both sides are paired first.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What names a member of a list, in the order of preference.
const NAMES: [&str; 3] = ["name", "id", "model"];

/// Longest list without names whose members are paired; longer ones differ as a whole.
const LONGEST_PAIRED: usize = 500;

/// Longest value that is shown, in characters.
const LONGEST_SHOWN: usize = 120;

/// What became of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It has another value.
    Changed,
    /// The members of a list are the same in another order.
    Reordered,
}

/// A setting that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What became of it.
    pub kind: Kind,
    /// Where: `limits.sessions`, `routes[gpt-*]`, `money.budgets[0]`.
    pub path: String,
    /// What it was, as JSON, shortened; `None` if it is new.
    pub before: Option<String>,
    /// What it is now, as JSON, shortened; `None` if it is gone.
    pub after: Option<String>,
}

impl Change {
    /// The part of the configuration it belongs to: the first word of its path.
    #[must_use]
    pub fn section(&self) -> &str {
        self.path.split(['.', '[']).next().unwrap_or_default()
    }
}

impl fmt::Display for Change {
    /// One line: `~ limits.sessions: 100 -> 50`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.before.as_deref().unwrap_or_default();
        let after = self.after.as_deref().unwrap_or_default();
        match self.kind {
            Kind::Added => write!(f, "+ {}: {after}", self.path),
            Kind::Removed => write!(f, "- {}: {before}", self.path),
            Kind::Changed => write!(f, "~ {}: {before} -> {after}", self.path),
            Kind::Reordered => write!(f, "~ {}: in another order", self.path),
        }
    }
}

/// Everything that differs, in the order of the sections.
#[must_use]
pub fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare("", before, after, &mut found);
    found
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<Change>) {
    match (before, after) {
        _ if before == after => {}
        (Value::Object(before), Value::Object(after)) => compare_objects(path, before, after, found),
        (Value::Array(before), Value::Array(after)) => compare_lists(path, before, after, found),
        _ => found.push(change(path, Some(before), Some(after))),
    }
}

fn compare_objects(
    path: &str,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    found: &mut Vec<Change>,
) {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        // A setting that may be left out is `null` then.
        let is_there = |value: &&Value| !value.is_null();
        match (before.get(name).filter(is_there), after.get(name).filter(is_there)) {
            (Some(before), Some(after)) => compare(&path, before, after, found),
            (None, None) => {}
            (before, after) => found.push(change(&path, before, after)),
        }
    }
}

fn compare_lists(path: &str, before: &[Value], after: &[Value], found: &mut Vec<Change>) {
    match (names(before), names(after)) {
        (Some(old), Some(new)) => compare_named(path, (before, &old), (after, &new), found),
        _ if before.len().max(after.len()) > LONGEST_PAIRED => {
            found.push(change(path, Some(&Value::from(before)), Some(&Value::from(after))));
        }
        _ => compare_unnamed(path, before, after, found),
    }
}

/// The names of a list's members, if each has one of its own. An empty list is whatever the other one is.
fn names(list: &[Value]) -> Option<Vec<&str>> {
    let by = |field: &str| -> Option<Vec<&str>> {
        let names: Vec<&str> =
            list.iter().map(|member| member.get(field)?.as_str()).collect::<Option<_>>()?;
        let different: BTreeSet<&&str> = names.iter().collect();
        (different.len() == names.len()).then_some(names)
    };
    NAMES.into_iter().find_map(by)
}

fn compare_named(
    path: &str,
    (before, old): (&[Value], &[&str]),
    (after, new): (&[Value], &[&str]),
    found: &mut Vec<Change>,
) {
    let of = |name: &str| format!("{path}[{name}]");
    for (name, value) in old.iter().zip(before) {
        match new.iter().zip(after).find(|(other, _)| *other == name) {
            Some((_, now)) => compare(&of(name), value, now, found),
            None => found.push(change(&of(name), Some(value), None)),
        }
    }
    for (name, value) in new.iter().zip(after).filter(|(name, _)| !old.contains(name)) {
        found.push(change(&of(name), None, Some(value)));
    }
    let stayed = old.iter().filter(|name| new.contains(name));
    if !stayed.eq(new.iter().filter(|name| old.contains(name))) {
        found.push(Change { kind: Kind::Reordered, path: path.to_owned(), before: None, after: None });
    }
}

/// Pairs the members that are the same, in their order; what lies between two pairs is compared one by one.
fn compare_unnamed(path: &str, before: &[Value], after: &[Value], found: &mut Vec<Change>) {
    let (mut old, mut new) = (0, 0);
    for (next_old, next_new) in common(before, after).into_iter().chain([(before.len(), after.len())]) {
        let gone = before.get(old..next_old).unwrap_or_default();
        let come = after.get(new..next_new).unwrap_or_default();
        for place in 0..gone.len().max(come.len()) {
            match (gone.get(place), come.get(place)) {
                (Some(before), Some(after)) => {
                    compare(&format!("{path}[{}]", new + place), before, after, found);
                }
                (Some(_), None) => {
                    found.push(change(&format!("{path}[{}]", old + place), gone.get(place), None));
                }
                (None, come) => found.push(change(&format!("{path}[{}]", new + place), None, come)),
            }
        }
        (old, new) = (next_old + 1, next_new + 1);
    }
}

/// The places of a longest common part, in both lists.
fn common(before: &[Value], after: &[Value]) -> Vec<(usize, usize)> {
    let width = after.len() + 1;
    let mut lengths = vec![0_u32; (before.len() + 1) * width];
    for (old, one) in before.iter().enumerate().rev() {
        for (new, other) in after.iter().enumerate().rev() {
            lengths[old * width + new] = if one == other {
                lengths[(old + 1) * width + new + 1] + 1
            } else {
                lengths[(old + 1) * width + new].max(lengths[old * width + new + 1])
            };
        }
    }
    let (mut old, mut new, mut places) = (0, 0, Vec::new());
    while old < before.len() && new < after.len() {
        if before[old] == after[new] {
            places.push((old, new));
            (old, new) = (old + 1, new + 1);
        } else if lengths[(old + 1) * width + new] >= lengths[old * width + new + 1] {
            old += 1;
        } else {
            new += 1;
        }
    }
    places
}

fn change(path: &str, before: Option<&Value>, after: Option<&Value>) -> Change {
    let kind = match (before, after) {
        (None, _) => Kind::Added,
        (Some(_), None) => Kind::Removed,
        (Some(_), Some(_)) => Kind::Changed,
    };
    Change { kind, path: path.to_owned(), before: before.map(shown), after: after.map(shown) }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn lines(before: &Value, after: &Value) -> Vec<String> {
        changes(before, after).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_setting_that_comes_goes_or_changes_is_one_line_with_its_place() {
        let before = json!({ "limits": { "sessions": 100, "keep": 1 }, "audio": { "fec": true } });
        let after = json!({ "limits": { "sessions": 50, "keep": 1 }, "replay": { "dir": "logs" } });
        assert_eq!(
            lines(&before, &after),
            [r#"- audio: {"fec":true}"#, "~ limits.sessions: 100 -> 50", r#"+ replay: {"dir":"logs"}"#]
        );
        assert_eq!(changes(&before, &after)[1].section(), "limits");
    }

    #[test]
    fn a_setting_that_is_left_out_is_the_same_as_none() {
        assert!(changes(&json!({ "a": null }), &json!({})).is_empty());
        assert_eq!(lines(&json!({ "a": null }), &json!({ "a": 1 })), ["+ a: 1"]);
    }

    #[test]
    fn members_of_a_list_are_known_by_their_names() {
        let before = json!({ "routes": [{ "model": "a*", "to": 1 }, { "model": "b", "to": 1 }] });
        let after = json!({ "routes": [{ "model": "new", "to": 3 }, { "model": "a*", "to": 2 }] });
        assert_eq!(
            lines(&before, &after),
            [
                "~ routes[a*].to: 1 -> 2",
                r#"- routes[b]: {"model":"b","to":1}"#,
                r#"+ routes[new]: {"model":"new","to":3}"#
            ]
        );
    }

    #[test]
    fn another_order_is_told_where_members_have_names() {
        let (one, two) = (json!({ "name": "1" }), json!({ "name": "2" }));
        assert_eq!(
            lines(&json!({ "g": [one, two] }), &json!({ "g": [two, one] })),
            ["~ g: in another order"]
        );
    }

    #[test]
    fn members_without_names_are_paired_with_their_like() {
        let before =
            json!({ "b": [{ "h": 1, "w": "day" }, { "h": 2, "w": "hour" }, { "h": 3, "w": "total" }] });
        let after =
            json!({ "b": [{ "h": 2, "w": "hour" }, { "h": 4, "w": "total" }, { "h": 5, "w": "year" }] });
        assert_eq!(
            lines(&before, &after),
            [r#"- b[0]: {"h":1,"w":"day"}"#, "~ b[1].h: 3 -> 4", r#"+ b[2]: {"h":5,"w":"year"}"#]
        );
    }

    fn configuration() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<u8>().prop_map(Value::from), "[ab]".prop_map(Value::from)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("(name|model|x|y)", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_differs_exactly_where_nothing_changed(one in configuration(), other in configuration()) {
            prop_assert!(changes(&one, &one).is_empty());
            prop_assert_eq!(changes(&one, &other).is_empty(), one == other);
        }
    }
}
