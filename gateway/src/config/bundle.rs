//! A configuration with the files it names, read from the disk or handed over by somebody who applies it.

use std::path::{Path, PathBuf};

use voxgate_policy::bundle::Bundle;

use super::checked::check_with;
use super::faults::{Understood, understand};
use super::place::{Part, Place};
use super::written::{Provider, Written};
use super::{Checked, ConfigError};

/// A configuration that was read, and what came of it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) bundle: Bundle,
    /// What it means with every default, as JSON: what two configurations are compared by.
    pub(crate) meaning: serde_json::Value,
    pub(crate) checked: Checked,
}

/// Where a configuration comes from.
pub(crate) trait Source: Send + Sync {
    /// Reads the file the gateway was started with, and what it names.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    fn read(&self) -> Result<Loaded, ConfigError>;

    /// The data folder, as far as it can be told of a file that may be broken.
    fn data_dir(&self) -> PathBuf;

    /// Takes a bundle instead; what the command line says still wins.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    fn take(&self, bundle: Bundle) -> Result<Loaded, ConfigError>;
}

/// The text of a file a configuration names, or why there is none.
pub(crate) type ReadFile<'a> = &'a dyn Fn(&Path) -> Result<String, String>;

/// Reads from the disk.
pub(crate) fn from_disk(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

/// Reads from a bundle.
pub(crate) fn from_bundle(bundle: &Bundle, path: &Path) -> Result<String, String> {
    let text = bundle.file(&path.to_string_lossy());
    text.map(str::to_owned).ok_or_else(|| "is not part of the bundle".to_owned())
}

/// The files that are part of a bundle. What is secret, or too large to be read by people, is not: keys and models stay
/// where they are.
fn named_files(written: &Written) -> impl Iterator<Item = &PathBuf> {
    written.policies.iter().chain(&written.money.prices)
}

/// A file and what it names, as a bundle. It is not checked: what it names besides, such as a variable with a key, is where the
/// gateway is.
///
/// # Errors
/// [`ConfigError`] if it cannot be read or is no configuration.
pub(crate) fn read_bundle(path: &Path) -> Result<Bundle, ConfigError> {
    let text = super::text_of(path)?;
    let text = Text { name: &path.display().to_string(), text: &text, read: &from_disk };
    let Understood { faults, rest } = understand(text.text);
    match rest.filter(|_| faults.is_empty()) {
        Some(written) => text.gather(&written),
        None => {
            let problems = faults.iter().map(|fault| text.tell(fault.place, &fault.message));
            Err(ConfigError::Problems(problems.collect()))
        }
    }
}

/// Whether a bundle could be put in force where no variable is set. What it names outside of itself is not opened, or a fuzzer would
/// open what it likes.
pub(crate) fn is_usable(bundle: &Bundle) -> bool {
    let opens_files = |written: &Written| {
        let opens =
            |provider: &Provider| matches!(provider, Provider::OpenaiRealtime { api_key_file: Some(_), .. });
        written.conversation.end_of_turn.is_some()
            || written.store.url_file.is_some()
            || written.control.is_some()
            || written.providers.values().any(opens)
    };
    let rest = understand(bundle.configuration()).rest;
    let read = |path: &Path| from_bundle(bundle, path);
    let text = Text { name: "voxgate.yaml", text: bundle.configuration(), read: &read };
    rest.is_some_and(|written| !opens_files(&written) && text.load(|_| {}, &|_| None).is_ok())
}

/// The text of a configuration that is to be understood.
pub(crate) struct Text<'a> {
    /// The file it is from, as problems name it.
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
    /// Where the files it names are read.
    pub(crate) read: ReadFile<'a>,
}

impl Text<'_> {
    /// Understands and checks it, with what the command line says in it.
    ///
    /// # Errors
    /// [`ConfigError::Problems`] with everything that is wrong, each with file, line and column as far as it has them.
    pub(crate) fn load(
        &self,
        command_line: impl FnOnce(&mut Written),
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Loaded, ConfigError> {
        let Understood { faults, rest } = understand(self.text);
        let mut problems: Vec<String> =
            faults.iter().map(|fault| self.tell(fault.place, &fault.message)).collect();
        let Some(mut written) = rest else { return Err(ConfigError::Problems(problems)) };
        command_line(&mut written);
        let checked = match check_with(&written, environment, self.read) {
            Ok(checked) => Some(checked),
            Err(error) => {
                let parts = Part::read(self.text);
                let found = error.into_problems();
                problems.extend(found.iter().map(|problem| self.locate(problem, &written, parts.as_ref())));
                None
            }
        };
        let Some(checked) = checked.filter(|_| problems.is_empty()) else {
            return Err(ConfigError::Problems(problems));
        };
        let meaning =
            serde_json::to_value(&written).map_err(|error| ConfigError::Problems(vec![error.to_string()]))?;
        Ok(Loaded { bundle: self.gather(&written)?, meaning, checked })
    }

    /// The text with the files it names.
    fn gather(&self, written: &Written) -> Result<Bundle, ConfigError> {
        let files = named_files(written).filter_map(|path| {
            let text = (self.read)(path).ok()?;
            Some((path.to_string_lossy().into_owned(), text))
        });
        Ok(Bundle::new(self.text.to_owned(), files.collect())?)
    }

    fn locate(&self, problem: &str, written: &Written, parts: Option<&Part>) -> String {
        // Problems of policies name their own file and line.
        let names_itself = |path: &PathBuf| problem.starts_with(&format!("{}:", path.display()));
        if named_files(written).any(names_itself) {
            return problem.to_owned();
        }
        self.tell(parts.and_then(|parts| parts.find(problem)), problem)
    }

    fn tell(&self, place: Option<Place>, message: &str) -> String {
        match (self.name, place) {
            ("", _) => message.to_owned(),
            (name, Some(place)) => format!("{name}:{place}: {message}"),
            (name, None) => format!("{name}: {message}"),
        }
    }
}
