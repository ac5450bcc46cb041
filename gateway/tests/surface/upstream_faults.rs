//! What a broken upstream does to its own caller, and that it does nothing to the next one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::gateway::{chat, post};
use crate::support::store::pause;
use crate::support::{Engine, Gateway, Raw, Response, Setup, mock, upstream_requests, wait_for};

const CHAT: &str = "/v1/chat/completions";

const TRANSPORT: &str = "the connection to the upstream failed";
const DECODE: &str = "the upstream's answer could not be understood";
const ABORTED: &str = "the upstream's stream ended before it was complete";

/// What the caller of a fault gets.
#[derive(Clone, Copy, Debug)]
enum Want {
    /// A good answer all the same; a stream with all its events and `[DONE]`.
    Good,
    /// An error envelope: status, type, code and message, without the request id that ends it.
    Error(u16, &'static str, &'static str, &'static str),
    /// So many content events, then an error event of this type and message, and the end.
    Cut(usize, &'static str, &'static str),
}

use Want::{Cut, Error, Good};

const fn decode() -> Want {
    Error(
        502,
        "upstream_decode_error",
        "upstream_decode_error",
        DECODE,
    )
}

const fn transport() -> Want {
    Error(502, "transport_error", "transport_error", TRANSPORT)
}

const fn aborted() -> Want {
    Error(502, "stream_aborted", "stream_aborted", ABORTED)
}

/// A status error whose words are the upstream's.
const fn said(status: u16, code: &'static str, message: &'static str) -> Want {
    Error(status, "upstream_error", code, message)
}

/// A status error whose words are the gateway's.
const fn hidden(message: &'static str) -> Want {
    said(502, "upstream_error", message)
}

const UNARY: &[(&str, Want)] = &[
    ("bad=te_cl", decode()),
    ("bad=te_cl,te=chunked", decode()),
    ("bad=two_cl", decode()),
    ("bad=status", decode()),
    ("bad=version", decode()),
    ("bad=header", decode()),
    ("bad=huge_head", decode()),
    ("bad=many_headers", decode()),
    ("bad=chunk,te=chunked", decode()),
    ("bad=chunk_end,te=chunked", decode()),
    ("bad=json", decode()),
    ("bad=html", decode()),
    ("bad=long", decode()),
    ("bad=short", transport()),
    ("bad=no_id", Good),
    // Not HTTP; a blank line; LF for CRLF; a switch of protocols.
    ("raw=5353482d322e302d780d0a,close=yes", decode()),
    ("raw=0d0a0d0a,close=yes", decode()),
    ("raw=485454502f312e3120323030204f4b0a0a,close=yes", decode()),
    (
        "raw=485454502f312e312031303120580d0a0d0a,close=yes",
        hidden("upstream returned 101"),
    ),
    ("raw=485454502f312e31203230,close=yes", transport()),
    ("cut_at=head", transport()),
    ("cut_at=head,cut=fin", transport()),
    ("cut_at=0", transport()),
    ("cut_at=0,cut=fin", transport()),
    ("cut_at=0,cut=fin,te=chunked", transport()),
    // A body until close that is cut is JSON that is cut.
    ("cut_at=0,cut=fin,te=close", decode()),
    ("te=close", Good),
    ("close=yes", Good),
    ("early=1", Good),
    ("early=1,te=chunked", Good),
    ("interim=100", Good),
    ("interim=103", Good),
    ("interim=103,interim_n=8", Good),
    ("interim=103,interim_n=9", decode()),
    ("interim=100,interim_n=1000", decode()),
    ("status=201", Good),
    ("status=204", decode()),
    ("status=304", hidden("upstream returned 304")),
    ("status=302", hidden("upstream returned 302")),
    ("status=400", said(400, "upstream_error", "mock status 400")),
    (
        "status=400,error_code=bad_thing",
        said(400, "bad_thing", "mock status 400"),
    ),
    (
        "status=400,error_body=raw",
        said(400, "upstream_error", "mock status 400"),
    ),
    (
        "status=400,early=1",
        said(400, "upstream_error", "mock status 400"),
    ),
    ("status=401", said(401, "upstream_error", "mock status 401")),
    ("status=403", said(403, "upstream_error", "mock status 403")),
    (
        "status=404,error_code=model_gone",
        said(404, "model_gone", "mock status 404"),
    ),
    ("status=422", said(422, "upstream_error", "mock status 422")),
    ("status=429", said(429, "upstream_error", "mock status 429")),
    ("status=499", said(499, "upstream_error", "mock status 499")),
    (
        "status=400,te=chunked,split=3",
        said(400, "upstream_error", "mock status 400"),
    ),
    (
        "status=400,te=close",
        said(400, "upstream_error", "mock status 400"),
    ),
    // The status says enough where the body does not come.
    (
        "status=400,bad=short",
        said(400, "upstream_error", "upstream returned 400"),
    ),
    ("status=500", hidden("upstream returned 500")),
    ("status=500,error_body=raw", hidden("upstream returned 500")),
    (
        "status=500,error_code=bad_thing",
        hidden("upstream returned 500"),
    ),
    ("status=502", hidden("upstream returned 502")),
    ("status=503", hidden("upstream returned 503")),
    (
        "status=529",
        said(503, "overloaded", "upstream returned 529"),
    ),
    ("status=999", hidden("upstream returned 999")),
];

const STREAMS: &[(&str, Want)] = &[
    ("bad=te_cl", decode()),
    ("bad=status", decode()),
    ("bad=chunk", decode()),
    ("bad=html", decode()),
    ("bad=no_id", Good),
    ("bad=event_json", Cut(1, "upstream_decode_error", DECODE)),
    ("bad=huge_event", Cut(1, "upstream_decode_error", DECODE)),
    ("bad=long,te=length", Good),
    ("status=400", said(400, "upstream_error", "mock status 400")),
    ("status=500", hidden("upstream returned 500")),
    ("error_at=0", hidden("upstream reported an error")),
    (
        "error_at=0,error_code=429",
        said(429, "upstream_error", "mock error in the stream"),
    ),
    ("error_at=0,error_code=503", hidden("upstream returned 503")),
    (
        "error_at=0,error_code=odd",
        said(502, "odd", "upstream reported an error"),
    ),
    ("error_at=0,done=yes", hidden("upstream reported an error")),
    (
        "error_at=1",
        Cut(1, "upstream_in_band_error", "upstream reported an error"),
    ),
    (
        "error_at=1,done=yes",
        Cut(1, "upstream_in_band_error", "upstream reported an error"),
    ),
    (
        "error_at=2,error_code=429",
        Cut(2, "upstream_in_band_error", "mock error in the stream"),
    ),
    (
        "error_at=2,error_code=500",
        Cut(2, "upstream_in_band_error", "upstream returned 500"),
    ),
    ("cut_at=head", transport()),
    ("cut_at=0", transport()),
    ("cut_at=0,cut=fin", aborted()),
    ("cut_at=0,cut=fin,te=close", aborted()),
    ("cut_at=0,cut=fin,te=length", aborted()),
    ("cut_at=2,gap_ms=150", Cut(2, "transport_error", TRANSPORT)),
    ("cut_at=2,cut=fin", Cut(2, "stream_aborted", ABORTED)),
    (
        "cut_at=2,cut=fin,te=close",
        Cut(2, "stream_aborted", ABORTED),
    ),
    (
        "cut_at=2,cut=fin,te=length",
        Cut(2, "stream_aborted", ABORTED),
    ),
    (
        "cut_at=3,cut=fin,te=close",
        Cut(3, "stream_aborted", ABORTED),
    ),
    ("done=no", Good),
    ("done=no,te=close", Good),
    ("finish=none", Good),
    ("finish=none,done=no", Cut(3, "stream_aborted", ABORTED)),
    ("usage=no", Good),
    ("comment=yes", Good),
    ("te=close", Good),
    ("close=yes", Good),
    ("early=1", Good),
    ("interim=103,interim_n=8", Good),
    ("interim=103,interim_n=9", decode()),
    // All there but the end of the framing.
    ("bad=short,te=length", Good),
];

/// The message of an envelope without the request id at its end.
fn sentence(error: &Value) -> String {
    let message = error["message"].as_str().expect("a message");
    let id = error["request_id"].as_str().expect("an id");
    let end = format!(" (request id {id})");
    message.strip_suffix(&end).unwrap_or(message).to_owned()
}

fn assert_error(script: &str, answer: &Response, want: (u16, &str, &str, &str)) {
    assert_eq!(answer.status, want.0, "{script}: {}", answer.text());
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{script}"
    );
    let error = answer.error();
    let got = (error["type"].as_str(), error["code"].as_str());
    assert_eq!(got, (Some(want.1), Some(want.2)), "{script}: {error}");
    assert_eq!(sentence(&error), want.3, "{script}");
    assert_eq!(
        answer.header("x-sluice-request-id"),
        error["request_id"].as_str(),
        "{script}"
    );
}

/// The events of a stream.
fn events(answer: &Response) -> Vec<&str> {
    answer.text().split_terminator("\n\n").collect()
}

fn assert_cut(script: &str, answer: &Response, count: usize, kind: &str, message: &str) {
    assert_eq!(answer.status, 200, "{script}: {}", answer.text());
    let events = events(answer);
    for (index, event) in events[..events.len() - 1].iter().take(count).enumerate() {
        assert!(
            event.contains(&format!("\"content\":\"e{index} ")),
            "{script}: {event}"
        );
    }
    let last = events.last().expect("an event");
    let json = last.strip_prefix("event: error\ndata: ").expect(last);
    let error: Value = serde_json::from_str::<Value>(json).expect("JSON")["error"].clone();
    assert_eq!(error["type"], kind, "{script}: {error}");
    assert_eq!(sentence(&error), message, "{script}");
    assert!(
        !answer.text().contains("[DONE]"),
        "{script}: {}",
        answer.text()
    );
    assert!(events.len() > count, "{script}: {}", answer.text());
}

fn assert_good_stream(script: &str, answer: &Response) {
    assert_eq!(answer.status, 200, "{script}: {}", answer.text());
    let text = answer.text();
    for index in 0..3 {
        assert!(
            text.contains(&format!("\":\"e{index} ")),
            "{script}: {text}"
        );
    }
    assert!(text.ends_with("data: [DONE]\n\n"), "{script}: {text}");
    assert_eq!(text.matches("[DONE]").count(), 1, "{script}: {text}");
    assert!(!text.contains("event: error"), "{script}: {text}");
}

/// A good request must get its own answer, streamed and whole.
fn assert_own_answers(raw: &mut Raw, after: &str, round: usize) {
    let prompt = format!("prompt {round} after");
    let body = json!({"model": "m", "messages": [{"role": "user", "content": prompt}]});
    raw.send(&post(CHAT, &body));
    let answer = raw.response();
    assert_eq!(answer.status, 200, "after {after}: {}", answer.text());
    let content = answer.json()["choices"][0]["message"]["content"].to_string();
    assert!(content.contains(&prompt), "after {after}: {content}");
    raw.send(&post(CHAT, &chat("script/events=3", true)));
    assert_good_stream(after, &raw.response());
}

/// Nothing that only the upstream or its address could have said.
fn assert_hides(script: &str, answer: &Response, mock: SocketAddr) {
    let text = answer.text();
    let port = format!(":{}", mock.port());
    for word in [
        "mock status",
        "mock error",
        "fp_mock",
        "<html",
        &port,
        "127.0.0.1",
        "os error",
    ] {
        assert!(!text.contains(word), "{script}: {word} in {text}");
    }
}

/// Runs each fault between good requests that share the upstream's pool.
fn run_faults(engine: Engine, stream: bool, faults: &[(&str, Want)]) {
    let mock = mock();
    let gateway = Setup::new(engine, mock).start();
    let mut good = gateway.connect();
    assert_own_answers(&mut good, "nothing", 0);
    for (round, (script, want)) in faults.iter().enumerate() {
        let mut raw = gateway.connect();
        let script = if stream {
            format!("events=3,{script}")
        } else {
            (*script).to_owned()
        };
        raw.send(&post(CHAT, &chat(&format!("script/{script}"), stream)));
        let answer = raw.response();
        match *want {
            Good if stream => assert_good_stream(&script, &answer),
            Good => {
                assert_eq!(answer.status, 200, "{script}: {}", answer.text());
                let json = answer.json();
                assert!(
                    json["choices"][0]["message"].is_object(),
                    "{script}: {json}"
                );
                let named = script != "bad=no_id";
                assert_eq!(
                    json["model"] == format!("script/{script}"),
                    named,
                    "{script}: {json}"
                );
            }
            Error(status, kind, code, message) => {
                assert_error(&script, &answer, (status, kind, code, message));
                if !(400..=499).contains(&status) {
                    assert_hides(&script, &answer, mock);
                }
            }
            Cut(count, kind, message) => assert_cut(&script, &answer, count, kind, message),
        }
        if script.contains("early") {
            // What nobody asked for is on its way until the upstream is done; a response that
            // crosses the next request is nobody's to tell from that request's own.
            wait_for("the unasked response", || {
                let sent = upstream_requests(mock);
                sent.last()?["ended_at_ms"].as_u64()
            });
        }
        assert_own_answers(&mut good, &script, round + 1);
    }
    // Each request is recorded once, with what its caller got.
    let lines = gateway.access_lines(faults.len() * 3 + 2);
    assert_eq!(lines.len(), faults.len() * 3 + 2);
    for (line, (script, want)) in lines[2..].iter().step_by(3).zip(faults) {
        let (status, kind, end) = match *want {
            Good => (200, None, "completed"),
            Error(status, kind, ..) => (status, Some(kind), "upstream_failed"),
            Cut(_, "upstream_in_band_error", _) => (0, Some("upstream_error"), "upstream_failed"),
            Cut(_, kind, _) => (502, Some(kind), "upstream_failed"),
        };
        if status > 0 {
            assert_eq!(line["status"], status, "{script}: {line}");
        }
        assert_eq!(line["error_kind"].as_str(), kind, "{script}: {line}");
        assert_eq!(line["end"], end, "{script}: {line}");
    }
}

/// Reads one chat request and answers it.
fn answer_one(stream: &mut TcpStream) {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !seen.ends_with(b"}]}") {
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => seen.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
    let body = r#"{"id":"c","choices":[]}"#;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}

/// An upstream that answers `per_connection` requests on each connection and then closes it
/// without a word.
fn forgetful_upstream(per_connection: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            (0..per_connection).for_each(|_| answer_one(&mut stream));
        }
    });
    addr
}

/// An upstream that answers one request on each connection and then, told to, sends `unasked` over
/// it and says so.
fn chatty_upstream(unasked: &'static [u8]) -> (SocketAddr, Sender<()>, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (go, told) = channel();
    let (say, done) = channel();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            answer_one(&mut stream);
            let Ok(()) = told.recv() else { return };
            stream.write_all(unasked).unwrap();
            open.push(stream);
            say.send(()).unwrap();
        }
    });
    (addr, go, done)
}

fn start(engine: Engine) -> (Gateway, SocketAddr) {
    let mock = mock();
    (Setup::new(engine, mock).start(), mock)
}

on_both_engines! {
    fn each_fault_of_a_whole_answer_stays_with_its_caller(engine) {
        run_faults(engine, false, UNARY);
    }

    fn each_fault_of_a_stream_stays_with_its_caller(engine) {
        run_faults(engine, true, STREAMS);
    }

    fn a_pooled_connection_that_the_upstream_closed_is_replaced_without_an_error(engine) {
        for per_connection in [1, 2] {
            let gateway = Setup::new(engine, forgetful_upstream(per_connection)).start();
            let mut raw = gateway.connect();
            for round in 0..10 {
                raw.send(&post(CHAT, &chat("m", false)));
                let answer = raw.response();
                assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
            }
        }
    }

    fn a_pooled_connection_with_unasked_bytes_in_it_is_not_used_again(engine) {
        for unasked in [&b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nEARLY"[..], b"H", b"\r\n"] {
            let (addr, go, done) = chatty_upstream(unasked);
            let gateway = Setup::new(engine, addr).start();
            let mut raw = gateway.connect();
            for round in 0..5 {
                raw.send(&post(CHAT, &chat("m", false)));
                let answer = raw.response();
                assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
                assert_eq!(answer.json()["id"], "c");
                go.send(()).unwrap();
                done.recv().unwrap();
                if round % 2 == 1 {
                    // The bytes are old when the connection is asked for.
                    pause(Duration::from_millis(60));
                }
            }
        }
    }

    fn an_idle_connection_that_is_not_quiet_is_closed_without_being_asked_for(engine) {
        for unasked in [&b""[..], b"H"] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let gateway = Setup::new(engine, listener.local_addr().unwrap()).start();
            let upstream = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                answer_one(&mut stream);
                stream
            });
            assert_eq!(gateway.post(CHAT, &chat("m", false)).status, 200);
            let mut stream = upstream.join().unwrap();
            if unasked.is_empty() {
                stream.shutdown(std::net::Shutdown::Write).unwrap();
            } else {
                stream.write_all(unasked).unwrap();
            }
            // Long before the connection is too old: that would be after 30 s.
            let ended = stream.read(&mut [0; 16]);
            assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
            wait_for("the connection to be counted out", || {
                let open = gateway.metric("sluice_runtime_core_connections", &["side=\"upstream\""]);
                (open < 0.5).then_some(())
            });
        }
    }

    fn a_pooled_connection_that_fails_before_an_answer_is_replaced_once(engine) {
        let (gateway, mock) = start(engine);
        let mut raw = gateway.connect();
        for (round, cut) in ["rst", "fin"].into_iter().enumerate() {
            assert_own_answers(&mut raw, "nothing", round);
            let script = format!("script/events=3,cut_at=head,cut={cut},times=1,tag=once");
            for stream in [false, true] {
                let model = format!("{script}{stream}");
                raw.send(&post(CHAT, &chat(&model, stream)));
                let answer = raw.response();
                assert_eq!(answer.status, 200, "{model}: {}", answer.text());
            }
            // Twice in a row is the upstream's fault.
            let model = format!("script/cut_at=head,cut={cut},times=2,tag=twice");
            raw.send(&post(CHAT, &chat(&model, false)));
            assert_error(&model, &raw.response(), (502, "transport_error", "transport_error", TRANSPORT));
            let tries = upstream_requests(mock);
            let tries = tries.iter().filter(|sent| sent["body"].to_string().contains(&format!("cut={cut},times=2")));
            assert_eq!(tries.count(), 2);
        }
    }

    fn a_fresh_connection_that_fails_is_not_tried_again(engine) {
        let (gateway, mock) = start(engine);
        let answer = gateway.post(CHAT, &chat("script/cut_at=head", false));
        assert_error("cut_at=head", &answer, (502, "transport_error", "transport_error", TRANSPORT));
        assert_eq!(upstream_requests(mock).len(), 1);
    }

    fn only_overload_passes_its_retry_after_on(engine) {
        let (gateway, _) = start(engine);
        for (script, want) in [
            ("status=429,retry_after=7", Some("7")),
            ("status=503,retry_after=7", Some("7")),
            ("status=529,retry_after=7", Some("7")),
            ("status=429", None),
            ("status=429,retry_after=soon", None),
            ("status=429,retry_after=-1", None),
            ("status=429,retry_after=Fri", None),
            ("status=500,retry_after=7", None),
            ("status=400,retry_after=7", None),
        ] {
            for stream in [false, true] {
                let answer = gateway.post(CHAT, &chat(&format!("script/{script}"), stream));
                assert!(answer.status >= 400, "{script}");
                assert_eq!(answer.header("retry-after"), want, "{script}");
            }
        }
    }

    fn an_upstream_that_cannot_be_reached_is_a_502_without_its_address(engine) {
        // Bound and let go: nobody listens there.
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let gateway = Setup::new(engine, nobody).start();
        for stream in [false, true] {
            let answer = gateway.post(CHAT, &chat("m", stream));
            assert_error("nobody", &answer, (502, "transport_error", "transport_error", TRANSPORT));
            assert_hides("nobody", &answer, nobody);
        }
        let line = &gateway.access_lines(1)[0];
        assert!(line["error"].as_str().unwrap().contains("connect failed"), "{line}");
    }

    fn invalid_utf8_inside_an_event_is_the_clients_to_judge(engine) {
        let (gateway, _) = start(engine);
        let answer = gateway.post(CHAT, &chat("script/events=3,bad=utf8", true));
        assert_eq!(answer.status, 200);
        let text = String::from_utf8_lossy(&answer.body);
        assert!(text.contains("\"e2 ") && text.ends_with("data: [DONE]\n\n"), "{text}");
        assert!(answer.body.windows(2).any(|pair| pair == b"\xff\xfe"));
    }

    fn the_end_of_a_cut_stream_ends_the_connection_in_order(engine) {
        let (gateway, _) = start(engine);
        let mut raw = gateway.connect();
        raw.send(&post(CHAT, &chat("script/events=3,cut_at=1,cut=fin", true)));
        // The chunked body is complete, so that no client takes it for a broken connection.
        let answer = raw.response();
        assert_cut("cut_at=1", &answer, 1, "stream_aborted", ABORTED);
        assert!(raw.closes());
    }
}
