//! What of a request its handler did not read.
//!
//! A server that answers while a body is still coming has to close the connection behind the answer. A client that keeps its
//! connections sends the next request over it and is told nothing, and some lose the answer as well. So the rest is read before
//! the answer goes out, as far as it is short and comes soon; if it is not, the answer says that the connection closes.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Error;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::oneshot;

/// Most bytes that are read of a rest: what any handler would have taken as a whole.
const MOST_BYTES: usize = 1024 * 1024;

/// Longest wait for it.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Middleware for the outermost place of a server: leaves the connection of every answered request usable, or says that it is
/// not.
pub async fn read_remainder(request: Request, next: Next) -> Response {
    if request.method() == Method::CONNECT {
        // What follows is no body.
        return next.run(request).await;
    }
    // With HTTP/2 the rest is one stream of many, and the header does not exist.
    let closes_behind_answer = request.version() <= Version::HTTP_11;
    let waits_to_be_asked = request.headers().contains_key(header::EXPECT);
    let (to_owner, lent) = oneshot::channel();
    let lend = |body: Body| LentBody {
        rest: Some(body.into_data_stream()),
        is_begun: false,
        to_owner: Some(to_owner),
    };
    let mut response = next.run(request.map(|body| Body::from_stream(lend(body)))).await;
    let is_at_its_end = match { lent }.try_recv() {
        // Asking for a body that nobody wants would only bring it here.
        Ok(remainder) if waits_to_be_asked && !remainder.is_begun => false,
        Ok(remainder) => comes_to_its_end(remainder.rest).await,
        Err(_) => true,
    };
    if !is_at_its_end && closes_behind_answer {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Reads, and tells whether that was all.
async fn comes_to_its_end(mut rest: BodyDataStream) -> bool {
    let reading = async {
        let mut read = 0_usize;
        while let Some(piece) = rest.next().await {
            let Ok(piece) = piece else { return false };
            read = read.saturating_add(piece.len());
            if read > MOST_BYTES {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(LONGEST_WAIT, reading).await.unwrap_or(false)
}

/// What came back.
struct Remainder {
    rest: BodyDataStream,
    is_begun: bool,
}

/// A body that goes back to its owner when the handler lets go of it before its end.
struct LentBody {
    rest: Option<BodyDataStream>,
    is_begun: bool,
    to_owner: Option<oneshot::Sender<Remainder>>,
}

impl Stream for LentBody {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.is_begun = true;
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let polled = rest.poll_next_unpin(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.rest = None;
        }
        polled
    }
}

impl Drop for LentBody {
    fn drop(&mut self) {
        if let (Some(rest), Some(to_owner)) = (self.rest.take(), self.to_owner.take()) {
            // Nobody is there if the request itself was given up.
            let _ = to_owner.send(Remainder { rest, is_begun: self.is_begun });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::http::StatusCode;
    use axum::routing::post;
    use axum::{Router, middleware};
    use futures_util::stream;
    use tower::ServiceExt as _;

    use super::*;

    /// Refuses without a look, and takes what comes to the other path.
    fn server() -> Router {
        Router::new()
            .route("/refuse", post(async || StatusCode::UNAUTHORIZED))
            .route("/take", post(async |body: Bytes| body.len().to_string()))
            .layer(middleware::from_fn(read_remainder))
    }

    /// A body of some pieces of 64 KiB, and how many of them were asked for.
    fn body(pieces: usize) -> (Body, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let pieces = stream::iter(0..pieces).map(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Error>(Bytes::from_static(&[0; 65_536]))
        });
        (Body::from_stream(pieces), asked)
    }

    async fn answer(request: Request) -> (StatusCode, bool) {
        let answer = server().oneshot(request).await.unwrap();
        let closes = answer.headers().get(header::CONNECTION).is_some_and(|value| value == "close");
        (answer.status(), closes)
    }

    fn to(path: &str, body: Body) -> Request {
        Request::post(path).body(body).unwrap()
    }

    #[tokio::test]
    async fn what_a_handler_did_not_read_is_read_behind_it() {
        let (body, asked) = body(16);
        assert_eq!(answer(to("/refuse", body)).await, (StatusCode::UNAUTHORIZED, false));
        assert_eq!(asked.load(Ordering::Relaxed), 16);
    }

    #[tokio::test]
    async fn of_a_body_that_is_too_long_a_part_is_read_and_the_connection_closes() {
        let (body, asked) = body(1_000);
        assert_eq!(answer(to("/refuse", body)).await, (StatusCode::UNAUTHORIZED, true));
        assert_eq!(asked.load(Ordering::Relaxed), 17);
        let old = Request::post("/refuse").version(Version::HTTP_10).body(self::body(1_000).0).unwrap();
        assert!(answer(old).await.1);
        let new = Request::post("/refuse").version(Version::HTTP_2).body(self::body(1_000).0).unwrap();
        assert!(!answer(new).await.1, "HTTP/2 has no such header");
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_for_a_body_that_does_not_come() {
        let never = Body::from_stream(stream::pending::<Result<Bytes, Error>>());
        assert_eq!(answer(to("/refuse", never)).await, (StatusCode::UNAUTHORIZED, true));
    }

    #[tokio::test]
    async fn a_client_that_waits_to_be_asked_for_its_body_is_not_asked() {
        let (body, asked) = body(1);
        let request = Request::post("/refuse").header(header::EXPECT, "100-continue").body(body).unwrap();
        assert_eq!(answer(request).await, (StatusCode::UNAUTHORIZED, true));
        assert_eq!(asked.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn what_a_handler_reads_to_its_end_arrives_whole_and_nothing_is_said() {
        assert_eq!(answer(to("/take", body(2).0)).await, (StatusCode::OK, false));
        let (status, closes) = answer(to("/refuse", Body::empty())).await;
        assert_eq!((status, closes), (StatusCode::UNAUTHORIZED, false));
        let broken = stream::iter([Err::<Bytes, _>(Error::new("the client is gone"))]);
        assert_eq!(answer(to("/refuse", Body::from_stream(broken))).await, (StatusCode::UNAUTHORIZED, true));
    }
}
