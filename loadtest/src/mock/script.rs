//! What the mock does with one request, and the text form of it. [pure]
//!
//! A script is `key=value` pairs joined with `,`. The table of keys is in [`super`] and in the
//! README; a test compares them with [`KEYS`].

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

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
    "split_ms",
    "split_wire",
    "slow_body_ms",
    "reply_bytes",
    "firehose",
    "comment",
    "tools",
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

/// Longest reply, event or vector a script may ask for, in bytes or numbers: a typing error must
/// not take the machine's memory.
const SIZE_MAX: usize = 256 * 1024 * 1024;

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
    /// Between two pieces of `split` or `split_wire`.
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
            choices: None,
            dims: None,
            model_echo: None,
            finish: None,
            done: None,
            eol: Eol::Lf,
        }
    }
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

/// Why a script was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptError {
    key: Box<str>,
    reason: &'static str,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "mock script: `{}`: {}", self.key, self.reason)
    }
}

impl std::error::Error for ScriptError {}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let mut script = Self::default();
        for pair in text
            .split(',')
            .map(str::trim)
            .filter(|pair| !pair.is_empty())
        {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match script.set(key, value) {
                Ok(true) => {}
                Ok(false) => return Err(error(key, "no such key")),
                Err(reason) => return Err(error(key, reason)),
            }
        }
        Ok(script)
    }
}

fn error(key: &str, reason: &'static str) -> ScriptError {
    ScriptError {
        key: key.into(),
        reason,
    }
}

/// `Ok(false)`: not a key of this group.
type Known = Result<bool, &'static str>;

impl Script {
    fn set(&mut self, key: &str, value: &str) -> Known {
        Ok(key == "tag"
            || self.pace.set(key, value)?
            || self.shape.set(key, value)?
            || self.usage.set(key, value)?
            || self.fault.set(key, value)?
            || self.wire.set(key, value)?)
    }

    /// The same answer without its faults.
    pub fn without_faults(&self) -> Self {
        Self {
            fault: Fault::default(),
            ..self.clone()
        }
    }
}

impl Pace {
    fn set(&mut self, key: &str, value: &str) -> Known {
        let field = match key {
            "gap_ms" => &mut self.gap,
            "first_ms" => &mut self.first,
            "head_ms" => &mut self.head,
            "slow_body_ms" => &mut self.slow_body,
            "split_ms" => &mut self.split,
            _ => return Ok(false),
        };
        *field = millis(value)?;
        Ok(true)
    }
}

impl Shape {
    fn set(&mut self, key: &str, value: &str) -> Known {
        match key {
            "events" => self.events = number(value)?,
            "size" => self.size = size(value)?,
            "reply_bytes" => self.reply_bytes = Some(size(value)?),
            "firehose" => self.firehose = Some(number(value)?),
            "comment" => self.comment = flag(value)?,
            "tools" => self.tools = flag(value)?,
            "n" => self.choices = Some(number(value)?),
            "dims" => self.dims = Some(size(value)?),
            "model_echo" => self.model_echo = Some(value.into()),
            "finish" if value == "none" => self.finish = Some("".into()),
            "finish" => self.finish = Some(value.into()),
            "done" => self.done = Some(flag(value)?),
            "eol" => {
                self.eol = match value {
                    "lf" => Eol::Lf,
                    "crlf" => Eol::Crlf,
                    "cr" => Eol::Cr,
                    _ => return Err("takes lf, crlf or cr"),
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl UsagePlan {
    fn set(&mut self, key: &str, value: &str) -> Known {
        match key {
            "usage" => {
                self.send = match value {
                    "yes" => UsageSend::Asked,
                    "no" => UsageSend::Never,
                    "always" => UsageSend::Always,
                    _ => return Err("takes yes, no or always"),
                }
            }
            "usage_in" => self.prompt = Some(number(value)?),
            "usage_out" => self.completion = Some(number(value)?),
            "usage_cached" => self.cached = Some(number(value)?),
            "usage_reasoning" => self.reasoning = Some(number(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Fault {
    fn set(&mut self, key: &str, value: &str) -> Known {
        match key {
            "cut_at" => self.cut_at = Some(at(value)?),
            "stall_at" => self.stall_at = Some(at(value)?),
            "cut" => {
                self.cut = match value {
                    "rst" => Cut::Rst,
                    "fin" => Cut::Fin,
                    _ => return Err("takes rst or fin"),
                }
            }
            "status" => match number(value)? {
                status @ 200..=999 => self.status = Some(status),
                _ => return Err("takes 200 to 999"),
            },
            "retry_after" => self.retry_after = Some(value.into()),
            "error_code" => self.error_code = Some(value.into()),
            "error_body" => {
                self.error_raw = match value {
                    "raw" => true,
                    "json" => false,
                    _ => return Err("takes raw or json"),
                }
            }
            "error_at" => self.error_at = Some(number(value)?),
            "bad" => {
                let found = BAD.iter().find(|(name, _)| *name == value);
                self.bad = Some(found.ok_or("no such malformation")?.1);
            }
            "raw" => self.raw = Some(hex(value).ok_or("takes pairs of hex digits")?),
            "early" => self.early = flag(value)?,
            "times" => self.times = Some(number(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Wire {
    fn set(&mut self, key: &str, value: &str) -> Known {
        match key {
            "interim" => match number(value)? {
                status @ 100..=199 => self.interim = Some(status),
                _ => return Err("takes 100 to 199"),
            },
            "interim_n" => self.interim_count = Some(number(value)?),
            "te" => {
                self.framing = Some(match value {
                    "chunked" => Framing::Chunked,
                    "length" => Framing::Length,
                    "close" => Framing::Close,
                    _ => return Err("takes chunked, length or close"),
                });
            }
            "split" => self.split = Some(size(value)?.max(1)),
            "split_wire" => self.split_wire = Some(size(value)?.max(1)),
            "close" => self.close = flag(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn number<T: FromStr>(value: &str) -> Result<T, &'static str> {
    value.parse().map_err(|_| "takes a whole number")
}

fn size(value: &str) -> Result<usize, &'static str> {
    match number(value)? {
        size if size <= SIZE_MAX => Ok(size),
        _ => Err("is larger than 256 MiB"),
    }
}

/// Milliseconds, with decimals if need be.
fn millis(value: &str) -> Result<Duration, &'static str> {
    let parsed: f64 = value.parse().map_err(|_| "takes milliseconds")?;
    Duration::try_from_secs_f64(parsed / 1000.0).map_err(|_| "takes milliseconds")
}

fn flag(value: &str) -> Result<bool, &'static str> {
    match value {
        "yes" | "1" | "true" | "" => Ok(true),
        "no" | "0" | "false" => Ok(false),
        _ => Err("takes yes or no"),
    }
}

fn at(value: &str) -> Result<At, &'static str> {
    match value {
        "head" => Ok(At::Head),
        _ => Ok(At::Event(number(value)?)),
    }
}

fn hex(value: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = value
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty()
        .then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
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
    fn pairs_set_their_fields_and_the_rest_keeps_its_default() {
        let script = parsed("events=20, gap_ms=0.5,cut_at=3,cut=fin,split=7,usage=always,raw=0aFF");
        assert_eq!(script.shape.events, 20);
        assert_eq!(script.pace.gap, Duration::from_micros(500));
        assert_eq!(script.fault.cut_at, Some(At::Event(3)));
        assert_eq!(script.fault.cut, Cut::Fin);
        assert_eq!(script.wire.split, Some(7));
        assert_eq!(script.usage.send, UsageSend::Always);
        assert_eq!(script.fault.raw, Some(vec![0x0a, 0xff]));
        assert_eq!(script.shape.eol, Eol::Lf);
        assert_eq!(parsed(""), Script::default());
    }

    #[test]
    fn a_pair_that_is_not_understood_is_named() {
        let cases = [
            ("evnts=2", "mock script: `evnts`: no such key"),
            ("events=two", "mock script: `events`: takes a whole number"),
            ("eol=lfcr", "mock script: `eol`: takes lf, crlf or cr"),
            ("raw=abc", "mock script: `raw`: takes pairs of hex digits"),
            ("status=99", "mock script: `status`: takes 200 to 999"),
            ("gap_ms=-1", "mock script: `gap_ms`: takes milliseconds"),
            ("bad=luck", "mock script: `bad`: no such malformation"),
            (
                "size=999999999999",
                "mock script: `size`: is larger than 256 MiB",
            ),
        ];
        for (text, want) in cases {
            let error = text.parse::<Script>().unwrap_err();
            assert_eq!(error.to_string(), want);
        }
    }

    #[test]
    fn every_key_of_the_list_is_known() {
        for key in KEYS {
            let known = [
                "1", "200", "100", "yes", "lf", "rst", "raw", "chunked", "00", "chunk",
            ]
            .iter()
            .any(|value| Script::default().set(key, value) == Ok(true));
            assert!(known, "{key}");
        }
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
