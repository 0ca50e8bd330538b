//! What every role of the binary needs to start and to stop.

use std::io;
use std::net::SocketAddr;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use voxgate_signaling::store::StoreError;

use crate::bridges::BridgesError;
use crate::control::client::ClientError;
use crate::data_dir::DataError;
use crate::tls::TlsError;

/// Why the process cannot start. Each is one line.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    /// A port is taken or an address is not ours.
    #[error("cannot listen on {what} {address}: {source}; choose another one with {flag}")]
    Listen {
        /// Which listener.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
        /// How to change it.
        flag: &'static str,
    },
    /// The data folder.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The control plane's client.
    #[error(transparent)]
    Control(#[from] ClientError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A provider.
    #[error(transparent)]
    Bridges(#[from] BridgesError),
    /// The operating system refused something every machine has.
    #[error("the operating system refused {what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Something inside could not be set up.
    #[error("cannot start: {0}")]
    Internal(String),
}

/// Lets the process open as many files as its hard limit allows: every TCP caller, client and provider takes one, and
/// the usual soft limit of 1024 is there for programs that use `select`.
pub(crate) fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

impl StartError {
    /// Something inside could not be set up.
    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        Self::Internal(error.to_string())
    }

    /// The operating system refused something every machine has.
    pub(crate) const fn system(what: &'static str) -> impl Fn(io::Error) -> Self + Copy {
        move |source| Self::System { what, source }
    }
}

/// Opens a TCP listener for the runtime. `flag` is how another address can be chosen.
pub(crate) fn listen_tcp(
    what: &'static str,
    address: SocketAddr,
    flag: &'static str,
) -> Result<std::net::TcpListener, StartError> {
    let listen = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|source| StartError::Listen { what, address, source, flag })
}

/// What asks the process to read its configuration again.
pub(crate) struct ReloadSignals {
    hangup: Signal,
}

impl ReloadSignals {
    /// Listens from now on; a signal before would kill the process.
    pub(crate) fn listen() -> Result<Self, StartError> {
        let hangup = signal(SignalKind::hangup()).map_err(StartError::system("signal handling"))?;
        Ok(Self { hangup })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        self.hangup.recv().await;
    }
}

/// What asks the process to stop.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Listens from now on; a signal before would kill the process.
    pub(crate) fn listen() -> Result<Self, StartError> {
        let system = |source| StartError::System { what: "signal handling", source };
        let terminate = signal(SignalKind::terminate()).map_err(system)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(system)?;
        Ok(Self { terminate, interrupt })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
