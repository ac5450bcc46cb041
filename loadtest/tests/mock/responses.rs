//! Answers in the shape of OpenAI Responses.

use serde_json::{Value, json};

use crate::support::{Reply, events, exchange};

const RESPONSES: &str = "/v1/responses";

fn body(script: &str, stream: bool) -> Value {
    json!({"model": format!("mock/{script}"), "input": "hello", "stream": stream})
}

fn unary(script: &str) -> Value {
    exchange(RESPONSES, &body(script, false)).json()
}

fn streamed(script: &str) -> Reply {
    exchange(RESPONSES, &body(script, true))
}

#[test]
fn a_stream_has_the_events_of_the_protocol_in_order() {
    let reply = streamed("events=2,usage_in=7,usage_cached=3,usage_reasoning=1");
    let events = events(&reply);
    let names: Vec<_> = events.iter().map(|(name, _)| &**name).collect();
    let want = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(names, want);
    for (number, (name, data)) in events.iter().enumerate() {
        assert_eq!(data["sequence_number"], number);
        assert_eq!(data["type"], **name);
    }
    let usage = &events[9].1["response"]["usage"];
    assert_eq!(
        (&usage["input_tokens"], &usage["total_tokens"]),
        (&json!(7), &json!(9))
    );
    assert_eq!(usage["input_tokens_details"]["cached_tokens"], 3);
    assert_eq!(usage["output_tokens_details"]["reasoning_tokens"], 1);
}

#[test]
fn what_was_streamed_is_in_the_items_at_the_end() {
    let reply = streamed("parts=thinking+redacted+text+tool+tool,events=2");
    let events = events(&reply);
    let output = events.last().unwrap().1["response"]["output"].clone();
    let joined = |name: &str, index: usize| -> String {
        let deltas = events.iter().filter(|(event, data)| {
            event == name && data["output_index"] == index && data["item_id"] == output[index]["id"]
        });
        deltas
            .map(|(_, data)| data["delta"].as_str().unwrap())
            .collect()
    };
    let thinking = joined("response.reasoning_summary_text.delta", 0);
    assert_eq!(output[0]["summary"][0]["text"], thinking);
    assert!(output[1]["encrypted_content"].is_string());
    let text = joined("response.output_text.delta", 2);
    assert!(text.starts_with("e2 "));
    assert_eq!(output[2]["content"][0]["text"], text);
    let arguments = joined("response.function_call_arguments.delta", 4);
    assert_eq!(output[4]["arguments"], arguments);
    assert!(serde_json::from_str::<Value>(&arguments).unwrap()["s"].is_string());
    assert_ne!(output[3]["call_id"], output[4]["call_id"]);
}

#[test]
fn a_whole_answer_has_its_items_and_its_status() {
    let reply = unary("parts=thinking+text+tool");
    assert_eq!(reply["object"], "response");
    assert_eq!(reply["status"], "completed");
    let kinds: Vec<_> = reply["output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["type"])
        .collect();
    assert_eq!(kinds, ["reasoning", "message", "function_call"]);
    let text = reply["output"][1]["content"][0]["text"].as_str().unwrap();
    assert!(text.ends_with(" hello"));
    let cut = unary("finish=max_output_tokens");
    assert_eq!(cut["status"], "incomplete");
    assert_eq!(cut["incomplete_details"]["reason"], "max_output_tokens");
    let json = unary("json=1,args=7b7d");
    assert_eq!(json["output"][0]["content"][0]["text"], "{}");
}

#[test]
fn errors_come_as_a_body_or_as_an_event() {
    let reply = exchange(RESPONSES, &body("status=429,error_code=c", false));
    assert_eq!(reply.status(), "429");
    assert_eq!(reply.json()["error"]["code"], "c");
    let reply = streamed("events=5,error_at=2");
    let (name, data) = events(&reply).pop().unwrap();
    assert_eq!(&*name, "error");
    assert_eq!(data["code"], "server_error");
    assert!(!streamed("done=no").text().contains("response.completed"));
}
