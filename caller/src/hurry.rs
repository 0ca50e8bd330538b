//! A runtime for the WebRTC engine that does not oversleep while connecting.
//!
//! The engine (webrtc 0.21.1) drains what one layer has to send before it tells it what another layer found out. So
//! the first DTLS flight, queued when ICE has found a path, and the SCTP association, queued when DTLS has keys,
//! leave at the next timer only: 200 ms later, the interval of ICE checks. Here the engine's sleeps after such an
//! event are short.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime, TokioRuntime,
};

/// The engine declines to handle timers twice within a millisecond.
const SHORT_SLEEP: Duration = Duration::from_millis(1);

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The association takes four messages and the channel two more; each may wait for a sleep on its way in or out.
const SHORT_SLEEPS: u8 = 12;

/// Tokio, with some short sleeps after each [`HurriedRuntime::hurry`].
#[derive(Clone, Debug)]
pub(crate) struct HurriedRuntime {
    hurry: Arc<AtomicU8>,
}

impl HurriedRuntime {
    pub(crate) fn new() -> Self {
        Self { hurry: Arc::default() }
    }

    /// Cuts the next sleeps of the engine short.
    pub(crate) fn hurry(&self) {
        self.hurry.store(SHORT_SLEEPS, Ordering::Release);
    }
}

impl Runtime for HurriedRuntime {
    #[track_caller]
    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn wrap_tcp_listener(&self, listener: TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(&'a self, remote: SocketAddr) -> Boxed<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        TokioRuntime.connect_tcp(remote)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        TokioRuntime.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        let one_less = |left: u8| left.checked_sub(1);
        let hurried = self.hurry.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_ok();
        TokioRuntime.sleep(if hurried { duration.min(SHORT_SLEEP) } else { duration })
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn name(&self) -> &'static str {
        "tokio, hurried"
    }
}
