//! Access lines and the process log: where they go, and in which shape.

use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use crate::support::gateway::{CALLER_KEY, chat};
use crate::support::{Engine, Gateway, Setup, mock, wait_for};

fn ask(gateway: &Gateway) {
    assert_eq!(
        gateway
            .post("/v1/chat/completions", &chat("m", false))
            .status,
        200
    );
}

/// Waits until the file holds `count` whole lines.
fn lines_in(path: &Path, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} lines in {}", path.display()), || {
        let text = std::fs::read_to_string(path).ok()?;
        let lines: Vec<Value> = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| serde_json::from_str(line).expect("a line is JSON"))
            .collect();
        (lines.len() >= count).then_some(lines)
    })
}

#[test]
fn a_line_tells_the_whole_story_of_a_request() {
    let gateway = Setup::new(Engine::IoUring, mock()).start();
    let body = chat("m", false).to_string();
    let mut raw = gateway.connect();
    raw.send(
        format!(
            "POST /v1/chat/completions?q=1 HTTP/1.1\r\nhost: g\r\nx-api-key: {CALLER_KEY}\r\n\
        user-agent: a\tb\r\nx-sluice-request-id: my-id\r\n\
        traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
        content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    let answer = raw.response();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let line = &gateway.access_lines(1)[0];
    let want = serde_json::json!({
        "level": "info", "message": "proxy request completed", "request_id": "my-id",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "method": "POST",
        "path": "/v1/chat/completions", "status": 200, "inbound_protocol": "openai",
        "provider": "openai", "served_by_model": "m", "model": "m", "upstream_model": "gpt-up",
        "client_ip": "127.0.0.1", "user_agent": "ab", "stream": false,
        "usage_source": "reported", "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
        "end": "completed", "finish_reason": "stop", "attempts": 1, "worker": 0,
    });
    for (key, value) in want.as_object().unwrap() {
        assert_eq!(&line[key], value, "{key} of {line}");
    }
    for key in [
        "latency_ms",
        "head_ms",
        "upstream_ms",
        "bytes_in",
        "bytes_out",
    ] {
        assert!(
            line[key].as_f64().is_some_and(|value| value > 0.0),
            "{key} of {line}"
        );
    }
    assert!(
        line["ts"]
            .as_str()
            .is_some_and(|ts| ts.len() == 24 && ts.ends_with('Z')),
        "{line}"
    );
    assert_eq!(line.get("error"), None);
    assert!(!line.to_string().contains("q=1"), "no query: {line}");
}

#[test]
fn streams_are_written_at_their_end_and_probes_not_at_all() {
    let gateway = Setup::new(Engine::IoUring, mock()).start();
    assert_eq!(gateway.get("/livez").status, 200);
    assert_eq!(gateway.get("/readyz").status, 200);
    let answer = gateway.post("/v1/chat/completions", &chat("script/events=3", true));
    assert_eq!(answer.status, 200);
    let denied = gateway.get("/v1/nothing");
    assert_eq!(denied.status, 404);
    let lines = gateway.access_lines(2);
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["stream"], &lines[0]["completion_tokens"]),
        (&true.into(), &3.into())
    );
    assert!(
        lines[0]["ttft_ms"].as_f64() <= lines[0]["latency_ms"].as_f64(),
        "{}",
        lines[0]
    );
    assert!(lines[0]["events"].as_u64() >= Some(3), "{}", lines[0]);
    assert_eq!(
        (&lines[1]["status"], &lines[1]["end"]),
        (&404.into(), &"rejected".into())
    );
}

#[test]
fn a_file_moved_away_is_opened_anew_at_sighup() {
    let gateway = Setup::new(Engine::IoUring, mock()).start();
    ask(&gateway);
    gateway.access_lines(1);
    let moved = gateway.dir.path().join("moved.log");
    std::fs::rename(gateway.access_log(), &moved).unwrap();
    ask(&gateway);
    assert_eq!(
        lines_in(&moved, 2).len(),
        2,
        "the open file follows its name"
    );
    gateway.signal(rustix::process::Signal::HUP);
    wait_for("the new file", || {
        gateway.access_log().exists().then_some(())
    });
    ask(&gateway);
    assert_eq!(gateway.access_lines(1).len(), 1);
    assert_eq!(lines_in(&moved, 2).len(), 2);
}

#[test]
fn a_full_file_is_set_aside_and_no_line_is_lost() {
    let gateway = Setup::new(Engine::IoUring, mock())
        .with("observability.access_log_rotate_bytes", 1 << 20)
        .with("observability.access_log_keep", 1)
        .start();
    ask(&gateway);
    gateway.access_lines(1);
    // As if it had grown: appending goes on behind the padding, which is one line.
    let mut padding = "x".repeat(1 << 20);
    padding.push('\n');
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(gateway.access_log())
        .unwrap();
    std::io::Write::write_all(&mut file, padding.as_bytes()).unwrap();
    // Sizes of foreign writes are learnt when the file is opened.
    gateway.signal(rustix::process::Signal::HUP);
    wait_for("the reload", || gateway.logged("resources file reloaded"));
    let aside = gateway.dir.path().join("access.log.1");
    wait_for("the file to be set aside", || {
        ask(&gateway);
        aside.exists().then_some(())
    });
    ask(&gateway);
    let old = std::fs::read_to_string(&aside).unwrap();
    assert!(
        old.starts_with("{\"ts\":") && old.contains("xxx\n"),
        "the first line and the padding"
    );
    assert!(!gateway.access_lines(1).is_empty());
    assert!(!gateway.dir.path().join("access.log.2").exists());
}

#[test]
fn a_bound_of_zero_lets_a_file_grow_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    // Sparse, and longer than any default bound.
    std::fs::File::create(&path)
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    let gateway = Setup::new(Engine::IoUring, mock())
        .with("observability.access_log_rotate_bytes", 0)
        .with("observability.access_log_output", path.to_str().unwrap())
        .start();
    ask(&gateway);
    wait_for("the line", || {
        let grown = std::fs::metadata(&path).ok()?.len() > 1 << 30;
        let aside = dir.path().join("access.log.1").exists();
        assert!(!aside, "set aside without a bound");
        grown.then_some(())
    });
}

#[test]
fn lines_go_to_stdout_and_to_nowhere_as_told() {
    let mut gateway = Setup::new(Engine::IoUring, mock())
        .with("observability.access_log_output", "stdout")
        .start();
    let stdout = gateway.child.stdout.take().expect("piped");
    ask(&gateway);
    let line = BufReader::new(stdout).lines().next().unwrap().unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["message"], "proxy request completed");

    let mut gateway = Setup::new(Engine::IoUring, mock())
        .with("observability.access_log", false)
        .with("observability.access_log_output", "stdout")
        .start();
    let stdout = gateway.child.stdout.take().expect("piped");
    ask(&gateway);
    gateway.signal(rustix::process::Signal::TERM);
    assert_eq!(gateway.ended().code(), Some(0));
    assert_eq!(std::io::read_to_string(stdout).unwrap(), "");
    assert!(!gateway.stderr().contains("proxy request completed"));
}

#[test]
fn what_is_queued_at_the_end_is_written_before_the_process_goes() {
    let mut gateway = Setup::new(Engine::IoUring, mock()).start();
    for _ in 0..20 {
        ask(&gateway);
    }
    gateway.signal(rustix::process::Signal::TERM);
    assert_eq!(gateway.ended().code(), Some(0));
    let text = std::fs::read_to_string(gateway.access_log()).unwrap();
    assert_eq!(text.lines().count(), 20);
}

#[test]
fn the_process_log_is_text_or_json_and_as_loud_as_told() {
    for (format, level) in [
        ("json", "info"),
        ("json", "trace"),
        ("text", "info"),
        ("text", "trace"),
    ] {
        let mut setup = Setup::new(Engine::IoUring, mock())
            .with("observability.log_format", format)
            .with("observability.log_level", level);
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("process.log");
        setup = setup.with("observability.log_output", log.to_str().unwrap());
        let mut gateway = setup.spawn();
        let text = wait_for("the first lines", || {
            let text = std::fs::read_to_string(&log).ok()?;
            text.contains("serving").then_some(text)
        });
        for line in text.lines() {
            match format {
                "json" => {
                    let line: Value = serde_json::from_str(line).expect("JSON");
                    for key in ["timestamp", "level", "message", "target"] {
                        assert!(line[key].is_string(), "{key} of {line}");
                    }
                }
                _ => assert!(line.contains(" INFO ") || level == "trace", "{line}"),
            }
            assert!(!line.contains('\u{1b}'), "no colour in a file: {line}");
        }
        gateway.signal(rustix::process::Signal::TERM);
        assert_eq!(gateway.ended().code(), Some(0));
        assert_eq!(gateway.stderr(), "", "{format} {level}");
    }
}

#[test]
fn a_log_level_of_the_environment_wins() {
    let mut setup = Setup::new(Engine::IoUring, mock()).with("observability.log_level", "off");
    setup.env.push(("SLUICE_LOG".into(), "gateway=info".into()));
    assert!(setup.start().logged("serving").is_some());
}
