//! The threads of a relay, started and stopped together.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use voxgate_protocol::id::RelayId;

use super::placement::{allowed_processors, pin_this_thread};
use super::waiting::Stop;
use super::worker::Worker;

/// Running threads, one for each lane.
#[derive(Debug)]
pub(super) struct Lanes {
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<Option<Worker>>>,
    /// Each thread waits for word from here before it touches its sockets.
    gates: Vec<mpsc::Sender<()>>,
}

impl Lanes {
    /// Starts a thread for each worker, which does nothing before [`Self::release`]. Pinned, they take the processors this
    /// process may use in turn.
    ///
    /// # Errors
    /// When a thread cannot start or the kernel does not tell its processors; no thread is left then.
    pub(super) fn start(relay: RelayId, workers: Vec<Worker>, pin: bool) -> io::Result<Self> {
        let processors = if pin { allowed_processors()? } else { Vec::new() };
        let mut lanes = Self { stop: Arc::new(Stop::new()?), threads: Vec::new(), gates: Vec::new() };
        for (index, worker) in workers.into_iter().enumerate() {
            let waiter = worker.waiter(&lanes.stop)?;
            let processor = processors.get(index % processors.len().max(1)).copied();
            let (gate, opened) = mpsc::channel();
            let stop = Arc::clone(&lanes.stop);
            let run = move || {
                if let Some(Err(error)) = processor.map(pin_this_thread) {
                    tracing::warn!(%error, "a relay thread is not pinned");
                }
                opened.recv().ok().map(|()| worker.run(&waiter, &stop))
            };
            // Linux shows fifteen characters of a thread's name.
            let name = format!("relay-{}-{index}", relay.0 % 10_000);
            lanes.threads.push(std::thread::Builder::new().name(name).spawn(run)?);
            lanes.gates.push(gate);
        }
        Ok(lanes)
    }

    /// Lets the threads begin.
    pub(super) fn release(&mut self) {
        for gate in self.gates.drain(..) {
            // A thread that is gone shows when it is joined.
            let _ = gate.send(());
        }
    }

    /// Ends the threads and returns what they ran.
    pub(super) fn stop(mut self) -> Vec<Worker> {
        self.end().into_iter().flatten().collect()
    }

    fn end(&mut self) -> Vec<Option<Worker>> {
        self.stop.wish();
        self.gates.clear();
        let joined = self.threads.drain(..).map(JoinHandle::join);
        let workers = joined.map(|joined| {
            joined.unwrap_or_else(|_| {
                tracing::error!("a relay thread ended in a panic");
                None
            })
        });
        workers.collect()
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.end();
    }
}
