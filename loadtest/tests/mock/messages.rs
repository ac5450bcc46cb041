//! Answers in the shape of Anthropic Messages.

use serde_json::{Value, json};

use crate::support::{Reply, ask, chat, events, exchange, shared};

const MESSAGES: &str = "/v1/messages";

fn unary(script: &str) -> Value {
    exchange(MESSAGES, &chat(script, &json!({"max_tokens": 9}))).json()
}

fn streamed(script: &str) -> Reply {
    exchange(MESSAGES, &chat(script, &json!({"stream": true})))
}

/// Blocks put together from the deltas of a stream, as a client does it.
fn blocks(reply: &Reply) -> Vec<Value> {
    let mut blocks: Vec<Value> = Vec::new();
    let mut open = false;
    for (name, data) in events(reply) {
        assert_eq!(data["type"], name);
        let index = data["index"].as_u64().unwrap_or(0) as usize;
        match &*name {
            "content_block_start" => {
                assert_eq!(
                    (index, open),
                    (blocks.len(), false),
                    "blocks do not overlap"
                );
                open = true;
                blocks.push(data["content_block"].clone());
            }
            "content_block_delta" => {
                assert!(open && index + 1 == blocks.len());
                let field = match data["delta"]["type"].as_str().unwrap() {
                    "text_delta" => "text",
                    "thinking_delta" => "thinking",
                    "signature_delta" => "signature",
                    "input_json_delta" => "partial_json",
                    other => panic!("{other}"),
                };
                let more = data["delta"][field].as_str().unwrap();
                let so_far = blocks[index][field].as_str().unwrap_or("");
                blocks[index][field] = format!("{so_far}{more}").into();
            }
            "content_block_stop" => open = false,
            _ => {}
        }
    }
    assert!(!open);
    blocks
}

#[test]
fn a_stream_has_the_events_of_the_protocol_in_order() {
    let reply = streamed("events=2,usage_in=7,usage_cached=3,usage_cache_write=4");
    let events = events(&reply);
    let names: Vec<_> = events.iter().map(|(name, _)| &**name).collect();
    let want = [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(names, want);
    let start = &events[0].1["message"];
    assert!(start["id"].as_str().unwrap().starts_with("msg_mock_"));
    let usage = json!({"input_tokens": 7, "output_tokens": 1,
        "cache_read_input_tokens": 3, "cache_creation_input_tokens": 4});
    assert_eq!(start["usage"], usage);
    assert_eq!(events[6].1["usage"], json!({"output_tokens": 2}));
    assert_eq!(events[6].1["delta"]["stop_reason"], "end_turn");
    assert!(!reply.text().contains("[DONE]"));
}

#[test]
fn every_kind_of_block_comes_whole_and_streamed() {
    let parts = "parts=thinking+redacted+text+tool+tool,events=2";
    let whole = unary(parts);
    let streamed = blocks(&streamed(parts));
    let whole_blocks = whole["content"].as_array().unwrap();
    let kinds = |blocks: &[Value]| -> Vec<Value> {
        blocks.iter().map(|block| block["type"].clone()).collect()
    };
    let want = [
        "thinking",
        "redacted_thinking",
        "text",
        "tool_use",
        "tool_use",
    ];
    assert_eq!(kinds(whole_blocks), want);
    assert_eq!(kinds(&streamed), want);
    assert_eq!(whole["stop_reason"], "tool_use");
    for (index, field) in [
        (0, "signature"),
        (1, "data"),
        (3, "id"),
        (4, "id"),
        (3, "name"),
    ] {
        assert_eq!(whole_blocks[index][field], streamed[index][field]);
    }
    assert_ne!(streamed[3]["id"], streamed[4]["id"]);
    let arguments = streamed[4]["partial_json"].as_str().unwrap();
    let arguments: Value = serde_json::from_str(arguments).unwrap();
    assert!(arguments["s"].as_str().unwrap().starts_with("e6 "));
    assert_eq!(whole_blocks[3]["input"], json!({"s": 1}));
    assert!(
        streamed[0]["signature"]
            .as_str()
            .unwrap()
            .contains(['"', '\\'])
    );
}

#[test]
fn a_whole_answer_echoes_the_request_with_its_images() {
    let image = json!({"type": "image", "source": {"type": "base64",
        "media_type": "image/png", "data": "iVBOR"}});
    let body = json!({"model": "m", "max_tokens": 1,
        "messages": [{"role": "user", "content": [image]}]});
    let reply = exchange(MESSAGES, &body).json();
    let text = reply["content"][0]["text"].as_str().unwrap();
    let echoed = text.splitn(3, ' ').nth(2).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(echoed).unwrap(),
        json!([image])
    );
}

#[test]
fn tokens_are_counted_as_scripted() {
    let path = "/v1/messages/count_tokens";
    let count = exchange(path, &chat("usage_in=77", &json!({}))).json();
    assert_eq!(count, json!({"input_tokens": 77}));
}

#[test]
fn errors_have_the_shape_of_the_protocol() {
    let cases = [
        (401, "authentication_error"),
        (404, "not_found_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ];
    for (status, kind) in cases {
        let reply = exchange(MESSAGES, &chat(&format!("status={status}"), &json!({})));
        assert_eq!(reply.status(), status.to_string());
        assert_eq!(reply.json()["type"], "error");
        assert_eq!(reply.json()["error"]["type"], kind);
    }
    let reply = streamed("events=5,error_at=2,error_code=overloaded_error");
    let (name, data) = events(&reply).pop().unwrap();
    assert_eq!((&*name, &data["type"]), ("error", &json!("error")));
    assert_eq!(data["error"]["type"], "overloaded_error");
}

#[test]
fn faults_are_those_of_the_other_protocols() {
    let cut = streamed("events=5,cut_at=2,cut=fin");
    assert_eq!(cut.text().matches("text_delta").count(), 2);
    assert!(!cut.text().contains("message_stop"));
    assert!(!streamed("done=no").text().contains("message_stop"));
    let sized = streamed("events=3,te=length,parts=thinking+text");
    assert!(sized.text().contains("message_stop"));
    let announced = sized.head.split("content-length: ").nth(1).unwrap();
    let announced = announced.split('\r').next().unwrap();
    assert_eq!(sized.body.len().to_string(), announced);
    assert_eq!(unary("finish=max_tokens")["stop_reason"], "max_tokens");
    assert!(unary("usage=no").get("usage").is_none());
    let last = ask(shared(), "GET", "/__mock/requests");
    assert!(!last.as_array().unwrap().is_empty());
}
