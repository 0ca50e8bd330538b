use std::sync::atomic::{AtomicU32, Ordering};

use voxgate_realtime::{Adapter, ClientKind, request};

use super::*;

const MINE: KeyIndex = KeyIndex(0);
const OTHER: KeyIndex = KeyIndex(1);
const WINDOW: Duration = Duration::from_secs(120);

/// The conversation of a session that was told `words`.
fn conversation(words: &str) -> ParkedConversation {
    let mut settings = request::default_settings();
    settings.instructions = Some(words.to_owned());
    Adapter::new(ClientKind::WebRtc, "sess_1".into(), settings, 0, 1).park()
}

fn words(resumed: Resumed) -> String {
    resumed.go_on().unwrap().0.settings().instructions.clone().unwrap()
}

fn code(taken: Result<Resumed, ApiError>) -> String {
    taken.unwrap_err().code.unwrap().into_owned()
}

#[tokio::test]
async fn a_parked_conversation_is_taken_once_by_the_key_it_belongs_to() {
    let resumptions = Resumptions::new(WINDOW, 10);
    let (token, ticket) = resumptions.issue(MINE, [7; 32]).unwrap();
    assert!(token.starts_with("vgr_") && token.len() == 68);
    ticket.park(Instant::now(), conversation("be brief"));
    assert_eq!(code(resumptions.take(&token, OTHER).await), "resume_token_invalid");
    assert_eq!(code(resumptions.take("vgr_00", MINE).await), "resume_token_invalid");
    assert_eq!(words(resumptions.take(&token, MINE).await.unwrap()), "be brief");
    assert_eq!(code(resumptions.take(&token, MINE).await), "resume_token_invalid");
}

#[tokio::test]
async fn a_conversation_no_session_went_on_with_waits_again_under_its_token() {
    let resumptions = Resumptions::new(WINDOW, 10);
    let (token, ticket) = resumptions.issue(MINE, [7; 32]).unwrap();
    ticket.park(Instant::now(), conversation("be brief"));
    for _ in 0..2 {
        // The call could not be made.
        let taken = resumptions.take(&token, MINE).await.unwrap();
        assert_eq!(code(resumptions.take(&token, MINE).await), "resume_token_invalid", "it is taken");
        drop(taken);
    }
    // A session went on with it, and its client never came.
    let (conversation, used) = resumptions.take(&token, MINE).await.unwrap().go_on().unwrap();
    used.put_back(conversation);
    assert_eq!(words(resumptions.take(&token, MINE).await.unwrap()), "be brief");
    assert_eq!(code(resumptions.take(&token, MINE).await), "resume_token_invalid");
}

#[tokio::test]
async fn a_conversation_that_is_handed_to_nobody_is_parked() {
    let resumptions = Resumptions::new(WINDOW, 10);
    let (token, ticket) = resumptions.issue(MINE, [7; 32]).unwrap();
    let rings = Arc::new(tokio::sync::Notify::new());
    let notified = Arc::clone(&rings);
    ticket.hang(Arc::new(move || notified.notify_one()));
    {
        let taking = resumptions.take(&token, MINE);
        let mut taking = std::pin::pin!(taking);
        tokio::select! {
            biased;
            taken = &mut taking => panic!("taken too early: {taken:?}"),
            () = rings.notified() => {}
        }
        // The one who wanted it hangs up here.
    }
    ticket.park(Instant::now(), conversation("be brief"));
    assert_eq!(words(resumptions.take(&token, MINE).await.unwrap()), "be brief");
}

#[tokio::test]
async fn a_token_that_is_found_at_the_same_place_is_another_token() {
    let resumptions = Resumptions::new(WINDOW, 10);
    let (token, ticket) = resumptions.issue(MINE, [7; 32]).unwrap();
    ticket.park(Instant::now(), conversation("be brief"));
    let mut other = Fingerprint::of(&token);
    other.0[31] ^= 1;
    assert!(resumptions.claim(other, MINE, Instant::now()).is_none());
    assert!(resumptions.take(&token, MINE).await.is_ok());
}

#[tokio::test]
async fn a_session_that_ended_in_order_or_too_long_ago_cannot_be_resumed() {
    let resumptions = Resumptions::new(WINDOW, 10);
    let (token, ticket) = resumptions.issue(MINE, [1; 32]).unwrap();
    drop(ticket);
    assert_eq!(code(resumptions.take(&token, MINE).await), "resume_token_invalid");
    let (late, ticket) = resumptions.issue(MINE, [2; 32]).unwrap();
    ticket.park(Instant::now().checked_sub(WINDOW).unwrap(), conversation("old"));
    assert_eq!(code(resumptions.take(&late, MINE).await), "resume_token_invalid");
    assert!(Resumptions::new(Duration::ZERO, 10).issue(MINE, [3; 32]).is_none());
}

#[tokio::test]
async fn the_oldest_go_when_there_are_too_many() {
    let resumptions = Resumptions::new(WINDOW, 2);
    let now = Instant::now();
    let mut tokens = Vec::new();
    for number in 0..3_u8 {
        let (token, ticket) = resumptions.issue(MINE, [number; 32]).unwrap();
        ticket.park(now + Duration::from_millis(u64::from(number)), conversation("x"));
        tokens.push(token);
    }
    assert!(resumptions.take(&tokens[0], MINE).await.is_err());
    assert!(resumptions.take(&tokens[1], MINE).await.is_ok());
    assert!(resumptions.take(&tokens[2], MINE).await.is_ok());
}

#[tokio::test]
async fn a_running_session_is_rung_for_and_hands_over() {
    let resumptions = Resumptions::new(WINDOW, 10);
    let (token, ticket) = resumptions.issue(MINE, [7; 32]).unwrap();
    let (rung, rings) = (Arc::new(AtomicU32::new(0)), Arc::new(tokio::sync::Notify::new()));
    let (counted, notified) = (Arc::clone(&rung), Arc::clone(&rings));
    ticket.hang(Arc::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        notified.notify_one();
    }));
    assert!(!ticket.is_wanted());
    let taking = {
        let (resumptions, token) = (resumptions.clone(), token.clone());
        tokio::spawn(async move { resumptions.take(&token, MINE).await })
    };
    rings.notified().await;
    assert!(ticket.is_wanted());
    assert_eq!(code(resumptions.take(&token, MINE).await), "resume_token_invalid", "somebody else takes it");
    ticket.park(Instant::now(), conversation("be brief"));
    assert_eq!(words(taking.await.unwrap().unwrap()), "be brief");
    assert_eq!(rung.load(Ordering::SeqCst), 1);
}
