//! Rules that run only in sessions of which a policy demands it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decision::Obligations;

/// Which rules belong to a set, by their names. Rules of no set run in every session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnDemand {
    set_of: BTreeMap<String, Arc<str>>,
}

impl OnDemand {
    /// Rules, each with its set.
    pub fn new(rules: impl IntoIterator<Item = (String, Arc<str>)>) -> Self {
        Self { set_of: rules.into_iter().collect() }
    }

    /// Whether a rule is in this set.
    #[must_use]
    pub fn has(&self, set: &str) -> bool {
        self.set_of.values().any(|known| &**known == set)
    }

    /// Whether a rule runs in a session of which policies demand this.
    #[must_use]
    pub fn runs(&self, rule: &str, demanded: &Obligations) -> bool {
        self.set_of.get(rule).is_none_or(|set| demanded.guardrails.contains(set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_of_a_set_runs_where_the_set_is_demanded_and_others_run_everywhere() {
        let rules = OnDemand::new([("cards".to_owned(), "pii".into()), ("tone".to_owned(), "brand".into())]);
        let pii = Obligations { guardrails: ["pii".into()].into(), ..Obligations::default() };
        let nothing = Obligations::default();
        assert!(rules.runs("cards", &pii) && !rules.runs("tone", &pii) && rules.runs("advice", &pii));
        assert!(!rules.runs("cards", &nothing) && rules.runs("advice", &nothing));
        assert!(rules.has("brand") && !rules.has("cards"));
    }
}
