//! The files with policies.

use std::path::PathBuf;

use voxgate_policy::decision::{Authorizer, PolicyFile};

use super::bundle::ReadFile;

/// Reads and checks every file; `None` if there was a problem.
pub(super) fn check(files: &[PathBuf], read: ReadFile<'_>, problems: &mut Vec<String>) -> Option<Authorizer> {
    let before = problems.len();
    let mut texts = Vec::new();
    for file in files {
        match read(file) {
            Ok(text) => texts.push((file.display().to_string(), text)),
            Err(reason) => problems.push(format!("policies: {} {reason}", file.display())),
        }
    }
    let files: Vec<_> = texts.iter().map(|(name, text)| PolicyFile { name, text }).collect();
    // Without the files that cannot be read the default set would be judged, which has no problem.
    match Authorizer::load(&files) {
        Ok(authorizer) => (before == problems.len()).then_some(authorizer),
        Err(found) => {
            problems.extend(found.iter().map(ToString::to_string));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_disk;

    #[test]
    fn the_example_policies_are_valid_and_a_missing_file_is_told() {
        let mut problems = Vec::new();
        let example = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/policies.example.cedar");
        assert!(check(&[example], &from_disk, &mut problems).is_some(), "{problems:#?}");
        assert!(check(&[PathBuf::from("/nowhere/policies.cedar")], &from_disk, &mut problems).is_none());
        assert!(problems[0].contains("/nowhere/policies.cedar"), "{problems:?}");
    }
}
