//! Everything wrong with one load, in one text. [pure]

use std::fmt;
use std::path::{Path, PathBuf};

/// What kind of failure a load ended with, as `/status/config` names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LoadErrorKind {
    /// The source could not be read; nothing is known about its content.
    Fetch,
    /// Not one YAML document.
    NonJson,
    /// Not of the shape of a resources file.
    ParseFailed,
    /// An entry breaks a rule of its kind, or entries do not fit together.
    SchemaFailed,
}

impl LoadErrorKind {
    /// The name in status answers and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::NonJson => "non_json",
            Self::ParseFailed => "parse_failed",
            Self::SchemaFailed => "schema_failed",
        }
    }
}

/// Why a file was refused as a whole. Its text is the full report; it holds no value of a secret.
#[derive(Clone, Debug)]
pub struct LoadError {
    /// The worst kind among the problems.
    pub kind: LoadErrorKind,
    path: PathBuf,
    problems: Vec<String>,
}

impl LoadError {
    /// A load of `path` that failed with `problems`, each with its scope.
    pub(super) fn new(kind: LoadErrorKind, path: &Path, problems: Vec<String>) -> Self {
        Self {
            kind,
            path: path.to_owned(),
            problems,
        }
    }

    /// A load that failed with one problem of the file itself.
    pub(super) fn of_file(kind: LoadErrorKind, path: &Path, message: impl fmt::Display) -> Self {
        Self::new(kind, path, vec![file_problem(message)])
    }

    /// Each problem with its scope, in the order of the file.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

/// A problem of the file itself.
pub(super) fn file_problem(message: impl fmt::Display) -> String {
    format!("(file): {message}")
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, count) = (self.path.display(), self.problems.len());
        write!(f, "resources file {path}: {count} error(s):")?;
        self.problems
            .iter()
            .try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl std::error::Error for LoadError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_counted_and_listed() {
        let path = Path::new("/etc/sluice/resources.yaml");
        let error = LoadError::of_file(LoadErrorKind::Fetch, path, "cannot be read");
        assert_eq!(
            error.to_string(),
            "resources file /etc/sluice/resources.yaml: 1 error(s):\n  - (file): cannot be read"
        );
        assert_eq!(error.kind.label(), "fetch");
    }
}
