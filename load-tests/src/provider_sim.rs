//! A speech provider that speaks the OpenAI Realtime API (GA) over WebSockets, without a model behind it.
//!
//! It hears speech by its energy ([`vad`]), "recognises" a settable text, answers with tones or a WAV file at a settable
//! pace, calls tools when the caller's words ask for it, and fails on request. Every event it sends is valid against the
//! vendor's published schemas; its state machine ([`SimSession`]) is pure.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

mod answer;
mod config;
mod conversation;
mod input;
mod server;
mod session;
mod settings;
mod stats;
pub mod vad;
pub mod voice;

pub use config::{SimConfig, SimFault};
pub use session::{SimOutput, SimSession};
pub use stats::{Seen, SimStats, Truncation};
pub use voice::AnswerAudio;

/// Starts simulators.
#[derive(Debug)]
pub struct ProviderSim;

impl ProviderSim {
    /// Listens at [`SimConfig::listen`] and serves every connection until the handle is shut down or dropped.
    ///
    /// # Errors
    /// The socket cannot be bound.
    pub async fn spawn(config: SimConfig) -> std::io::Result<SimHandle> {
        let listener = TcpListener::bind(config.listen).await?;
        let addr = listener.local_addr()?;
        let (stats, seen) = watch::channel(SimStats::default());
        let task = tokio::spawn(server::serve(listener, Arc::new(config), Arc::new(stats)));
        Ok(SimHandle { addr, seen, task })
    }
}

/// A running simulator. Dropping it ends it and its connections.
#[derive(Debug)]
pub struct SimHandle {
    addr: SocketAddr,
    seen: watch::Receiver<SimStats>,
    task: JoinHandle<()>,
}

impl SimHandle {
    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address as a base URL for clients, `http://…/v1`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// What it has received and sent so far.
    #[must_use]
    pub fn stats(&self) -> SimStats {
        self.seen.borrow().clone()
    }

    /// Waits until the figures fulfil a condition. The caller bounds the wait.
    pub async fn wait_until(&self, condition: impl FnMut(&SimStats) -> bool) -> SimStats {
        let mut seen = self.seen.clone();
        let found = seen.wait_for(condition).await.map(|stats| stats.clone());
        found.unwrap_or_else(|_| self.stats())
    }

    /// Ends it and its connections.
    pub async fn shutdown(mut self) {
        self.task.abort();
        // The error says that the task was ended, which is what was wanted.
        let _ = (&mut self.task).await;
    }
}

impl Drop for SimHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}
