//! A request body, checked, with the places that are edited on the way upstream. [pure]

use std::borrow::Cow;

use super::{Endpoint, chat, completions, embeddings, messages, responses};
use crate::json::{Cursor, JsonError, Key, Kind, Span, Value, text};
use crate::rejection::Rejection;
use crate::short_text::ShortText;

/// What the gateway knows of a request body. The body itself stays as it came.
#[derive(Clone, Debug)]
pub struct Call {
    pub endpoint: Endpoint,
    /// The requested name.
    pub model: ShortText,
    pub stream: bool,
    /// Whether the caller asked for usage in its stream.
    pub wants_usage: bool,
    /// UTF-8 bytes of prompt text, for the estimate.
    pub prompt_bytes: u64,
    /// The caller's bound on the answer's tokens; 0 where it names none.
    pub max_tokens: u64,
    /// The `model` value, quotes included.
    pub model_span: Span,
    /// What a stream needs so that the upstream reports usage.
    pub usage_ask: UsageAsk,
}

/// Where `stream_options.include_usage` stands in a body, or could.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UsageAsk {
    /// No `stream_options`; members go in here, behind the last one.
    Absent { insert_at: usize },
    /// `stream_options` is `null`, in this span.
    Null(Span),
    /// An object without `include_usage`; members go in here, behind its opening brace.
    Lacking { insert_at: usize, empty: bool },
    /// An object whose `include_usage`, in this span, is not `true`.
    Declined(Span),
    /// It is `true`.
    Asked,
}

/// Reads and checks a request body.
///
/// One strict pass. Keys read here may come once only: of two `model` members the upstream might
/// take the other one.
///
/// # Errors
///
/// [`Rejection::InvalidRequest`], naming the field at fault.
pub fn parse(endpoint: Endpoint, body: &[u8]) -> Result<Call, Rejection> {
    read(endpoint, body).map_err(|Fault(rejection)| rejection)
}

fn read(endpoint: Endpoint, body: &[u8]) -> Result<Call, Fault> {
    if !body.is_ascii() && std::str::from_utf8(body).is_err() {
        return Err(malformed("not UTF-8"));
    }
    let mut cursor = Cursor::strict(body);
    if cursor.kind() != Kind::Object {
        return Err(malformed("the body must be a JSON object"));
    }
    let mut fields = Fields::default();
    let span = cursor.object(|cursor, key| fields.member(endpoint, cursor, &key))?;
    cursor.end()?;
    fields.finish(endpoint, span)
}

/// Why a body is refused. Apart from [`Rejection`], so that only the caller's malformed JSON, never
/// an upstream's, turns into a 400 by `?`.
pub(super) struct Fault(pub(super) Rejection);

impl Fault {
    pub(super) fn field(field: &'static str, fault: &str) -> Self {
        Self(Rejection::field(field, fault))
    }
}

impl From<JsonError> for Fault {
    fn from(error: JsonError) -> Self {
        Self(Rejection::InvalidRequest {
            problem: Cow::Owned(format!("not valid JSON: {error}")),
            param: None,
        })
    }
}

fn malformed(problem: &'static str) -> Fault {
    Fault(Rejection::InvalidRequest {
        problem: problem.into(),
        param: None,
    })
}

/// What was read so far.
#[derive(Default)]
struct Fields {
    model: Option<(ShortText, Span)>,
    stream: Option<bool>,
    usage_ask: Option<UsageAsk>,
    /// The endpoint's own field: `messages`, `prompt` or `input`, by its text bytes.
    prompt: Option<u64>,
    /// `system` or `instructions`, by its text bytes.
    instructions: Option<u64>,
    /// The bytes of `tools`, of Messages.
    tools: Option<u64>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
}

impl Fields {
    fn member(
        &mut self,
        endpoint: Endpoint,
        cursor: &mut Cursor<'_>,
        key: &Key<'_>,
    ) -> Result<(), Fault> {
        match (key.name, endpoint) {
            (b"model", _) => once(&mut self.model, "model", model(cursor)?),
            (
                b"stream",
                Endpoint::ChatCompletions
                | Endpoint::Completions
                | Endpoint::Messages
                | Endpoint::Responses,
            ) => once(&mut self.stream, "stream", stream(cursor)?),
            (b"stream_options", Endpoint::ChatCompletions | Endpoint::Completions) => {
                once(&mut self.usage_ask, "stream_options", usage_ask(cursor)?)
            }
            (b"messages", Endpoint::ChatCompletions) => {
                once(&mut self.prompt, "messages", chat::messages(cursor)?)
            }
            (b"prompt", Endpoint::Completions) => {
                once(&mut self.prompt, "prompt", completions::prompt(cursor)?)
            }
            (b"input", Endpoint::Embeddings) => {
                once(&mut self.prompt, "input", embeddings::input(cursor)?)
            }
            (b"messages", Endpoint::Messages | Endpoint::CountTokens) => {
                once(&mut self.prompt, "messages", messages::messages(cursor)?)
            }
            (b"system", Endpoint::Messages | Endpoint::CountTokens) => {
                once(&mut self.instructions, "system", messages::system(cursor)?)
            }
            (b"tools", Endpoint::Messages | Endpoint::CountTokens) => {
                once(&mut self.tools, "tools", messages::tools(cursor)?)
            }
            (b"input", Endpoint::Responses) => {
                once(&mut self.prompt, "input", responses::input(cursor)?)
            }
            (b"instructions", Endpoint::Responses) => once(
                &mut self.instructions,
                "instructions",
                responses::instructions(cursor)?,
            ),
            (
                b"max_tokens",
                Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Messages,
            ) => once(
                &mut self.max_tokens,
                "max_tokens",
                max_tokens(cursor, "max_tokens")?,
            ),
            (b"max_completion_tokens", Endpoint::ChatCompletions) => once(
                &mut self.max_completion_tokens,
                "max_completion_tokens",
                max_tokens(cursor, "max_completion_tokens")?,
            ),
            (b"max_output_tokens", Endpoint::Responses) => once(
                &mut self.max_tokens,
                "max_output_tokens",
                bound(cursor)?.unwrap_or(0),
            ),
            _ => Ok(cursor.skip()?),
        }
    }

    fn finish(self, endpoint: Endpoint, body: Span) -> Result<Call, Fault> {
        let missing = |field| Fault::field(field, "missing field");
        let (model, model_span) = self.model.ok_or_else(|| missing("model"))?;
        match (self.prompt, endpoint) {
            (None, Endpoint::ChatCompletions | Endpoint::Messages | Endpoint::CountTokens) => {
                return Err(missing("messages"));
            }
            (None, Endpoint::Embeddings) => return Err(missing("input")),
            _ => {}
        }
        let prompt_bytes = [self.prompt, self.instructions, self.tools]
            .into_iter()
            .flatten()
            .fold(0, u64::saturating_add);
        let usage_ask = self.usage_ask.unwrap_or(UsageAsk::Absent {
            insert_at: body.end - 1,
        });
        let stream = self.stream.unwrap_or(false);
        Ok(Call {
            endpoint,
            model,
            stream,
            wants_usage: stream && usage_ask == UsageAsk::Asked,
            prompt_bytes,
            max_tokens: self.max_completion_tokens.or(self.max_tokens).unwrap_or(0),
            model_span,
            usage_ask,
        })
    }
}

/// Notes a field, which may come once.
fn once<T>(slot: &mut Option<T>, field: &'static str, value: T) -> Result<(), Fault> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Fault::field(field, "duplicate field")),
    }
}

fn model(cursor: &mut Cursor<'_>) -> Result<(ShortText, Span), Fault> {
    let value = cursor.value()?;
    let name = match value.kind {
        Kind::String => text::of(cursor.document(), &value)
            .ok_or_else(|| Fault::field("model", "holds half of a surrogate pair"))?,
        _ => return Err(Fault::field("model", "must be a string")),
    };
    if name.is_empty() {
        return Err(Fault::field("model", "must not be empty"));
    }
    Ok((ShortText::from(&*name), value.span))
}

/// `null` counts as absent, as upstreams have it.
fn stream(cursor: &mut Cursor<'_>) -> Result<bool, Fault> {
    match cursor.value()?.kind {
        Kind::Bool(stream) => Ok(stream),
        Kind::Null => Ok(false),
        _ => Err(Fault::field("stream", "must be true or false")),
    }
}

fn usage_ask(cursor: &mut Cursor<'_>) -> Result<UsageAsk, Fault> {
    const FIELD: &str = "stream_options";
    match cursor.kind() {
        Kind::Null => return Ok(UsageAsk::Null(cursor.value()?.span)),
        Kind::Object => {}
        _ => return Err(Fault::field(FIELD, "must be an object")),
    }
    let mut include: Option<Value> = None;
    let mut empty = true;
    let span = cursor.object(|cursor, key| {
        empty = false;
        let value = cursor.value()?;
        if key.name == b"include_usage" {
            return once(&mut include, "stream_options.include_usage", value);
        }
        Ok(())
    })?;
    Ok(match include {
        None => UsageAsk::Lacking {
            insert_at: span.start + 1,
            empty,
        },
        Some(value) => match value.kind {
            Kind::Bool(true) => UsageAsk::Asked,
            Kind::Bool(false) | Kind::Null => UsageAsk::Declined(value.span),
            _ => {
                let field = "stream_options.include_usage";
                return Err(Fault::field(field, "must be true or false"));
            }
        },
    })
}

/// A bound on output: `null` or a number that is not negative.
fn max_tokens(cursor: &mut Cursor<'_>, field: &'static str) -> Result<u64, Fault> {
    match bound(cursor)? {
        Ok(bound) => Ok(bound),
        Err(fault) => Err(Fault::field(field, fault)),
    }
}

/// A bound as tokens, one beyond all models as `u32::MAX`; or what is wrong with it.
fn bound(cursor: &mut Cursor<'_>) -> Result<Result<u64, &'static str>, JsonError> {
    let value = cursor.value()?;
    let text = value.span.of(cursor.document());
    Ok(match value.kind {
        Kind::Null => Ok(0),
        Kind::Number if text.starts_with(b"-") => Err("must not be negative"),
        Kind::Number => {
            let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
            let whole = digits.fold(0_u64, |sum, digit| {
                sum.saturating_mul(10)
                    .saturating_add(u64::from(digit - b'0'))
            });
            Ok(whole.min(u32::MAX.into()))
        }
        _ => Err("must be a number"),
    })
}
