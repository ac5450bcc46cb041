//! Answers as Anthropic Messages shapes them. [pure]
//!
//! The shapes are those of Anthropic's reference, "Messages" and "Streaming Messages".

use serde_json::{Value, json};

use crate::mock::plan::{REDACTED, SIGNATURE, SPOILED_EVENT};
use crate::mock::reply::{Answer, PROMPT_TOKENS};
use crate::mock::script::{Bad, Part, UsageSend};
use crate::mock::stream::{self, Events};
use crate::mock::wire::number;

/// Most bytes of one delta beyond its text.
const DELTA_BYTES: usize = 128;

/// The whole answer.
pub(super) fn body(answer: &Answer<'_>) -> Value {
    let parts = answer.plan.parts.iter().enumerate();
    let content = parts.map(|(index, part)| match part {
        Part::Text => json!({"type": "text", "text": answer.part_text(index)}),
        Part::Thinking => json!({"type": "thinking", "thinking": answer.part_text(index),
            "signature": SIGNATURE}),
        _ => block(answer, index, &arguments(answer)),
    });
    let mut message = message(answer, &content.collect(), &stop_reason(answer));
    if let Some(usage) = usage(answer, answer.completion_tokens()) {
        message["usage"] = usage;
    }
    message["mock"] = answer.mock();
    message
}

/// The answer of the endpoint that counts.
pub(super) fn count(answer: &Answer<'_>) -> Value {
    let tokens = answer.script.usage.prompt.unwrap_or(PROMPT_TOKENS);
    json!({ "input_tokens": tokens })
}

/// An error, as a body or as the data of an event.
pub(super) fn error(status: u16, code: Option<&str>, message: &str, number: Option<u64>) -> Value {
    let kind = code.unwrap_or(match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    });
    let mut error = json!({"type": "error", "error": {"type": kind, "message": message}});
    if let Some(number) = number {
        error["request_id"] = format!("req_mock_{number}").into();
    }
    error
}

fn message(answer: &Answer<'_>, content: &Value, stop_reason: &Value) -> Value {
    let mut message = json!({"type": "message", "role": "assistant", "content": content,
        "stop_reason": stop_reason, "stop_sequence": null});
    if answer.script.fault.bad != Some(Bad::NoId) {
        message["id"] = format!("msg_mock_{}", answer.number).into();
        message["model"] = answer.model().into();
    }
    message
}

/// The block that part `index` is, or begins with.
fn block(answer: &Answer<'_>, index: usize, input: &Value) -> Value {
    match answer.plan.parts.get(index) {
        Some(Part::Thinking) => json!({"type": "thinking", "thinking": "", "signature": ""}),
        Some(Part::Redacted) => json!({"type": "redacted_thinking", "data": REDACTED}),
        Some(Part::Tool) => {
            let nth = answer.plan.tools_before(index) + 1;
            json!({"type": "tool_use", "id": format!("toolu_mock_{nth}"),
                "name": answer.plan.tool_name(), "input": input})
        }
        Some(Part::Text) | None => json!({"type": "text", "text": ""}),
    }
}

fn arguments(answer: &Answer<'_>) -> Value {
    serde_json::from_str(answer.plan.args()).unwrap_or_else(|_| json!({}))
}

fn stop_reason(answer: &Answer<'_>) -> Value {
    match answer.script.shape.finish.as_deref() {
        Some("") => Value::Null,
        Some(reason) => reason.into(),
        None if answer.plan.calls_tools() => "tool_use".into(),
        None => "end_turn".into(),
    }
}

fn usage(answer: &Answer<'_>, output: u64) -> Option<Value> {
    let plan = &answer.script.usage;
    if plan.send == UsageSend::Never {
        return None;
    }
    let input = plan.prompt.unwrap_or(PROMPT_TOKENS);
    let mut usage = json!({"input_tokens": input, "output_tokens": output});
    let caches = [
        ("cache_creation_input_tokens", plan.cache_write),
        ("cache_read_input_tokens", plan.cached),
    ];
    for (name, tokens) in caches {
        if let Some(tokens) = tokens {
            usage[name] = tokens.into();
        }
    }
    Some(usage)
}

/// The events of a stream.
pub(super) struct MessagesEvents<'a> {
    answer: &'a Answer<'a>,
    started: bool,
    /// Blocks begun; the last of them is open.
    begun: usize,
    data: Vec<u8>,
}

impl<'a> MessagesEvents<'a> {
    pub(super) fn new(answer: &'a Answer<'a>) -> Self {
        Self {
            answer,
            started: false,
            begun: 0,
            data: Vec::with_capacity(DELTA_BYTES),
        }
    }

    fn event(&self, name: &str, more: Value, out: &mut Vec<u8>) {
        let mut data = json!({ "type": name });
        if let (Some(data), Value::Object(more)) = (data.as_object_mut(), more) {
            data.extend(more);
        }
        stream::named(self.answer, name, data.to_string().as_bytes(), out);
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let mut message = message(self.answer, &json!([]), &Value::Null);
        if let Some(usage) = usage(self.answer, 1) {
            message["usage"] = usage;
        }
        self.event("message_start", json!({ "message": message }), out);
    }

    /// Ends the open block and begins those up to part `index`.
    fn advance(&mut self, index: usize, out: &mut Vec<u8>) {
        while self.begun <= index {
            self.close(out);
            let index = self.begun;
            let block = block(self.answer, index, &json!({}));
            let start = json!({"index": index, "content_block": block});
            self.event("content_block_start", start, out);
            if index == 0 {
                self.event("ping", json!({}), out);
            }
            self.begun += 1;
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let Some(index) = self.begun.checked_sub(1) else {
            return;
        };
        if self.answer.plan.parts.get(index) == Some(&Part::Thinking) {
            let signature = json!({"type": "signature_delta", "signature": SIGNATURE});
            let delta = json!({"index": index, "delta": signature});
            self.event("content_block_delta", delta, out);
        }
        self.event("content_block_stop", json!({ "index": index }), out);
    }
}

impl Events for MessagesEvents<'_> {
    fn content(&mut self, seq: u32, sent_unix_us: u64, out: &mut Vec<u8>) {
        let index = self.answer.plan.part_of(seq);
        self.start(out);
        self.advance(index, out);
        let mut data = std::mem::take(&mut self.data);
        data.clear();
        data.extend_from_slice(b"{\"type\":\"content_block_delta\",\"index\":");
        if self.answer.script.fault.bad != Some(Bad::EventJson) || seq != SPOILED_EVENT {
            number(index as u64, &mut data);
            let kind: &[u8] = match self.answer.plan.parts.get(index) {
                Some(Part::Thinking) => br#","delta":{"type":"thinking_delta","thinking":""#,
                Some(Part::Tool) => br#","delta":{"type":"input_json_delta","partial_json":""#,
                _ => br#","delta":{"type":"text_delta","text":""#,
            };
            data.extend_from_slice(kind);
            self.answer.plan.delta(seq, sent_unix_us, &mut data);
            data.extend_from_slice(b"\"}}");
        }
        stream::named(self.answer, "content_block_delta", &data, out);
        self.data = data;
    }

    fn tail(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        if let Some(last) = self.answer.plan.parts.len().checked_sub(1) {
            self.advance(last, out);
        }
        self.close(out);
        let delta = json!({"stop_reason": stop_reason(self.answer), "stop_sequence": null});
        let mut delta = json!({ "delta": delta });
        if self.answer.script.usage.send != UsageSend::Never {
            delta["usage"] = json!({"output_tokens": self.answer.completion_tokens()});
        }
        self.event("message_delta", delta, out);
        if self.answer.script.shape.done != Some(false) {
            self.event("message_stop", json!({}), out);
        }
    }

    fn error(&mut self, out: &mut Vec<u8>) {
        let code = self.answer.script.fault.error_code.as_deref();
        let error = error(500, code, "mock error in the stream", None);
        stream::named(self.answer, "error", error.to_string().as_bytes(), out);
    }
}
