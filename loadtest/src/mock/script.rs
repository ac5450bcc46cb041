//! What the mock does with one request. [pure]
//!
//! A script is `key=value` pairs joined with `,`. The table of keys is in [`super`] and in the
//! README; a test compares them with [`KEYS`].

mod parse;

use std::borrow::Cow;
use std::time::Duration;

pub use parse::ScriptError;

/// Every key a script may hold, in the order of the table.
pub const KEYS: &[&str] = &[
    "events",
    "gap_ms",
    "first_ms",
    "head_ms",
    "size",
    "usage",
    "usage_in",
    "usage_out",
    "usage_cached",
    "usage_reasoning",
    "usage_cache_write",
    "done",
    "finish",
    "eol",
    "cut_at",
    "cut",
    "stall_at",
    "status",
    "retry_after",
    "error_code",
    "error_body",
    "error_at",
    "interim",
    "interim_n",
    "te",
    "split",
    "split_at",
    "split_ms",
    "split_wire",
    "slow_body_ms",
    "reply_bytes",
    "firehose",
    "comment",
    "tools",
    "parts",
    "json",
    "args",
    "tool_name",
    "once",
    "n",
    "dims",
    "model_echo",
    "early",
    "bad",
    "close",
    "raw",
    "times",
    "tag",
];

/// The plan for one request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Script {
    pub pace: Pace,
    pub shape: Shape,
    pub usage: UsagePlan,
    pub fault: Fault,
    pub wire: Wire,
}

/// When things are sent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pace {
    /// Before the response head.
    pub head: Duration,
    /// Between the head and the first event.
    pub first: Duration,
    /// Between events, on an absolute schedule.
    pub gap: Duration,
    /// Between the two halves of a unary body.
    pub slow_body: Duration,
    /// Between two pieces of `split`, `split_at` or `split_wire`.
    pub split: Duration,
}

/// What a good answer holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Content events of a stream.
    pub events: u32,
    /// Least bytes of the text of one event.
    pub size: usize,
    /// Bytes of the text of a unary answer; `None`: an echo of the prompt.
    pub reply_bytes: Option<usize>,
    /// Bytes of events to send as fast as the peer reads; replaces `events`.
    pub firehose: Option<u64>,
    pub comment: bool,
    pub tools: bool,
    /// What the answer consists of; empty: a text, or a tool call with `tools`.
    pub parts: Vec<Part>,
    /// Texts are JSON: that of `args`.
    pub json: bool,
    /// JSON text of tool calls' arguments; `None`: an object of one text.
    pub args: Option<Box<str>>,
    pub tool_name: Option<Box<str>>,
    /// Tools are not called where the request brings a result.
    pub once: bool,
    /// Choices; `None`: as many as the request asks for.
    pub choices: Option<u32>,
    /// Numbers of an embedding; `None`: as many as the request asks for, else 8.
    pub dims: Option<usize>,
    pub model_echo: Option<Box<str>>,
    /// `None`: the usual reason; an empty text: no reason at all.
    pub finish: Option<Box<str>>,
    /// `None`: yes, but not after an error event.
    pub done: Option<bool>,
    pub eol: Eol,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            events: 5,
            size: 0,
            reply_bytes: None,
            firehose: None,
            comment: false,
            tools: false,
            parts: Vec::new(),
            json: false,
            args: None,
            tool_name: None,
            once: false,
            choices: None,
            dims: None,
            model_echo: None,
            finish: None,
            done: None,
            eol: Eol::Lf,
        }
    }
}

/// A piece of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Text,
    Thinking,
    /// Thinking that only the provider can read; chat completions have none.
    Redacted,
    Tool,
}

/// How the lines of a stream end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Eol {
    #[default]
    Lf,
    Crlf,
    Cr,
}

impl Eol {
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::Crlf => b"\r\n",
            Self::Cr => b"\r",
        }
    }
}

/// Which usage is reported, and when.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UsagePlan {
    pub send: UsageSend,
    /// Prompt tokens; `None`: 10.
    pub prompt: Option<u64>,
    /// Completion tokens; `None`: as many as `events`.
    pub completion: Option<u64>,
    pub cached: Option<u64>,
    pub reasoning: Option<u64>,
    /// Tokens written to a cache; Messages has them.
    pub cache_write: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UsageSend {
    /// Unary always, streams when `stream_options.include_usage` asks.
    #[default]
    Asked,
    Never,
    Always,
}

/// A point of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Before the first byte.
    Head,
    /// Before this content event; in the middle of a unary body.
    Event(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cut {
    #[default]
    Rst,
    Fin,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fault {
    pub cut_at: Option<At>,
    pub cut: Cut,
    pub stall_at: Option<At>,
    pub status: Option<u16>,
    pub retry_after: Option<Box<str>>,
    pub error_code: Option<Box<str>>,
    /// Error bodies are plain text instead of JSON.
    pub error_raw: bool,
    pub error_at: Option<u32>,
    pub bad: Option<Bad>,
    /// Exact bytes instead of a response.
    pub raw: Option<Vec<u8>>,
    /// Bytes nobody asked for follow the response.
    pub early: bool,
    /// The faults happen to the first requests with this script only.
    pub times: Option<u32>,
}

/// A malformed answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    TeCl,
    TwoCl,
    Status,
    Version,
    Header,
    Chunk,
    ChunkEnd,
    HugeHead,
    ManyHeaders,
    Json,
    EventJson,
    Utf8,
    HugeEvent,
    NoId,
    Html,
    Short,
    Long,
}

/// Names of [`Bad`], as `bad=` takes them.
pub const BAD: &[(&str, Bad)] = &[
    ("te_cl", Bad::TeCl),
    ("two_cl", Bad::TwoCl),
    ("status", Bad::Status),
    ("version", Bad::Version),
    ("header", Bad::Header),
    ("chunk", Bad::Chunk),
    ("chunk_end", Bad::ChunkEnd),
    ("huge_head", Bad::HugeHead),
    ("many_headers", Bad::ManyHeaders),
    ("json", Bad::Json),
    ("event_json", Bad::EventJson),
    ("utf8", Bad::Utf8),
    ("huge_event", Bad::HugeEvent),
    ("no_id", Bad::NoId),
    ("html", Bad::Html),
    ("short", Bad::Short),
    ("long", Bad::Long),
];

/// How the bytes travel.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Wire {
    /// Status of an interim head sent first, and how many of them.
    pub interim: Option<u16>,
    pub interim_count: Option<u32>,
    pub framing: Option<Framing>,
    /// Body bytes per piece; each piece is one send, and one chunk if the body is chunked.
    pub split: Option<usize>,
    /// Body bytes, or bytes of `raw`, of a first piece; the rest follows.
    pub split_at: Option<usize>,
    /// Bytes per send, heads and framing included.
    pub split_wire: Option<usize>,
    /// `connection: close`.
    pub close: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Chunked,
    Length,
    Close,
}

impl Script {
    /// The same answer without its faults.
    pub fn without_faults(&self) -> Self {
        Self {
            fault: Fault::default(),
            ..self.clone()
        }
    }
}

/// The script inside a model name: after `script:`, after the first `/`, or the whole name.
///
/// `None` if the name holds no script, such as `gpt-4o` or `openai/gpt-4o`.
pub fn in_model(model: &str) -> Option<&str> {
    let after = |text: &'_ str| -> bool {
        let first = text.split(',').next().unwrap_or("");
        first
            .split_once('=')
            .is_some_and(|(key, _)| KEYS.contains(&key.trim()))
    };
    if let Some(text) = model.strip_prefix("script:") {
        return Some(text);
    }
    if after(model) {
        return Some(model);
    }
    let tail = model.split_once('/')?.1;
    let text = tail.strip_prefix("script:").unwrap_or(tail);
    after(text).then_some(text)
}

/// The script of a request: of its `x-mock-script` header, else of its model, else the default.
///
/// # Errors
///
/// [`ScriptError`] names the first pair that was not understood.
pub fn choose<'s>(
    header: Option<&str>,
    model: &str,
    default: &'s Script,
) -> Result<Cow<'s, Script>, ScriptError> {
    match header.or_else(|| in_model(model)) {
        Some(text) => Ok(Cow::Owned(text.parse()?)),
        None => Ok(Cow::Borrowed(default)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Script {
        text.parse().unwrap()
    }

    #[test]
    fn a_model_holds_a_script_only_if_its_first_pair_is_one() {
        let cases = [
            ("script:events=2,gap_ms=5", Some("events=2,gap_ms=5")),
            ("mock/events=2", Some("events=2")),
            ("mock/script:events=2", Some("events=2")),
            ("events=2,size=3", Some("events=2,size=3")),
            ("a/raw=00/x", Some("raw=00/x")),
            ("gpt-4o", None),
            ("openai/gpt-4o", None),
            ("ft/key=value", None),
            ("", None),
        ];
        for (model, want) in cases {
            assert_eq!(in_model(model), want, "{model}");
        }
    }

    #[test]
    fn the_header_wins_over_the_model_and_the_model_over_the_default() {
        let default = parsed("events=1");
        let events = |header, model| choose(header, model, &default).unwrap().shape.events;
        assert_eq!(events(Some("events=3"), "m/events=2"), 3);
        assert_eq!(events(None, "m/events=2"), 2);
        assert_eq!(events(None, "m"), 1);
    }
}
