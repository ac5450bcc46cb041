//! The examples of `docs/routing.md` and `docs/limits.md`, run as they are written.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config_sync::model::ModelKind;
use config_sync::snapshot::Snapshot;
use config_sync::source::load_file;
use gateway::bridge::health::{Failure, FailureClass, HealthTable, InFlight};
use gateway::http::h1::{self, Limits, RequestHead};
use gateway::limit::{Buckets, Claim, Dimension, Permit, Policies};
use gateway::route::{Asking, Hedging, Rows, Window};

/// An example: its settings, and the rows of its table.
struct Example {
    yaml: String,
    rows: Vec<Vec<String>>,
}

/// The examples of `page` that are marked with `kind`, `least` or more.
fn examples(page: &str, kind: &str, least: usize) -> Vec<Example> {
    let marker = format!("<!-- {kind} -->");
    let parts = page.split(&marker).skip(1);
    let examples: Vec<Example> = parts
        .map(|part| {
            let (_, rest) = part.split_once("```yaml\n").unwrap();
            let (yaml, rest) = rest.split_once("```").unwrap();
            let table = rest.lines().skip_while(|line| !line.starts_with('|'));
            let rows = table.take_while(|line| line.starts_with('|')).skip(2);
            let cells = |row: &str| {
                let row = row.trim_matches('|').split('|');
                row.map(|cell| cell.trim().replace('`', "")).collect()
            };
            Example {
                yaml: yaml.to_owned(),
                rows: rows.map(cells).collect(),
            }
        })
        .collect();
    let found = examples.len();
    assert!(found >= least, "{found} examples of {kind}");
    examples
}

fn page(name: &str) -> String {
    let path = format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

fn load(resources: &str) -> Snapshot {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.yaml");
    std::fs::write(&path, resources).unwrap();
    let env = |name: &str| Some(format!("sk-{name}"));
    let loaded = load_file(&path, &env, 1, SystemTime::now());
    loaded
        .unwrap_or_else(|error| panic!("{error}\n{resources}"))
        .snapshot
}

fn indented(yaml: &str, by: usize) -> String {
    let pad = " ".repeat(by);
    yaml.lines().map(|line| format!("{pad}{line}\n")).collect()
}

fn head(line: &str) -> RequestHead {
    let line = if line.contains(": ") {
        format!("{line}\r\n")
    } else {
        String::new()
    };
    let text = format!("POST / HTTP/1.1\r\nhost: gw\r\n{line}\r\n");
    h1::parse_request(text.as_bytes(), &Limits::default())
        .unwrap()
        .unwrap()
        .0
}

/// A snapshot with the direct models `a`, `b` and `c`, and the group `team` of these settings.
fn team(yaml: &str) -> Snapshot {
    let routing = indented(yaml, 6);
    load(&format!(
        "_format_version: '1'\n\
         provider_keys:\n  - {{display_name: up, provider: openai, api_key: k}}\n\
         models:\n\
         \x20 - {{display_name: a, provider: openai, model_name: x, provider_key: up, cost: {{input_per_1k: 1, output_per_1k: 2}}}}\n\
         \x20 - {{display_name: b, provider: openai, model_name: x, provider_key: up, cost: {{input_per_1k: 0.5, output_per_1k: 0.5}}}}\n\
         \x20 - {{display_name: c, provider: openai, model_name: x, provider_key: up}}\n\
         \x20 - display_name: team\n    routing:\n{routing}\
         api_keys:\n  - {{display_name: bot, key_env: KEY, allowed_models: [team]}}\n"
    ))
}

#[test]
fn the_examples_of_routing_are_true() {
    for example in examples(&page("routing.md"), "routing", 6) {
        run_routing(&team(&example.yaml), &example);
    }
}

#[test]
fn the_examples_of_holding_back_are_true() {
    for example in examples(&page("routing.md"), "streams", 1) {
        let snapshot = team(&example.yaml);
        let group = snapshot.resolve("team").unwrap().model;
        let ModelKind::Routing(routing) = &group.kind else {
            panic!("no group: {}", example.yaml)
        };
        let limits = routing.hold_back.unwrap();
        let mut window = Window::new(limits);
        for row in &example.rows {
            let [at, what, want] = &row[..] else {
                panic!("{row:?}")
            };
            let at = Duration::from_millis(at.trim_end_matches(" ms").parse().unwrap());
            match what.split(' ').collect::<Vec<_>>()[..] {
                ["a", "stream", "begins"] => window = Window::new(limits),
                [count, "token" | "tokens"] => window.saw(true, count.parse().unwrap(), at),
                _ => assert_eq!(window.closes_at(), Some(at), "{what}"),
            }
            let is_due = window.closes_at().is_some_and(|closes| closes <= at);
            let got = match window.is_open() && !is_due {
                _ if want.is_empty() => "",
                true => "held",
                false => "sent",
            };
            assert_eq!(got, want, "{at:?} {what}");
        }
    }
}

fn run_routing(snapshot: &Snapshot, example: &Example) {
    let now_ms = 1_000_000;
    let health = Arc::new(HealthTable::default());
    let rows = Rows::new(Arc::clone(&health));
    let mut in_flight = Vec::new();
    for row in &example.rows {
        let [what, want] = &row[..] else {
            panic!("{row:?}")
        };
        let case = format!("{what} in\n{}", example.yaml);
        if want.is_empty() {
            happen(snapshot, &health, what, now_ms, &mut in_flight);
            continue;
        }
        let head = head(what);
        let asking = Asking {
            key: snapshot.api_keys().next().unwrap(),
            client_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            head: &head,
            now_ms,
        };
        let mut candidates = rows.resolve(snapshot, &asking, "team").unwrap();
        let mut order = Vec::new();
        while let Some(route) = candidates.take_next() {
            order.push(route.unwrap().target.display_name.to_string());
        }
        assert_eq!(order.join(", "), *want, "{case}");
    }
}

/// Something happens to a target: `a fails with 503`, `a succeeds`, `a answers in 80 ms`, `a begins 2`.
fn happen(
    snapshot: &Snapshot,
    health: &HealthTable,
    what: &str,
    now_ms: u64,
    in_flight: &mut Vec<InFlight>,
) {
    let words: Vec<&str> = what.split(' ').collect();
    let model = snapshot.resolve(words[0]).unwrap().model;
    let target = health.hold(&model.id);
    match words[1..] {
        ["fails", "with", status] => {
            let failure = Failure {
                class: FailureClass::Status(status.parse().unwrap()),
                is_retryable: true,
                retry_after_secs: None,
            };
            target.failed(failure, &model.cooldown, now_ms).unwrap();
        }
        ["succeeds"] => target.succeeded(now_ms, None),
        ["answers", "in", ms, "ms"] => {
            let latency = Duration::from_millis(ms.parse().unwrap());
            target.succeeded(now_ms, Some(latency));
        }
        ["begins", count] => {
            let target = Rc::new(target);
            let count = count.parse().unwrap();
            in_flight.extend((0..count).map(|_: u32| InFlight::enter(&target)));
        }
        _ => panic!("what is {what}?"),
    }
}

#[test]
fn the_examples_of_hedging_are_true() {
    for example in examples(&page("routing.md"), "hedges", 2) {
        let snapshot = team(&example.yaml);
        let group = snapshot.resolve("team").unwrap().model;
        let ModelKind::Routing(routing) = &group.kind else {
            panic!("no group: {}", example.yaml)
        };
        let hedging = Hedging::new(routing.hedge.unwrap(), routing.targets.len());
        for row in &example.rows {
            let [what, want] = &row[..] else {
                panic!("{row:?}")
            };
            let words: Vec<&str> = what.split(' ').collect();
            let [
                count,
                "stream" | "streams",
                "of",
                "a",
                "take" | "takes",
                ms,
                "ms",
            ] = words[..]
            else {
                panic!("what is {what}?")
            };
            let time = Duration::from_millis(ms.parse().unwrap());
            for _ in 0..count.parse().unwrap() {
                hedging.earn();
                let delay = hedging.delay(0).filter(|delay| *delay < time);
                let got = match delay.filter(|_| hedging.spend()) {
                    Some(delay) => format!("after {} ms", delay.as_millis()),
                    None => "no".to_owned(),
                };
                assert_eq!(got, *want, "{what} in\n{}", example.yaml);
                hedging.sample(0, time);
            }
        }
    }
}

#[test]
fn the_examples_of_limits_are_true() {
    for example in examples(&page("limits.md"), "limits", 6) {
        let line = |name: &str| {
            let mut lines = example.yaml.lines();
            let line = lines.find_map(|line| line.strip_prefix(name));
            line.map_or(String::new(), |limits| format!(", rate_limit: {limits}"))
        };
        let (key, model) = (line("key: "), line("model: "));
        let policies = example.yaml.split_once("policies:\n");
        let policies = policies.map_or(String::new(), |(_, rows)| {
            format!("rate_limit_policies:\n{rows}")
        });
        let caller = |team: &str, user: &str| {
            format!(
                "  - {{display_name: {team}-{user}, key_env: {team}_{user}, allowed_models: ['*'], \
                     team_id: {team}, user_id: {user}{key}}}\n"
            )
        };
        let snapshot = load(&format!(
            "_format_version: '1'\n\
             provider_keys:\n  - {{display_name: up, provider: openai, api_key: k}}\n\
             models:\n\
             \x20 - {{display_name: m, provider: openai, model_name: x, provider_key: up{model}}}\n\
             \x20 - {{display_name: other, provider: openai, model_name: x, provider_key: up}}\n\
             api_keys:\n{}{}{}{}{policies}",
            caller("red", "ann"),
            caller("red", "bob"),
            caller("blue", "ann"),
            caller("blue", "bob"),
        ));
        run_limits(&snapshot, &example);
    }
}

fn run_limits(snapshot: &Snapshot, example: &Example) {
    let policies = Policies::of(snapshot);
    let buckets = Buckets::new(Arc::default());
    let mut held: HashMap<String, Permit> = HashMap::new();
    for row in &example.rows {
        let [at, what, want] = &row[..] else {
            panic!("{row:?}")
        };
        let seconds: f64 = at.trim_end_matches(" s").parse().unwrap();
        let now_ms = (seconds * 1000.0) as u64;
        let words: Vec<&str> = what.split(' ').collect();
        if words[0] != "request" {
            let mut permit = held.remove(words[0]).unwrap();
            if let ["ends", "with", tokens, "tokens"] = words[1..] {
                permit.settle(tokens.parse().unwrap(), now_ms);
            }
            continue;
        }
        let after = |word: &str| {
            let at = words.iter().position(|other| *other == word)?;
            words.get(at + 1).copied()
        };
        let is_number = |text: &&str| text.parse::<u64>().is_ok();
        let user = after("of").filter(|text| !is_number(text)).unwrap_or("ann");
        let name = format!("{}-{user}", after("in").unwrap_or("red"));
        let mut keys = snapshot.api_keys();
        let key = keys
            .find(|key| key.name.as_deref() == Some(&*name))
            .unwrap();
        let model = snapshot.resolve(after("to").unwrap_or("m")).unwrap().model;
        let tokens = after("of")
            .filter(is_number)
            .map_or(0, |text| text.parse().unwrap());
        let claim = Claim::new(&policies, key).to(model).reserving(tokens);
        let got = match buckets.admit(&claim, now_ms) {
            Ok(permit) => {
                let headroom = permit.headroom();
                let left = headroom.requests.or(headroom.tokens);
                let label = words.get(1).filter(|word| word.len() == 1);
                if let Some(label) = label {
                    held.insert((*label).to_owned(), permit);
                }
                left.map_or("admitted".to_owned(), |room| {
                    format!("admitted, {} left", room.remaining)
                })
            }
            Err(limited) => {
                let what = match limited.dimension {
                    Dimension::Requests => "requests",
                    Dimension::Tokens => "tokens",
                    Dimension::Concurrency => "concurrency",
                };
                let by = limited
                    .policy
                    .map_or(String::new(), |policy| format!(" by {}", policy.name));
                format!("{what}{by}, retry after {} s", limited.retry_after_secs)
            }
        };
        assert_eq!(got, *want, "{at} {what} in\n{}", example.yaml);
    }
}
