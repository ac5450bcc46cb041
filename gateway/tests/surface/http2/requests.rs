//! Requests over HTTP/2: answered as over HTTP/1.1, but for what is the connection's.

use std::process::Command;

use http::Method;
use serde_json::json;

use super::client::{H2, get, named, post, request};
use super::frames::{self, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM};
use crate::on_both_engines;
use crate::support::gateway::{CALLER_KEY, UPSTREAM_KEY, chat};
use crate::support::{Engine, Gateway, Raw, Response, Setup, mock, upstream_request, wait_for};

const CHAT: &str = "/v1/chat/completions";

fn start(engine: Engine) -> Gateway {
    Setup::new(engine, mock()).start()
}

/// What must be the same whatever carries an answer.
fn gist(answer: &Response) -> (u16, Vec<(String, String)>) {
    let own = [
        "connection",
        "date",
        "keep-alive",
        "transfer-encoding",
        "content-length",
    ];
    let changing = ["x-sluice-request-id", "x-sluice-call-id"];
    let lines = answer.headers.iter().cloned();
    let mut lines: Vec<_> = lines
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| !own.contains(&&**name) && !changing.contains(&&**name))
        .collect();
    lines.sort();
    (answer.status, lines)
}

on_both_engines! {
    fn an_answer_is_that_of_http_1_1(engine) {
        let mock = mock();
        let gateway = Setup::new(engine, mock).start();
        let mut h2 = H2::connect(&gateway);
        let (request, body) = named("two", post(CHAT, &chat("m", false)));
        let second = h2.answer(request, &body);
        let first = gateway.post(CHAT, &chat("m", false));
        assert_eq!(second.status, 200, "{}", second.text());
        assert_eq!(gist(&first), gist(&second));
        assert_eq!(second.json()["model"], first.json()["model"]);
        assert_eq!(second.header("x-sluice-request-id"), Some("two"));
        let length = second.header("content-length").map(|length| length.parse().unwrap());
        assert_eq!(length, Some(second.body.len()));
        let line = gateway.access_line("two");
        assert_eq!((&line["status"], &line["end"]), (&json!(200), &json!("completed")), "{line}");
        let seen = upstream_request(mock, "two").expect("the upstream was asked").to_string();
        assert!(seen.contains(UPSTREAM_KEY) && !seen.contains(CALLER_KEY), "{seen}");
        assert!(!seen.contains(":authority") && !seen.contains("\"gateway\""), "{seen}");
    }

    fn refusals_are_those_of_http_1_1(engine) {
        let gateway = start(engine);
        let mut h2 = H2::connect(&gateway);
        let cases = [
            ("GET", "/nowhere", json!(null)),
            ("GET", CHAT, json!(null)),
            ("POST", CHAT, json!({"model": "unknown", "messages": []})),
            ("POST", CHAT, json!({"model": "other", "messages": [{"role": "user", "content": "x"}]})),
            ("POST", CHAT, json!([])),
            ("GET", "/v1/models", json!(null)),
            ("GET", "/livez", json!(null)),
        ];
        for (method, path, body) in cases {
            let (first, second) = if method == "GET" {
                (gateway.get(path), h2.answer(get(path), b""))
            } else {
                let (request, bytes) = post(path, &body);
                (gateway.post(path, &body), h2.answer(request, &bytes))
            };
            assert_eq!(gist(&first), gist(&second), "{method} {path} {body}");
        }
        let stranger = http::Request::get("http://gateway/v1/models").body(()).unwrap();
        let answer = h2.answer(stranger, b"");
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("connection"), None);
    }

    fn a_head_request_is_answered_without_a_body(engine) {
        let gateway = start(engine);
        let mut h2 = H2::connect(&gateway);
        let head = request(Method::HEAD, "/livez").body(()).unwrap();
        let answer = h2.answer(head, b"");
        let full = h2.answer(get("/livez"), b"");
        assert_eq!((answer.status, answer.body.len()), (200, 0));
        assert_eq!(answer.header("content-length"), full.header("content-length"));
    }

    fn a_body_of_any_length_arrives_whole(engine) {
        let mock = mock();
        let gateway = Setup::new(engine, mock).start();
        let mut h2 = H2::connect(&gateway);
        // Larger than every window and buffer on the way.
        let mut long = chat("m", false);
        long["user"] = "y".repeat(3_000_000).into();
        for (id, told) in [("told", true), ("untold", false)] {
            let (mut request, body) = named(id, post(CHAT, &long));
            if !told {
                request.headers_mut().remove("content-length");
            }
            let answer = h2.answer(request, &body);
            assert_eq!(answer.status, 200, "{}", answer.text());
            let line = gateway.access_line(id);
            assert!(line["bytes_in"].as_u64() > Some(3_000_000), "{line}");
        }
    }

    fn a_body_beyond_the_limit_is_refused_and_the_connection_serves_on(engine) {
        let gateway = Setup::new(engine, mock())
            .with("proxy.request_body_limit_bytes", 100_000)
            .start();
        let mut h2 = H2::connect(&gateway);
        let mut long = chat("m", false);
        long["user"] = "y".repeat(200_000).into();
        for told in [true, false] {
            let (mut request, body) = post(CHAT, &long);
            if !told {
                request.headers_mut().remove("content-length");
            }
            let mut asked = h2.begin(request, false).unwrap();
            // The answer comes before the end of the body, and tells the client to stop.
            let _ = h2.send(&mut asked.stream, &body[..150_000], false);
            let answer = h2.whole(asked.response).unwrap();
            assert_eq!(answer.status, 413, "{told}");
            let stopped = h2.wait(std::future::poll_fn(|cx| asked.stream.poll_reset(cx)));
            assert_eq!(stopped.unwrap(), h2::Reason::NO_ERROR, "{told}");
        }
        assert_eq!(h2.answer(get("/v1/models"), b"").status, 200);
    }

    fn who_waits_for_a_hundred_gets_it(engine) {
        let gateway = start(engine);
        let mut h2 = H2::connect(&gateway);
        let (mut request, body) = post(CHAT, &chat("m", false));
        request.headers_mut().insert("expect", "100-continue".parse().unwrap());
        let mut asked = h2.begin(request, false).unwrap();
        let interim = h2.wait(std::future::poll_fn(|cx| asked.response.poll_informational(cx)));
        assert_eq!(interim.unwrap().unwrap().status(), 100);
        h2.send(&mut asked.stream, &body, true).unwrap();
        assert_eq!(h2.whole(asked.response).unwrap().status, 200);
    }

    fn nothing_of_the_frames_is_logged(engine) {
        let gateway = Setup::new(engine, mock())
            .with("observability.log_level", "trace,h2=trace")
            .start();
        let mut h2 = H2::connect(&gateway);
        let (request, body) = named("seen", post(CHAT, &chat("m", false)));
        assert_eq!(h2.answer(request, &body).status, 200);
        let key = frames::bearer();
        let mut frames = Frames::connect(&gateway, b"");
        let lines = frames::lines("GET", "no path sk-canary", &key);
        frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &frames::block(&lines));
        frames.until(RST_STREAM);
        gateway.access_line("seen");
        gateway.signal(rustix::process::Signal::TERM);
        wait_for("the last word", || gateway.logged("stopped"));
        let log = gateway.stderr();
        assert!(!log.contains("h2::") && !log.contains("sk-c"), "{log}");
    }

    fn curl_speaks_it_by_prior_knowledge(engine) {
        let gateway = start(engine);
        let url = format!("http://{}{CHAT}", gateway.addr);
        let key = format!("authorization: Bearer {CALLER_KEY}");
        let body = chat("script/events=5,gap_ms=5", true).to_string();
        let mut curl = Command::new("curl");
        curl.args(["--http2-prior-knowledge", "-sS", "-N", "-w", "\n%{http_version} %{http_code}"]);
        curl.args(["-H", &key, "-H", "content-type: application/json", "-d", &body, &url]);
        let output = curl.output().expect("curl runs");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.ends_with("data: [DONE]\n\n\n2 200"), "{text}");
    }

    fn where_it_is_switched_off_the_preface_is_no_request(engine) {
        let gateway = Setup::new(engine, mock()).with("proxy.http2.enabled", false).start();
        let mut raw = gateway.connect();
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let answer = raw.response();
        assert_eq!(answer.status, 505, "{}", answer.text());
        assert!(raw.closes());
    }

    fn the_preface_may_come_in_pieces_and_only_first(engine) {
        let gateway = start(engine);
        let hello = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0, 0, 0, 4, 0, 0, 0, 0, 0][..]].concat();
        let mut raw = gateway.connect();
        for byte in &hello {
            raw.send(std::slice::from_ref(byte));
        }
        assert_eq!(raw.take(9).unwrap()[3], 4, "SETTINGS");
        // A word that only begins like it.
        for start in ["PRI * HTTP/1.1", "PRIX / HTTP/1.1", "PUT /livez HTTP/1.1"] {
            let mut raw: Raw = gateway.connect();
            raw.send(format!("{start}\r\nhost: a\r\n\r\n").as_bytes());
            assert!(matches!(raw.response().status, 400 | 404 | 405), "{start}");
        }
        let mut raw = gateway.connect();
        raw.send(&crate::support::gateway::get("/livez"));
        assert_eq!(raw.response().status, 200);
        raw.send(&hello);
        assert_eq!(raw.response().status, 505);
        assert!(raw.closes());
    }
}
