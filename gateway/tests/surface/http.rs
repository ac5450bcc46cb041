//! HTTP/1.1 towards callers: connections, bodies, expectations, limits.

use std::io::ErrorKind;

use serde_json::json;

use crate::on_both_engines;
use crate::support::gateway::{CALLER_KEY, chat, get, post};
use crate::support::{Gateway, Raw, Response, Setup, mock, upstream_requests, wait_for};

const CHAT: &str = "/v1/chat/completions";

/// A request with the caller's key; `fields` end in CRLF.
fn request(line: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{line}\r\nhost: g\r\nauthorization: Bearer {CALLER_KEY}\r\n{fields}\r\n");
    [head.as_bytes(), body].concat()
}

/// A chat request in chunks, framed by `frame`.
fn chunked(body: &str, frame: impl Fn(&str) -> String) -> Vec<u8> {
    let line = format!("POST {CHAT} HTTP/1.1");
    request(
        &line,
        "transfer-encoding: chunked\r\n",
        frame(body).as_bytes(),
    )
}

/// A HEAD answer: nothing but the head.
fn head_of(raw: &mut Raw, path: &str) -> Response {
    raw.send(&request(&format!("HEAD {path} HTTP/1.1"), "", b""));
    raw.head()
}

fn assert_answers(raw: &mut Raw, prompt: &str) {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": prompt}]});
    raw.send(&post(CHAT, &body));
    let answer = raw.response();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.json()["choices"][0]["message"]["content"].to_string();
    assert!(text.contains(prompt), "{text}");
}

/// Whether a byte or the end of the connection is there to be read.
fn has_news(raw: &Raw) -> bool {
    let stream = raw.stream();
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    match peeked {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}

fn limited(engine: crate::support::Engine, bytes: u64) -> Gateway {
    Setup::new(engine, mock())
        .with("proxy.request_body_limit_bytes", bytes)
        .start()
}

fn assert_too_large(answer: &Response, limit: u64) {
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert_eq!(answer.header("connection"), Some("close"));
    let error = answer.error();
    let message = format!("request body exceeds {limit}-byte limit");
    assert_eq!(error["message"], message);
    assert_eq!(error["type"], "invalid_request_error");
    assert_eq!(error["code"], "request_too_large");
}

on_both_engines! {
    fn a_connection_carries_one_request_after_the_other(engine) {
        let mock = mock();
        let gateway = Setup::new(engine, mock).start();
        let mut raw = gateway.connect();
        for round in 0..20 {
            assert_answers(&mut raw, &format!("prompt {round}"));
            raw.send(&post(CHAT, &chat("script/events=2", true)));
            assert!(raw.response().text().ends_with("data: [DONE]\n\n"));
            for (path, status) in [("/v1/models", 200), ("/livez", 200), ("/nowhere", 404)] {
                raw.send(&get(path));
                let answer = raw.response();
                assert_eq!((answer.status, answer.header("connection")), (status, None), "{path}");
            }
        }
        let sent = upstream_requests(mock);
        assert!(sent.iter().all(|request| request["connection"] == 1), "one upstream connection");
        assert_eq!(sent.len(), 40);
    }

    fn pipelined_requests_are_answered_in_their_order(engine) {
        let gateway = Setup::new(engine, mock()).start();
        let mut raw = gateway.connect();
        for _ in 0..3 {
            let slow = post(CHAT, &chat("script/head_ms=20", false));
            let stream = post(CHAT, &chat("script/events=3,gap_ms=2", true));
            raw.send(&[&slow[..], &stream[..], &get("/v1/models")[..]].concat());
            assert_eq!(raw.response().json()["model"], "script/head_ms=20");
            let streamed = raw.response();
            assert_eq!(streamed.header("content-type"), Some("text/event-stream"));
            assert!(streamed.text().ends_with("data: [DONE]\n\n"), "{}", streamed.text());
            assert_eq!(raw.response().json()["object"], "list");
        }
        // A refusal does not swallow what follows it, an end of the connection does.
        let refused = post(CHAT, &chat("nope", false));
        let last = request("GET /v1/models HTTP/1.1", "connection: close\r\n", b"");
        raw.send(&[&refused[..], &last[..], &get("/livez")[..]].concat());
        assert_eq!(raw.response().status, 404);
        assert_eq!(raw.response().status, 200);
        assert!(raw.closes());
    }

    fn http_1_0_is_answered_without_chunks_and_closed(engine) {
        let gateway = Setup::new(engine, mock()).start();
        let body = chat("m", false).to_string();
        let length = format!("content-length: {}\r\n", body.len());
        let mut raw = gateway.connect();
        raw.send(&request(&format!("POST {CHAT} HTTP/1.0"), &length, body.as_bytes()));
        let answer = raw.response();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert!(raw.closes());

        for fields in ["", "connection: keep-alive\r\n"] {
            let body = chat("script/events=3,gap_ms=1", true).to_string();
            let fields = format!("{fields}content-length: {}\r\n", body.len());
            let mut raw = gateway.connect();
            raw.send(&request(&format!("POST {CHAT} HTTP/1.0"), &fields, body.as_bytes()));
            let answer = raw.head();
            assert_eq!(answer.header("transfer-encoding"), None, "{fields}");
            // Nothing but the end of the connection ends the body.
            assert_eq!(answer.header("connection"), Some("close"), "{fields}");
            let text = String::from_utf8(raw.rest()).unwrap();
            assert!(text.starts_with("data: {") && text.ends_with("data: [DONE]\n\n"), "{text}");
        }

        // Without Host, as the old protocol has it.
        let mut raw = gateway.connect();
        raw.send(b"GET /livez HTTP/1.0\r\n\r\n");
        assert_eq!(raw.response().text(), "ok");
        assert!(raw.closes());
    }

    fn a_kept_http_1_0_connection_is_announced(engine) {
        let gateway = Setup::new(engine, mock()).start();
        let mut raw = gateway.connect();
        for path in ["/livez", "/v1/models"] {
            let line = format!("GET {path} HTTP/1.0");
            raw.send(&request(&line, "connection: keep-alive\r\n", b""));
            let answer = raw.response();
            assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")));
        }
    }

    fn head_is_get_without_the_body(engine) {
        let gateway = Setup::new(engine, mock()).start();
        let mut raw = gateway.connect();
        let models = ["/v1/models", "/v1/models/m", "/v1/models/nope"];
        for path in ["/livez", "/readyz", "/readyz?verbose", "/nowhere"].into_iter().chain(models) {
            raw.send(&get(path));
            let full = raw.response();
            let head = head_of(&mut raw, path);
            assert_eq!(head.status, full.status, "{path}");
            let length = full.body.len().to_string();
            let same = |name| assert_eq!(head.header(name), full.header(name), "{path}: {name}");
            assert!(!full.body.is_empty());
            assert_eq!(full.header("content-length"), Some(&*length), "{path}");
            same("content-length");
            same("content-type");
            same("connection");
        }
        // What POST alone serves has no HEAD.
        let refused = head_of(&mut raw, CHAT);
        assert_eq!((refused.status, refused.header("allow")), (405, Some("POST")));
        // The connection is in step after all of them.
        assert_answers(&mut raw, "after heads");
    }

    fn a_body_is_asked_for_only_when_it_will_be_read(engine) {
        let gateway = limited(engine, 1000);
        let body = chat("m", false).to_string();
        let expecting = |path: &str, key: &str, length: usize| {
            format!("POST {path} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {key}\r\n\
                expect: 100-continue\r\ncontent-length: {length}\r\n\r\n").into_bytes()
        };

        let mut raw = gateway.connect();
        for _ in 0..2 {
            raw.send(&expecting(CHAT, CALLER_KEY, body.len()));
            let interim = raw.head();
            assert_eq!((interim.status, interim.headers.len()), (100, 0));
            raw.send(body.as_bytes());
            assert_eq!(raw.response().status, 200);
        }
        // In chunks.
        let fields = "expect: 100-continue\r\ntransfer-encoding: chunked\r\n";
        raw.send(&request(&format!("POST {CHAT} HTTP/1.1"), fields, b""));
        assert_eq!(raw.head().status, 100);
        raw.send(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).as_bytes());
        assert_eq!(raw.response().status, 200);

        // A refusal takes the place of the 100, and since the body may come or not, of the
        // connection too.
        for (path, key, length, status) in [
            (CHAT, "sk-nobody", body.len(), 401),
            (CHAT, CALLER_KEY, 1001, 413),
            (CHAT, "sk-nobody", 1001, 413),
            ("/nowhere", CALLER_KEY, body.len(), 404),
            ("/v1/models", CALLER_KEY, body.len(), 405),
            ("/passthrough/x", CALLER_KEY, body.len(), 410),
        ] {
            let mut raw = gateway.connect();
            raw.send(&expecting(path, key, length));
            let answer = raw.response();
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(answer.header("connection"), Some("close"), "{path}");
            assert!(raw.closes(), "{path}");
        }

        // HTTP/1.0 knows no 100.
        let mut raw = gateway.connect();
        let fields = format!("expect: 100-continue\r\ncontent-length: {}\r\n", body.len());
        raw.send(&request(&format!("POST {CHAT} HTTP/1.0"), &fields, body.as_bytes()));
        assert_eq!(raw.response().status, 200);
    }

    fn a_chunked_body_may_have_extensions_and_trailers(engine) {
        let mock = mock();
        let gateway = Setup::new(engine, mock).start();
        let body = r#"{"model":"m","messages":[{"role":"user","content":"aé漢😀"}]}"#;
        let one = |body: &str| format!("{:X}\r\n{body}\r\n0\r\n\r\n", body.len());
        let decorated = |body: &str| {
            let mut out = String::new();
            for character in body.chars() {
                let bytes = character.len_utf8();
                out.push_str(&format!("000{bytes};a;b=\"c;d\"\r\n{character}\r\n"));
            }
            out + "0;last\r\nx-sum: 1\r\nauthorization: Bearer sk-nobody\r\n\r\n"
        };
        let mut raw = gateway.connect();
        raw.send(&chunked(body, one));
        raw.send(&chunked(body, decorated));
        for byte in chunked(body, decorated) {
            raw.send(&[byte]);
        }
        for _ in 0..3 {
            let answer = raw.response();
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        for sent in upstream_requests(mock) {
            assert_eq!(sent["body"], body.replace(r#""m""#, r#""gpt-up""#));
            let headers = sent["headers"].to_string();
            assert!(!headers.contains("x-sum") && headers.contains("content-length"), "{headers}");
        }
    }

    fn a_broken_chunked_body_is_refused_and_nothing_behind_it_is_served(engine) {
        let mock = mock();
        let gateway = Setup::new(engine, mock).start();
        let smuggled = post(CHAT, &chat("m", false));
        let body = chat("m", false).to_string();
        let whole = format!("{:x}\r\n{body}", body.len());
        for framing in [
            "xyz\r\n".to_owned(),
            "-1\r\n".to_owned(),
            "0x1\r\n".to_owned(),
            "\r\n".to_owned(),
            "1 \r\n".to_owned(),
            "11111111111111111\r\n".to_owned(),
            format!("{whole}XX0\r\n\r\n"),
            format!("{whole}\n0\r\n\r\n"),
            format!("{whole}\r\n0\n\r\n"),
            format!("{whole}\r\n0\r\nno colon\r\n\r\n"),
            format!("{whole}\r\n0\r\na b: c\r\n\r\n"),
            format!("{whole}\r\n0;{}\r\n\r\n", "x".repeat(300)),
            format!("{whole}\r\n0\r\nx: {}\r\n\r\n", "y".repeat(9000)),
            format!("{:x}\n{body}\r\n0\r\n\r\n", body.len()),
        ] {
            let mut raw = gateway.connect();
            let bytes = chunked(&body, |_| framing.clone());
            raw.send(&[&bytes[..], &smuggled[..]].concat());
            let answer = raw.response();
            assert_eq!(answer.status, 400, "{framing:?}: {}", answer.text());
            assert_eq!(answer.error()["message"], "failed to read request body");
            assert_eq!(answer.header("connection"), Some("close"));
            assert!(raw.closes(), "{framing:?}");
        }
        assert!(upstream_requests(mock).is_empty());
    }

    fn an_upgrade_is_answered_as_the_plain_request_it_also_is(engine) {
        let mock = mock();
        let gateway = Setup::new(engine, mock).start();
        let mut raw = gateway.connect();
        let websocket = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
            sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let h2c = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n";
        for fields in [websocket, h2c] {
            raw.send(&request("GET /v1/models HTTP/1.1", fields, b""));
            let answer = raw.response();
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("upgrade"), None);
            let body = chat("m", false).to_string();
            let fields = format!("{fields}content-length: {}\r\n", body.len());
            raw.send(&request(&format!("POST {CHAT} HTTP/1.1"), &fields, body.as_bytes()));
            assert_eq!(raw.response().status, 200);
        }
        for sent in upstream_requests(mock) {
            let headers = sent["headers"].to_string().to_lowercase();
            assert!(!headers.contains("upgrade") && !headers.contains("websocket"), "{headers}");
        }
    }

    fn unknown_paths_and_methods_are_told_apart(engine) {
        let gateway = Setup::new(engine, mock()).start();
        let mut raw = gateway.connect();
        for (line, status, allow, code) in [
            ("GET /v1/chat/completions", 405, Some("POST"), "unknown_url"),
            ("DELETE /v1/completions", 405, Some("POST"), "unknown_url"),
            ("PUT /v1/embeddings", 405, Some("POST"), "unknown_url"),
            ("OPTIONS /v1/embeddings", 405, Some("POST"), "unknown_url"),
            ("POST /v1/models", 405, Some("GET, HEAD"), "unknown_url"),
            ("DELETE /v1/models/m", 405, Some("GET, HEAD"), "unknown_url"),
            ("POST /livez", 405, Some("GET, HEAD"), "unknown_url"),
            ("BREW /readyz", 405, Some("GET, HEAD"), "unknown_url"),
            ("GET /", 404, None, "unknown_url"),
            ("POST /v1/chat/completions/", 404, None, "unknown_url"),
            ("POST //v1/chat/completions", 404, None, "unknown_url"),
            ("POST /v1/chat/../chat/completions", 404, None, "unknown_url"),
            ("POST /V1/chat/completions", 404, None, "unknown_url"),
            ("POST /v1/chat%2Fcompletions", 404, None, "unknown_url"),
            ("GET /health", 404, None, "unknown_url"),
            ("GET /metrics", 404, None, "unknown_url"),
            ("OPTIONS *", 404, None, "unknown_url"),
            ("POST /passthrough/openai/v1/x", 410, None, "endpoint_removed"),
            ("GET /passthrough/", 410, None, "endpoint_removed"),
        ] {
            raw.send(&request(&format!("{line} HTTP/1.1"), "", b""));
            let answer = raw.response();
            assert_eq!(answer.status, status, "{line}");
            assert_eq!(answer.header("allow"), allow, "{line}");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{line}");
            let error = answer.error();
            assert_eq!(error["type"], "invalid_request_error", "{line}");
            assert_eq!(error["code"], code, "{line}");
            assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{line}");
        }
        // The query is no part of the path.
        raw.send(&get("/v1/models?x=/v1/embeddings"));
        assert_eq!(raw.response().status, 200);
    }

    fn a_head_has_a_deadline_and_an_idle_connection_has_none(engine) {
        let gateway = Setup::new(engine, mock())
            .with("proxy.header_read_timeout_secs", 1)
            .with("downstream.idle_timeout_secs", 0)
            .start();
        let mut idle = gateway.connect();
        let mut used = gateway.connect();
        used.send(&get("/livez"));
        assert_eq!(used.response().status, 200);

        let begun = b"GET /livez HTTP/1.1\r\nhost: a\r\n";
        let mut slow = [gateway.connect(), gateway.connect(), gateway.connect()];
        slow[0].send(begun);
        slow[1].send(b"G");
        // Behind a whole request, too.
        slow[2].send(&[&get("/livez")[..], &begun[..]].concat());
        assert_eq!(slow[2].response().status, 200);
        // One that drips is no better than one that stands still.
        let mut dripping = gateway.connect();
        dripping.send(begun);
        while !has_news(&dripping) {
            if dripping.try_send(b"x: y\r\n").is_err() {
                break;
            }
            let pause = std::time::Duration::from_millis(50);
            dripping.stream().set_read_timeout(Some(pause)).unwrap();
            let _ = dripping.stream().peek(&mut [0]);
        }
        dripping.stream().set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
        for raw in slow.iter_mut().chain([&mut dripping]) {
            let answer = raw.response();
            assert_eq!(answer.status, 408, "{}", answer.text());
            assert_eq!(answer.header("connection"), Some("close"));
            let error = answer.error();
            assert_eq!(error["message"], "the request head did not arrive in time");
            assert_eq!(error["type"], "invalid_request_error");
            assert!(raw.closes());
        }
        for raw in [&mut idle, &mut used] {
            raw.send(&get("/livez"));
            assert_eq!(raw.response().status, 200);
        }
    }

    fn an_idle_connection_is_closed_after_its_time_without_an_answer(engine) {
        let gateway = Setup::new(engine, mock())
            .with("downstream.idle_timeout_secs", 1)
            .start();
        let mut fresh = gateway.connect();
        let mut used = gateway.connect();
        used.send(&get("/livez"));
        assert_eq!(used.response().status, 200);
        let mut busy = gateway.connect();
        busy.send(&post(CHAT, &chat("script/head_ms=1500", false)));
        assert!(fresh.closes() && used.closes());
        assert_eq!(busy.response().status, 200);
    }

    fn an_announced_length_beyond_the_limit_is_refused_before_the_key_is_looked_at(engine) {
        let gateway = limited(engine, 1000);
        for path in [CHAT, "/v1/completions", "/v1/embeddings", "/nowhere"] {
            let mut raw = gateway.connect();
            raw.send(format!("POST {path} HTTP/1.1\r\nhost: g\r\ncontent-length: 1001\r\n\r\n").as_bytes());
            assert_too_large(&raw.response(), 1000);
            assert!(raw.closes());
        }
        // The answer can be read by a client that sends all of its body first.
        let mut raw = gateway.connect();
        let body = vec![b'x'; 8 * 1024 * 1024];
        let length = format!("content-length: {}\r\n", body.len());
        raw.send(&request(&format!("POST {CHAT} HTTP/1.1"), &length, &body));
        assert_too_large(&raw.response(), 1000);
        assert!(raw.closes());
        // The limit itself is within the limit.
        let body = padded(1000);
        assert_eq!(gateway.post(CHAT, &body).status, 200);
        assert_eq!(gateway.post(CHAT, &padded(1001)).status, 413);
    }

    fn a_body_of_unknown_length_is_counted_after_the_key_was_looked_at(engine) {
        let gateway = limited(engine, 1000);
        let frame = |body: &str| {
            let (first, second) = body.split_at(600);
            format!("{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", first.len(), second.len())
        };
        let mut raw = gateway.connect();
        raw.send(&chunked(&padded(1000).to_string(), frame));
        assert_eq!(raw.response().status, 200);
        raw.send(&chunked(&padded(1001).to_string(), frame));
        assert_too_large(&raw.response(), 1000);
        assert!(raw.closes());
        // Chunks without end.
        let mut raw = gateway.connect();
        let endless = format!("{:x}\r\n{}\r\n", 100, "x".repeat(100)).repeat(20_000);
        raw.send(&chunked(&endless, str::to_owned));
        assert_too_large(&raw.response(), 1000);
        // Without a key the body is not even read.
        let mut raw = gateway.connect();
        let bytes = chunked(&padded(1001).to_string(), frame);
        let text = String::from_utf8(bytes).unwrap().replace(CALLER_KEY, "sk-nobody");
        raw.send(text.as_bytes());
        assert_eq!(raw.response().status, 401);
    }

    fn a_client_that_ends_its_body_early_gets_no_answer_and_reaches_nobody(engine) {
        let mock = mock();
        let gateway = Setup::new(engine, mock).start();
        let whole = post(CHAT, &chat("m", false));
        let mut raw = gateway.connect();
        raw.send(&whole[..whole.len() - 1]);
        raw.shutdown_write();
        assert!(raw.closes());
        let line = &gateway.access_lines(1)[0];
        assert_eq!((&line["status"], &line["end"]), (&json!(499), &json!("client_gone")), "{line}");
        assert!(upstream_requests(mock).is_empty());
    }

    fn connections_beyond_the_limit_are_told_so_and_closed(engine) {
        let gateway = Setup::new(engine, mock())
            .with("proxy.max_connections_per_worker", 2)
            .start();
        let (mut first, mut second) = (gateway.connect(), gateway.connect());
        for raw in [&mut first, &mut second] {
            raw.send(&get("/livez"));
            assert_eq!(raw.response().status, 200);
        }
        let mut third = gateway.connect();
        let answer = third.response();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.error()["code"], "overloaded");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(third.closes());
        assert_answers(&mut first, "first");
        drop((first, third));
        wait_for("a place", || {
            let mut raw = gateway.connect();
            raw.send(&get("/livez"));
            (raw.response().status == 200).then_some(())
        });
        second.send(&get("/livez"));
        assert_eq!(second.response().status, 200);
    }
}

/// A chat request of exactly so many bytes.
fn padded(bytes: usize) -> serde_json::Value {
    let mut body = chat("m", false);
    body["user"] = "".into();
    let room = bytes - body.to_string().len();
    body["user"] = "x".repeat(room).into();
    body
}
