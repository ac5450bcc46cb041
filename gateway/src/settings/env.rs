//! `SLUICE_` variables: which key each one sets, and to what. [boot]
//!
//! A variable is read as its key wants (`keys`), so a password of digits stays a string and a list
//! of one number is a list.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use config_sync::tree::{Map, Problems, Value};

use super::interpolate::is_name;
use super::keys::{Shape, names_in, shape_of};
use super::raw;

/// What the name of every override starts with.
const PREFIX: &str = "SLUICE_";
/// What stands between the parts of a path.
const SEPARATOR: &str = "__";
/// Names that mean something else.
const RESERVED: &[&str] = &[
    "SLUICE_CONFIG",
    "SLUICE_CONFIG_PATH",
    "SLUICE_LOG",
    "SLUICE_LISTEN_FDS",
    "SLUICE_READY_FD",
    "SLUICE_COUNTS_FD",
    "SLUICE_DP_BUDGET_STALE_MAX_SECONDS",
    "SLUICE_MASTER_KEYS",
];
/// The control plane's own variables.
const RESERVED_PREFIX: &str = "SLUICE_CONTROL_";

/// What the environment says about the settings.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    /// Path to value, and the variable that set it.
    pub(super) values: BTreeMap<String, (Value, String)>,
    /// Variables that look like ours and set nothing.
    pub(super) ignored: Vec<String>,
}

impl Overrides {
    /// The variable that set `path` or what it is part of.
    pub(super) fn origin(&self, path: &str) -> Option<&str> {
        self.values.iter().find_map(|(key, (_, variable))| {
            let rest = path.strip_prefix(key.as_str())?;
            let within = rest.is_empty() || rest.starts_with(['.', '[']);
            within.then_some(variable.as_str())
        })
    }

    /// Puts the values into `tree`. A block that the file wrote as something else stays as it is,
    /// and is reported as such.
    pub(super) fn apply(&self, tree: &mut Value) {
        for (path, (value, _)) in &self.values {
            if let Some(slot) = slot(tree, path) {
                *slot = value.clone();
            }
        }
    }
}

/// Reads all overrides. `others` are names that the files use for purposes of their own.
pub(super) fn overrides(
    variables: &BTreeMap<String, String>,
    others: &BTreeSet<String>,
    problems: &Problems,
) -> Overrides {
    let mut found = Overrides::default();
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        if is_reserved(name) || others.contains(name) {
            continue;
        }
        let path = path_of(rest);
        let Some(shape) = shape_of(&path) else {
            if rest.contains(SEPARATOR) {
                problems.push(name, unknown(&path));
            } else {
                found.ignored.push(name.clone());
            }
            continue;
        };
        if found.values.contains_key(&path) {
            problems.push(name, format!("sets `{path}` once more, in other case"));
            continue;
        }
        let value = convert(shape, text).unwrap_or_else(|message| {
            problems.push(path.clone(), message);
            Value::Null
        });
        found.values.insert(path, (value, name.clone()));
    }
    found
}

/// `text` as a value of `shape`; the message says what was wanted and never what was given.
pub(super) fn convert(shape: Shape, text: &str) -> Result<Value, String> {
    let items = |text: &str| -> Vec<String> {
        let text = text.trim();
        if text.is_empty() {
            return Vec::new();
        }
        text.split(',').map(|item| item.trim().to_owned()).collect()
    };
    match shape {
        Shape::Text => Ok(text.into()),
        Shape::Texts => Ok(items(text).into()),
        Shape::Objects => raw::objects(text),
        Shape::Numbers => items(text).iter().map(|item| number(item)).collect(),
        Shape::Number => number(text),
        Shape::Whole => match text.trim().parse::<u64>() {
            Ok(number) => Ok(number.into()),
            Err(_) => Err("must be a whole number, 0 or more".into()),
        },
        Shape::Bool => match text.trim().to_ascii_lowercase().as_str() {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err("must be true or false".into()),
        },
    }
}

/// Whether a value of `shape` is a single one.
pub(super) fn is_scalar(shape: Shape) -> bool {
    match shape {
        Shape::Text | Shape::Bool | Shape::Whole | Shape::Number => true,
        Shape::Texts | Shape::Numbers | Shape::Objects => false,
    }
}

/// The names of variables that the resources file at `path` refers to, by `${NAME}` or `key_env`.
///
/// Looks at the text only: a file that cannot be read refers to nothing, and is reported when it
/// is loaded.
pub(super) fn names_in_resources(path: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let referred = text.split("${").skip(1).filter_map(|rest| {
        let (name, _) = rest.split_once('}')?;
        Some(name)
    });
    let separators = ['"', '\'', ' ', ':', '='];
    let by_key = text.split("key_env").skip(1).filter_map(|rest| {
        rest.trim_start_matches(separators)
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .next()
    });
    referred
        .chain(by_key)
        .filter(|name| is_name(name))
        .map(str::to_owned)
        .collect()
}

fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || name.starts_with(RESERVED_PREFIX)
}

fn path_of(rest: &str) -> String {
    rest.to_ascii_lowercase().replace(SEPARATOR, ".")
}

fn unknown(path: &str) -> String {
    let mut block = path;
    let known = loop {
        block = block.rsplit_once('.').map_or("", |(parent, _)| parent);
        let names = names_in(block);
        if !names.is_empty() {
            break names.join(", ");
        }
    };
    let place = if block.is_empty() { "the top" } else { block };
    format!("there is no key `{path}` (known at {place}: {known})")
}

fn number(text: &str) -> Result<Value, String> {
    let number = text
        .trim()
        .parse()
        .ok()
        .and_then(serde_json::Number::from_f64);
    number
        .map(Value::Number)
        .ok_or_else(|| "must be a number".into())
}

fn slot<'t>(tree: &'t mut Value, path: &str) -> Option<&'t mut Value> {
    path.split('.').try_fold(tree, |at, step| {
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
        Some(at.as_object_mut()?.entry(step).or_insert(Value::Null))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(list: &[(&str, &str)], others: &[&str]) -> (Overrides, Vec<String>) {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        let variables = list.iter().map(owned).collect();
        let others = others.iter().map(|name| (*name).to_owned()).collect();
        let problems = Problems::default();
        let found = overrides(&variables, &others, &problems);
        let problems = problems.into_vec();
        (found, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_value_is_read_as_its_key_wants() {
        let cases = [
            ("SLUICE_PROXY__ADDR", "0.0.0.0:3000", json!("0.0.0.0:3000")),
            ("SLUICE_proxy__real_IP__Recursive", "TRUE", json!(true)),
            ("SLUICE_PROXY__PIN_CPUS", "False", json!(false)),
            ("SLUICE_PROXY__WORKERS", " 8 ", json!(8)),
            ("SLUICE_RESOURCES_FILE", "", json!("")),
            ("SLUICE_CACHE__REDIS__PASSWORD", "0123", json!("0123")),
            ("SLUICE_CACHE__REDIS__PASSWORD", "1e5", json!("1e5")),
            ("SLUICE_CACHE__REDIS__PASSWORD", "TRUE", json!("TRUE")),
            ("SLUICE_CACHE__REDIS__PASSWORD", " a,b ", json!(" a,b ")),
            ("SLUICE_CACHE__REDIS__PASSWORD", "${A}", json!("${A}")),
            ("SLUICE_ADMIN__ADMIN_KEYS", "12345", json!(["12345"])),
            (
                "SLUICE_ADMIN__ADMIN_KEYS",
                "a, b ,c",
                json!(["a", "b", "c"]),
            ),
            ("SLUICE_ADMIN__ADMIN_KEYS", "a,,b", json!(["a", "", "b"])),
            ("SLUICE_ADMIN__ADMIN_KEYS", " ", json!([])),
            (
                "SLUICE_CACHE__REDIS__NODES",
                "redis://a, redis://b",
                json!(["redis://a", "redis://b"]),
            ),
            (
                "SLUICE_RATELIMIT__REDIS__SENTINELS",
                "s1,s2",
                json!(["s1", "s2"]),
            ),
            (
                "SLUICE_OBSERVABILITY__METRICS__BUCKETS__REQUEST_TTFT",
                "1",
                json!([1.0]),
            ),
            (
                "SLUICE_OBSERVABILITY__METRICS__BUCKETS__A2A_TTFB",
                ".5, 1",
                json!([0.5, 1.0]),
            ),
            (
                "SLUICE_OBSERVABILITY__TRACING__OTLP__SAMPLE_RATIO",
                "1",
                json!(1.0),
            ),
            (
                "SLUICE_PROXY__URL_REWRITES",
                r#"[{"match":"a"}]"#,
                json!([{"match": "a"}]),
            ),
            ("SLUICE_PROXY__URL_REWRITES", " ", json!([])),
        ];
        for (name, text, want) in cases {
            let (found, problems) = read(&[(name, text)], &[]);
            assert_eq!(problems, [""; 0], "{name}={text}");
            let values: Vec<_> = found.values.values().collect();
            assert_eq!(values, [&(want, name.to_owned())], "{name}={text}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_a_problem_that_does_not_quote_it() {
        let cases = [
            (
                "SLUICE_PROXY__WORKERS",
                "secret",
                "proxy.workers: must be a whole number, 0 or more",
            ),
            (
                "SLUICE_PROXY__WORKERS",
                "",
                "proxy.workers: must be a whole number, 0 or more",
            ),
            (
                "SLUICE_PROXY__WORKERS",
                "-1",
                "proxy.workers: must be a whole number, 0 or more",
            ),
            (
                "SLUICE_PROXY__WORKERS",
                "1.0",
                "proxy.workers: must be a whole number, 0 or more",
            ),
            (
                "SLUICE_PROXY__PIN_CPUS",
                "yes",
                "proxy.pin_cpus: must be true or false",
            ),
            (
                "SLUICE_OBSERVABILITY__METRICS__BUCKETS__REQUEST_TTFT",
                "1,inf",
                "observability.metrics.buckets.request_ttft: must be a number",
            ),
            (
                "SLUICE_PROXY__URL_REWRITES",
                "{}",
                "proxy.url_rewrites: must be a JSON array, not a mapping",
            ),
        ];
        for (name, text, want) in cases {
            assert_eq!(read(&[(name, text)], &[]).1, [want], "{name}={text}");
        }
    }

    #[test]
    fn reserved_names_are_never_overrides() {
        let list = [
            ("SLUICE_CONFIG", "c.yaml"),
            ("SLUICE_CONFIG_PATH", "c.yaml"),
            ("SLUICE_LOG", "debug"),
            ("SLUICE_CONTROL_DB__URL", "postgres://"),
            ("SLUICE_DP_BUDGET_STALE_MAX_SECONDS", "60"),
            ("SLUICE_ETCD__PASSWORD", "pw"),
            ("SLUICE_BOT__KEY", "sk"),
            ("SLUICE_PROXY__ADDR", "used by the resources file"),
            ("sluice_proxy__workers", "other prefix"),
            ("PATH", "/bin"),
        ];
        let others = [
            "SLUICE_ETCD__PASSWORD",
            "SLUICE_BOT__KEY",
            "SLUICE_PROXY__ADDR",
        ];
        let (found, problems) = read(&list, &others);
        assert!(
            found.values.is_empty() && found.ignored.is_empty(),
            "{found:?}"
        );
        assert_eq!(problems, [""; 0]);
    }

    #[test]
    fn unknown_names_stop_the_boot_only_with_a_separator() {
        let list = [
            ("SLUICE_PORT", "tcp://10.0.0.1:80"),
            ("SLUICE_PORT_3000_TCP", "x"),
            ("SLUICE_PROXY", "x"),
            ("SLUICE_SERVICE_HOST", "x"),
        ];
        let (found, problems) = read(&list, &[]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(found.ignored, list.map(|(name, _)| name));
        let (_, problems) = read(
            &[
                ("SLUICE_SHUTDOWN__MIN", "1"),
                ("SLUICE_SHUTDOWN__A__B", "1"),
                ("SLUICE_SECRETS__X", "1"),
                ("SLUICE_NO__X", "1"),
            ],
            &[],
        );
        let known = "(known at shutdown: livez_during_drain, max_drain_secs, min_drain_secs)";
        assert_eq!(
            problems[1],
            "SLUICE_SECRETS__X: there is no key `secrets.x` (known at secrets: keyring_file, master_key_files)"
        );
        assert_eq!(
            problems[2],
            format!("SLUICE_SHUTDOWN__A__B: there is no key `shutdown.a.b` {known}")
        );
        assert_eq!(
            problems[3],
            format!("SLUICE_SHUTDOWN__MIN: there is no key `shutdown.min` {known}")
        );
        assert!(
            problems[0].starts_with("SLUICE_NO__X: there is no key `no.x` (known at the top: ")
        );
    }

    #[test]
    fn a_key_set_twice_by_case_is_a_problem() {
        let (_, problems) = read(
            &[("SLUICE_PROXY__ADDR", "a"), ("SLUICE_proxy__addr", "b")],
            &[],
        );
        assert_eq!(
            problems,
            ["SLUICE_proxy__addr: sets `proxy.addr` once more, in other case"]
        );
    }

    #[test]
    fn overrides_replace_and_make_blocks() {
        let (found, _) = read(
            &[
                ("SLUICE_PROXY__ADDR", "b"),
                ("SLUICE_PROXY__REAL_IP__RECURSIVE", "true"),
                ("SLUICE_CACHE__BACKEND", "memory"),
                ("SLUICE_ADMIN__ENABLED", "false"),
            ],
            &[],
        );
        let mut tree = json!({"proxy": {"addr": "a", "workers": 1}, "cache": null, "admin": 3});
        found.apply(&mut tree);
        let want = json!({
            "proxy": {"addr": "b", "workers": 1, "real_ip": {"recursive": true}},
            "cache": {"backend": "memory"},
            "admin": 3,
        });
        assert_eq!(tree, want);
        assert_eq!(found.origin("proxy.addr"), Some("SLUICE_PROXY__ADDR"));
        assert_eq!(found.origin("proxy.addr[0].x"), Some("SLUICE_PROXY__ADDR"));
        assert_eq!(found.origin("proxy.addresses"), None);
    }

    #[test]
    fn the_resources_file_is_searched_for_names() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("r.yaml");
        let text = "a: ${SLUICE_A__KEY}x$${SLUICE_B}\nb: {key_env: SLUICE_C__D}\n\
            c:\n  key_env: \"SLUICE_E\"\n  \"key_env\": 'SLUICE_F'\nd: ${not a name}\n";
        std::fs::write(&path, text).expect("written");
        let names: Vec<_> = names_in_resources(&path).into_iter().collect();
        assert_eq!(
            names,
            [
                "SLUICE_A__KEY",
                "SLUICE_B",
                "SLUICE_C__D",
                "SLUICE_E",
                "SLUICE_F"
            ]
        );
        assert!(names_in_resources(Path::new("/nowhere")).is_empty());
    }
}
