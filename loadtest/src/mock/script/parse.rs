//! The text form of a script. [pure]

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::mock::script::{
    At, BAD, Cut, Eol, Fault, Framing, Pace, Part, Script, Shape, UsagePlan, UsageSend, Wire,
};

/// Longest reply, event or vector a script may ask for, in bytes or numbers: a typing error must
/// not take the machine's memory.
const SIZE_MAX: usize = 256 * 1024 * 1024;

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
            "parts" => self.parts = value.split('+').map(part).collect::<Result<_, _>>()?,
            "json" => self.json = flag(value)?,
            "args" => {
                let text = hex(value).and_then(|bytes| String::from_utf8(bytes).ok());
                self.args = Some(text.ok_or("takes UTF-8 as pairs of hex digits")?.into());
            }
            "tool_name" => self.tool_name = Some(value.into()),
            "once" => self.once = flag(value)?,
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
            "usage_cache_write" => self.cache_write = Some(number(value)?),
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
            "split_at" => self.split_at = Some(size(value)?),
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

fn part(value: &str) -> Result<Part, &'static str> {
    match value {
        "text" => Ok(Part::Text),
        "thinking" => Ok(Part::Thinking),
        "redacted" => Ok(Part::Redacted),
        "tool" => Ok(Part::Tool),
        _ => Err("takes text, thinking, redacted and tool, joined with +"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::script::KEYS;

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
            (
                "parts=text+image",
                "mock script: `parts`: takes text, thinking, redacted and tool, joined with +",
            ),
            (
                "args=ff",
                "mock script: `args`: takes UTF-8 as pairs of hex digits",
            ),
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
                "1", "200", "100", "yes", "lf", "rst", "raw", "chunked", "00", "chunk", "text",
            ]
            .iter()
            .any(|value| Script::default().set(key, value) == Ok(true));
            assert!(known, "{key}");
        }
    }
}
