//! What good answers hold.

use serde_json::{Value, json};

use crate::support::{
    chat, connect, exchange, read_to_close, send, shared, start, streamed, unary,
};

#[test]
fn a_stream_has_its_events_in_order_then_a_reason_and_done() {
    let reply = streamed("events=3");
    assert_eq!(reply.status(), "200");
    assert!(reply.head.contains("content-type: text/event-stream"));
    let data = reply.data();
    assert_eq!(data.len(), 5);
    assert_eq!(data[4], "[DONE]");
    let finish: Value = serde_json::from_str(&data[3]).unwrap();
    assert_eq!(finish["choices"][0]["finish_reason"], "stop");
    let first: Value = serde_json::from_str(&data[0]).unwrap();
    assert_eq!(first["choices"][0]["delta"]["role"], "assistant");
    assert!(first["id"].as_str().unwrap().starts_with("chatcmpl-mock-"));
    for (seq, content) in reply.contents().iter().enumerate() {
        let fields: Vec<&str> = content.split(' ').collect();
        assert_eq!(fields[0], format!("e{seq}"));
        assert_eq!(fields[1].len(), 16, "unix microseconds");
    }
}

#[test]
fn size_pads_each_delta_and_comments_come_between() {
    let reply = streamed("events=2,size=500,comment=yes");
    assert!(reply.contents().iter().all(|content| content.len() == 500));
    assert_eq!(reply.text().matches("\n\n: ping\n\n").count(), 2);
}

#[test]
fn line_ends_are_as_asked() {
    let cases = [("lf", "\n"), ("crlf", "\r\n"), ("cr", "\r")];
    for (name, eol) in cases {
        let text = streamed(&format!("events=1,eol={name}")).text();
        assert!(
            text.ends_with(&format!("data: [DONE]{eol}{eol}")),
            "{text:?}"
        );
        assert_eq!(text.matches(eol).count(), 6, "{text:?}");
    }
}

#[test]
fn usage_comes_when_asked_always_or_never() {
    let usage = |script: &str, asked: bool| {
        let options = json!({"stream": true, "stream_options": {"include_usage": asked}});
        let reply = exchange("/v1/chat/completions", &chat(script, &options));
        let data = reply.data();
        let events = data
            .iter()
            .filter_map(|data| serde_json::from_str::<Value>(data).ok());
        events
            .map(|event| event["usage"].clone())
            .find(Value::is_object)
    };
    let total = |usage: Option<Value>| usage.map(|usage| usage["total_tokens"].as_u64().unwrap());
    assert_eq!(total(usage("events=3", false)), None);
    assert_eq!(total(usage("events=3", true)), Some(13));
    assert_eq!(total(usage("events=3,usage=no", true)), None);
    assert_eq!(
        total(usage("usage=always,usage_in=7,usage_out=8", false)),
        Some(15)
    );
    let detailed = usage("usage=always,usage_cached=2,usage_reasoning=3", false).unwrap();
    assert_eq!(detailed["prompt_tokens_details"]["cached_tokens"], 2);
    assert_eq!(detailed["completion_tokens_details"]["reasoning_tokens"], 3);
    assert!(unary("usage=no").json().get("usage").is_none());
    assert_eq!(unary("events=3").json()["usage"]["total_tokens"], 13);
}

#[test]
fn the_end_of_a_stream_is_as_asked() {
    assert!(!streamed("done=no").text().contains("[DONE]"));
    assert!(
        streamed("finish=length")
            .text()
            .contains("\"finish_reason\":\"length\"")
    );
    let bare = streamed("events=2,finish=none,done=no");
    assert_eq!(bare.data().len(), 2);
    assert!(!bare.text().contains("stop"));
}

#[test]
fn tool_calls_and_choices_come_in_both_forms() {
    let reply = unary("tools=yes").json();
    assert_eq!(
        reply["choices"][0]["message"]["tool_calls"][0]["function"]["name"],
        "mock_tool"
    );
    let reply = streamed("tools=yes,events=3");
    let arguments: String = reply
        .data()
        .iter()
        .filter_map(|data| serde_json::from_str::<Value>(data).ok())
        .filter_map(|event| {
            let call = &event["choices"][0]["delta"]["tool_calls"][0];
            call["function"]["arguments"].as_str().map(str::to_owned)
        })
        .collect();
    let arguments: Value = serde_json::from_str(&arguments).unwrap();
    assert!(arguments["s"].as_str().unwrap().starts_with("e0 "));
    assert!(reply.text().contains("\"finish_reason\":\"tool_calls\""));
    assert_eq!(unary("n=3").json()["choices"].as_array().unwrap().len(), 3);
    let body = chat("events=2", &json!({"stream": true, "n": 2}));
    let reply = exchange("/v1/chat/completions", &body);
    assert_eq!(reply.data().len(), 2 * 2 + 2 + 1);
}

#[test]
fn unary_answers_echo_the_model_and_the_prompt_or_have_a_size() {
    let reply = unary("model_echo=gpt-4o-2024");
    assert_eq!(reply.json()["model"], "gpt-4o-2024");
    let content = reply.json()["choices"][0]["message"]["content"].clone();
    assert!(content.as_str().unwrap().ends_with(" hello"));
    let content = unary("reply_bytes=1000").json()["choices"][0]["message"]["content"].clone();
    assert_eq!(content.as_str().unwrap().len(), 1000);
}

#[test]
fn completions_and_embeddings_are_served_under_any_prefix() {
    let body = json!({"model": "mock/events=2", "prompt": "p", "stream": true});
    let reply = exchange("/deep/v1/completions", &body);
    assert!(reply.data()[0].contains("\"object\":\"text_completion\""));
    assert!(reply.data()[0].contains("\"text\":\"e0 "));
    let reply = exchange("/completions", &json!({"model": "m", "prompt": "p"})).json();
    assert!(
        reply["choices"][0]["text"]
            .as_str()
            .unwrap()
            .ends_with(" p")
    );
    let reply = exchange(
        "/v1/embeddings",
        &json!({"model": "mock/dims=3", "input": ["a", "b"]}),
    );
    assert_eq!(
        reply.json()["data"][1]["embedding"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    let body = json!({"model": "m", "input": "a", "encoding_format": "base64"});
    assert!(exchange("/v1/embeddings", &body).json()["data"][0]["embedding"].is_string());
}

#[test]
fn a_firehose_sends_at_least_its_bytes_and_loses_no_event() {
    let reply = streamed("firehose=1000000,size=100");
    assert!(reply.body.len() >= 1_000_000);
    let contents = reply.contents();
    assert!(contents.len() > 1000);
    for (seq, content) in contents.iter().enumerate() {
        assert!(content.starts_with(&format!("e{seq} ")), "{content}");
    }
}

#[test]
fn delays_are_at_least_as_long_as_asked() {
    let took = |script: &str| {
        let before = crate::support::unix_ms();
        let reply = streamed(script);
        let stamps: Vec<u64> = reply
            .contents()
            .iter()
            .map(|content| content.split(' ').nth(1).unwrap().parse().unwrap())
            .collect();
        (stamps[0] / 1000 - before, stamps[1] - stamps[0])
    };
    assert!(took("events=2,head_ms=30").0 >= 29);
    assert!(took("events=2,first_ms=30").0 >= 29);
    assert!(took("events=2,gap_ms=30").1 >= 29_000);
    let before = crate::support::unix_ms();
    unary("slow_body_ms=30");
    assert!(crate::support::unix_ms() - before >= 29);
}

#[test]
fn the_header_overrides_the_model_which_overrides_the_default() {
    let mock = start("model_echo=default");
    let cases = [
        (
            "x-mock-script: model_echo=header\r\n",
            "mock/model_echo=model",
            "header",
        ),
        ("", "mock/model_echo=model", "model"),
        ("", "gpt-4o", "default"),
    ];
    for (header, model, want) in cases {
        let mut socket = connect(mock);
        let body = json!({"model": model, "messages": []});
        let headers = format!("connection: close\r\n{header}");
        send(&mut socket, "/v1/chat/completions", &headers, &body);
        let text = String::from_utf8(read_to_close(&mut socket).0).unwrap();
        assert!(text.contains(&format!("\"model\":\"{want}\"")), "{text}");
    }
}

#[test]
fn what_is_not_understood_is_answered_400_or_404() {
    let reply = unary("events=2,evnts=3");
    assert_eq!(reply.status(), "400");
    assert_eq!(
        reply.json()["error"]["message"],
        "mock script: `evnts`: no such key"
    );
    assert_eq!(
        exchange("/v1/chat/completions", &json!([1])).status(),
        "400"
    );
    assert_eq!(exchange("/v1/other", &json!({})).status(), "404");
    let models = crate::support::ask(shared(), "GET", "/v1/models");
    assert_eq!(models["object"], "list");
}

#[test]
fn thinking_and_parallel_calls_come_in_chat_completions_too() {
    let script = "parts=thinking+text+tool+tool,events=2,tool_name=f,args=7b7d";
    let message = &unary(script).json()["choices"][0]["message"];
    assert!(
        message["reasoning_content"]
            .as_str()
            .unwrap()
            .starts_with("e0 ")
    );
    assert!(message["content"].as_str().unwrap().ends_with(" hello"));
    let calls = &message["tool_calls"];
    assert_eq!(
        (&calls[0]["id"], &calls[1]["id"]),
        (&json!("call_mock_1"), &json!("call_mock_2"))
    );
    assert_eq!(
        calls[1]["function"],
        json!({"name": "f", "arguments": "{}"})
    );
    let data = streamed(script).data();
    let events = data
        .iter()
        .filter_map(|data| serde_json::from_str::<Value>(data).ok());
    let deltas: Vec<Value> = events
        .map(|event| event["choices"][0]["delta"].clone())
        .collect();
    assert_eq!(deltas[0]["role"], "assistant");
    assert!(
        deltas[1]["reasoning_content"]
            .as_str()
            .unwrap()
            .starts_with("e1 ")
    );
    assert!(deltas[3]["content"].as_str().unwrap().starts_with("e3 "));
    let begun = &deltas[6]["tool_calls"][0];
    assert_eq!(
        (&begun["index"], &begun["id"]),
        (&json!(1), &json!("call_mock_2"))
    );
    assert_eq!(
        deltas[7]["tool_calls"][0]["function"],
        json!({"arguments": "}"})
    );
}
