//! Instructions of the hot path that needs no ring, held to what was counted.
//!
//! Each step runs under `valgrind --tool=callgrind` twice, a thousand times more often the second time: the
//! difference is what the step costs, whatever the machine is doing. A step that has become dearer fails; one that has
//! become cheaper by much fails too, so that its number here follows.
//!
//! Numbers are of the profile `ci` and of one compiler; with another one, or without valgrind, nothing is held.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod hot_path;

use std::hint::black_box;
use std::process::Command;

use gateway::bridge;
use gateway::bridge::histogram::BucketSettings;
use gateway::cold::access_log::line::Lines;
use gateway::http::h1::{self, Limits, Method};
use gateway::http::sse::{EVENT_BYTES_MAX, EventScanner};
use gateway::limit::{Buckets, Claim, Policies};
use gateway::route::Rows;

use hot_path::{ANSWER, CHAT, LIMITED, admit, body, event, head, load, record, snapshot};

/// The compiler that the numbers were counted with.
const COMPILER: &str = "rustc 1.95.";
/// What each step costs, in instructions.
const COUNTED: [(&str, u64); 6] = [
    ("request_up_to_the_upstream", 17_837),
    ("answer", 9_250),
    ("event", 5_788),
    ("event_alike", 767),
    ("admission_by_four_layers", 3_329),
    ("access_line", 3_773),
];
/// Hundredths that a step may cost more, and those that it may cost less.
const SLACK: (u64, u64) = (5, 15);

const STEP: &str = "SLUICE_TEST_STEP";
const TIMES: &str = "SLUICE_TEST_TIMES";
const ONCE: u64 = 200;
const OFTEN: u64 = ONCE + 1_000;

/// Does the step called `name`, `times` times.
fn run(name: &str, times: u64) {
    match name {
        "request_up_to_the_upstream" => requests(times),
        "answer" => answers(times),
        "event" => events(times, event),
        "event_alike" => events(times, |number| event(number).replace(r#"\n\""#, "")),
        "admission_by_four_layers" => admissions(times),
        "access_line" => access_lines(times),
        other => panic!("no step is called {other}"),
    }
}

fn requests(times: u64) {
    let (snapshot, rows) = (snapshot(), Rows::default());
    let body = body(false);
    let head = head(CHAT, &body);
    let mut out = Vec::with_capacity(16 * 1024);
    for _ in 0..times {
        out.clear();
        black_box(admit((&snapshot, &rows), &head, &body, &mut out));
    }
}

fn answers(times: u64) {
    let (snapshot, rows) = (snapshot(), Rows::default());
    let body = body(false);
    let head = head(CHAT, &body);
    let mut out = Vec::with_capacity(16 * 1024);
    let (_head, call, route, mut exchange) = admit((&snapshot, &rows), &head, &body, &mut out);
    let answer_head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: r1\r\ncontent-length: {}\r\n\r\n",
        ANSWER.len()
    );
    for _ in 0..times {
        out.clear();
        let parsed = h1::parse_response(answer_head.as_bytes(), &Method::Post, &Limits::default());
        black_box(parsed.unwrap().unwrap());
        let reply = exchange.answer(&call, &route, ANSWER).unwrap();
        reply.write_body(ANSWER, &mut out);
        black_box(&out);
    }
}

fn events(times: u64, text: impl Fn(usize) -> String) {
    let (snapshot, rows) = (snapshot(), Rows::default());
    let body = body(true);
    let head = head(CHAT, &body);
    let mut out = Vec::with_capacity(16 * 1024);
    let (_head, call, route, mut exchange) = admit((&snapshot, &rows), &head, &body, &mut out);
    let mut scanner = EventScanner::new(EVENT_BYTES_MAX);
    let mut reader = exchange.stream(&call, &route);
    let texts: Vec<String> = (0..10).map(text).collect();
    for text in texts.iter().cycle().take(usize::try_from(times).unwrap()) {
        out.clear();
        let end = scanner.next_event(text.as_bytes()).unwrap().unwrap();
        black_box(reader.event(&text.as_bytes()[..end], &mut out).unwrap());
    }
}

fn admissions(times: u64) {
    let snapshot = load(&LIMITED.replace("rps: 3", "rps: 1000000"));
    let key = snapshot.api_keys().next().unwrap();
    let model = snapshot.model_names().next().unwrap();
    let policies = Policies::of(&snapshot);
    let buckets = Buckets::new(std::sync::Arc::default());
    let claim = Claim::new(&policies, key).to(model).reserving(1);
    for _ in 0..times {
        let mut permit = buckets.admit(&claim, 1_000).unwrap();
        permit.settle(2, 1_000);
    }
}

fn access_lines(times: u64) {
    let (workers, cold) = bridge::build(1, &BucketSettings::default()).unwrap();
    let record = record("018f6b1c-4a7e-7d3b-9c52-6e0f1a2b3c4d", 1_700_000_000_000);
    let (mut lines, mut out) = (Lines::default(), Vec::with_capacity(16 * 1024));
    for _ in 0..times {
        out.clear();
        lines.append(&record, &mut out);
        black_box(&out);
    }
    drop((workers, cold));
}

/// Instructions of this program while it does the step `times` times.
fn instructions(name: &str, times: u64) -> u64 {
    let counts = tempfile::NamedTempFile::new().unwrap();
    let ran = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", counts.path().display()))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "one_step", "--ignored", "--test-threads=1"])
        .env(STEP, name)
        .env(TIMES, times.to_string())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let text = std::fs::read_to_string(counts.path()).unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    total.expect("a total").trim().parse().unwrap()
}

/// Why the numbers say nothing here, if they do not.
fn excuse() -> Option<String> {
    let says = |program: &str| {
        let said = Command::new(program).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&said.stdout).into_owned())
    };
    let compiler = says("rustc").unwrap_or_default();
    if !compiler.starts_with(COMPILER) {
        return Some(format!("counted with {COMPILER}, this is {compiler}"));
    }
    if !cfg!(target_arch = "x86_64") || !std::arch::is_x86_feature_detected!("avx2") {
        return Some("counted on x86_64 with AVX2".to_owned());
    }
    says("valgrind").map_or_else(|| Some("no valgrind".to_owned()), |_| None)
}

#[test]
fn steps_cost_what_was_counted() {
    if let Some(excuse) = excuse() {
        println!("SKIPPED: {excuse}");
        return;
    }
    let mut off = Vec::new();
    for (name, counted) in COUNTED {
        let more = instructions(name, OFTEN) - instructions(name, ONCE);
        let each = more / (OFTEN - ONCE);
        println!("{name}: {each} instructions, {counted} counted before");
        let (dearer, cheaper) = SLACK;
        if each * 100 > counted * (100 + dearer) || each * 100 < counted * (100 - cheaper) {
            off.push(format!("{name}: {each}, not {counted}"));
        }
    }
    assert!(off.is_empty(), "instructions have changed: {off:#?}");
}

#[test]
#[ignore = "what the other test counts"]
fn one_step() {
    let (name, times) = (std::env::var(STEP), std::env::var(TIMES));
    // Asked for by hand, with all that is ignored.
    let (Ok(name), Ok(times)) = (name, times) else {
        return;
    };
    run(&name, times.parse().unwrap());
}
