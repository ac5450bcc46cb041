//! Answers as OpenAI Responses shapes them. [pure]
//!
//! The shapes are those of OpenAI's reference, "Responses" and "Streaming events".

use serde_json::{Value, json};

use crate::mock::plan::{REDACTED, SPOILED_EVENT};
use crate::mock::reply::{Answer, PROMPT_TOKENS};
use crate::mock::script::{Bad, Part, UsageSend};
use crate::mock::stream::{self, Events};
use crate::mock::wire::number;

/// The whole answer.
pub(super) fn body(answer: &Answer<'_>) -> Value {
    let parts = 0..answer.plan.parts.len();
    let output = parts.map(|index| {
        let text = match answer.plan.parts.get(index) {
            Some(Part::Tool) => answer.plan.args().to_owned(),
            _ => answer.part_text(index),
        };
        item(answer, index, Some(&text))
    });
    let mut response = response(answer, ended(answer), &output.collect());
    if let Some(usage) = usage(answer) {
        response["usage"] = usage;
    }
    response["mock"] = answer.mock();
    response
}

fn ended(answer: &Answer<'_>) -> &'static str {
    match answer.script.shape.finish.as_deref() {
        None | Some("stop" | "") => "completed",
        Some(_) => "incomplete",
    }
}

/// The response object with `output`, whose usage is null.
fn response(answer: &Answer<'_>, status: &str, output: &Value) -> Value {
    let reason = answer.script.shape.finish.as_deref();
    let details = reason.filter(|_| status == "incomplete");
    let text = answer.ask.text();
    let text = text.unwrap_or_else(|| json!({"format": {"type": "text"}}));
    let mut response = json!({"object": "response", "created_at": answer.now_unix_us / 1_000_000,
        "status": status, "background": false, "error": null,
        "incomplete_details": details.map(|reason| json!({ "reason": reason })),
        "instructions": null, "max_output_tokens": null, "metadata": {}, "output": output,
        "parallel_tool_calls": true, "previous_response_id": null,
        "reasoning": {"effort": null, "summary": null}, "service_tier": "default", "store": false,
        "temperature": 1.0, "text": text, "tool_choice": "auto",
        "tools": [], "top_p": 1.0, "truncation": "disabled", "usage": null, "user": null});
    if answer.script.fault.bad != Some(Bad::NoId) {
        response["id"] = format!("resp_mock_{}", answer.number).into();
        response["model"] = answer.model().into();
    }
    response
}

/// The output item of part `index`: whole with `text`, else as it begins.
fn item(answer: &Answer<'_>, index: usize, text: Option<&str>) -> Value {
    let status = match text {
        Some(_) => "completed",
        None => "in_progress",
    };
    let id = item_id(answer, index);
    match answer.plan.parts.get(index) {
        Some(Part::Thinking) => {
            let summary = text.map(summary_part);
            json!({"id": id, "type": "reasoning", "summary": Vec::from_iter(summary),
                "encrypted_content": null, "status": status})
        }
        Some(Part::Redacted) => json!({"id": id, "type": "reasoning", "summary": [],
            "encrypted_content": REDACTED, "status": status}),
        Some(Part::Tool) => {
            let nth = answer.plan.tools_before(index) + 1;
            json!({"id": id, "type": "function_call", "status": status,
                "call_id": format!("call_mock_{nth}"), "name": answer.plan.tool_name(),
                "arguments": text.unwrap_or("")})
        }
        Some(Part::Text) | None => {
            let content = text.map(text_part);
            json!({"id": id, "type": "message", "role": "assistant", "status": status,
                "content": Vec::from_iter(content)})
        }
    }
}

fn item_id(answer: &Answer<'_>, index: usize) -> String {
    let kind = match answer.plan.parts.get(index) {
        Some(Part::Thinking | Part::Redacted) => "rs",
        Some(Part::Tool) => "fc",
        Some(Part::Text) | None => "msg",
    };
    format!("{kind}_mock_{}_{index}", answer.number)
}

fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn summary_part(text: &str) -> Value {
    json!({"type": "summary_text", "text": text})
}

fn usage(answer: &Answer<'_>) -> Option<Value> {
    let plan = &answer.script.usage;
    if plan.send == UsageSend::Never {
        return None;
    }
    let input = plan.prompt.unwrap_or(PROMPT_TOKENS);
    let output = answer.completion_tokens();
    Some(json!({"input_tokens": input,
        "input_tokens_details": {"cached_tokens": plan.cached.unwrap_or(0)},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": plan.reasoning.unwrap_or(0)},
        "total_tokens": input.saturating_add(output)}))
}

/// The events of a stream.
pub(super) struct ResponsesEvents<'a> {
    answer: &'a Answer<'a>,
    sequence: u64,
    /// Items begun; the last of them is open.
    begun: usize,
    /// Text or arguments of the open item, as the inside of a JSON string.
    open: Vec<u8>,
    items: Vec<Value>,
}

impl<'a> ResponsesEvents<'a> {
    pub(super) fn new(answer: &'a Answer<'a>) -> Self {
        Self {
            answer,
            sequence: 0,
            begun: 0,
            open: Vec::new(),
            items: Vec::new(),
        }
    }

    fn event(&mut self, name: &str, more: Value, out: &mut Vec<u8>) {
        let mut data = json!({"type": name, "sequence_number": self.sequence});
        if let (Some(data), Value::Object(more)) = (data.as_object_mut(), more) {
            data.extend(more);
        }
        self.sequence += 1;
        stream::named(self.answer, name, data.to_string().as_bytes(), out);
    }

    /// An event about part `index`, which names its item; `more` comes on top.
    fn about(&mut self, name: &str, index: usize, more: Value, out: &mut Vec<u8>) {
        let mut data = json!({"output_index": index, "item_id": item_id(self.answer, index)});
        if let (Some(data), Value::Object(more)) = (data.as_object_mut(), more) {
            data.extend(more);
        }
        self.event(name, data, out);
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if self.sequence > 0 {
            return;
        }
        for name in ["response.created", "response.in_progress"] {
            let response = response(self.answer, "in_progress", &json!([]));
            self.event(name, json!({ "response": response }), out);
        }
    }

    /// Ends the open item and begins those up to part `index`.
    fn advance(&mut self, index: usize, out: &mut Vec<u8>) {
        while self.begun <= index {
            self.close(out);
            let index = self.begun;
            let item = item(self.answer, index, None);
            let added = json!({"output_index": index, "item": item});
            self.event("response.output_item.added", added, out);
            match self.answer.plan.parts.get(index) {
                Some(Part::Text) => {
                    let more = json!({"content_index": 0, "part": text_part("")});
                    self.about("response.content_part.added", index, more, out);
                }
                Some(Part::Thinking) => {
                    let more = json!({"summary_index": 0, "part": summary_part("")});
                    self.about("response.reasoning_summary_part.added", index, more, out);
                }
                _ => {}
            }
            self.begun += 1;
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let Some(index) = self.begun.checked_sub(1) else {
            return;
        };
        let quoted = [b"\"", &*std::mem::take(&mut self.open), b"\""].concat();
        let text: String = serde_json::from_slice(&quoted).unwrap_or_default();
        match self.answer.plan.parts.get(index) {
            Some(Part::Text) => {
                let more = json!({"content_index": 0, "text": text, "logprobs": []});
                self.about("response.output_text.done", index, more, out);
                let more = json!({"content_index": 0, "part": text_part(&text)});
                self.about("response.content_part.done", index, more, out);
            }
            Some(Part::Thinking) => {
                let more = json!({"summary_index": 0, "text": text});
                self.about("response.reasoning_summary_text.done", index, more, out);
                let more = json!({"summary_index": 0, "part": summary_part(&text)});
                self.about("response.reasoning_summary_part.done", index, more, out);
            }
            Some(Part::Tool) => {
                let more = json!({"name": self.answer.plan.tool_name(), "arguments": text});
                self.about("response.function_call_arguments.done", index, more, out);
            }
            Some(Part::Redacted) | None => {}
        }
        let item = item(self.answer, index, Some(&text));
        let done = json!({"output_index": index, "item": item});
        self.items.push(item);
        self.event("response.output_item.done", done, out);
    }

    /// The data of a delta up to its text, and the event's name.
    fn delta_head(&mut self, index: usize, data: &mut Vec<u8>) -> &'static str {
        let (name, place) = match self.answer.plan.parts.get(index) {
            Some(Part::Thinking) => (
                "response.reasoning_summary_text.delta",
                "\"summary_index\":0,",
            ),
            Some(Part::Tool) => ("response.function_call_arguments.delta", ""),
            _ => (
                "response.output_text.delta",
                "\"content_index\":0,\"logprobs\":[],",
            ),
        };
        data.extend_from_slice(b"{\"type\":\"");
        data.extend_from_slice(name.as_bytes());
        data.extend_from_slice(b"\",\"sequence_number\":");
        number(self.sequence, data);
        self.sequence += 1;
        data.extend_from_slice(b",\"item_id\":\"");
        data.extend_from_slice(item_id(self.answer, index).as_bytes());
        data.extend_from_slice(b"\",\"output_index\":");
        number(index as u64, data);
        data.push(b',');
        data.extend_from_slice(place.as_bytes());
        name
    }
}

impl Events for ResponsesEvents<'_> {
    fn content(&mut self, seq: u32, sent_unix_us: u64, out: &mut Vec<u8>) {
        let index = self.answer.plan.part_of(seq);
        self.start(out);
        self.advance(index, out);
        let mut data = Vec::with_capacity(256);
        let name = self.delta_head(index, &mut data);
        if self.answer.script.fault.bad != Some(Bad::EventJson) || seq != SPOILED_EVENT {
            data.extend_from_slice(b"\"delta\":\"");
            let start = self.open.len();
            self.answer.plan.delta(seq, sent_unix_us, &mut self.open);
            data.extend_from_slice(self.open.get(start..).unwrap_or_default());
            data.extend_from_slice(b"\"}");
        }
        stream::named(self.answer, name, &data, out);
    }

    fn tail(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        if let Some(last) = self.answer.plan.parts.len().checked_sub(1) {
            self.advance(last, out);
        }
        self.close(out);
        if self.answer.script.shape.done == Some(false) {
            return;
        }
        let output = Value::Array(std::mem::take(&mut self.items));
        let status = ended(self.answer);
        let mut response = response(self.answer, status, &output);
        if let Some(usage) = usage(self.answer) {
            response["usage"] = usage;
        }
        let name = format!("response.{status}");
        self.event(&name, json!({ "response": response }), out);
    }

    fn error(&mut self, out: &mut Vec<u8>) {
        let code = self.answer.script.fault.error_code.as_deref();
        let code = code.unwrap_or("server_error");
        let more = json!({"code": code, "message": "mock error in the stream", "param": null});
        self.event("error", more, out);
    }
}
