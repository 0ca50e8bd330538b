//! The thread that writes logs, and removes old ones.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use voxgate_protocol::id::SessionId;
use voxgate_realtime::ParkedConversation;
use voxgate_signaling::host::Recording;

use super::entry::{Header, Line, LoggedInput, Offset, Step};
use super::fingerprint::fingerprint;
use super::recorder::{Kept, Recorder};
use crate::dialogue::core::{CoreConfig, CoreOutput};

/// Notes that may wait for the disk: three seconds of a hundred calls.
const MOST_WAITING: usize = 16_384;

/// Bytes that may wait for the disk.
const MOST_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// The longest log.
const LONGEST_LOG: u64 = 1024 * 1024 * 1024;

/// How long the end of the process waits for the disk.
const LONGEST_FINISH: Duration = Duration::from_secs(2);

/// The ending of a log's name; nothing else in the folder is touched.
const ENDING: &str = ".replay.jsonl";

/// What the threads of sessions tell the writer.
pub(super) enum Note {
    Begin { session: u64, header: Box<Header> },
    Step { session: u64, at: Offset, input: LoggedInput, outputs: Vec<CoreOutput>, start: Instant },
    Over { session: u64, inputs: Option<u64> },
    Finish { reply: SyncSender<()> },
}

impl Note {
    /// Roughly what it takes in memory.
    fn weight(&self) -> usize {
        const LEAST: usize = 256;
        LEAST
            + match self {
                Self::Begin { header, .. } => header.weight(),
                Self::Over { .. } | Self::Finish { .. } => 0,
                Self::Step { input, outputs, .. } => {
                    input.weight() + outputs.iter().map(output_weight).sum::<usize>()
                }
            }
    }
}

fn output_weight(output: &CoreOutput) -> usize {
    const LEAST: usize = 128;
    match output {
        CoreOutput::Text(text) => LEAST + text.len(),
        _ => LEAST,
    }
}

/// The way to the writer. Never waits.
pub(super) struct Queue {
    notes: SyncSender<Note>,
    waiting_bytes: Arc<AtomicUsize>,
    most_bytes: usize,
}

impl Queue {
    /// False if there is no room.
    pub(super) fn offer(&self, note: Note) -> bool {
        let weight = note.weight();
        if self.waiting_bytes.fetch_add(weight, Ordering::Relaxed) + weight <= self.most_bytes
            && self.notes.try_send(note).is_ok()
        {
            return true;
        }
        self.waiting_bytes.fetch_sub(weight, Ordering::Relaxed);
        false
    }
}

/// What may wait for the disk, and how long a log may grow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Notes that may wait.
    pub(super) waiting: usize,
    /// Bytes that may wait.
    pub(super) waiting_bytes: usize,
    /// Bytes of the longest log. What comes after is missing, and the log says so.
    pub(super) log_bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { waiting: MOST_WAITING, waiting_bytes: MOST_WAITING_BYTES, log_bytes: LONGEST_LOG }
    }
}

/// Where logs go, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Retention {
    pub(crate) dir: PathBuf,
    /// Whether the caller's and the agent's voice are kept.
    pub(crate) audio: bool,
    /// The age at which a log is removed.
    pub(crate) keep: Duration,
}

/// The logs of this process.
pub(crate) struct ReplayLog {
    queue: Arc<Queue>,
    sessions: AtomicU64,
    recording: Recording,
    dir: PathBuf,
}

impl ReplayLog {
    /// Makes the folder if need be, removes what is too old, and starts the writer. It ends when the last recorder and
    /// this are gone.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub(crate) fn start(retention: Retention) -> io::Result<Self> {
        Self::start_joinable(retention, Bounds::default()).map(|(log, _)| log)
    }

    /// The same, and the thread.
    pub(super) fn start_joinable(retention: Retention, bounds: Bounds) -> io::Result<(Self, JoinHandle<()>)> {
        make_private(&retention.dir)?;
        remove_old(&retention)?;
        let (notes, receiver) = sync_channel(bounds.waiting);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let queue = Arc::new(Queue {
            notes,
            waiting_bytes: Arc::clone(&waiting_bytes),
            most_bytes: bounds.waiting_bytes,
        });
        let recording = Recording { audio: retention.audio, keep: retention.keep };
        let dir = retention.dir.clone();
        let writer = Writer { retention, waiting_bytes, longest: bounds.log_bytes, logs: BTreeMap::new() };
        let named = std::thread::Builder::new().name("replay-log".to_owned());
        let thread = named.spawn(move || writer.run(&receiver))?;
        Ok((Self { queue, sessions: AtomicU64::new(0), recording, dir }, thread))
    }

    /// Waits until everything said so far is in the files, but not for a disk that hangs.
    pub(crate) fn finish(&self) {
        let (reply, written) = sync_channel(1);
        if self.queue.offer(Note::Finish { reply }) {
            let _ = written.recv_timeout(LONGEST_FINISH);
        }
    }

    /// What the configuration lets logs hold.
    pub(crate) const fn recording(&self) -> Recording {
        self.recording
    }

    /// Begins the log of a session that `began` a while ago, and may go on with the conversation of an earlier one. It never holds more than the
    /// configuration lets it.
    pub(crate) fn record(
        &self,
        config: &CoreConfig,
        resumed: Option<&ParkedConversation>,
        kept: Kept,
        began: Instant,
    ) -> Recorder {
        let session = self.sessions.fetch_add(1, Ordering::Relaxed);
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let kept = Kept { audio: kept.audio && self.recording.audio, ..kept };
        let start = Instant::now();
        let mut header = Header::new(config, resumed, started, kept);
        header.began = Some(Offset::between(start, began));
        let has_begun = self.queue.offer(Note::Begin { session, header: Box::new(header) });
        Recorder::new(Arc::clone(&self.queue), session, start, kept, has_begun)
    }

    /// The log of a session, with everything that was said so far; `None` if there is none that may still be kept. Waits for the
    /// disk, but not for one that hangs.
    ///
    /// # Errors
    /// The folder or the file cannot be read.
    pub(crate) fn open(&self, session: &SessionId) -> io::Result<Option<File>> {
        self.finish();
        let ending = format!("-{}{ENDING}", name_of(session));
        let mut newest: Option<(OsString, PathBuf)> = None;
        for file in std::fs::read_dir(&self.dir)? {
            let file = file?;
            let name = file.file_name();
            let is_it = name.to_string_lossy().ends_with(&ending);
            if is_it && newest.as_ref().is_none_or(|(other, _)| *other < name) {
                newest = Some((name, file.path()));
            }
        }
        let Some((_, path)) = newest else { return Ok(None) };
        let file = File::open(path)?;
        // What is too old is as good as removed.
        let age = file.metadata()?.modified()?.elapsed().unwrap_or_default();
        Ok((age <= self.recording.keep).then_some(file))
    }
}

struct Writer {
    retention: Retention,
    waiting_bytes: Arc<AtomicUsize>,
    longest: u64,
    logs: BTreeMap<u64, Log>,
}

/// A file being written.
struct Log {
    file: BufWriter<File>,
    bytes: u64,
    has_words: bool,
}

impl Writer {
    fn run(mut self, notes: &Receiver<Note>) {
        while let Ok(note) = notes.recv() {
            self.waiting_bytes.fetch_sub(note.weight(), Ordering::Relaxed);
            if let Err(error) = self.take(note) {
                // The file ends here; its reader notices that the last line is missing.
                tracing::warn!(%error, "a replay log could not be written");
            }
        }
    }

    fn take(&mut self, note: Note) -> io::Result<()> {
        match note {
            Note::Begin { session, header } => {
                let file = BufWriter::new(create(&self.retention.dir, &header)?);
                let mut log = Log { file, bytes: 0, has_words: header.has_words };
                log.write(&header)?;
                self.logs.insert(session, log);
                Ok(())
            }
            Note::Step { session, at, input, outputs, start } => {
                let Some(log) = self.logs.get_mut(&session) else { return Ok(()) };
                let outputs =
                    outputs.iter().map(|output| fingerprint(output, start, log.has_words)).collect();
                let written = log.write(&Line::Step(Step { at, input, outputs }));
                if written.is_err() || log.bytes > self.longest {
                    self.logs.remove(&session);
                }
                written
            }
            Note::Over { session, inputs } => {
                if let Some(mut log) = self.logs.remove(&session) {
                    if let Some(inputs) = inputs {
                        log.write(&Line::Whole { inputs })?;
                    }
                    log.file.flush()?;
                }
                remove_old(&self.retention)
            }
            Note::Finish { reply } => {
                // Who asked may have stopped waiting.
                let _ = reply.try_send(());
                Ok(())
            }
        }
    }
}

impl Log {
    fn write(&mut self, line: &impl serde::Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.bytes += text.len() as u64;
        self.file.write_all(&text)
    }
}

/// A file nobody else may read. The name begins with the time, so that a listing is in order.
fn create(dir: &Path, header: &Header) -> io::Result<File> {
    let name = format!("{}-{}{ENDING}", header.started_unix_ms, name_of(&header.session_id));
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join(name))
}

/// A session in the name of a file.
fn name_of(session: &SessionId) -> String {
    session.as_str().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect()
}

fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Removes logs nobody wrote to for longer than they are to be kept.
fn remove_old(retention: &Retention) -> io::Result<()> {
    for file in std::fs::read_dir(&retention.dir)? {
        let file = file?;
        if !file.file_name().to_string_lossy().ends_with(ENDING) {
            continue;
        }
        let modified = file.metadata()?.modified()?;
        if modified.elapsed().is_ok_and(|age| age > retention.keep) {
            std::fs::remove_file(file.path())?;
        }
    }
    Ok(())
}
