//! The data folder: the hash of the first key and voxgate's own CA.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;
use voxgate_policy::key::KeyHash;

/// What can go wrong with the data folder.
#[derive(Debug, Error)]
pub(crate) enum DataError {
    /// A file or folder cannot be made or read.
    #[error("cannot use the data folder: {path}: {source}; choose another one with --data-dir")]
    Unusable {
        /// Which file or folder.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The stored hash is damaged.
    #[error("{path} is damaged; delete it and the next start makes a new key")]
    Damaged {
        /// Which file.
        path: String,
    },
    /// The system gave no random numbers.
    #[error("the operating system gave no random numbers")]
    Random,
}

/// The data folder of one process.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
}

/// The first key: its hash, and the key itself if it was made just now.
#[derive(Debug)]
pub(crate) struct FirstKey {
    pub(crate) hash: KeyHash,
    pub(crate) fresh: Option<String>,
}

impl DataDir {
    /// Opens the folder. One that is made here may be read by its owner only; one that exists keeps its permissions, for
    /// it may hold other things.
    pub(crate) fn open(root: &Path) -> Result<Self, DataError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(root);
        made.map_err(|source| unusable(root, source))?;
        Ok(Self { root: root.to_owned() })
    }

    /// The folder, if there is one.
    pub(crate) fn open_existing(root: &Path) -> Option<Self> {
        root.is_dir().then(|| Self { root: root.to_owned() })
    }

    /// A file of the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The first key. `chosen` replaces the generated one for this start and is not stored.
    pub(crate) fn first_key(&self, chosen: Option<&str>) -> Result<FirstKey, DataError> {
        if let Some(chosen) = chosen {
            return Ok(FirstKey { hash: KeyHash::of(chosen), fresh: None });
        }
        let path = self.path("admin-key.sha256");
        if path.exists() {
            let text = fs::read_to_string(&path).map_err(|source| unusable(&path, source))?;
            let hash = KeyHash::from_hex(&text)
                .map_err(|_| DataError::Damaged { path: path.display().to_string() })?;
            return Ok(FirstKey { hash, fresh: None });
        }
        let key = new_api_key().ok_or(DataError::Random)?;
        let hash = KeyHash::of(&key);
        self.write_private("admin-key.sha256", hash.to_hex().as_bytes())?;
        Ok(FirstKey { hash, fresh: Some(key) })
    }

    /// Writes a file only its owner may read, whole or not at all.
    pub(crate) fn write_private(&self, name: &str, content: &[u8]) -> Result<(), DataError> {
        let path = self.path(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|source| unusable(folder, source))?;
        }
        let draft = path.with_extension("new");
        let write = || {
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        write().map_err(|source| unusable(&path, source))
    }

    /// Reads a file of the folder; `None` if there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, DataError> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(unusable(&path, source)),
        }
    }
}

/// A fresh API key; `None` if the operating system gives no random numbers.
pub(crate) fn new_api_key() -> Option<String> {
    random_hex::<24>().map(|random| format!("vg_{random}"))
}

/// So many random bytes in hexadecimal; `None` if the operating system gives none.
pub(crate) fn random_hex<const BYTES: usize>() -> Option<String> {
    let mut random = [0_u8; BYTES];
    getrandom::fill(&mut random).ok()?;
    Some(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn unusable(path: &Path, source: std::io::Error) -> DataError {
    DataError::Unusable { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("voxgate-data-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn the_key_is_shown_once_and_stored_only_as_a_hash() {
        let root = folder("key");
        let data = DataDir::open(&root).unwrap();
        let first = data.first_key(None).unwrap();
        let key = first.fresh.unwrap();
        let stored = fs::read_to_string(root.join("admin-key.sha256")).unwrap();
        assert!(!stored.contains(&key));
        let again = data.first_key(None).unwrap();
        assert!(again.fresh.is_none());
        assert_eq!(again.hash, KeyHash::of(&key));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_chosen_key_replaces_the_generated_one_without_being_stored() {
        let root = folder("chosen");
        let data = DataDir::open(&root).unwrap();
        assert_eq!(data.first_key(Some("vg_mine")).unwrap().hash, KeyHash::of("vg_mine"));
        assert!(!root.join("admin-key.sha256").exists());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_folder_that_exists_keeps_its_permissions() {
        let root = folder("kept");
        fs::create_dir(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        DataDir::open(&root).unwrap();
        assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o755);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn private_files_are_readable_by_their_owner_only() {
        let root = folder("mode");
        let data = DataDir::open(&root).unwrap();
        data.write_private("tls/key.pem", b"x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&root.join("tls/key.pem")), 0o600);
        assert_eq!(mode(&root), 0o700);
        fs::remove_dir_all(root).unwrap();
    }
}
