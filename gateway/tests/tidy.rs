//! What the layout promises: which thread runs a module, what it may import, how it is written.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const MARKS: [&str; 5] = ["[pure]", "[ring]", "[bridge]", "[cold]", "[boot]"];
/// The longest file that can still be read from top to bottom.
const LINES_MAX: usize = 1000;

/// One file of Rust.
struct Source {
    /// Relative to the package, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// Unit tests of the module beside it.
    fn is_tests(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.ends_with("/fixture.rs")
    }

    /// The mark of the module: what the first paragraph of its header ends in.
    fn mark(&self) -> Option<&'static str> {
        let header = self
            .text
            .lines()
            .take_while(|line| line.starts_with("//! "));
        let last = header.last()?;
        MARKS.into_iter().find(|mark| last.ends_with(mark))
    }

    /// Lines of code, with their numbers: no comments, nothing from the unit tests on.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        lines
            .take_while(|(_, line)| *line != "mod tests {")
            .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
    }

    /// Lines of code that name `word`.
    fn naming<'s>(&'s self, word: &'s str) -> impl Iterator<Item = String> + 's {
        self.code()
            .filter(move |(_, line)| has_word(line, word))
            .map(|(number, line)| format!("{}:{number}: {}", self.path, line.trim()))
    }

    fn is_in(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }
}

/// Whether `line` holds `word` with nothing of a name around it.
fn has_word(line: &str, word: &str) -> bool {
    let of_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(of_name) && !line[at + word.len()..].starts_with(of_name)
    })
}

fn read(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for folder in folders {
        read(&root.join(folder), &mut paths);
    }
    paths.sort();
    assert!(paths.len() > 10, "found too little: {paths:?}");
    let source = |path: PathBuf| Source {
        text: std::fs::read_to_string(&path).unwrap(),
        path: path
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned(),
    };
    paths.into_iter().map(source).collect()
}

fn nothing(found: impl IntoIterator<Item = String>, what: &str) {
    let found: Vec<String> = found.into_iter().collect();
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn every_module_says_which_thread_runs_it() {
    let sources = sources(&["src"]);
    let unmarked = sources
        .iter()
        .filter(|source| {
            !source.is_tests() && source.path != "src/lib.rs" && source.mark().is_none()
        })
        .map(|source| source.path.clone());
    nothing(unmarked, "headers without a mark");
    let wrong = sources.iter().filter_map(|source| {
        let want: &[&str] = match source.path.split('/').nth(1)? {
            "cold" => &["[cold]", "[pure]"],
            "boot" => &["[boot]"],
            "bridge" => &["[bridge]"],
            "http" | "endpoint" | "auth" | "route" | "limit" | "provider" | "usage" | "json"
            | "canonical" | "dialect" | "passthrough" => &["[pure]"],
            "sys" => &["[ring]", "[boot]"],
            "relay" => &["[ring]"],
            _ => return None,
        };
        let mark = source.mark()?;
        (!want.contains(&mark)).then(|| format!("{}: {mark}", source.path))
    });
    nothing(wrong, "marks that are not those of the folder");
}

#[test]
fn only_cold_modules_name_tokio_and_its_relatives() {
    let sources = sources(&["src"]);
    // Beside the cold side, the two traits over which `h2` reads and writes; nothing of the runtime.
    let traits = "src/listener/http2/transport.rs";
    let elsewhere = sources
        .iter()
        .filter(|source| !source.is_in(&["src/cold/", traits]));
    let used = sources.iter().filter(|source| source.path == traits);
    let mut used = used.flat_map(|source| source.naming("tokio"));
    let import = "use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};";
    assert!(
        used.all(|line| line.ends_with(import)),
        "more of tokio in {traits}"
    );
    let found = elsewhere.flat_map(|source| {
        let words = ["tokio", "axum", "metrics_exporter_prometheus"].into_iter();
        words.flat_map(|word| source.naming(word))
    });
    nothing(found, "tokio outside cold/");
}

#[test]
fn the_runtime_of_the_workers_is_named_where_it_is_known_to_be() {
    let known = BTreeSet::from([
        "src/listener/client.rs",
        "src/listener/http2/driver.rs",
        "src/listener/http2/stream.rs",
        "src/listener/http2/transport.rs",
        "src/listener/mod.rs",
        "src/relay/begin.rs",
        "src/relay/clock.rs",
        "src/relay/replay.rs",
        "src/relay/stream.rs",
        "src/request/answer.rs",
        "src/request/attempts.rs",
        "src/request/context.rs",
        "src/request/hedge.rs",
        "src/request/job.rs",
        "src/sys/listening.rs",
        "src/sys/socket.rs",
        "src/upstream/attempt.rs",
        "src/upstream/connect.rs",
        "src/upstream/names.rs",
        "src/upstream/pool.rs",
        "src/worker/alarm.rs",
        "src/worker/clock.rs",
        "src/worker/core.rs",
        "src/worker/engine.rs",
        "src/worker/run.rs",
        "src/worker/task.rs",
        "src/worker/timers.rs",
        "src/worker/turnstile.rs",
    ]);
    let sources = sources(&["src"]);
    let naming = sources
        .iter()
        .filter(|source| source.naming("monoio").next().is_some());
    let naming: BTreeSet<&str> = naming.map(|source| source.path.as_str()).collect();
    let added: Vec<_> = naming.difference(&known).collect();
    assert!(added.is_empty(), "monoio in more places: {added:?}");
    let gone: Vec<_> = known.difference(&naming).collect();
    assert!(gone.is_empty(), "take them off the list: {gone:?}");
}

#[test]
fn modules_import_along_the_arrows_only() {
    let ring = ["listener", "request", "relay", "upstream", "worker"];
    let sources = sources(&["src"]);
    let found = sources
        .iter()
        .filter(|source| !source.is_tests())
        .flat_map(|source| {
            let forbidden: Vec<&str> = match source.mark() {
                // What is pure runs anywhere; what is shared knows neither side.
                Some("[pure]") if !source.is_in(&["src/upstream/"]) => {
                    [&ring[..], &["cold", "boot", "sys"]].concat()
                }
                Some("[bridge]") => [&ring[..], &["cold", "boot"]].concat(),
                Some("[cold]") => [&ring[..], &["boot"]].concat(),
                Some("[ring]") => vec!["cold", "boot"],
                _ => Vec::new(),
            };
            forbidden
                .into_iter()
                .flat_map(|module| {
                    let path = format!("crate::{module}");
                    source.naming(&path).collect::<Vec<_>>()
                })
                .collect::<Vec<_>>()
        });
    nothing(found, "imports against the arrows");
}

#[test]
fn only_sys_is_unsafe_and_says_why_each_time() {
    let sources = sources(&["src"]);
    let found = sources
        .iter()
        .filter(|source| !source.is_in(&["src/sys/"]))
        .flat_map(|source| {
            let words = ["unsafe", "unsafe_code"].into_iter();
            words.flat_map(|word| source.naming(word))
        });
    nothing(found, "unsafe outside sys/");
    let unproved = sources.iter().flat_map(|source| {
        let lines: Vec<&str> = source.text.lines().collect();
        let blocks = source.code().filter(|(_, line)| line.contains("unsafe {"));
        let unproved = blocks.filter(|(number, _)| {
            let above = lines[..number - 1].iter().rev();
            let mut comment = above.take_while(|line| line.trim_start().starts_with("//"));
            !comment.any(|line| line.contains("SAFETY: "))
        });
        unproved
            .map(|(number, _)| format!("{}:{number}", source.path))
            .collect::<Vec<_>>()
    });
    nothing(unproved, "unsafe without a proof");
}

#[test]
fn nothing_unfinished_and_no_history_stays_in_the_code() {
    // In two parts, so that this file passes too.
    let words = [
        concat!("db", "g!("),
        concat!("tod", "o!("),
        concat!("unimplemented", "!("),
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("HA", "CK"),
    ];
    let sources = sources(&["src", "tests"]);
    let found = sources.iter().flat_map(|source| {
        let lines = source.text.lines().enumerate();
        let bad = lines.filter(|(_, line)| {
            words.iter().any(|word| line.contains(word)) || cites_an_issue(line)
        });
        bad.map(|(index, line)| format!("{}:{}: {}", source.path, index + 1, line.trim()))
            .collect::<Vec<_>>()
    });
    nothing(found, "left-overs");
}

/// Whether a comment holds a number sign and digits, or a word for a ticket before them.
fn cites_an_issue(line: &str) -> bool {
    let Some((_, comment)) = line.split_once("//") else {
        return false;
    };
    comment.match_indices('#').any(|(at, _)| {
        let digits = comment[at + 1..]
            .bytes()
            .take_while(u8::is_ascii_digit)
            .count();
        // A colour or a character reference has other neighbours.
        (1..=6).contains(&digits) && comment[..at].ends_with([' ', '('])
    })
}

#[test]
fn tickets_are_told_from_other_number_signs() {
    let cases = [
        (concat!("// see ", "#12"), true),
        (concat!("// (", "#4711)"), true),
        ("// text/#anchor", false),
        ("let x = \"#12\";", false),
        ("// a # alone", false),
    ];
    for (line, want) in cases {
        assert_eq!(cites_an_issue(line), want, "{line}");
    }
}

#[test]
fn no_file_is_longer_than_can_be_read() {
    let sources = sources(&["src", "tests"]);
    let long = sources
        .iter()
        .filter(|source| source.text.lines().count() > LINES_MAX);
    nothing(long.map(|source| source.path.clone()), "long files");
}

#[test]
fn blocking_calls_and_panics_that_say_nothing_stay_out_of_the_hot_path() {
    let sources = sources(&["src"]);
    let hot = sources.iter().filter(|source| {
        matches!(source.mark(), Some("[ring]" | "[pure]" | "[bridge]")) && !source.is_tests()
    });
    let found = hot.flat_map(|source| {
        let words = [
            "thread::sleep",
            "println!",
            "eprintln!",
            "std::fs::read",
            "to_socket_addrs",
        ];
        let blocking = words.into_iter().flat_map(|word| {
            source
                .code()
                .filter(move |(_, line)| line.contains(word))
                .map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim()))
        });
        blocking.collect::<Vec<_>>()
    });
    nothing(found, "blocking calls");
}
