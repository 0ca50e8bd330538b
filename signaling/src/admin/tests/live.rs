//! Live feeds over HTTP.

use axum::body::BodyDataStream;
use futures_util::StreamExt as _;
use voxgate_protocol::session::EndReason;
use voxgate_telemetry::session::facts::{EventNote, NetworkNote, Serving};
use voxgate_telemetry::session::view::EventKind;

use super::*;

/// Longest wait for anything here.
const LIMIT: Duration = Duration::from_secs(20);

/// A reader of a feed.
struct Reader {
    body: BodyDataStream,
    text: String,
}

impl Reader {
    async fn open(world: &World, key: &str, path: &str) -> Result<Self, StatusCode> {
        let request = Request::builder().uri(path).header("authorization", format!("Bearer {key}"));
        let reply = world.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        if reply.status() != StatusCode::OK {
            return Err(reply.status());
        }
        assert_eq!(reply.headers()["content-type"], "text/event-stream");
        assert_eq!(reply.headers()["cache-control"], "no-store");
        Ok(Self { body: reply.into_body().into_data_stream(), text: String::new() })
    }

    /// The next event, without comments; `None` at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                let Some(name) = line("event:") else { continue };
                return Some((name.to_owned(), serde_json::from_str(line("data:").unwrap()).unwrap()));
            }
            let piece = tokio::time::timeout(LIMIT, self.body.next()).await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
        }
    }

    /// The next event of this name.
    async fn next_of(&mut self, name: &str) -> Value {
        loop {
            let (known, data) = self.next().await.unwrap();
            if known == name {
                return data;
            }
        }
    }
}

fn names(event: &Value) -> Vec<&str> {
    let mut names: Vec<_> =
        event["changed"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_feed_tells_everything_in_reach_once_then_only_what_changes() {
    let world = World::new().await;
    let red = world.session("sess_red", "acme", "red");
    let _blue = world.session("sess_blue", "acme", "blue");
    let _other = world.session("sess_other", "other", "red");
    let mut reader = Reader::open(&world, "acme/red/owner", "/admin/v1/live").await.unwrap();
    let first = reader.next_of("sessions").await;
    assert_eq!(names(&first), ["sess_blue", "sess_red"]);
    assert_eq!(first["gone"], json!([]));
    let listed = world.ask("acme/red/owner", "GET", "/admin/v1/sessions/sess_red", None).await.1;
    assert_eq!(first["changed"][1], listed, "the feed and the list say the same");

    let now = std::time::Instant::now();
    red.served_by(now, Serving { provider: "p".to_owned(), ..Serving::default() });
    let second = reader.next_of("sessions").await;
    assert_eq!(names(&second), ["sess_red"], "nobody else changed");
    assert_eq!(second["changed"][0]["provider"], "p");
    assert!(second["revision"].as_u64() > first["revision"].as_u64());
    drop(red);
    let third = reader.next_of("sessions").await;
    assert_eq!((names(&third), &third["changed"][0]["state"]), (vec!["sess_red"], &json!("ended")));
}

#[tokio::test]
async fn a_feed_of_live_sessions_drops_those_that_end() {
    let world = World::new().await;
    let red = world.session("sess_red", "acme", "red");
    drop(world.session("sess_past", "acme", "red"));
    let mut reader = Reader::open(&world, "acme/red/operator", "/admin/v1/live?state=live").await.unwrap();
    assert_eq!(names(&reader.next_of("sessions").await), ["sess_red"]);
    drop(red);
    let event = reader.next_of("sessions").await;
    assert_eq!((&event["changed"], &event["gone"]), (&json!([]), &json!(["sess_red"])));
}

#[tokio::test]
async fn two_readers_of_one_look_see_their_own_part_each() {
    let world = World::new().await;
    let _red = world.session("sess_red", "acme", "red");
    let _other = world.session("sess_other", "other", "red");
    let mut acme = Reader::open(&world, "acme/red/owner", "/admin/v1/live").await.unwrap();
    let mut other = Reader::open(&world, "other/red/owner", "/admin/v1/live").await.unwrap();
    assert_eq!(names(&acme.next_of("sessions").await), ["sess_red"]);
    assert_eq!(names(&other.next_of("sessions").await), ["sess_other"]);
    // Whoever comes after all have left finds somebody looking again.
    drop((acme, other));
    let mut late = Reader::open(&world, "default/default/owner", "/admin/v1/live").await.unwrap();
    assert_eq!(names(&late.next_of("sessions").await), ["sess_other", "sess_red"]);
}

#[tokio::test]
async fn tool_calls_that_wait_are_counted_as_they_come_and_go() {
    let world = World::new().await;
    world.approvals.hold("appr_other", "other", "red");
    let mut reader = Reader::open(&world, "acme/red/operator", "/admin/v1/live").await.unwrap();
    assert_eq!(reader.next_of("approvals").await, json!({ "approvals": 0 }));
    world.approvals.hold("appr_1", "acme", "red");
    assert_eq!(reader.next_of("approvals").await, json!({ "approvals": 1 }));
}

#[tokio::test]
async fn a_session_is_told_whole_then_what_is_new_of_it_then_its_end() {
    let world = World::new().await;
    let red = world.session("sess_red", "acme", "red");
    red.record().event(Duration::from_millis(1), EventNote::info(EventKind::Connected, "One."));
    let path = "/admin/v1/sessions/sess_red/live";
    assert_eq!(Reader::open(&world, "other/red/owner", path).await.err(), Some(StatusCode::NOT_FOUND));
    let mut reader = Reader::open(&world, "acme/red/auditor", path).await.unwrap();
    let (name, first) = reader.next().await.unwrap();
    assert_eq!((name.as_str(), &first["session"]["id"]), ("record", &json!("sess_red")));
    let texts = |event: &Value| -> Vec<String> {
        let events = event["events"].as_array().unwrap();
        events.iter().map(|event| event["text"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts(&first), ["One."]);
    red.record().event(Duration::from_millis(2), EventNote::info(EventKind::Retry, "Two."));
    assert_eq!(texts(&reader.next().await.unwrap().1), ["Two."]);
    red.record().ended(Duration::from_millis(3), Some(EndReason::HungUp));
    let (name, last) = reader.next().await.unwrap();
    assert_eq!((name.as_str(), &last["session"]["end_reason"]), ("record", &json!("hung_up")));
    assert_eq!(reader.next().await, Some(("end".to_owned(), json!({}))));
    assert_eq!(reader.next().await, None);
}

#[tokio::test]
async fn a_feed_ends_when_its_key_is_revoked() {
    let world = World::new().await;
    let _red = world.session("sess_red", "acme", "red");
    for path in ["/admin/v1/live", "/admin/v1/sessions/sess_red/live"] {
        let mut reader = Reader::open(&world, "acme/red/operator", path).await.unwrap();
        assert!(reader.next().await.is_some());
        let keys = (world.api.configured)();
        let others = keys.iter().filter(|key| key.caller.tenancy.team.as_str() != "red").cloned();
        world.directory.replace(others.collect()).unwrap();
        while reader.next().await.is_some() {}
        world.directory.replace(keys).unwrap();
    }
}

#[tokio::test]
async fn more_readers_than_one_key_may_have_are_told_to_wait() {
    let world = World::new().await;
    let mut readers = Vec::new();
    let refused = loop {
        match Reader::open(&world, "acme/red/operator", "/admin/v1/live").await {
            Ok(reader) => readers.push(reader),
            Err(status) => break status,
        }
        assert!(readers.len() < 1_000);
    };
    assert_eq!(refused, StatusCode::TOO_MANY_REQUESTS);
    assert!(Reader::open(&world, "acme/red/owner", "/admin/v1/live").await.is_ok(), "another key");
    readers.pop();
    assert!(Reader::open(&world, "acme/red/operator", "/admin/v1/live").await.is_ok());
}

/// The time all threads of this process ran, in hundredths of a second (proc_pid_stat(5)).
fn used_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Every session changes once a second, as its network does. The processor's time in percent of one core.
async fn cost(sessions: &[Presence], seconds: usize) -> f64 {
    let before = used_ticks();
    let began = std::time::Instant::now();
    for round in 0..seconds * 100 {
        for presence in sessions.iter().skip(round % 100).step_by(100) {
            let at = Duration::from_secs(round as u64 / 100);
            presence.record().network(at, NetworkNote::default());
        }
        tokio::time::sleep_until((began + Duration::from_millis(10 * (round as u64 + 1))).into()).await;
    }
    (used_ticks() - before) as f64 / began.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: cargo nextest run -p voxgate-signaling --run-ignored only --no-capture readers_cost"]
async fn readers_cost_little_beside_a_thousand_sessions_that_change_every_second() {
    let world = World::new().await;
    let sessions: Vec<_> =
        (0..1_000).map(|number| world.session(&format!("sess_{number:04}"), "acme", "red")).collect();
    let alone = cost(&sessions, 10).await;
    for readers in [1, 10] {
        let open = (0..readers).map(|_| Reader::open(&world, "acme/red/owner", "/admin/v1/live"));
        let readers = futures_util::future::join_all(open).await;
        let count = readers.len();
        let tasks: Vec<_> = readers
            .into_iter()
            .map(|reader| tokio::spawn(async move { reader.unwrap().body.for_each(async |_| {}).await }))
            .collect();
        let read = cost(&sessions, 10).await;
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
        println!("{count} readers: {:.1} % of a core (sessions alone: {alone:.1} %)", read - alone);
    }
}
