//! What a change of the configuration means: when it takes effect, and for which of the sessions that run.

use std::collections::BTreeSet;

use voxgate_policy::bundle::Bundle;
use voxgate_policy::bundle::change::{Change, Kind, changes};
use voxgate_policy::directory::KeyEntry;
use voxgate_policy::money::budget::Scope;
use voxgate_policy::routing::{ModelPattern, RouteTable};
use voxgate_protocol::revision::{BundleHash, RevisionName};
use voxgate_protocol::tenant::TenantPath;
use voxgate_signaling::admin::revisions::{PlannedChange, TakesEffect};
use voxgate_telemetry::session::facts::SessionFacts;

/// What takes effect at once. Everything else that is not in [`NEW_SESSIONS`] needs a restart.
const NOW: &[&str] = &[
    "organisations",
    "key_hashes",
    "limits.sessions",
    "limits.sessions_per_key",
    "limits.resume_window",
    "limits.resumable_sessions",
    "limits.drain_deadline",
    "money.budgets",
    "latency",
];

/// What a session takes at its start and keeps.
const NEW_SESSIONS: &[&str] = &[
    "limits.rules",
    "limits.session_duration",
    "limits.setup_timeout",
    "limits.silence_timeout",
    "audio",
    "conversation.interruption",
    "providers",
    "routes",
    "default_model",
    "guardrails",
    "policies",
    "agents",
    "money",
    "telemetry.measuring",
];

/// Digits of a hash that tell two texts apart for people.
const SHOWN_DIGITS: usize = 12;

/// A session that runs, as far as changes may touch it.
#[derive(Clone, Debug)]
pub(crate) struct Touchable {
    pub(crate) revision: RevisionName,
    pub(crate) tenancy: TenantPath,
    pub(crate) model: String,
}

impl Touchable {
    /// What matters of a session.
    pub(crate) fn of(facts: &SessionFacts) -> Self {
        Self { revision: facts.revision, tenancy: facts.tenancy.clone(), model: facts.model.clone() }
    }
}

/// When a change takes effect.
pub(crate) fn takes_effect(change: &Change) -> TakesEffect {
    let is_in = |settings: &[&str]| settings.iter().any(|setting| is_below(&change.path, setting));
    if is_in(NOW) {
        TakesEffect::Now
    } else if is_in(NEW_SESSIONS) {
        TakesEffect::NewSessions
    } else {
        TakesEffect::Restart
    }
}

/// Whether a path is a setting or a part of it.
fn is_below(path: &str, setting: &str) -> bool {
    path.strip_prefix(setting).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// A configuration as two of them are compared.
#[derive(Clone, Copy)]
pub(crate) struct Compared<'a> {
    pub(crate) bundle: &'a Bundle,
    /// With every default.
    pub(crate) meaning: &'a serde_json::Value,
}

/// Everything that differs, the texts of files included.
pub(crate) fn differences(before: Compared<'_>, after: Compared<'_>) -> Vec<Change> {
    let mut found = changes(before.meaning, after.meaning);
    for (name, text) in before.bundle.files() {
        // Files that come and go are settings that come and go.
        if let Some(now) = after.bundle.file(name).filter(|now| *now != text) {
            let policies = after.meaning.get("policies").and_then(|policies| policies.as_array());
            let is_policy = policies.is_some_and(|policies| policies.iter().any(|policy| *policy == *name));
            let setting = if is_policy { "policies" } else { "money.prices" };
            let (before, after) = (Some(fingerprint(text)), Some(fingerprint(now)));
            found.push(Change { kind: Kind::Changed, path: format!("{setting}[{name}]"), before, after });
        }
    }
    found
}

/// Tells two texts of a file apart.
fn fingerprint(text: &str) -> String {
    let hash = Bundle::new(text.to_owned(), std::collections::BTreeMap::new()).map(|text| text.hash());
    let digits = hash.as_ref().map_or_else(|_| String::new(), BundleHash::to_string);
    format!("{} lines, {}", text.lines().count(), digits.get(..SHOWN_DIGITS).unwrap_or_default())
}

/// The keys that lose their validity: gone, revoked, or given anew.
pub(crate) fn lost_keys<'a>(
    before: &'a [KeyEntry],
    after: &[KeyEntry],
) -> BTreeSet<(&'a str, &'a str, &'a str)> {
    let goes_on = |old: &&KeyEntry| {
        let same = after.iter().find(|new| place(&new.caller.tenancy) == place(&old.caller.tenancy));
        same.is_some_and(|new| {
            !new.is_revoked && new.hash == old.hash && new.caller.tenancy == old.caller.tenancy
        })
    };
    let lost = before.iter().filter(|old| !old.is_revoked && !goes_on(old));
    lost.map(|old| place(&old.caller.tenancy)).collect()
}

fn place(tenancy: &TenantPath) -> (&str, &str, &str) {
    (tenancy.organisation.as_str(), tenancy.team.as_str(), tenancy.key.as_str())
}

/// What the sessions that run depend on.
pub(crate) struct Ground<'a> {
    pub(crate) sessions: &'a [Touchable],
    pub(crate) routes: &'a RouteTable,
    pub(crate) lost: &'a BTreeSet<(&'a str, &'a str, &'a str)>,
    /// What the configurations mean, before and after.
    pub(crate) meanings: [&'a serde_json::Value; 2],
}

impl Ground<'_> {
    /// A change with what it means for them.
    pub(crate) fn plan(&self, change: Change) -> PlannedChange {
        let takes_effect = takes_effect(&change);
        let touched = self.sessions.iter().filter(|session| self.touches(&change.path, session));
        let ends_any = change.section() == "organisations" || change.section() == "key_hashes";
        let (ending, keeping): (Vec<_>, Vec<_>) =
            touched.partition(|session| ends_any && self.lost.contains(&place(&session.tenancy)));
        let keeps = takes_effect != TakesEffect::Restart;
        let Change { kind, path, before, after } = change;
        PlannedChange {
            kind,
            path,
            before,
            after,
            takes_effect,
            sessions_keeping: if keeps { keeping.len() } else { 0 },
            sessions_ending: ending.len(),
        }
    }

    /// How many sessions end.
    pub(crate) fn ending(&self) -> usize {
        self.sessions.iter().filter(|session| self.lost.contains(&place(&session.tenancy))).count()
    }

    fn touches(&self, path: &str, session: &Touchable) -> bool {
        let (organisation, team, key) = place(&session.tenancy);
        let own_key = format!("organisations.{organisation}.teams.{team}.keys.{key}");
        if is_below(path, "organisations") {
            // A whole organisation or team may come or go, or one setting of one key.
            return is_below(&own_key, path) || is_below(path, &own_key);
        }
        if is_below(path, "key_hashes") {
            return organisation == "default" && team == "default" && key.starts_with("key-");
        }
        if is_below(path, "providers") {
            let changes = |provider: &str| is_below(path, &format!("providers.{provider}"));
            let mut possible =
                self.routes.resolve(&session.model).into_iter().flat_map(|route| &route.targets);
            return possible.any(|target| changes(&target.provider));
        }
        if is_below(path, "routes") {
            let pattern = self.routes.resolve(&session.model).map(|route| match &route.pattern {
                ModelPattern::Exact(name) => format!("routes[{name}]"),
                ModelPattern::Prefix(prefix) => format!("routes[{prefix}*]"),
            });
            return path == "routes" || pattern.is_ok_and(|own| is_below(path, &own));
        }
        if let Some(number) = number_of_budget(path) {
            let list = self.meanings.iter().filter_map(|meaning| meaning.pointer("/money/budgets"));
            let mut scopes = list.filter_map(|list| scope_of(list.get(number)?));
            return scopes.any(|scope| scope.covers(&session.tenancy));
        }
        true
    }
}

/// Which budget a path is about: its place in the list, before or after the change.
fn number_of_budget(path: &str) -> Option<usize> {
    let (number, _) = path.strip_prefix("money.budgets[")?.split_once(']')?;
    number.parse().ok()
}

/// Whom a budget of a configuration binds.
fn scope_of(budget: &serde_json::Value) -> Option<Scope> {
    let part = |name: &str| (name.to_owned(), budget.get(name).cloned().unwrap_or_default());
    let scope = ["organisation", "team", "key", "agent"].map(part).into_iter().collect();
    serde_json::from_value(serde_json::Value::Object(scope)).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use voxgate_policy::directory::Role;
    use voxgate_policy::key::KeyHash;
    use voxgate_policy::routing::{Route, Target};
    use voxgate_protocol::tenant::{KeyId, OrganisationId, TeamId};

    use super::*;

    fn entry(key: &str, secret: &str) -> KeyEntry {
        let mut entry = KeyEntry::first_run(KeyId::new(key).unwrap(), Role::Member, KeyHash::of(secret));
        entry.caller.tenancy.organisation = OrganisationId::new("acme").unwrap();
        entry.caller.tenancy.team = TeamId::new("red").unwrap();
        entry
    }

    fn session(key: &str, model: &str) -> Touchable {
        let tenancy = entry(key, "").caller.tenancy;
        let revision = RevisionName::default();
        Touchable { revision, tenancy, model: model.to_owned() }
    }

    fn route(pattern: &str, provider: &str) -> Route {
        let pattern = ModelPattern::parse(pattern).unwrap();
        Route::to(pattern, Target::new(provider, None))
    }

    fn planned(
        before: &serde_json::Value,
        after: &serde_json::Value,
    ) -> Vec<(String, TakesEffect, usize, usize)> {
        let old = [entry("web", "1"), entry("app", "2"), entry("old", "3")];
        let new = [entry("web", "1"), entry("app", "fresh")];
        let lost = lost_keys(&old, &new);
        let routes = RouteTable::new(vec![route("gpt-*", "cloud"), route("*", "local")]);
        let sessions = [
            session("web", "gpt-realtime"),
            session("web", "mine"),
            session("app", "mine"),
            session("old", "gpt-realtime"),
        ];
        let meanings = [before, after];
        let ground = Ground { sessions: &sessions, routes: &routes, lost: &lost, meanings };
        assert_eq!(ground.ending(), 2);
        let planned = changes(before, after).into_iter().map(|change| ground.plan(change));
        planned
            .map(|plan| (plan.path, plan.takes_effect, plan.sessions_keeping, plan.sessions_ending))
            .collect()
    }

    #[test]
    fn a_change_touches_the_sessions_that_use_what_changes() {
        let before = json!({
            "http": { "listen": "1" }, "guardrails": [{ "name": "a" }],
            "providers": { "cloud": { "x": 1 }, "local": { "x": 1 } },
            "routes": [{ "model": "gpt-*", "provider": "cloud" }, { "model": "*", "provider": "local" }],
        });
        let after = json!({
            "http": { "listen": "2" }, "guardrails": [],
            "providers": { "cloud": { "x": 2 }, "local": { "x": 1 } },
            "routes": [{ "model": "gpt-*", "provider": "cloud" }, { "model": "*", "provider": "cloud" }],
        });
        assert_eq!(
            planned(&before, &after),
            [
                ("guardrails[a]".to_owned(), TakesEffect::NewSessions, 4, 0),
                ("http.listen".to_owned(), TakesEffect::Restart, 0, 0),
                ("providers.cloud.x".to_owned(), TakesEffect::NewSessions, 2, 0),
                ("routes[*].provider".to_owned(), TakesEffect::NewSessions, 2, 0),
            ]
        );
    }

    #[test]
    fn budgets_bind_those_they_are_for_at_once_and_prices_are_for_new_sessions() {
        let budget = |organisation: &str, key: &str, hard: &str| json!({ "organisation": organisation, "team": "red", "key": key, "hard": hard });
        let money = |budgets: serde_json::Value, lease: &str| json!({ "money": { "budgets": budgets, "lease": lease } });
        let before = money(json!([budget("acme", "web", "9"), budget("other", "web", "9")]), "1");
        let after = money(json!([budget("acme", "web", "5"), budget("other", "web", "5")]), "2");
        assert_eq!(
            planned(&before, &after),
            [
                ("money.budgets[0].hard".to_owned(), TakesEffect::Now, 2, 0),
                ("money.budgets[1].hard".to_owned(), TakesEffect::Now, 0, 0),
                ("money.lease".to_owned(), TakesEffect::NewSessions, 4, 0),
            ]
        );
        let more = planned(&money(json!([]), "1"), &money(json!([budget("acme", "old", "9")]), "1"));
        assert_eq!(more, [("money.budgets[0]".to_owned(), TakesEffect::Now, 1, 0)]);
    }

    #[test]
    fn sessions_of_keys_that_are_gone_or_given_anew_end_and_no_others() {
        let keys = |keys: serde_json::Value| json!({ "organisations": { "acme": { "teams": { "red": { "keys": keys } } } } });
        let before =
            keys(json!({ "web": { "role": "member" }, "app": { "hash": "2" }, "old": { "hash": "3" } }));
        let after = keys(json!({ "web": { "role": "operator" }, "app": { "hash": "9" } }));
        let path = |rest: &str| format!("organisations.acme.teams.red.keys.{rest}");
        assert_eq!(
            planned(&before, &after),
            [
                (path("app.hash"), TakesEffect::Now, 0, 1),
                (path("old"), TakesEffect::Now, 0, 1),
                (path("web.role"), TakesEffect::Now, 2, 0),
            ]
        );
        let gone = planned(&before, &json!({}));
        assert_eq!(gone, [("organisations".to_owned(), TakesEffect::Now, 2, 2)]);
    }

    #[test]
    fn a_file_that_changed_is_a_change_of_the_setting_that_names_it() {
        let bundle = |policy: &str, prices: &str| {
            let files = [("rules.cedar", policy), ("p.yaml", prices)];
            let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
            Bundle::new(String::new(), files.into()).unwrap()
        };
        let meaning = json!({ "policies": ["rules.cedar"], "money": { "prices": "p.yaml" } });
        let (old, new) = (bundle("permit", "a"), bundle("forbid", "b"));
        let compared = |bundle| Compared { bundle, meaning: &meaning };
        let found = differences(compared(&old), compared(&new));
        let paths: Vec<_> = found.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(paths, ["money.prices[p.yaml]", "policies[rules.cedar]"]);
        assert!(differences(compared(&old), compared(&old)).is_empty());
    }
}
