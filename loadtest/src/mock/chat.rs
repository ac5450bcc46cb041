//! Events of chat completions and completions. [pure]

use serde_json::json;

use crate::mock::plan::SPOILED_EVENT;
use crate::mock::reply::{Answer, Endpoint, json_text};
use crate::mock::script::{Bad, Part, Script, UsageSend};
use crate::mock::stream::Events;
use crate::mock::wire::number;

/// Writes the events of one answer; what repeats is rendered once.
pub(super) struct ChatEvents<'a> {
    answer: &'a Answer<'a>,
    /// From the opening brace to `"index":`.
    preamble: Vec<u8>,
    eol: &'static [u8],
    /// Whether a usage event will follow: then the others hold `"usage":null`.
    usage: bool,
    choices: u32,
}

impl<'a> ChatEvents<'a> {
    pub(super) fn new(answer: &'a Answer<'a>) -> Self {
        let usage = match answer.script.usage.send {
            UsageSend::Asked => answer.ask.wants_usage(),
            UsageSend::Never => false,
            UsageSend::Always => true,
        };
        let mut preamble = Vec::new();
        answer.preamble(
            match answer.endpoint {
                Endpoint::Completions => "text_completion",
                _ => "chat.completion.chunk",
            },
            &mut preamble,
        );
        preamble.extend_from_slice(b"\"system_fingerprint\":\"fp_mock\",\"choices\":[");
        Self {
            answer,
            preamble,
            eol: answer.script.shape.eol.bytes(),
            usage,
            choices: answer.choices(),
        }
    }

    fn delta(&self, seq: u32, index: u32, sent_unix_us: u64, out: &mut Vec<u8>) {
        let plan = &self.answer.plan;
        let place = plan.part_of(seq);
        let part = plan.parts.get(place).copied().unwrap_or(Part::Text);
        self.begin(index, out);
        let end: &[u8] = match (self.answer.endpoint, part) {
            (Endpoint::Completions, _) => {
                out.extend_from_slice(b",\"text\":\"");
                b"\""
            }
            (_, Part::Tool) => {
                self.role(seq, out);
                self.call(place, plan.begins(seq), out);
                b"\"}}]}"
            }
            (_, part) => {
                self.role(seq, out);
                out.extend_from_slice(match part {
                    Part::Thinking => b"\"reasoning_content\":\"",
                    _ => b"\"content\":\"",
                });
                b"\"}"
            }
        };
        plan.delta(seq, sent_unix_us, out);
        out.extend_from_slice(end);
        out.extend_from_slice(b",\"logprobs\":null,\"finish_reason\":null}]");
        self.close(out);
    }

    /// Opens the delta, with the role in the first event.
    fn role(&self, seq: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"delta\":{");
        if seq == 0 {
            out.extend_from_slice(b"\"role\":\"assistant\",");
            if self.answer.plan.parts.first() == Some(&Part::Tool) {
                out.extend_from_slice(b"\"content\":null,");
            }
        }
    }

    /// Opens the arguments of the call that part `place` is, with its name in its first event.
    fn call(&self, place: usize, first: bool, out: &mut Vec<u8>) {
        let plan = &self.answer.plan;
        let nth = plan.tools_before(place) as u64;
        out.extend_from_slice(b"\"tool_calls\":[{\"index\":");
        number(nth, out);
        if first {
            out.extend_from_slice(b",\"id\":\"call_mock_");
            number(nth + 1, out);
            out.extend_from_slice(b"\",\"type\":\"function\"");
        }
        out.extend_from_slice(b",\"function\":{");
        if first {
            out.extend_from_slice(b"\"name\":");
            json_text(plan.tool_name(), out);
            out.push(b',');
        }
        out.extend_from_slice(b"\"arguments\":\"");
    }

    fn done(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: [DONE]");
        self.end(out);
    }

    fn begin(&self, index: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&self.preamble);
        out.extend_from_slice(b"{\"index\":");
        number(u64::from(index), out);
    }

    fn close(&self, out: &mut Vec<u8>) {
        if self.usage {
            out.extend_from_slice(b",\"usage\":null");
        }
        out.push(b'}');
        self.end(out);
    }

    fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.eol);
        out.extend_from_slice(self.eol);
    }
}

impl Events for ChatEvents<'_> {
    /// Once per choice.
    fn content(&mut self, seq: u32, sent_unix_us: u64, out: &mut Vec<u8>) {
        for index in 0..self.choices {
            match self.answer.script.fault.bad {
                Some(Bad::EventJson) if seq == SPOILED_EVENT => {
                    out.extend_from_slice(b"data: {\"id\":\"chatcmpl-");
                    self.end(out);
                }
                _ => self.delta(seq, index, sent_unix_us, out),
            }
        }
    }

    /// Finish reason, usage and `[DONE]`, as the script says.
    fn tail(&mut self, out: &mut Vec<u8>) {
        if self.answer.script.shape.finish.as_deref() != Some("") {
            for index in 0..self.choices {
                self.begin(index, out);
                out.extend_from_slice(match self.answer.endpoint {
                    Endpoint::Completions => b",\"text\":\"\"",
                    _ => b",\"delta\":{}",
                });
                out.extend_from_slice(b",\"logprobs\":null,\"finish_reason\":");
                self.answer.finish_reason(out);
                out.extend_from_slice(b"}]");
                self.close(out);
            }
        }
        if self.usage {
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(&self.preamble);
            out.extend_from_slice(b"],");
            self.answer.usage(out);
            out.push(b'}');
            self.end(out);
        }
        if self.answer.script.shape.done != Some(false) {
            self.done(out);
        }
    }

    /// And, if the script insists, `[DONE]`.
    fn error(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: ");
        let error = error_json(self.answer.script, 500, "mock error in the stream");
        out.extend_from_slice(&error);
        self.end(out);
        if self.answer.script.shape.done == Some(true) {
            self.done(out);
        }
    }
}

/// The JSON of an error, as OpenAI shapes it.
pub(super) fn error_json(script: &Script, status: u16, message: &str) -> Vec<u8> {
    let kind = match status {
        401 => "authentication_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    };
    let code = script.fault.error_code.as_deref();
    let error = json!({"message": message, "type": kind, "param": null, "code": code});
    json!({ "error": error }).to_string().into_bytes()
}
