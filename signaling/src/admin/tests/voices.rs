//! Listening over HTTP.

use super::*;
use crate::admin::voices::{Voices, VoicesError, Wanted};

/// Has kept the voices of `sess_kept`, and lost those of `sess_removed`.
pub(super) struct Kept;

impl Voices for Kept {
    fn render(&self, wanted: &Wanted) -> Result<Vec<u8>, VoicesError> {
        assert_eq!(wanted.began_unix_ms, 1_000);
        match wanted.session.as_str() {
            "sess_kept" => Ok(b"RIFF".repeat(100_000)),
            "sess_removed" => Err(VoicesError::Removed),
            _ => Err(VoicesError::NotKept),
        }
    }
}

/// A session of which voices are kept, or not.
fn session(world: &World, name: &str, voices: bool) -> Presence {
    let presence = world.session(name, "acme", "red");
    presence.record().keeps(RecordingView { words: true, voices });
    presence
}

async fn listen(world: &World, key: &str, name: &str) -> axum::response::Response {
    let request = Request::builder()
        .uri(format!("/admin/v1/sessions/{name}/audio"))
        .header("authorization", format!("Bearer {key}"));
    world.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn refusal(world: &World, key: &str, name: &str) -> (u16, String) {
    let path = format!("/admin/v1/sessions/{name}/audio");
    let (status, reply) = world.ask(key, "GET", &path, None).await;
    (status.as_u16(), reply["error"]["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn the_voices_of_a_session_are_handed_out_and_the_log_says_who_listened() {
    let world = World::new().await;
    drop(session(&world, "sess_kept", true));
    let reply = listen(&world, "acme/red/auditor", "sess_kept").await;
    assert_eq!(reply.status(), StatusCode::OK);
    for (name, value) in
        [("content-type", "audio/wav"), ("content-length", "400000"), ("cache-control", "no-store")]
    {
        assert_eq!(reply.headers()[name], value);
    }
    assert_eq!(to_bytes(reply.into_body(), 1 << 20).await.unwrap(), b"RIFF".repeat(100_000));
    let (_, page) = world.ask("acme/red/owner", "GET", "/admin/v1/audit", None).await;
    let log = page["items"].as_array().unwrap();
    assert_eq!(log.len(), 1, "{page}");
    assert_eq!((&log[0]["action"], &log[0]["subject"]), (&json!("session.listen"), &json!("sess_kept")));
    assert_eq!((&log[0]["actor"], &log[0]["detail"]["team"]), (&json!("acme/red/auditor"), &json!("red")));
}

#[tokio::test]
async fn voices_that_were_not_kept_are_gone_or_are_others_are_not_there() {
    let world = World::new().await;
    let key = "acme/red/owner";
    for (name, voices) in [("sess_kept", true), ("sess_removed", true), ("sess_words", false)] {
        drop(session(&world, name, voices));
    }
    for (key, name, message) in [
        (key, "sess_words", "The voices of this session were not kept."),
        (key, "sess_removed", "The voices of this session are not kept any more."),
        (key, "sess_nobody", "There is no such session."),
        ("other/red/owner", "sess_kept", "There is no such session."),
    ] {
        assert_eq!(refusal(&world, key, name).await, (404, message.to_owned()), "{name}");
    }
    assert_eq!(refusal(&world, "acme/red/member", "sess_kept").await.0, 403);
    let (_, page) = world.ask(key, "GET", "/admin/v1/audit", None).await;
    assert_eq!(page["items"], json!([]), "nobody listened");
}

#[tokio::test]
async fn a_session_that_runs_is_heard_when_it_is_over() {
    let world = World::new().await;
    let runs = session(&world, "sess_kept", true);
    let message = "The session still runs; its voices can be heard when it is over.";
    assert_eq!(refusal(&world, "acme/red/owner", "sess_kept").await, (409, message.to_owned()));
    drop(runs);
    assert_eq!(listen(&world, "acme/red/owner", "sess_kept").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn two_listen_at_a_time_until_they_have_heard_it() {
    let world = World::new().await;
    drop(session(&world, "sess_kept", true));
    let key = "acme/red/owner";
    let (one, other) = (listen(&world, key, "sess_kept").await, listen(&world, key, "sess_kept").await);
    let third = listen(&world, key, "sess_kept").await;
    assert_eq!(third.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(third.headers()["retry-after"], "5");
    drop(to_bytes(one.into_body(), 1 << 20).await.unwrap());
    assert_eq!(listen(&world, key, "sess_kept").await.status(), StatusCode::OK);
    drop(other);
}
