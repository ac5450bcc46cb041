//! Why a startup file was not taken: one report that names everything. [boot]

use std::fmt;
use std::path::{Path, PathBuf};

use config_sync::tree::{Problem, Value};

/// Why [`super::load`] gave no settings. `Display` is the whole report, over several lines.
#[derive(Debug)]
pub enum LoadError {
    /// The file could not be read.
    Unreadable(PathBuf, std::io::Error),
    /// The name ends in none of `.yaml`, `.yml`, `.toml`, `.json`.
    UnknownFormat(PathBuf),
    /// The text is no document of its format. Holds where and what, but no text of the file.
    Syntax(PathBuf, String),
    /// Every problem of a readable document, in the order of the document.
    Invalid(PathBuf, Vec<Problem>),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => {
                write!(
                    f,
                    "configuration {}: cannot be read: {error}",
                    path.display()
                )
            }
            Self::UnknownFormat(path) => write!(
                f,
                "configuration {}: the name must end in .yaml, .yml, .toml or .json",
                path.display()
            ),
            Self::Syntax(path, what) => write!(f, "configuration {}: {what}", path.display()),
            Self::Invalid(path, problems) => {
                let count = problems.len();
                write!(f, "configuration {}: {count} error(s):", path.display())?;
                problems
                    .iter()
                    .try_for_each(|problem| write!(f, "\n  - {problem}"))
            }
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(_, error) => Some(error),
            Self::UnknownFormat(_) | Self::Syntax(..) | Self::Invalid(..) => None,
        }
    }
}

/// The report on `problems`: in the order of `tree`, one problem for a path.
///
/// The first word about a path is the cause; what follows is what the cause led to.
pub(super) fn report(path: &Path, tree: &Value, mut problems: Vec<Problem>) -> LoadError {
    problems.sort_by_cached_key(|problem| position(tree, &problem.path));
    let mut seen = std::collections::HashSet::new();
    problems.retain(|problem| seen.insert(problem.path.clone()));
    LoadError::Invalid(path.to_owned(), problems)
}

/// Where `path` stands in `tree`: the position at each level. What is not there comes last.
fn position(tree: &Value, path: &str) -> Vec<usize> {
    let mut at = Some(tree);
    let mut position = Vec::new();
    for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
        let found = match at {
            Some(Value::Object(map)) => map.iter().position(|(key, _)| key == step),
            Some(Value::Array(_)) => step.trim_end_matches(']').parse().ok(),
            _ => None,
        };
        position.push(found.unwrap_or(usize::MAX));
        at = match (at, found) {
            (Some(Value::Object(map)), Some(_)) => map.get(step),
            (Some(Value::Array(items)), Some(index)) => items.get(index),
            _ => None,
        };
    }
    position
}

#[cfg(test)]
mod tests {
    use super::*;
    use config_sync::tree::ProblemKind;
    use serde_json::json;

    fn problem(path: &str, message: &str) -> Problem {
        Problem {
            path: path.into(),
            message: message.into(),
            kind: ProblemKind::Schema,
        }
    }

    #[test]
    fn problems_stand_in_document_order_and_absent_keys_last() {
        let tree = json!({"b": {"y": [{"m": 1}, {"m": 1}], "x": 1}, "a": 1});
        let paths = [
            "c", "a", "b.z", "b.x", "b.y[1].m", "b.y[0].n", "b.y[0].m", "b", "",
        ];
        let problems = paths.map(|path| problem(path, "is wrong")).to_vec();
        let LoadError::Invalid(_, sorted) = report(Path::new("f"), &tree, problems) else {
            panic!("problems make it invalid");
        };
        let sorted: Vec<_> = sorted.iter().map(|problem| problem.path.as_str()).collect();
        let want = [
            "", "b", "b.y[0].m", "b.y[0].n", "b.y[1].m", "b.x", "b.z", "a", "c",
        ];
        assert_eq!(sorted, want);
    }

    #[test]
    fn the_first_problem_of_a_path_is_the_one_reported() {
        let problems = vec![
            problem("a", "not set"),
            problem("b", "bad"),
            problem("a", "required"),
        ];
        let report = report(Path::new("/etc/x.yaml"), &json!({"b": 1}), problems);
        let want = "configuration /etc/x.yaml: 2 error(s):\n  - b: bad\n  - a: not set";
        assert_eq!(report.to_string(), want);
    }
}
