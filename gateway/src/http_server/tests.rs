use std::future::Future;
use std::pin::Pin;

use axum::Router;
use axum_server::accept::Accept;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::*;

/// Says of every stream another acceptor lets through whether its messages leave at once.
#[derive(Clone)]
struct Witness<A> {
    inner: A,
    said: mpsc::UnboundedSender<bool>,
}

impl<A, S> Accept<TcpStream, S> for Witness<A>
where
    A: Accept<TcpStream, S, Stream = TcpStream, Future: Send + 'static>,
{
    type Stream = TcpStream;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(TcpStream, A::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let accepted = self.inner.accept(stream, service);
        let said = self.said.clone();
        Box::pin(async move {
            let (stream, service) = accepted.await?;
            said.send(stream.nodelay()?).map_err(io::Error::other)?;
            Ok((stream, service))
        })
    }
}

/// Connects to a server and says whether what that connection is sent leaves at once.
async fn sends_at_once<A>(make: impl FnOnce(TcpListener) -> io::Result<Server<SocketAddr, A>>) -> bool
where
    Witness<A>: Accept<TcpStream, Router, Stream = TcpStream, Service = Router, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (said, mut heard) = mpsc::unbounded_channel();
    let server = make(listener).unwrap().map(|inner| Witness { inner, said });
    tokio::spawn(server.serve(Router::new().into_make_service()));
    let _client = TcpStream::connect(address).await.unwrap();
    heard.recv().await.unwrap()
}

#[tokio::test]
async fn what_a_client_is_sent_does_not_wait_for_its_acknowledgements() {
    assert!(sends_at_once(plain).await);
    assert!(!sends_at_once(axum_server::from_tcp).await, "the system does so anyway, and this test is idle");
}
