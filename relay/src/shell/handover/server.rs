//! The side that hands over.

use std::fs::{self, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::geteuid;

use super::super::lanes::Lanes;
use super::super::serving::{Serving, Shared, Streams};
use super::super::waiting::Stop;
use super::super::worker::Worker;
use super::{GREETING, Offer, READY, RUNNING, be_patient, descriptors};

/// The offer of a relay's sockets at a Unix socket. Dropping it withdraws the offer.
#[derive(Debug)]
pub struct HandoverServer {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl HandoverServer {
    pub(in super::super) fn start(
        path: PathBuf,
        shared: Arc<Shared>,
        handed_over: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let listener = listen(&path)?;
        let stop = Arc::new(Stop::new()?);
        let stopped = Arc::clone(&stop);
        let serve = move || {
            if serve(&listener, &shared, &stopped) {
                tracing::info!(relay = shared.id.0, "handed over to a new relay process");
                handed_over();
            } else {
                // Nobody has replaced the file: a successor does so only after a hand-over.
                let _ = fs::remove_file(&path);
            }
        };
        let thread = std::thread::Builder::new().name("relay-handover".to_owned()).spawn(serve)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for HandoverServer {
    fn drop(&mut self) {
        self.stop.wish();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the hand-over thread ended in a panic");
        }
    }
}

/// A listener for this user alone, in place of what a former process has left.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(left) if left.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something else than a socket is there",
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The pause after a connection that could not be taken, so that a lasting reason does not spin.
const ACCEPT_FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// Offers until somebody has taken over, `true`, or a stop is wished.
fn serve(listener: &UnixListener, shared: &Shared, stop: &Stop) -> bool {
    loop {
        if let Err(error) = stop.wait_with(listener.as_fd()) {
            tracing::error!(%error, "the relay no longer offers its sockets to a successor");
            return false;
        }
        if stop.is_wished() {
            return false;
        }
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => {
                // Out of descriptors, most likely; the one who waits would be found again at once.
                std::thread::sleep(ACCEPT_FAILURE_PAUSE);
                continue;
            }
        };
        match hand_over(stream, shared) {
            Ok(()) => return true,
            Err(error) => tracing::warn!(%error, "a hand-over was not completed"),
        }
    }
}

fn hand_over(mut stream: UnixStream, shared: &Shared) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    be_patient(&stream)?;
    let peer = getsockopt(&stream, sockopt::PeerCredentials)?.uid();
    if peer != geteuid().as_raw() && peer != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "another user asked for the relay's sockets",
        ));
    }
    let mut greeting = [0; GREETING.len()];
    stream.read_exact(&mut greeting)?;
    if greeting != GREETING {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a process of another version asked for the sockets",
        ));
    }
    send_offer(&mut stream, shared)?;
    expect_byte(&mut stream, READY)?;

    let mut serving = shared.serving();
    let stopped = Stopped::stop(serving.take().ok_or_else(not_serving)?);
    let done = send_flows(&mut stream, shared).and_then(|()| expect_byte(&mut stream, RUNNING));
    if done.is_err() {
        *serving = Some(stopped.resume(shared)?);
    }
    done
}

fn send_offer(stream: &mut UnixStream, shared: &Shared) -> io::Result<()> {
    let serving = shared.serving();
    let serving = serving.as_ref().ok_or_else(not_serving)?;
    let mut sockets: Vec<_> = serving.descriptors.iter().flatten().map(|socket| socket.as_fd()).collect();
    if let Some(streams) = &serving.streams {
        let (listener, tunnel) = streams.sockets();
        sockets.extend([listener.as_fd(), tunnel.as_fd()]);
    }
    let offer = Offer {
        relay: shared.id,
        epoch: shared.relay.epoch(),
        lanes: u8::try_from(serving.descriptors.len()).map_err(io::Error::other)?,
        has_stream: serving.streams.is_some(),
    };
    descriptors::send(stream, &offer.write(), &sockets)
}

fn send_flows(stream: &mut UnixStream, shared: &Shared) -> io::Result<()> {
    let snapshot = shared.relay.snapshot(Instant::now());
    stream.write_all(&(snapshot.len() as u64).to_be_bytes())?;
    stream.write_all(&snapshot)
}

fn expect_byte(stream: &mut UnixStream, expected: u8) -> io::Result<()> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    if byte != [expected] {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the successor said something else than expected",
        ));
    }
    Ok(())
}

fn not_serving() -> io::Error {
    io::Error::other("the relay was stopped")
}

/// A relay that reads nothing and has everything to go on.
struct Stopped {
    workers: Vec<Worker>,
    descriptors: Vec<[std::os::fd::OwnedFd; 2]>,
    streams: Option<Streams>,
}

impl Stopped {
    fn stop(serving: Serving) -> Self {
        let streams = serving.streams.map(Streams::stop);
        Self { workers: serving.lanes.stop(), descriptors: serving.descriptors, streams }
    }

    fn resume(self, shared: &Shared) -> io::Result<Serving> {
        let mut lanes = Lanes::start(shared.id, self.workers, shared.pin)?;
        lanes.release();
        let streams = self.streams.map(|streams| streams.start(&shared.relay)).transpose()?;
        Ok(Serving { lanes, descriptors: self.descriptors, streams })
    }
}
