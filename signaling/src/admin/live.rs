//! Live feeds: server-sent events (WHATWG HTML, section 9.2) of what changes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Deserialize;
use tokio::time::{Interval, MissedTickBehavior};
use utoipa::{IntoParams, ToSchema};
use voxgate_protocol::id::SessionId;
use voxgate_telemetry::session::SessionRecord;
use voxgate_telemetry::session::view::{RecordView, SessionState, SummaryView};

use super::AdminApi;
use super::access::{Sight, Vigil};
use super::feed::{Board, Boards, Place};
use super::order::{Asked, At};
use super::reply::{AdminError, Refusals};
use super::sessions::{SessionPath, no_session};

/// A record is told at most this often.
const RECORD_EVERY: Duration = Duration::from_millis(250);

/// Whatever is between reader and gateway must not take silence for the end.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// Which sessions a feed follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Followed {
    /// Those that run.
    Live,
    /// Those and the last ones that are over.
    #[default]
    All,
}

/// What a feed is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FeedQuery {
    /// `live`: sessions that run; `all`: the last ones that are over as well. Default: `all`.
    #[param(nullable = false, inline)]
    state: Option<Followed>,
}

/// The data of an event `sessions`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it only describes: summaries are written once for all readers")]
pub(super) struct ChangedSessions {
    /// Rises from event to event.
    revision: u64,
    /// Sessions that are new or changed; in the first event of a connection all of them.
    changed: Vec<SummaryView>,
    /// The ids of sessions that are no longer among those the feed follows.
    gone: Vec<String>,
}

/// What one reader was told.
struct Told {
    /// The revision of each session's record.
    sessions: BTreeMap<Arc<str>, u64>,
    is_first: bool,
}

impl Told {
    /// What is new to the reader; `None` if nothing is.
    fn news(&mut self, board: &Board, followed: Followed, sight: &mut Sight) -> Option<String> {
        let wanted = board.rows.iter().filter(|row| followed == Followed::All || !row.is_over);
        let seen: Vec<_> =
            wanted.filter(|row| sight.sees(&row.tenancy.organisation, &row.tenancy.team)).collect();
        let is_new = |row: &&&Arc<super::feed::Row>| self.sessions.get(&row.session) != Some(&row.seq);
        let new: Vec<_> = seen.iter().filter(is_new).collect();
        let changed: Vec<&str> = new.iter().map(|row| &*row.json).collect();
        let stays: BTreeMap<_, _> = seen.iter().map(|row| (Arc::clone(&row.session), row.seq)).collect();
        let gone: Vec<_> =
            self.sessions.keys().filter(|name| !stays.contains_key(*name)).map(Arc::clone).collect();
        if changed.is_empty() && gone.is_empty() && !self.is_first {
            return None;
        }
        let (revision, changed) = (board.look, changed.join(","));
        // The ids are the gateway's own and need no escapes.
        let gone = gone.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(",");
        (self.sessions, self.is_first) = (stays, false);
        Some(format!(r#"{{"revision":{revision},"changed":[{changed}],"gone":[{gone}]}}"#))
    }
}

/// A reader of all sessions.
struct SessionsReader {
    api: AdminApi,
    vigil: Vigil,
    sight: Sight,
    boards: Boards,
    followed: Followed,
    told: Told,
    /// Tool calls that waited when it was told last.
    approvals: Option<usize>,
    /// Said with the next step.
    next: Option<Event>,
    _place: Place,
}

impl SessionsReader {
    /// The next event; `None` once the key opens nothing any more.
    async fn step(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.next.take() {
                return Some((Ok(event), self));
            }
            let is_due = tokio::select! {
                () = self.vigil.due() => true,
                changed = self.boards.changed() => changed.map(|()| false).ok()?,
            };
            if is_due {
                self.sight = self.vigil.ask().await?.sight();
            }
            let board = Arc::clone(&self.boards.borrow_and_update());
            if board.look == 0 {
                continue;
            }
            let news = self.told.news(&board, self.followed, &mut self.sight);
            self.next = news.map(|data| Event::default().event("sessions").data(data));
            let waiting = self.waiting();
            if self.approvals.replace(waiting) != Some(waiting) {
                let data = format!(r#"{{"approvals":{waiting}}}"#);
                return Some((Ok(Event::default().event("approvals").data(data)), self));
            }
        }
    }

    /// Tool calls that wait for a person.
    fn waiting(&mut self) -> usize {
        let held = self.api.approvals.pending(&self.vigil.administrator().reach);
        let sight = &mut self.sight;
        held.iter().filter(|held| sight.sees(&held.tenancy.organisation, &held.tenancy.team)).count()
    }
}

/// Sessions as they change, as server-sent events
///
/// An event `sessions` with all sessions, then one whenever some change, at most twice a second. An event `approvals` with the
/// number of tool calls that wait for a person (`{ "approvals": 2 }`), then one whenever that changes. A comment every 15 s
/// keeps the connection open. It ends when the key opens nothing any more.
#[utoipa::path(
    get,
    path = "/admin/v1/live",
    tag = "sessions",
    params(FeedQuery),
    responses(
        (status = 200, description = "Events; the data of `sessions` is this.", content((ChangedSessions = "text/event-stream"))),
        Refusals
    )
)]
pub(super) async fn follow_sessions(
    State(api): State<AdminApi>,
    Asked(query): Asked<FeedQuery>,
    vigil: Vigil,
) -> Result<Response, AdminError> {
    let administrator = vigil.administrator();
    let place = api.feeds.admit(&administrator.caller.tenancy)?;
    let mut boards = api.feeds.boards(&api.live);
    // The newest look is there already if somebody else reads.
    boards.mark_changed();
    let reader = SessionsReader {
        sight: administrator.sight(),
        vigil,
        boards,
        followed: query.state.unwrap_or_default(),
        told: Told { sessions: BTreeMap::new(), is_first: true },
        approvals: None,
        next: None,
        _place: place,
        api,
    };
    Ok(events(unfold(reader, SessionsReader::step)))
}

/// What a reader knows of the end of the session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It goes on.
    Ahead,
    /// It is to be told.
    Near,
    /// It was told.
    Told,
}

/// A reader of one session.
struct RecordReader {
    vigil: Vigil,
    record: SessionRecord,
    /// The revision that was told.
    told: u64,
    end: End,
    ticks: Interval,
    _place: Place,
}

impl RecordReader {
    /// The next event; `None` after the end of the session, and once the key does not open it any more.
    async fn step(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            match self.end {
                End::Ahead => {}
                End::Near => {
                    self.end = End::Told;
                    return Some((Ok(Event::default().event("end").data("{}")), self));
                }
                End::Told => return None,
            }
            let is_due = tokio::select! {
                () = self.vigil.due() => true,
                _ = self.ticks.tick() => false,
            };
            if is_due && !self.vigil.ask().await?.covers(&self.record.facts().tenancy) {
                return None;
            }
            if self.record.revision() > self.told {
                let view = self.record.view_since(self.told);
                self.told = view.revision;
                if view.session.state == SessionState::Ended {
                    self.end = End::Near;
                }
                let data = written(view).await?;
                return Some((Ok(Event::default().event("record").data(data)), self));
            }
        }
    }
}

/// A record as JSON. The first one of a long session takes tens of milliseconds, which nothing else is to wait for.
pub(super) async fn written(view: RecordView) -> Option<String> {
    tokio::task::spawn_blocking(move || serde_json::to_string(&view).ok()).await.ok()?
}

/// One session as it goes on, as server-sent events
///
/// An event `record` with the whole record, then one with what is new whenever something is, at most four times a second: the
/// entries of every list that are new or changed since, and the levels behind the last ones. An event `end` when the session is
/// over. A comment every 15 s keeps the connection open. It ends when the key does not open the session any more.
#[utoipa::path(
    get,
    path = "/admin/v1/sessions/{session}/live",
    tag = "sessions",
    params(SessionPath),
    responses(
        (status = 200, description = "Events; the data of `record` is this.", content((RecordView = "text/event-stream"))),
        Refusals
    )
)]
pub(super) async fn follow_session(
    State(api): State<AdminApi>,
    At(id): At<SessionId>,
    vigil: Vigil,
) -> Result<Response, AdminError> {
    let administrator = vigil.administrator();
    let found = api.live.record(&id).filter(|record| administrator.covers(&record.facts().tenancy));
    let record = found.ok_or_else(no_session)?;
    let place = api.feeds.admit(&administrator.caller.tenancy)?;
    let mut ticks = tokio::time::interval(RECORD_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reader = RecordReader { vigil, record, told: 0, end: End::Ahead, ticks, _place: place };
    Ok(events(unfold(reader, RecordReader::step)))
}

/// A stream as the answer. It is read as fast as the reader reads: what it missed meanwhile is in the next event.
fn events(stream: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    let kept_alive = Sse::new(stream).keep_alive(KeepAlive::new().interval(COMMENT_EVERY));
    let mut response = kept_alive.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx keeps answers back to send them in one piece, unless it is told not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
