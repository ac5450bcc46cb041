//! The startup configuration: file and `SLUICE_` variables to checked [`Settings`]. [boot]
//!
//! ```text
//! file -> raw (one tree) -> interpolate ${NAME} -> env (SLUICE_ overrides) -> checked (Settings)
//! ```
//!
//! Nothing stops at the first problem: the report names them all, in the order of the document.
//! Nothing in here is reloaded; a change needs a restart.

mod checked;
mod env;
mod field;
mod interpolate;
mod keys;
mod problem;
mod raw;
pub mod store;
mod unsupported;

use std::collections::BTreeMap;
use std::path::Path;

pub use config_sync::secret::Secret;
use config_sync::tree::{Problem, Problems, Value};

pub use checked::*;
pub use problem::LoadError;

use field::Context;

/// Reads the startup file at `path` with the environment `env` on top of it.
///
/// Precedence, low to high: defaults, file, environment. Also reads what the file refers to, as far
/// as it can be checked: PEM files, and the names of variables in the resources file. Returns the
/// settings and what to warn about once at startup.
///
/// # Errors
///
/// [`LoadError`], whose `Display` is the report for the operator. It holds no value of the file.
///
/// # Source
///
/// config.md §1–4, §10, §13–14.
pub fn load(
    path: &Path,
    env: impl Iterator<Item = (String, String)>,
) -> Result<(Settings, Vec<String>), LoadError> {
    let variables: BTreeMap<String, String> = env.collect();
    let tree = raw::read(path)?;
    check(path, tree, &variables)
}

/// The environment of this process, without variables that are not UTF-8.
pub fn process_env() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
}

fn check(
    path: &Path,
    mut tree: Value,
    variables: &BTreeMap<String, String>,
) -> Result<(Settings, Vec<String>), LoadError> {
    let problems = Problems::default();
    let context = Context::new(variables);
    raw::expand_lists(&mut tree, &problems);
    let overrides = merge(&mut tree, variables, &problems);
    let settings = checked::settings(&tree, &problems, &context);
    unsupported::check(&tree, &settings, &problems, &context);
    if !overrides.ignored.is_empty() {
        let names = overrides.ignored.join(", ");
        context.warn(format!(
            "no key of the configuration belongs to: {names}; ignored"
        ));
    }
    if problems.is_empty() {
        return Ok((settings, context.into_warnings()));
    }
    let with_origin = |problem: Problem| match overrides.origin(&problem.path) {
        Some(variable) => Problem {
            message: format!("{} (set by {variable})", problem.message),
            ..problem
        },
        None => problem,
    };
    let problems = problems.into_vec().into_iter().map(with_origin).collect();
    Err(problem::report(path, &tree, problems))
}

/// Interpolates the file and puts the environment on top; what is overridden needs no variable.
fn merge(
    tree: &mut Value,
    variables: &BTreeMap<String, String>,
    problems: &Problems,
) -> env::Overrides {
    let interpolate::Found {
        names: mut others,
        problems: unset,
    } = interpolate::interpolate(tree, variables);
    let text_of = |pointer: &str, variable: &str| {
        let overridden = variables.get(variable).map(String::as_str);
        let text = overridden.or_else(|| tree.pointer(pointer)?.as_str());
        text.map(str::to_owned)
    };
    others.extend(text_of("/etcd/password_env", "SLUICE_ETCD__PASSWORD_ENV"));
    if let Some(file) = text_of("/resources_file", "SLUICE_RESOURCES_FILE") {
        others.extend(env::names_in_resources(Path::new(&file)));
    }
    let overrides = env::overrides(variables, &others, problems);
    for problem in unset {
        // An unknown key is reported as such, whatever it holds.
        if overrides.origin(&problem.path).is_none() && keys::is_known(&problem.path) {
            problems.push(problem.path, problem.message);
        }
    }
    overrides.apply(tree);
    overrides
}

#[cfg(test)]
mod tests;
