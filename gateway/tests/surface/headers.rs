//! Header lines: ids, what goes upstream, and what must not.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::gateway::{CALLER_KEY, UPSTREAM_KEY, chat};
use crate::support::{Engine, Gateway, Response, Setup, mock, upstream_requests, wait_for};

const CHAT: &str = "/v1/chat/completions";
const COOKIE: &str = "cookie-canary-55aa";

/// A chat request with these header lines, each ended by CRLF.
fn ask(gateway: &Gateway, body: &Value, fields: &str) -> Response {
    let body = body.to_string();
    let mut raw = gateway.connect();
    raw.send(
        format!(
            "POST {CHAT} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {CALLER_KEY}\r\n{fields}\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    raw.response()
}

/// Header lines of the last request upstream, names as sent.
fn sent_headers(mock: SocketAddr) -> Vec<(String, String)> {
    let sent = upstream_requests(mock).pop().expect("a request");
    let pairs = sent["headers"].as_array().expect("pairs").iter();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    pairs.map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

/// The values under `name`, in any case.
fn values<'h>(headers: &'h [(String, String)], name: &str) -> Vec<&'h str> {
    let same = headers
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name));
    same.map(|(_, value)| value.as_str()).collect()
}

fn start(engine: Engine, request: Value) -> (Gateway, SocketAddr) {
    let mock = mock();
    let mut setup = Setup::new(engine, mock);
    setup.resources["provider_keys"][0]["request"] = request;
    setup.resources["api_keys"][0]["team_id"] = "team-7".into();
    (setup.start(), mock)
}

/// A UUID, version 4.
fn is_minted(id: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            14 => byte == b'4',
            _ => hex(byte),
        })
}

/// Asks and checks that the id is the same everywhere; returns it.
fn id_everywhere(gateway: &Gateway, mock: SocketAddr, fields: &str) -> String {
    let before = upstream_requests(mock).len();
    let answer = ask(gateway, &chat("m", false), fields);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = answer
        .header("x-sluice-request-id")
        .expect("an id")
        .to_owned();
    assert_eq!(answer.header("x-sluice-call-id"), Some(&*id));
    assert_eq!(values(&sent_headers(mock), "x-sluice-request-id"), [&*id]);
    let line = gateway.access_lines(before + 1)[before].clone();
    assert_eq!(line["request_id"], *id);
    id
}

on_both_engines! {
    fn the_callers_request_id_is_used_everywhere_or_replaced(engine) {
        let (gateway, mock) = start(engine, json!({}));
        let long = "x".repeat(256);
        for good in ["abc-123", "!~", "a,b;c=\"d\"", &long] {
            let id = id_everywhere(&gateway, mock, &format!("X-Sluice-Request-Id: {good}\r\n"));
            assert_eq!(id, good);
        }
        let too_long = "x".repeat(257);
        for bad in ["", "a b", "é", "a\tb", &too_long] {
            let id = id_everywhere(&gateway, mock, &format!("x-sluice-request-id: {bad}\r\n"));
            assert!(is_minted(&id), "{bad:?}: {id}");
        }
        let id = id_everywhere(&gateway, mock, "x-request-id: mine\r\n");
        assert!(is_minted(&id), "not a header that is listened to: {id}");
        let first = id_everywhere(&gateway, mock, "");
        let second = id_everywhere(&gateway, mock, "");
        assert!(is_minted(&first) && is_minted(&second) && first != second);
    }

    fn the_first_acceptable_id_in_the_order_of_the_list_counts(engine) {
        let mock = mock();
        let gateway = Setup::new(engine, mock)
            .with("proxy.request_id.accept_headers", json!(["x-first", "X-Request-Id"]))
            .start();
        for (fields, want) in [
            ("x-request-id: b\r\nx-first: a\r\n", Some("a")),
            ("x-request-id: b\r\nx-first: not one\r\n", Some("b")),
            ("X-REQUEST-ID: b\r\n", Some("b")),
            ("x-sluice-request-id: c\r\n", None),
        ] {
            let id = id_everywhere(&gateway, mock, fields);
            match want {
                Some(want) => assert_eq!(id, want, "{fields}"),
                None => assert!(is_minted(&id), "{fields}: {id}"),
            }
        }
        let deaf = Setup::new(engine, mock)
            .with("proxy.request_id.accept_headers", json!([]))
            .start();
        let answer = ask(&deaf, &chat("m", false), "x-sluice-request-id: mine\r\n");
        assert!(is_minted(answer.header("x-sluice-request-id").unwrap()));
    }

    fn every_answer_names_its_server_its_date_and_its_id(engine) {
        let (gateway, _) = start(engine, json!({}));
        let mut raw = gateway.connect();
        let server = concat!("Sluice/", env!("CARGO_PKG_VERSION"));
        for (line, body, status) in [
            ("GET /livez", Value::Null, 200),
            ("HEAD /readyz", Value::Null, 200),
            ("GET /v1/models", Value::Null, 200),
            ("GET /nowhere", Value::Null, 404),
            ("GET /v1/embeddings", Value::Null, 405),
            ("GET /passthrough/x", Value::Null, 410),
            ("POST /v1/chat/completions", chat("m", false), 200),
            ("POST /v1/chat/completions", chat("m", true), 200),
            ("POST /v1/chat/completions", chat("nope", true), 404),
            ("POST /v1/chat/completions", chat("script/status=500", false), 502),
            ("POST /v1/completions", json!({"model": "m", "prompt": "x"}), 200),
            ("POST /v1/embeddings", json!({"model": "m", "input": "x"}), 200),
        ] {
            let text = if body.is_null() { String::new() } else { body.to_string() };
            raw.send(
                format!(
                    "{line} HTTP/1.1\r\nhost: g\r\nx-api-key: {CALLER_KEY}\r\nx-sluice-request-id: id-1\r\n\
                     content-length: {}\r\n\r\n{text}",
                    text.len()
                )
                .as_bytes(),
            );
            let answer = if line.starts_with("HEAD") { raw.head() } else { raw.response() };
            assert_eq!(answer.status, status, "{line}");
            assert_eq!(answer.header("server"), Some(server), "{line}");
            assert_eq!(answer.header("x-sluice-request-id"), Some("id-1"), "{line}");
            let date = answer.header("date").unwrap_or_default();
            assert!(date.len() == 29 && date.ends_with(" GMT"), "{line}: {date}");
            // Successful chats, and nothing else, carry the id twice.
            let chats = line.contains("chat") && status == 200;
            assert_eq!(answer.header("x-sluice-call-id").is_some(), chats, "{line}");
            let mut names: Vec<String> = answer.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
            names.sort();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{line}: a header twice in {names:?}");
            // Nothing of the upstream's own head comes through.
            assert_eq!(answer.header("x-request-id"), None, "{line}");
        }
        let lines = gateway.access_lines(10);
        assert!(lines.iter().all(|line| line["request_id"] == "id-1"), "{lines:?}");
        let chat = lines.iter().find(|line| line["path"] == CHAT).unwrap();
        assert!(chat["upstream_request_id"].as_str().unwrap().starts_with("req-mock-"), "{chat}");
    }

    fn the_upstream_gets_the_gateways_headers_and_nothing_else(engine) {
        let (gateway, mock) = start(engine, json!({}));
        let fields = format!(
            "accept: text/csv\r\naccept-encoding: gzip, br\r\ncontent-type: text/plain\r\ncookie: {COOKIE}\r\n\
             user-agent: callers/1\r\nx-forwarded-for: 10.0.0.1\r\nx-custom: 1\r\norigin: http://o\r\n\
             openai-organization: org\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
             x-sluice-request-id: id-2\r\nx-stainless-os: Linux\r\nte: trailers\r\n"
        );
        for stream in [false, true] {
            assert_eq!(ask(&gateway, &chat("m", stream), &fields).status, 200);
            let sent = upstream_requests(mock).pop().unwrap();
            let length = sent["body"].as_str().unwrap().len().to_string();
            let mut want = vec![
                ("host", mock.to_string()),
                ("authorization", format!("Bearer {UPSTREAM_KEY}")),
                ("content-type", "application/json".into()),
                ("accept-encoding", "identity".into()),
                ("x-sluice-request-id", "id-2".into()),
                ("user-agent", concat!("sluice/", env!("CARGO_PKG_VERSION")).into()),
                ("content-length", length),
            ];
            if stream {
                want.push(("accept", "text/event-stream".into()));
            }
            want.sort();
            let mut headers = sent_headers(mock);
            headers.sort();
            let headers: Vec<(&str, String)> = headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            assert_eq!(headers, want);
        }
    }

    fn the_operators_headers_are_added_and_rendered(engine) {
        let (gateway, mock) = start(engine, json!({"default_headers": {
            "x-plain": "v 1",
            "X-Id": "r-$${request.id}",
            "x-caller": "$${ request.api_key.name }/$${request.api_key.team_id}",
            "x-model": "$${model.name}|$${provider_key.name}",
            "x-empty": "a$${request.api_key.user_id}",
            "openai-organization": "org-op",
            "traceparent": "operators",
            // The gateway's own.
            "content-type": "text/plain",
            "user-agent": "operator",
            "x-sluice-request-id": "operator",
        }}));
        let fields = "x-sluice-request-id: id-3\r\nx-plain: callers\r\n";
        assert_eq!(ask(&gateway, &chat("script/n=1", false), fields).status, 200);
        let headers = sent_headers(mock);
        for (name, want) in [
            ("x-plain", vec!["v 1"]),
            ("x-id", vec!["r-id-3"]),
            ("x-caller", vec!["caller/team-7"]),
            ("x-model", vec!["script/*|up"]),
            ("x-empty", vec![]),
            ("openai-organization", vec!["org-op"]),
            ("traceparent", vec!["operators"]),
            ("content-type", vec!["application/json"]),
            ("x-sluice-request-id", vec!["id-3"]),
            ("user-agent", vec![concat!("sluice/", env!("CARGO_PKG_VERSION"))]),
        ] {
            assert_eq!(values(&headers, name), want, "{name}");
        }
        assert_eq!(values(&headers, "authorization"), [format!("Bearer {UPSTREAM_KEY}")]);
    }

    fn an_operator_cannot_set_credentials_framing_or_the_host(engine) {
        let reserved = [
            "Authorization", "x-api-key", "api-key", "x-goog-api-key", "x-amz-security-token",
            "x-amz-date", "x-amz-content-sha256", "proxy-authorization", "Cookie", "host",
            "content-length", "transfer-encoding",
        ];
        let mut setup = Setup::new(engine, mock());
        let headers: serde_json::Map<String, Value> =
            reserved.iter().map(|name| ((*name).to_owned(), "stolen".into())).collect();
        setup.resources["provider_keys"][0]["request"] = json!({"default_headers": headers});
        let mut gateway = setup.spawn();
        assert_eq!(gateway.ended().code(), Some(1));
        let said = wait_for("all problems", || {
            let said = gateway.stderr();
            (said.matches("is a header that only the gateway sets").count() == reserved.len()).then_some(said)
        });
        for name in reserved {
            assert!(said.contains(&format!("request.default_headers.{name}: ")), "{name}: {said}");
        }
        assert!(!said.contains("stolen"), "{said}");
    }


    fn listed_headers_of_the_caller_are_forwarded_and_credentials_never(engine) {
        let (gateway, mock) = start(engine, json!({
            "default_headers": {"x-both": "operator"},
            "forward_client_headers": ["*"],
        }));
        let stripped = [
            "x-api-key", "x-goog-api-key", "api-key", "x-amz-security-token", "x-amz-date",
            "x-amz-content-sha256", "proxy-authorization", "cookie", "content-encoding",
            "keep-alive", "proxy-authenticate", "set-cookie", "te", "trailer", "upgrade",
            "traceparent", "tracestate", "x-stainless-lang", "x-aisix-a", "x-forwarded-for",
            "x-forwarded-host", "forwarded", "x-real-ip", "via", "x-amz-target", "x-goog-user",
            "proxy-connection", "x-listed-by-connection",
        ];
        let mut fields: String = stripped.iter().map(|name| format!("{name}: {COOKIE}\r\n")).collect();
        fields.push_str("connection: x-listed-by-connection, keep-alive\r\naccept: text/csv\r\n\
            accept-encoding: gzip\r\ncontent-type: text/plain\r\nuser-agent: callers/1\r\n\
            x-sluice-call-id: c\r\nx-sluice-request-id: id-4\r\nx-both: caller\r\n\
            X-Custom: one\r\nx-custom: two\r\nx-odd: \u{e9};a=\"b\"\r\nx-empty:\r\n\
            OpenAI-Beta: assistants=v2\r\nopenai-beta: other=v1\r\nanthropic-beta: a\r\n");
        for stream in [false, true] {
            assert_eq!(ask(&gateway, &chat("m", stream), &fields).status, 200);
            let headers = sent_headers(mock);
            for name in stripped {
                assert!(values(&headers, name).is_empty(), "{name}: {headers:?}");
            }
            let all = format!("{headers:?}");
            assert!(!all.contains(COOKIE) && !all.contains(CALLER_KEY), "{all}");
            let accept: &[&str] = if stream { &["text/event-stream"] } else { &[] };
            for (name, want) in [
                ("accept", accept),
                ("accept-encoding", &["identity"]),
                ("connection", &[]),
                ("content-type", &["application/json"]),
                ("host", &[&*mock.to_string()]),
                ("user-agent", &[concat!("sluice/", env!("CARGO_PKG_VERSION"))]),
                ("x-sluice-request-id", &["id-4"]),
                ("x-sluice-call-id", &[]),
                ("x-both", &["operator"]),
                ("x-custom", &["one"]),
                ("x-odd", &["\u{e9};a=\"b\""]),
                ("openai-beta", &["assistants=v2, other=v1"]),
                ("anthropic-beta", &["a"]),
                ("authorization", &[&*format!("Bearer {UPSTREAM_KEY}")]),
            ] {
                assert_eq!(values(&headers, name), want, "{name}");
            }
        }
    }

    fn patterns_choose_which_headers_are_forwarded(engine) {
        let (gateway, mock) = start(engine, json!({
            "forward_client_headers": ["X-Team", "openai-*", "*-tag"],
        }));
        let fields = "x-team: a\r\nX-TEAMS: b\r\nOpenAI-Project: p\r\nopenai: q\r\nmy-tag: t\r\ntags: u\r\n";
        assert_eq!(ask(&gateway, &chat("m", false), fields).status, 200);
        let headers = sent_headers(mock);
        for (name, want) in [
            ("x-team", &["a"][..]),
            ("x-teams", &[]),
            ("openai-project", &["p"]),
            ("openai", &[]),
            ("my-tag", &["t"]),
            ("tags", &[]),
        ] {
            assert_eq!(values(&headers, name), want, "{name}");
        }
    }

    fn no_credential_shows_in_an_answer_or_a_log(engine) {
        let (gateway, mock) = start(engine, json!({"forward_client_headers": ["*"]}));
        let fields = format!("cookie: {COOKIE}\r\n");
        for script in ["m", "script/status=401", "script/status=500", "script/bad=json", "nope"] {
            for stream in [false, true] {
                let answer = ask(&gateway, &chat(script, stream), &fields);
                let text = format!("{:?}{}", answer.headers, answer.text());
                for secret in [CALLER_KEY, UPSTREAM_KEY, COOKIE] {
                    assert!(!text.contains(secret), "{script}: {text}");
                }
            }
        }
        let log = format!("{:?}{}", gateway.access_lines(10), gateway.stderr());
        for secret in [CALLER_KEY, UPSTREAM_KEY, COOKIE] {
            assert!(!log.contains(secret), "{secret} in {log}");
        }
        let seen = format!("{:?}", upstream_requests(mock));
        assert!(seen.contains(UPSTREAM_KEY), "the upstream does get its own");
        assert!(!seen.contains(CALLER_KEY) && !seen.contains(COOKIE));
    }
}
