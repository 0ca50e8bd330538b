//! The configuration that ran last, kept in the data folder: what a gateway starts with when its file is broken, and what was
//! applied since its file was written.

use serde::{Deserialize, Serialize};
use voxgate_policy::bundle::Bundle;
use voxgate_protocol::revision::BundleHash;
use voxgate_signaling::admin::revisions::RevisionFacts;

use crate::config::{ConfigError, Loaded, Source};
use crate::data_dir::{DataDir, DataError};

/// The name of the file in the data folder.
const FILE_NAME: &str = "configuration.json";

/// What is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LastGood {
    /// The revision.
    pub(crate) revision: RevisionFacts,
    /// What the file the gateway was started with held then: if it holds the same now, this is newer.
    pub(crate) file: Option<BundleHash>,
    /// What the revision holds.
    pub(crate) bundle: Bundle,
}

impl LastGood {
    /// What is kept in this folder; `None` if there is nothing, or nothing of use.
    pub(crate) fn read(data: &DataDir) -> Option<Self> {
        let text =
            data.read(FILE_NAME).inspect_err(|error| tracing::warn!(%error, "no last good configuration"));
        let read: Self = serde_json::from_str(&text.ok()??)
            .inspect_err(|error| tracing::warn!(%error, "{FILE_NAME} in the data folder is damaged"))
            .ok()?;
        let is_whole = read.bundle.hash() == read.revision.hash;
        if !is_whole {
            tracing::warn!(
                "{FILE_NAME} in the data folder holds something else than its hash says; it is not used"
            );
        }
        is_whole.then_some(read)
    }

    /// Keeps it, whole or not at all.
    ///
    /// # Errors
    /// [`DataError`] if it cannot be written.
    pub(crate) fn write(&self, data: &DataDir) -> Result<(), DataError> {
        // It is made of strings and numbers.
        let text = serde_json::to_string(self).unwrap_or_default();
        data.write_private(FILE_NAME, text.as_bytes())
    }
}

/// What a gateway starts with.
pub(crate) struct Beginning {
    pub(crate) loaded: Loaded,
    /// The revision it is, if it ran before.
    pub(crate) before: Option<RevisionFacts>,
    /// What the file holds, if it can be used.
    pub(crate) file: Option<BundleHash>,
    /// Why the file is not what is started with, if it is broken.
    pub(crate) refused_file: Option<String>,
}

/// Chooses what to start with: whichever changed last, the file or what was applied; and what ran last if the file is broken.
///
/// # Errors
/// What is wrong with the file, if nothing else can be used.
pub(crate) fn begin(source: &dyn Source, data: Option<&DataDir>) -> Result<Beginning, ConfigError> {
    let last = data.and_then(LastGood::read);
    match (source.read(), last) {
        (Ok(loaded), None) => Ok(of_file(loaded)),
        (Ok(loaded), Some(last)) => {
            let file = loaded.bundle.hash();
            if file == last.revision.hash {
                return Ok(Beginning { before: Some(last.revision), ..of_file(loaded) });
            }
            if last.file != Some(file) {
                return Ok(of_file(loaded));
            }
            match source.take(last.bundle) {
                Ok(applied) => Ok(Beginning {
                    loaded: applied,
                    before: Some(last.revision),
                    file: Some(file),
                    refused_file: None,
                }),
                Err(error) => {
                    let revision = last.revision.name();
                    tracing::error!(%revision, %error, "what was applied last cannot be used; the file is");
                    Ok(of_file(loaded))
                }
            }
        }
        (Err(refusal), None) => Err(refusal),
        (Err(refusal), Some(last)) => {
            let Ok(loaded) = source.take(last.bundle) else { return Err(refusal) };
            let (before, refused_file) = (Some(last.revision), Some(refusal.to_string()));
            Ok(Beginning { loaded, before, file: last.file, refused_file })
        }
    }
}

fn of_file(loaded: Loaded) -> Beginning {
    let file = Some(loaded.bundle.hash());
    Beginning { loaded, before: None, file, refused_file: None }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use voxgate_signaling::admin::revisions::Origin;

    use super::*;
    use crate::config::{Text, from_bundle};

    /// A file that holds this text, if there is one.
    struct File(&'static str);

    impl Source for File {
        fn read(&self) -> Result<Loaded, ConfigError> {
            self.take(bundle(self.0))
        }

        fn data_dir(&self) -> PathBuf {
            PathBuf::new()
        }

        fn take(&self, bundle: Bundle) -> Result<Loaded, ConfigError> {
            let read = |path: &std::path::Path| from_bundle(&bundle, path);
            Text { name: "f", text: bundle.configuration(), read: &read }.load(|_| {}, &|_| None)
        }
    }

    const OLD: &str = "limits: { sessions: 1 }";
    const APPLIED: &str = "limits: { sessions: 2 }";
    const NEW: &str = "limits: { sessions: 3 }";
    const BROKEN: &str = "limits: { sesions: 4 }";

    fn bundle(text: &str) -> Bundle {
        Bundle::new(text.to_owned(), [].into()).unwrap()
    }

    fn last(text: &str, file: &str) -> LastGood {
        let (hash, made_by) = (bundle(text).hash(), "somebody".to_owned());
        let revision = RevisionFacts { number: 7, hash, made_at_unix_ms: 1, made_by, origin: Origin::Apply };
        LastGood { revision, file: Some(bundle(file).hash()), bundle: bundle(text) }
    }

    fn folder(name: &str) -> DataDir {
        let root = std::env::temp_dir().join(format!("voxgate-last-good-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        DataDir::open(&root).unwrap()
    }

    fn begun(file: &'static str, data: &DataDir) -> (u32, Option<u64>, bool) {
        let beginning = begin(&File(file), Some(data)).unwrap();
        let number = beginning.before.map(|before| before.number);
        (beginning.loaded.checked.limits.sessions, number, beginning.refused_file.is_some())
    }

    #[test]
    fn whichever_changed_last_is_started_with() {
        let data = folder("choice");
        assert_eq!(begun(OLD, &data), (1, None, false), "there is nothing but the file");
        last(APPLIED, OLD).write(&data).unwrap();
        assert_eq!(begun(OLD, &data), (2, Some(7), false), "it was applied since the file was written");
        assert_eq!(begun(NEW, &data), (3, None, false), "the file is newer");
        assert_eq!(begun(APPLIED, &data), (2, Some(7), false), "the file is what ran");
    }

    #[test]
    fn the_last_good_one_runs_if_the_file_is_broken_and_nothing_does_without_one() {
        let data = folder("broken");
        assert!(begin(&File(BROKEN), Some(&data)).is_err() && begin(&File(BROKEN), None).is_err());
        last(APPLIED, OLD).write(&data).unwrap();
        assert_eq!(begun(BROKEN, &data), (2, Some(7), true));
    }

    #[test]
    fn what_was_damaged_or_changed_by_hand_is_not_started_with() {
        let data = folder("damaged");
        let changed = LastGood { bundle: bundle(NEW), ..last(APPLIED, OLD) };
        changed.write(&data).unwrap();
        assert_eq!(begun(OLD, &data), (1, None, false));
        data.write_private(FILE_NAME, b"{").unwrap();
        assert_eq!(begun(OLD, &data), (1, None, false));
        // What ran once and cannot be used any more gives way to the file.
        last(BROKEN, OLD).write(&data).unwrap();
        assert_eq!(begun(OLD, &data), (1, None, false));
    }
}
