//! Which limits hold for a session: rules by tenant and model, and the counters they share.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use voxgate_protocol::tenant::{AgentId, KeyId, OrganisationId, TeamId, TenantPath};

use super::{Counter, Place, Rate};
use crate::routing::ModelPattern;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Sessions at once.
    Sessions,
    /// Sessions that begin, by the second.
    Starts,
    /// Audio of callers, by the minute, in tenths of a second.
    Audio,
    /// Answers that begin, by the minute.
    Responses,
    /// Calls of tools, by the minute.
    ToolCalls,
    /// Tokens of input and output, by the minute.
    Tokens,
}

impl Resource {
    /// Every resource.
    pub const ALL: [Self; 6] =
        [Self::Sessions, Self::Starts, Self::Audio, Self::Responses, Self::ToolCalls, Self::Tokens];

    /// The word in counters and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Starts => "session_starts",
            Self::Audio => "audio",
            Self::Responses => "responses",
            Self::ToolCalls => "tool_calls",
            Self::Tokens => "tokens",
        }
    }

    /// The words for people.
    #[must_use]
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Sessions => "concurrent sessions",
            Self::Starts => "session starts per second",
            Self::Audio => "audio seconds per minute",
            Self::Responses => "responses per minute",
            Self::ToolCalls => "tool calls per minute",
            Self::Tokens => "tokens per minute",
        }
    }
}

/// A level of the tree at which a rule counts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Each organisation by itself.
    Organisation,
    /// Each team by itself.
    Team,
    /// Each key by itself.
    Key,
    /// Each agent by itself.
    Agent,
}

/// The sessions a rule is for. What is `None` may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whom {
    /// Of this organisation.
    pub organisation: Option<OrganisationId>,
    /// Of this team.
    pub team: Option<TeamId>,
    /// With this key.
    pub key: Option<KeyId>,
    /// Through this agent.
    pub agent: Option<AgentId>,
    /// With one of these models.
    pub model: Option<ModelPattern>,
}

impl Whom {
    fn includes(&self, tenant: &TenantPath, model: &str) -> bool {
        self.organisation.as_ref().is_none_or(|organisation| *organisation == tenant.organisation)
            && self.team.as_ref().is_none_or(|team| *team == tenant.team)
            && self.key.as_ref().is_none_or(|key| *key == tenant.key)
            && (self.agent.is_none() || self.agent == tenant.agent)
            && self.model.as_ref().is_none_or(|pattern| pattern.matches(model))
    }
}

/// Limits of some sessions, which share its counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitRule {
    /// Which sessions.
    pub whom: Whom,
    /// Whether they are counted apart; `None` counts all of them together.
    pub each: Option<Level>,
    /// How many at once.
    pub sessions: Option<u64>,
    /// How much of what in which time.
    pub rates: BTreeMap<Resource, Rate>,
}

impl LimitRule {
    /// The name of what it counts together, for a session it is for; `None` if that has no place at the level.
    fn shared(&self, tenant: &TenantPath) -> Option<String> {
        let Whom { organisation, team, key, agent, model } = &self.whom;
        if self.each == Some(Level::Agent) && tenant.agent.is_none() {
            return None;
        }
        // What the rule names is what the session has.
        let is_told = |level, is_named| is_named || self.each.is_some_and(|each| each >= level);
        let names = [
            is_told(Level::Organisation, organisation.is_some()).then(|| tenant.organisation.as_str()),
            is_told(Level::Team, team.is_some()).then(|| tenant.team.as_str()),
            is_told(Level::Key, key.is_some()).then(|| tenant.key.as_str()),
            tenant.agent.as_ref().filter(|_| is_told(Level::Agent, agent.is_some())).map(AgentId::as_str),
        ];
        let last = names.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        let mut shared = names[..last].iter().map(|name| name.unwrap_or("*")).collect::<Vec<_>>().join("/");
        if shared.is_empty() {
            shared.push('*');
        }
        match model {
            Some(ModelPattern::Exact(name)) => write!(shared, " {name}").ok()?,
            Some(ModelPattern::Prefix(prefix)) => write!(shared, " {prefix}*").ok()?,
            None => {}
        }
        Some(shared)
    }
}

/// Every rule of an installation.
#[derive(Clone, Debug, Default)]
pub struct LimitRules(Vec<LimitRule>);

impl LimitRules {
    /// Rules, all of which hold.
    #[must_use]
    pub const fn new(rules: Vec<LimitRule>) -> Self {
        Self(rules)
    }

    /// What holds for a session of this tenant with this model.
    #[must_use]
    pub fn of(&self, tenant: &TenantPath, model: &str) -> SessionLimits {
        let mut limits = SessionLimits::default();
        for rule in self.0.iter().filter(|rule| rule.whom.includes(tenant, model)) {
            let Some(shared) = rule.shared(tenant) else { continue };
            let counter = |resource: Resource| format!("{}/{shared}", resource.as_str());
            if let Some(most) = rule.sessions {
                limits.places.push(Place { counter: counter(Resource::Sessions), most });
            }
            for (resource, rate) in &rule.rates {
                limits.rates.entry(*resource).or_default().push((counter(*resource), *rate));
            }
        }
        limits
    }
}

/// What holds for one session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionLimits {
    /// Sessions at once.
    pub places: Vec<Place>,
    /// The counters of each resource, with what is allowed.
    pub rates: BTreeMap<Resource, Vec<(Counter, Rate)>>,
}

impl SessionLimits {
    /// The smallest amount any counter of this resource allows in its window; `None` if nothing limits it.
    #[must_use]
    pub fn narrowest(&self, resource: Resource) -> Option<u64> {
        self.rates.get(&resource)?.iter().map(|(_, rate)| rate.amount()).min()
    }
}

/// One clear sentence for whoever reached a limit.
#[must_use]
pub fn sentence(counter: &str, retry_after: Option<Duration>) -> String {
    let (word, shared) = counter.split_once('/').unwrap_or((counter, "*"));
    let resource = Resource::ALL.into_iter().find(|resource| resource.as_str() == word);
    let what = resource.map_or(word, |resource| resource.phrase());
    let (tenant, model) =
        shared.split_once(' ').map_or((shared, None), |(tenant, model)| (tenant, Some(model)));
    let whose = if tenant == "*" { String::new() } else { format!(" of {tenant}") };
    let of_model = model.map_or_else(String::new, |model| format!(" with model {model}"));
    let then = match retry_after {
        Some(wait) => format!("try again in {} s", seconds(wait)),
        None => "end a session first".to_owned(),
    };
    format!("The limit of {what}{whose}{of_model} is reached; {then}.")
}

/// Whole seconds that are not too short, at least one.
#[must_use]
pub fn seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(organisation: &str, team: &str, key: &str) -> TenantPath {
        TenantPath {
            organisation: OrganisationId::new(organisation).unwrap(),
            team: TeamId::new(team).unwrap(),
            key: KeyId::new(key).unwrap(),
            agent: None,
        }
    }

    fn rule(whom: Whom, each: Option<Level>) -> LimitRule {
        let rate = Rate::new(10, Duration::from_secs(60)).unwrap();
        LimitRule { whom, each, sessions: Some(2), rates: [(Resource::Responses, rate)].into() }
    }

    fn counters(rule: LimitRule, tenant: &TenantPath, model: &str) -> Vec<String> {
        let limits = LimitRules::new(vec![rule]).of(tenant, model);
        limits.places.into_iter().map(|place| place.counter).collect()
    }

    #[test]
    fn a_rule_without_names_counts_everybody_together() {
        assert_eq!(counters(rule(Whom::default(), None), &tenant("a", "b", "c"), "m"), ["sessions/*"]);
    }

    #[test]
    fn a_rule_counts_together_what_it_names_and_apart_what_it_says() {
        let acme = Whom { organisation: Some(OrganisationId::new("acme").unwrap()), ..Whom::default() };
        let web = tenant("acme", "red", "web");
        assert_eq!(counters(rule(acme.clone(), None), &web, "m"), ["sessions/acme"]);
        assert_eq!(counters(rule(acme.clone(), Some(Level::Team)), &web, "m"), ["sessions/acme/red"]);
        assert_eq!(counters(rule(acme.clone(), Some(Level::Key)), &web, "m"), ["sessions/acme/red/web"]);
        assert_eq!(counters(rule(acme.clone(), Some(Level::Agent)), &web, "m"), [""; 0], "it has no agent");
        assert_eq!(counters(rule(acme, None), &tenant("other", "red", "web"), "m"), [""; 0]);
        let mut bot = web;
        bot.agent = Some(AgentId::new("bot").unwrap());
        assert_eq!(
            counters(rule(Whom::default(), Some(Level::Agent)), &bot, "m"),
            ["sessions/acme/red/web/bot"]
        );
    }

    #[test]
    fn a_rule_for_a_model_is_for_its_sessions_only() {
        let large = Whom { model: Some(ModelPattern::parse("large*").unwrap()), ..Whom::default() };
        let web = tenant("acme", "red", "web");
        assert_eq!(counters(rule(large.clone(), None), &web, "large-2"), ["sessions/* large*"]);
        assert_eq!(counters(rule(large, Some(Level::Organisation)), &web, "small"), [""; 0]);
    }

    #[test]
    fn all_rules_for_a_session_hold() {
        let rules =
            LimitRules::new(vec![rule(Whom::default(), None), rule(Whom::default(), Some(Level::Key))]);
        let limits = rules.of(&tenant("a", "b", "c"), "m");
        let responses = limits.rates[&Resource::Responses].iter().map(|(counter, _)| counter.as_str());
        assert_eq!(responses.collect::<Vec<_>>(), ["responses/*", "responses/a/b/c"]);
        assert_eq!(
            (limits.narrowest(Resource::Responses), limits.narrowest(Resource::Tokens)),
            (Some(10), None)
        );
    }

    #[test]
    fn a_refusal_is_one_clear_sentence() {
        let said = sentence("session_starts/acme/red large*", Some(Duration::from_millis(1_001)));
        assert_eq!(
            said,
            "The limit of session starts per second of acme/red with model large* is reached; try again in 2 s."
        );
        assert_eq!(
            sentence("sessions/*", None),
            "The limit of concurrent sessions is reached; end a session first."
        );
    }
}
