//! Which sessions a list shows, and in what order.

use std::cmp::Reverse;

use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use voxgate_protocol::session::EndReason;
use voxgate_telemetry::session::SessionRecord;
use voxgate_telemetry::session::view::{SessionState, SummaryView};

use super::page::{LONGEST_CURSOR, Page, USUAL, is_cursor};
use super::reply::AdminError;

/// Most sessions of a page.
const MOST: u32 = 1_000;

/// Longest text that is looked for, in characters.
const LONGEST_TEXT: usize = 200;

/// How far a session is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Wanted {
    /// It runs.
    #[default]
    Live,
    /// It is over.
    Ended,
    /// Either.
    All,
}

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// By their ids.
    #[default]
    Id,
    /// The last that began.
    Begun,
    /// Those that run; of them the one with most slow turns among its last ten, then with the longest 95th percentile from
    /// mouth to ear, then with most packets lost.
    Worst,
}

/// Which sessions, and which piece of the list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SessionsQuery {
    /// `live`, `ended` or `all`. Default: `live`.
    #[param(nullable = false, inline)]
    state: Option<Wanted>,
    /// `id`; `begun`: the last that began first; `worst`: the worst first (those that run, with most slow turns of their last
    /// ten, the longest 95th percentile, most loss). Default: `id`.
    #[param(nullable = false, inline)]
    order: Option<Order>,
    /// Words that all have to be somewhere in the id, call, organisation, team, key, agent, model, provider, region, route,
    /// relay, state, end reason or trace, whatever their case.
    #[param(nullable = false, max_length = 200)]
    search: Option<String>,
    /// Of this provider only.
    #[param(nullable = false, max_length = 200)]
    provider: Option<String>,
    /// Of providers in this region only.
    #[param(nullable = false, max_length = 200)]
    region: Option<String>,
    /// With this model only.
    #[param(nullable = false, max_length = 200)]
    model: Option<String>,
    /// Of this organisation only.
    #[param(nullable = false, max_length = 200)]
    organisation: Option<String>,
    /// Of teams of this id only.
    #[param(nullable = false, max_length = 200)]
    team: Option<String>,
    /// Carried by this relay only.
    #[param(nullable = false, max_length = 200)]
    relay: Option<String>,
    /// Ended for this reason only, such as `client_closed`.
    #[param(nullable = false, max_length = 200)]
    end_reason: Option<String>,
    /// How many sessions at most.
    #[param(minimum = 1, maximum = 1000, default = 50, nullable = false)]
    limit: Option<u32>,
    /// `next` of the page before. Default: the first page. With `order=worst` the order moves while you read, and so a session
    /// may be on two pages or on none.
    #[param(max_length = 200, pattern = "^[A-Za-z0-9._~/-]*$", nullable = false)]
    after: Option<String>,
}

/// A question that was read.
#[derive(Debug)]
pub(super) struct Search {
    state: Wanted,
    order: Order,
    words: Vec<String>,
    fields: [(Field, Option<String>); 7],
    limit: usize,
    after: String,
}

/// A field that is compared as a whole.
type Field = fn(&SummaryView) -> Option<&str>;

impl SessionsQuery {
    pub(super) fn read(self) -> Result<Search, AdminError> {
        let limit = self.limit.unwrap_or(USUAL);
        if !(1..=MOST).contains(&limit) {
            let message = format!("'limit' is from 1 to {MOST}.");
            return Err(AdminError::invalid(message).with_param("limit"));
        }
        let after = self.after.unwrap_or_default();
        if after.len() > LONGEST_CURSOR || !is_cursor(&after) {
            return Err(AdminError::invalid("'after' is the 'next' of another page.").with_param("after"));
        }
        for (param, text) in [
            ("search", &self.search),
            ("provider", &self.provider),
            ("region", &self.region),
            ("model", &self.model),
            ("organisation", &self.organisation),
            ("team", &self.team),
            ("relay", &self.relay),
            ("end_reason", &self.end_reason),
        ] {
            if text.as_ref().is_some_and(|text| text.chars().count() > LONGEST_TEXT) {
                let message = format!("'{param}' has at most {LONGEST_TEXT} characters.");
                return Err(AdminError::invalid(message).with_param(param));
            }
        }
        let search = self.search.unwrap_or_default();
        let fields: [(Field, Option<String>); 7] = [
            (|session| session.provider.as_deref(), self.provider),
            (|session| session.region.as_deref(), self.region),
            (|session| Some(&session.model), self.model),
            (|session| Some(&session.organisation), self.organisation),
            (|session| Some(&session.team), self.team),
            (|session| session.relay.as_deref(), self.relay),
            (|session| session.end_reason.map(EndReason::as_str), self.end_reason),
        ];
        Ok(Search {
            state: self.state.unwrap_or_default(),
            order: self.order.unwrap_or_default(),
            words: search.split_whitespace().map(str::to_lowercase).collect(),
            fields,
            limit: limit as usize,
            after,
        })
    }
}

impl Search {
    /// The page of these sessions.
    pub(super) fn page(&self, mut records: Vec<SessionRecord>) -> Page<SummaryView> {
        match self.order {
            Order::Id => records.sort_by(|one, other| one.facts().session.cmp(&other.facts().session)),
            Order::Begun => records.sort_by_cached_key(begun),
            Order::Worst => records
                .sort_by_cached_key(|record| (Reverse(record.badness()), record.facts().session.clone())),
        }
        // A cursor nobody gave out begins at the beginning.
        let skip = match self.order {
            Order::Id => records.partition_point(|record| record.facts().session.as_str() <= &*self.after),
            Order::Begun => records.partition_point(|record| self.is_before_page(record)),
            Order::Worst => self.after.parse().unwrap_or(0),
        };
        let mut items = Vec::new();
        for (place, record) in records.iter().enumerate().skip(skip) {
            let summary = record.summary();
            if !self.is_wanted(&summary) {
                continue;
            }
            if items.len() == self.limit {
                let next = items.last().map(|(place, _)| self.cursor(*place, records.get(*place)));
                return Page { items: items.into_iter().map(|(_, item)| item).collect(), next };
            }
            items.push((place, summary));
        }
        Page { items: items.into_iter().map(|(_, item)| item).collect(), next: None }
    }

    /// What the page behind this session begins with.
    fn cursor(&self, place: usize, record: Option<&SessionRecord>) -> String {
        let facts = record.map(SessionRecord::facts);
        let session = facts.map(|facts| facts.session.to_string()).unwrap_or_default();
        match self.order {
            Order::Id => session,
            Order::Begun => {
                format!("{}~{session}", facts.map(|facts| facts.began_at_unix_ms).unwrap_or_default())
            }
            Order::Worst => (place + 1).to_string(),
        }
    }

    fn is_before_page(&self, record: &SessionRecord) -> bool {
        let Some((at, session)) = self.after.split_once('~') else { return false };
        let Ok(at) = at.parse::<u64>() else { return false };
        let facts = record.facts();
        (Reverse(facts.began_at_unix_ms), facts.session.as_str()) <= (Reverse(at), session)
    }

    fn is_wanted(&self, session: &SummaryView) -> bool {
        let is_over = session.state == SessionState::Ended;
        let has_state = match self.state {
            Wanted::Live => !is_over,
            Wanted::Ended => is_over,
            Wanted::All => true,
        };
        let is_equal = |(field, wanted): &(Field, Option<String>)| {
            wanted.is_none() || field(session) == wanted.as_deref()
        };
        has_state && self.fields.iter().all(is_equal) && self.has_words(session)
    }

    fn has_words(&self, session: &SummaryView) -> bool {
        if self.words.is_empty() {
            return true;
        }
        let text = [
            Some(session.id.as_str()),
            session.call.as_deref(),
            Some(&session.organisation),
            Some(&session.team),
            Some(&session.key),
            session.agent.as_deref(),
            Some(&session.model),
            session.provider.as_deref(),
            session.region.as_deref(),
            session.route.as_deref(),
            session.relay.as_deref(),
            Some(session.state.as_str()),
            session.end_reason.map(EndReason::as_str),
            Some(&session.trace_id),
        ];
        // A line's end is in no word, so none is found across two fields.
        let text = text.into_iter().flatten().collect::<Vec<_>>().join("\n").to_lowercase();
        self.words.iter().all(|word| text.contains(word))
    }
}

/// The last that began first; of those that began together by their ids.
fn begun(record: &SessionRecord) -> (Reverse<u64>, voxgate_protocol::id::SessionId) {
    (Reverse(record.facts().began_at_unix_ms), record.facts().session.clone())
}
