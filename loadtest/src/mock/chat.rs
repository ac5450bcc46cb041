//! Server-sent events of a streamed answer. [pure]

use crate::mock::reply::{Answer, Endpoint, pad};
use crate::mock::script::Bad;
use crate::mock::wire::number;

/// Bytes of an event that no reader should accept.
const HUGE_EVENT_BYTES: usize = 2 * 1024 * 1024;
/// The content event that `bad=…` spoils.
const SPOILED_EVENT: u32 = 1;

/// Writes the events of one answer; what repeats is rendered once.
pub(super) struct Frames<'a> {
    answer: &'a Answer<'a>,
    /// From the opening brace to `"index":`.
    preamble: Vec<u8>,
    eol: &'static [u8],
    /// Whether a usage event will follow: then the others hold `"usage":null`.
    pub(super) usage: bool,
    choices: u32,
}

impl<'a> Frames<'a> {
    pub(super) fn new(answer: &'a Answer<'a>, usage: bool) -> Self {
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

    /// Appends content event `seq`, once per choice. `sent_unix_us` goes into its text.
    pub(super) fn content(&self, seq: u32, sent_unix_us: u64, out: &mut Vec<u8>) {
        for index in 0..self.choices {
            match self.answer.script.fault.bad {
                Some(Bad::EventJson) if seq == SPOILED_EVENT => {
                    out.extend_from_slice(b"data: {\"id\":\"chatcmpl-");
                    self.end(out);
                }
                _ => self.delta(seq, index, sent_unix_us, out),
            }
        }
        if self.answer.script.shape.comment {
            out.extend_from_slice(b": ping");
            self.end(out);
        }
    }

    fn delta(&self, seq: u32, index: u32, sent_unix_us: u64, out: &mut Vec<u8>) {
        let tools = self.answer.script.shape.tools;
        self.begin(index, out);
        match (self.answer.endpoint, tools) {
            (Endpoint::Completions, _) => out.extend_from_slice(b",\"text\":\""),
            (_, false) => {
                out.extend_from_slice(b",\"delta\":{");
                if seq == 0 {
                    out.extend_from_slice(b"\"role\":\"assistant\",");
                }
                out.extend_from_slice(b"\"content\":\"");
            }
            (_, true) if seq == 0 => out.extend_from_slice(
                br#","delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_mock_1","type":"function","function":{"name":"mock_tool","arguments":"{\"s\":\""#,
            ),
            (_, true) => out.extend_from_slice(
                br#","delta":{"tool_calls":[{"index":0,"function":{"arguments":""#,
            ),
        }
        self.text(seq, sent_unix_us, out);
        let last = seq + 1 == self.answer.script.shape.events;
        out.extend_from_slice(match (self.answer.endpoint, tools) {
            (Endpoint::Completions, _) => b"\"",
            (_, false) => b"\"}",
            (_, true) if last => b"\\\"}\"}}]}",
            (_, true) => b"\"}}]}",
        });
        out.extend_from_slice(b",\"logprobs\":null,\"finish_reason\":null}]");
        self.close(out);
    }

    fn text(&self, seq: u32, sent_unix_us: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(b'e');
        number(u64::from(seq), out);
        out.push(b' ');
        number(sent_unix_us, out);
        let spoiled = seq == SPOILED_EVENT;
        let size = match self.answer.script.fault.bad {
            Some(Bad::HugeEvent) if spoiled => HUGE_EVENT_BYTES,
            _ => self.answer.script.shape.size,
        };
        pad(start, size, out);
        if spoiled && self.answer.script.fault.bad == Some(Bad::Utf8) {
            out.extend_from_slice(b"\xff\xfe");
        }
    }

    /// Appends what follows the content: finish reason, usage and `[DONE]`, as the script says.
    pub(super) fn tail(&self, out: &mut Vec<u8>) {
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

    /// Appends an in-band error and, if the script insists, `[DONE]`.
    pub(super) fn error(&self, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(body);
        self.end(out);
        if self.answer.script.shape.done == Some(true) {
            self.done(out);
        }
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
