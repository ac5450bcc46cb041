//! The client, driven as its user does, against a mock on its own thread.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it")]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Runs the client, again if another process took the port meanwhile.
fn run(target: &str, arguments: &str) -> (Output, Value) {
    loop {
        let port = free_port();
        let (output, report) = run_on(port, target, arguments);
        if !String::from_utf8_lossy(&output.stderr).contains("in use") {
            return (output, report);
        }
    }
}

fn run_on(port: u16, target: &str, arguments: &str) -> (Output, Value) {
    let json = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("run-{port}.json"));
    let output = Command::new(env!("CARGO_BIN_EXE_sluice-loadtest"))
        .args(["run", "--settle", "0", "--warmup", "0", "--json"])
        .arg(&json)
        .args(["--mock", &format!("127.0.0.1:{port}")])
        .args([
            "--target",
            &format!("first=http://127.0.0.1:{port}{target}"),
        ])
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let report = std::fs::read(json).unwrap_or_else(|_| b"null".to_vec());
    (output, serde_json::from_slice(&report).unwrap())
}

/// The only round of the only target.
fn figures(arguments: &str) -> Value {
    let (output, report) = run(&format!(",pid={}", std::process::id()), arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    report["targets"][0]["rounds"][0].clone()
}

#[test]
fn a_number_of_requests_is_sent_in_a_closed_loop() {
    let figures = figures("--mode unary --rounds 1 --requests 200 --connections 4");
    assert_eq!(
        (&figures["requests"], &figures["errors"]),
        (&200.0.into(), &0.0.into())
    );
    assert!(figures["latency_p50_us"].as_f64() <= figures["latency_max_us"].as_f64());
    assert!(figures["cpu_us_per_request"].is_f64() && figures["rss_after_kib"].is_f64());
}

#[test]
fn an_open_loop_counts_waiting_for_a_connection() {
    // Each answer takes 20 ms and there is one connection: 50 per second at most, 100 are due.
    let script = "--rate 100 --duration 0.3 --connections 1 --script head_ms=20";
    let figures = figures(&format!("--rounds 1 {script}"));
    assert_eq!(figures["requests"], 30.0);
    assert!(
        figures["latency_max_us"].as_f64().unwrap() > 200_000.0,
        "{figures:#}"
    );
}

#[test]
fn errors_are_counted_by_kind() {
    let cases = [
        ("status=503,tag=a", "error_status_503"),
        ("cut_at=head", "error_no_response"),
        ("cut_at=0,cut=fin", "error_truncated"),
        ("bad=version", "error_malformed"),
    ];
    for (script, kind) in cases {
        let load = format!("--rounds 1 --requests 4 --connections 2 --script {script}");
        let figures = figures(&load);
        assert_eq!(figures[kind], 4.0, "{script}: {figures:#}");
        assert_eq!(figures["errors"], 4.0);
    }
}

#[test]
fn streams_are_read_to_their_end_and_no_event_is_lost() {
    let load = "--mode stream --rounds 1 --streams 10 --stream-secs 2.2 --events-per-sec 50";
    let figures = figures(load);
    assert_eq!(figures["requests"], 10.0, "{figures:#}");
    assert_eq!(figures["events_all"], 1100.0);
    for name in [
        "errors",
        "events_lost",
        "events_reordered",
        "events_duplicated",
    ] {
        assert_eq!(figures[name], 0.0, "{name}");
    }
    assert_eq!(figures["streams_open"], 10.0);
    assert!(figures["event_added_p50_us"].as_f64().unwrap() < 1e6);
    assert!(figures["ttft_p50_us"].is_f64() && figures["cpu_ms_per_1000_events"].is_f64());
}

#[test]
fn streams_that_break_off_are_errors_with_lost_events() {
    let load = "--mode stream --rounds 1 --rate 50 --duration 0.1 --stream-secs 0.1 --script";
    let cases = [
        ("cut_at=2,cut=fin", "error_truncated", 15.0),
        ("error_at=1", "error_error_event", 20.0),
        ("te=close,cut_at=5,cut=fin", "error_unfinished", 0.0),
    ];
    for (script, kind, lost) in cases {
        let figures = figures(&format!("{load} {script}"));
        assert_eq!(figures[kind], 5.0, "{script}: {figures:#}");
        assert_eq!(figures["events_lost"], lost, "{script}");
    }
}

#[test]
fn streams_that_fail_after_the_window_are_counted_by_kind() {
    // They break off with event 109 of 110, and the window ends with event 105 of the first of them.
    let load = "--mode stream --rounds 1 --streams 4 --stream-secs 2.2 --events-per-sec 50";
    let figures = figures(&format!("{load} --script cut_at=109,cut=fin"));
    assert_eq!(figures["errors"], 4.0, "{figures:#}");
    assert_eq!(figures["error_truncated"], 4.0, "{figures:#}");
}

#[test]
fn a_slow_caller_pauses_after_each_read() {
    // Half a megabyte is at least a dozen reads, whatever room a buffer has grown to.
    let load = "--mode stream --rounds 1 --rate 10 --duration 0.1 --stream-secs 0.1";
    let slow = "--read-pause-ms 20 --script firehose=500000";
    let figures = figures(&format!("{load} {slow}"));
    assert_eq!(
        (&figures["requests"], &figures["errors"]),
        (&1.0.into(), &0.0.into())
    );
    assert!(
        figures["latency_p50_us"].as_f64().unwrap() > 150_000.0,
        "{figures:#}"
    );
}

#[test]
fn held_idle_and_aborted_connections_are_counted() {
    let load = "--mode hold --rounds 1 --streams 20 --secs 2.1 --event-every-ms 100";
    let held = figures(load);
    assert_eq!(
        (&held["streams_open"], &held["errors"]),
        (&20.0.into(), &0.0.into())
    );
    assert!(held["rss_kib_per_stream"].is_f64());
    let idle = figures("--mode idle --rounds 1 --connections 50");
    assert_eq!(idle["connections_open"], 50.0);
    assert!(idle["rss_kib_per_connection"].is_f64());
    let aborted = figures("--mode abort --rounds 1 --requests 30 --connections 5");
    assert_eq!(
        (&aborted["requests"], &aborted["errors"]),
        (&30.0.into(), &0.0.into())
    );
}

#[test]
fn targets_are_compared_in_a_table() {
    let mut mock = Command::new(env!("CARGO_BIN_EXE_sluice-loadtest"))
        .arg("mock")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = mock.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    let address = line.strip_prefix("listening on ").unwrap().trim();
    let second = format!("--target second=http://{address}");
    let (output, report) = run("", &format!("{second} --rounds 3 --requests 20"));
    mock.kill().unwrap();
    mock.wait().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    let head = table.lines().next().unwrap();
    assert!(head.contains("first") && head.contains("second"), "{table}");
    let row = table
        .lines()
        .find(|line| line.starts_with("latency_p50_us"))
        .unwrap();
    assert!(row.contains('[') && row.ends_with('x'), "{row}");
    let steps = String::from_utf8(output.stderr).unwrap();
    let names: Vec<_> = steps
        .lines()
        .filter_map(|line| line.rsplit(' ').next())
        .collect();
    assert_eq!(
        names,
        ["first", "second", "first", "second", "first", "second"]
    );
    assert_eq!(report["targets"][1]["rounds"].as_array().unwrap().len(), 3);
    assert!(report["host"]["kernel"].is_string());
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let cases = [
        (",pid=4194305", "--requests 1", "no such process"),
        (
            "/nowhere",
            "--requests 1 --path /x",
            "first request: status_404",
        ),
        ("", "--mode hold --secs 1", "streams must last"),
        ("", "--rate 0", "above zero"),
    ];
    for (target, arguments, want) in cases {
        let (output, _) = run(target, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && errors.contains(want),
            "{arguments}: {errors}"
        );
    }
}
