//! The ledger's files: one for each day, an entry a line, only ever added to.
//!
//! Written by a thread of its own, so that no session waits for a disk. A line is with the kernel as soon as it is written,
//! so a killed process loses no line that was written; a machine that loses power may lose the last seconds.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use voxgate_policy::money::day::UtcDay;
use voxgate_policy::money::ledger::{Entry, EntryId};

/// Entries that may wait for the disk: minutes of a busy node.
const WAITING: usize = 65_536;

/// Where entries are handed in.
pub(super) struct Journal {
    writer: Mutex<Option<(SyncSender<Entry>, JoinHandle<()>)>>,
}

impl Journal {
    /// Begins to write.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let (sender, entries) = sync_channel(WAITING);
        let folder = folder.to_owned();
        let thread =
            std::thread::Builder::new().name("ledger".to_owned()).spawn(move || write(&folder, &entries))?;
        Ok(Self { writer: Mutex::new(Some((sender, thread))) })
    }

    /// Hands an entry in, and never waits. False if it could not be taken.
    pub(super) fn write(&self, entry: &Entry) -> bool {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = writer.as_ref().map(|(sender, _)| sender.try_send(entry.clone()));
        let is_taken = matches!(sent, Some(Ok(())));
        if let Some(Err(TrySendError::Full(_))) = sent {
            tracing::error!(entry = %entry.id, "the ledger's disk does not keep up; an entry is lost");
        }
        is_taken
    }

    /// Waits until everything is written.
    pub(super) fn finish(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((sender, thread)) = writer {
            drop(sender);
            let _ = thread.join();
        }
    }
}

fn write(folder: &Path, entries: &Receiver<Entry>) {
    let mut open: Option<(UtcDay, File)> = None;
    while let Ok(entry) = entries.recv() {
        if let Err(error) = append(folder, &mut open, &entry) {
            tracing::error!(%error, entry = %entry.id, "the ledger could not be written");
            open = None;
        }
    }
}

fn append(folder: &Path, open: &mut Option<(UtcDay, File)>, entry: &Entry) -> io::Result<()> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    let file = match open {
        Some((day, file)) if *day == entry.day => file,
        _ => {
            let path = folder.join(format!("{}.jsonl", entry.day));
            &mut open.insert((entry.day, OpenOptions::new().append(true).create(true).open(path)?)).1
        }
    };
    // One call, so that a kill leaves a whole line or none.
    file.write_all(&line)
}

/// Reads every entry of the folder, each once. A line that cannot be read, as a lost power supply leaves one, is
/// reported and left out.
pub(super) fn read(folder: &Path, mut each: impl FnMut(&Entry)) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|file| file.map(|file| file.path())).collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    let mut seen: BTreeSet<EntryId> = BTreeSet::new();
    for path in files {
        for line in BufReader::new(File::open(&path)?).lines() {
            match serde_json::from_str::<Entry>(&line?) {
                Ok(entry) => {
                    if seen.insert(entry.id.clone()) {
                        each(&entry);
                    }
                }
                Err(error) => {
                    tracing::error!(%error, file = %path.display(), "a line of the ledger is damaged")
                }
            }
        }
    }
    Ok(())
}
