//! What each endpoint takes, sends on and answers.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::gateway::{CALLER_KEY, chat, get};
use crate::support::{Engine, Gateway, Response, Setup, mock, upstream_requests};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";
const EMBEDDINGS: &str = "/v1/embeddings";

fn start(engine: Engine) -> (Gateway, SocketAddr) {
    let mock = mock();
    (Setup::new(engine, mock).start(), mock)
}

/// Posts these very bytes.
fn post_bytes(gateway: &Gateway, path: &str, body: &[u8]) -> Response {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {CALLER_KEY}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    let mut raw = gateway.connect();
    raw.send(&[head.as_bytes(), body].concat());
    raw.response()
}

fn last_sent(mock: SocketAddr) -> Value {
    upstream_requests(mock).pop().expect("a request")
}

/// The chunks of a stream, without `[DONE]`, which must end it.
fn chunks(answer: &Response) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    let mut events: Vec<&str> = answer.text().split_terminator("\n\n").collect();
    assert_eq!(events.pop(), Some("data: [DONE]"));
    let json = |event: &&str| {
        let payload = event.strip_prefix("data: ").expect("a data line");
        serde_json::from_str(payload).expect("JSON")
    };
    events.iter().map(json).collect()
}

on_both_engines! {
    fn a_body_goes_upstream_byte_for_byte_but_for_the_model(engine) {
        let (gateway, mock) = start(engine);
        // Key order, white space, numbers and escapes in spellings that no serialiser keeps.
        let odd = [
            (CHAT, "{ \"temperature\" : 1.0e0,\t\"messages\":[{\"content\":\"\\u00e9\\/\\ud83d\\ude00 é\\u0000\",\
                \"role\":\"user\",\"content_blocks\":[1],\"zz\":{}}],\r\n\"z\":{\"b\":1,\"a\":[1E+2,-0.0,1e999]},\
                \"model\" : \"m\",\"seed\":12345678901234567890123, \"n\":1,\"\":null,\"a\":1,\"a\":2 }"),
            (CHAT, "{\"model\":\"\\u006d\",\"messages\":[{\"role\":\"developer\",\"content\":null},{\"role\":\"function\",\
                \"name\":\"f\",\"content\":[{\"type\":\"text\",\"text\":\"x\"},{\"type\":\"new\",\"y\":[]}]}]}"),
            (CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"the \\\"model\\\":\\\"m\\\" of it\",\"model\":\"m\"}],\
                \"metadata\":{\"model\":\"m\"},\"model\":\"m\"}"),
            (COMPLETIONS, "{\"prompt\":[1,22,333],\"suffix\":\"\\t\",\"model\":\"m\",\"echo\":false}"),
            (COMPLETIONS, "{\"model\":\"m\",\"prompt\":\"say\",\"best_of\":1}"),
            (EMBEDDINGS, "{\"input\":[[1,2],[3]],\"user\":\"u\",\"model\":\"m\",\"input_type\":\"query\"}"),
            (EMBEDDINGS, "{\"input\":[\"a\",\"b\"],\"encoding_format\":\"base64\",\"dimensions\":2,\"model\":\"m\"}"),
        ];
        for (path, body) in odd {
            let answer = post_bytes(&gateway, path, body.as_bytes());
            assert_eq!(answer.status, 200, "{body}: {}", answer.text());
            let sent = last_sent(mock);
            assert_eq!(sent["path"], path);
            assert_eq!(sent["method"], "POST");
            let at = body.rfind("\"model\"").unwrap();
            let (before, model) = body.split_at(at);
            let want = before.to_owned()
                + &model.replacen(": \"m\"", ": \"gpt-up\"", 1).replacen(":\"m\"", ":\"gpt-up\"", 1)
                    .replacen("\"\\u006d\"", "\"gpt-up\"", 1);
            assert_eq!(sent["body"], want);
        }
    }

    fn a_stream_is_asked_for_its_usage_and_shows_it_only_to_who_asked(engine) {
        let (gateway, mock) = start(engine);
        for (path, field) in [(CHAT, r#""messages":[{"role":"user","content":"x"}]"#), (COMPLETIONS, r#""prompt":"x""#)] {
            for (given, sent, shown) in [
                ("", r#","stream_options":{"include_usage":true}"#, false),
                (r#","stream_options":null"#, r#","stream_options":{"include_usage":true}"#, false),
                (r#","stream_options":{}"#, r#","stream_options":{"include_usage":true}"#, false),
                (r#","stream_options":{ "x" : 1}"#, r#","stream_options":{"include_usage":true, "x" : 1}"#, false),
                (r#","stream_options":{"include_usage":false}"#, r#","stream_options":{"include_usage":true}"#, false),
                (r#","stream_options":{"include_usage":null}"#, r#","stream_options":{"include_usage":true}"#, false),
                (r#","stream_options":{"include_usage": true}"#, r#","stream_options":{"include_usage": true}"#, true),
            ] {
                let body = |options| format!(r#"{{"model":"m",{field},"stream":true{options}}}"#);
                let answer = post_bytes(&gateway, path, body(given).as_bytes());
                assert_eq!(last_sent(mock)["body"], body(sent).replace(r#""m""#, r#""gpt-up""#));
                let chunks = chunks(&answer);
                let with_usage = chunks.iter().filter(|chunk| chunk["usage"].is_object()).count();
                assert_eq!(with_usage, usize::from(shown), "{given}: {}", answer.text());
                // Five of content and one of the end, the sixth of usage where it is shown.
                assert_eq!(chunks.len(), 6 + usize::from(shown), "{given}: {}", answer.text());
            }
        }
        for line in gateway.access_lines(14) {
            assert_eq!([&line["prompt_tokens"], &line["completion_tokens"]], [10, 5], "{line}");
            assert_eq!(line["usage_source"], "reported", "{line}");
        }
        // Without a stream nothing is asked for.
        let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"stream":false,"stream_options":null}"#;
        assert_eq!(post_bytes(&gateway, CHAT, body.as_bytes()).status, 200);
        assert_eq!(last_sent(mock)["body"], body.replace(r#""m""#, r#""gpt-up""#));
    }

    fn chat_keeps_what_the_upstream_said_under_the_requested_name(engine) {
        let (gateway, _) = start(engine);
        let answer = gateway.post(CHAT, &chat("script/n=3,usage_cached=4,tools=yes,model_echo=real", false));
        let json = answer.json();
        assert_eq!(json["model"], "script/n=3,usage_cached=4,tools=yes,model_echo=real");
        assert_eq!(json["choices"].as_array().map(Vec::len), Some(3));
        assert_eq!(json["choices"][2]["finish_reason"], "tool_calls");
        assert_eq!(json["choices"][1]["message"]["tool_calls"][0]["id"], "call_mock_1");
        assert_eq!(json["system_fingerprint"], "fp_mock");
        assert!(json["mock"]["request"].is_number(), "{json}");
        assert_eq!(json["usage"]["prompt_tokens_details"]["cached_tokens"], 4);
        let id = json["id"].as_str().unwrap().to_owned();
        let line = &gateway.access_lines(1)[0];
        assert_eq!(line["provider_request_id"], id);
        assert_eq!(line["finish_reason"], "tool_calls");
        assert_eq!(line["cached_prompt_tokens"], 4);

        let script = "script/events=2,n=2,comment=yes,model_echo=real";
        let answer = gateway.post(CHAT, &chat(script, true));
        assert_eq!(answer.text().matches(": ping\n\n").count(), 2);
        assert_eq!(answer.text().matches(&format!("\"model\":\"{script}\"")).count(), 6);
        assert!(!answer.text().contains("\"real\""), "{}", answer.text());
        assert_eq!(answer.text().matches("fp_mock").count(), 6);
    }

    fn completions_are_relayed_as_the_upstream_wrote_them(engine) {
        let (gateway, _) = start(engine);
        let body = json!({"model": "m", "prompt": "say this"});
        let json = gateway.post(COMPLETIONS, &body).json();
        assert_eq!(json["object"], "text_completion");
        // The upstream's own name, as the endpoint's other parts.
        assert_eq!(json["model"], "gpt-up");
        assert!(json["choices"][0]["text"].as_str().unwrap().contains("say this"), "{json}");

        let body = json!({"model": "script/events=3", "prompt": "p", "stream": true});
        let answer = gateway.post(COMPLETIONS, &body);
        let chunks = chunks(&answer);
        assert_eq!(chunks.len(), 4);
        for (index, chunk) in chunks[..3].iter().enumerate() {
            let text = chunk["choices"][0]["text"].as_str().unwrap();
            assert!(text.starts_with(&format!("e{index} ")), "{text}");
        }
        assert_eq!(chunks[3]["choices"][0]["finish_reason"], "stop");
        let lines = gateway.access_lines(2);
        assert_eq!([&lines[1]["prompt_tokens"], &lines[1]["completion_tokens"]], [10, 3]);
    }

    fn embeddings_come_back_as_asked_under_the_requested_name(engine) {
        let (gateway, mock) = start(engine);
        let body = json!({"model": "embed", "input": ["a", "b"], "dimensions": 3});
        let json = gateway.post(EMBEDDINGS, &body).json();
        assert_eq!((&json["object"], &json["model"]), (&json!("list"), &json!("embed")));
        assert_eq!(json["data"][1]["embedding"], json!([0.125, 0.125, 0.125]));
        assert_eq!(json["usage"], json!({"prompt_tokens": 10, "total_tokens": 10}));
        let sent = last_sent(mock);
        assert_eq!(sent["path"], EMBEDDINGS);
        assert!(sent["body"].as_str().unwrap().contains("\"embed-up\""), "{sent}");

        let body = json!({"model": "embed", "input": [1, 2, 3], "encoding_format": "base64", "dimensions": 2});
        let json = gateway.post(EMBEDDINGS, &body).json();
        assert_eq!(json["data"][0]["embedding"], "AAAAPgAAAD4=");
        // A stream is no embedding: the flag goes through, the answer stays whole.
        let body = json!({"model": "embed", "input": "x", "stream": true});
        assert_eq!(gateway.post(EMBEDDINGS, &body).json()["object"], "list");
        let lines = gateway.access_lines(3);
        let tokens = |name: &str| lines.iter().map(|line| line[name].as_u64().unwrap_or(0)).sum::<u64>();
        assert_eq!((tokens("prompt_tokens"), tokens("completion_tokens")), (30, 0));
    }

    fn models_are_those_the_key_may_use(engine) {
        let (gateway, mock) = start(engine);
        let list = gateway.get("/v1/models").json();
        assert_eq!(list["object"], "list");
        let ids: Vec<&Value> = list["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
        assert_eq!(ids, ["embed", "m"]);
        for model in list["data"].as_array().unwrap() {
            assert_eq!((&model["object"], &model["owned_by"]), (&json!("model"), &json!("openai")));
            let path = format!("/v1/models/{}", model["id"].as_str().unwrap());
            assert_eq!(&gateway.get(&path).json(), model);
        }
        assert_eq!(gateway.get("/v1/models").json(), list, "`created` stays");
        assert_eq!(gateway.get("/v1/models/%6d").json()["id"], "m");
        // Hidden from this key, and unknown: one answer.
        for (path, name) in [("other", "other"), ("nope", "nope"), ("a/b", "a/b"), ("script%2F*", "script/*")] {
            let answer = gateway.get(&format!("/v1/models/{path}"));
            assert_eq!(answer.status, 404, "{path}");
            let error = answer.error();
            assert_eq!(error["code"], "model_not_found");
            assert_eq!(error["message"], format!("model \"{name}\" not found"));
            assert_eq!(error["param"], "model");
        }
        for path in ["%", "%zz", "m%2", "%ff"] {
            let answer = gateway.get(&format!("/v1/models/{path}"));
            assert_eq!((answer.status, answer.error()["message"].as_str()), (400, Some("invalid path parameter")));
        }
        assert!(upstream_requests(mock).is_empty(), "answered by the gateway alone");
    }

    fn a_bad_field_is_named_in_the_message_and_the_param(engine) {
        let (gateway, mock) = start(engine);
        let messages = r#""messages":[{"role":"user","content":"x"}]"#;
        let user = |message: &str| format!(r#"{{"model":"m","messages":[{message}]}}"#);
        let with = |member: &str| format!(r#"{{"model":"m",{messages},{member}}}"#);
        let embed = |input: &str| format!(r#"{{"model":"m","input":{input}}}"#);
        let cases: Vec<(&str, String, Option<&str>, &str)> = vec![
            (CHAT, format!("{{{messages}}}"), Some("model"), "model: missing field"),
            (COMPLETIONS, r#"{"prompt":"x"}"#.into(), Some("model"), "model: missing field"),
            (EMBEDDINGS, r#"{"input":"x"}"#.into(), Some("model"), "model: missing field"),
            (CHAT, format!(r#"{{"model":7,{messages}}}"#), Some("model"), "model: must be a string"),
            (CHAT, format!(r#"{{"model":null,{messages}}}"#), Some("model"), "model: must be a string"),
            (CHAT, format!(r#"{{"model":"",{messages}}}"#), Some("model"), "model: must not be empty"),
            (CHAT, format!(r#"{{"model":"m","model":"m",{messages}}}"#), Some("model"), "model: duplicate field"),
            (CHAT, format!(r#"{{"model":"m","\u006dodel":"other",{messages}}}"#), Some("model"), "model: duplicate field"),
            (CHAT, r#"{"model":"m"}"#.into(), Some("messages"), "messages: missing field"),
            (CHAT, r#"{"model":"m","messages":[]}"#.into(), Some("messages"), "messages: must not be empty"),
            (CHAT, r#"{"model":"m","messages":"x"}"#.into(), Some("messages"), "messages: must be a list"),
            (CHAT, user("1"), Some("messages"), "messages[0]: must be an object"),
            (CHAT, user(r#"{"content":"x"}"#), Some("messages"), "messages[0].role: missing field"),
            (CHAT, user(r#"{"role":"user","content":"x"},{"role":"robot"}"#), Some("messages"),
                "messages[1].role: must be system, developer, user, assistant, tool or function"),
            (CHAT, user(r#"{"role":"user","content":7}"#), Some("messages"), "messages[0].content: must be a string, null or a list"),
            (CHAT, user(r#"{"role":"user","content":["x"]}"#), Some("messages"), "messages[0].content: parts must be objects"),
            (CHAT, user(r#"{"role":"user","role":"user"}"#), Some("messages"), "messages[0].role: duplicate field"),
            (CHAT, with(messages), Some("messages"), "messages: duplicate field"),
            (CHAT, with(r#""stream":"true""#), Some("stream"), "stream: must be true or false"),
            (CHAT, with(r#""stream":1"#), Some("stream"), "stream: must be true or false"),
            (CHAT, with(r#""stream":true,"stream":false"#), Some("stream"), "stream: duplicate field"),
            (CHAT, with(r#""stream_options":[]"#), Some("stream_options"), "stream_options: must be an object"),
            (CHAT, with(r#""stream_options":{"include_usage":1}"#), Some("stream_options.include_usage"),
                "stream_options.include_usage: must be true or false"),
            (CHAT, with(r#""max_tokens":-1"#), Some("max_tokens"), "max_tokens: must not be negative"),
            (CHAT, with(r#""max_tokens":"1""#), Some("max_tokens"), "max_tokens: must be a number"),
            (CHAT, with(r#""max_completion_tokens":-2"#), Some("max_completion_tokens"), "max_completion_tokens: must not be negative"),
            (COMPLETIONS, r#"{"model":"m","prompt":{}}"#.into(), Some("prompt"),
                "prompt: must be a string, a list of strings or lists of token ids"),
            (COMPLETIONS, r#"{"model":"m","prompt":"x","stream":"no"}"#.into(), Some("stream"), "stream: must be true or false"),
            (EMBEDDINGS, r#"{"model":"m"}"#.into(), Some("input"), "input: missing field"),
            (EMBEDDINGS, embed("7"), Some("input"), "input: must be a string, a list of strings or lists of token ids"),
            (EMBEDDINGS, embed("null"), Some("input"), "input: must be a string, a list of strings or lists of token ids"),
            (EMBEDDINGS, embed("[]"), Some("input"), "input: must not be empty"),
            (EMBEDDINGS, embed(r#"["a",1]"#), Some("input"), "input: must be a string, a list of strings or lists of token ids"),
            (CHAT, "[]".into(), None, "the body must be a JSON object"),
            (CHAT, "null".into(), None, "the body must be a JSON object"),
        ];
        for (path, body, param, problem) in cases {
            let answer = post_bytes(&gateway, path, body.as_bytes());
            assert_eq!(answer.status, 400, "{body}: {}", answer.text());
            let error = answer.error();
            assert_eq!(error["message"], format!("request payload is invalid: {problem}"), "{body}");
            assert_eq!(error["param"].as_str(), param, "{body}");
            assert_eq!(error["type"], "invalid_request_error", "{body}");
        }
        assert!(upstream_requests(mock).is_empty());
    }

    fn a_body_that_is_no_json_is_refused_and_the_connection_kept(engine) {
        let (gateway, mock) = start(engine);
        let mut raw = gateway.connect();
        let good = chat("m", false).to_string();
        let deep = format!(r#"{{"model":"m","messages":[{{"role":"user"}}],"x":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000));
        let trailing = format!("{good}{good}");
        for body in [
            &b""[..], b" ", b"{", b"{\"model\":", b"model=m", b"\xef\xbb\xbf{}", b"{\"model\":\"m\",}",
            b"{\"model\":\"m\" \"x\":1}", b"{'model':'m'}", b"{\"model\":\"m\",\"x\":01}", b"{\"x\":\"\xff\"}",
            b"{\"x\":\"\t\"}", b"{\"x\":NaN}", b"{\"x\":\"\\x\"}", &good.as_bytes()[..good.len() - 1],
            trailing.as_bytes(), deep.as_bytes(),
        ] {
            for path in [CHAT, COMPLETIONS, EMBEDDINGS] {
                let head = format!(
                    "POST {path} HTTP/1.1\r\nhost: g\r\nx-api-key: {CALLER_KEY}\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                raw.send(&[head.as_bytes(), body].concat());
                let answer = raw.response();
                let shown = String::from_utf8_lossy(&body[..body.len().min(80)]);
                assert_eq!(answer.status, 400, "{shown}: {}", answer.text());
                let message = answer.error()["message"].to_string();
                assert!(message.contains("request payload is invalid: "), "{shown}: {message}");
                assert_eq!(answer.error()["param"], Value::Null, "{shown}: {message}");
            }
        }
        // No body at all.
        raw.send(format!("POST {CHAT} HTTP/1.1\r\nhost: g\r\nx-api-key: {CALLER_KEY}\r\n\r\n").as_bytes());
        assert_eq!(raw.response().status, 400);
        assert!(upstream_requests(mock).is_empty());
        raw.send(&get("/v1/models"));
        assert_eq!(raw.response().status, 200);
    }

    fn the_content_type_of_a_request_does_not_matter(engine) {
        let (gateway, mock) = start(engine);
        let mut raw = gateway.connect();
        let body = chat("m", false).to_string();
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8", ""] {
            let head = format!(
                "POST {CHAT} HTTP/1.1\r\nhost: g\r\nx-api-key: {CALLER_KEY}\r\ncontent-type: {kind}\r\n\
                 content-length: {}\r\n\r\n",
                body.len()
            );
            raw.send(&[head.as_bytes(), body.as_bytes()].concat());
            assert_eq!(raw.response().status, 200, "{kind}");
            let headers = last_sent(mock)["headers"].to_string();
            assert!(headers.contains(r#"["content-type","application/json"]"#), "{headers}");
        }
    }

    fn a_large_body_and_a_large_answer_go_through_whole(engine) {
        let (gateway, mock) = start(engine);
        let mut body = chat("script/reply_bytes=3000000", false);
        body["messages"][0]["content"] = "é".repeat(1_000_000).into();
        let answer = gateway.post(CHAT, &body);
        assert_eq!(answer.status, 200);
        let content = answer.json()["choices"][0]["message"]["content"].as_str().unwrap().len();
        assert_eq!(content, 3_000_000);
        let sent: Value = serde_json::from_str(last_sent(mock)["body"].as_str().unwrap()).unwrap();
        assert_eq!(sent["messages"], body["messages"]);
    }
}
