//! What a caller asks for, in no protocol's shape. [pure]
//!
//! Borrows from the caller's body. What needs no understanding stays JSON text ([`RawValue`]), so that
//! key order and the spelling of numbers survive.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// A conversation to be continued, and how.
#[derive(Debug, Default)]
pub struct Conversation<'b> {
    /// In the order given; system turns stand where the caller put them.
    pub turns: Vec<Turn<'b>>,
    pub stream: bool,
    /// Bound on the tokens written.
    pub max_tokens: Option<u64>,
    /// A JSON number.
    pub temperature: Option<&'b RawValue>,
    /// A JSON number.
    pub top_p: Option<&'b RawValue>,
    /// Texts that end the answer.
    pub stop: Vec<Cow<'b, str>>,
    pub tools: Vec<Tool<'b>>,
    pub tool_choice: Option<ToolChoice<'b>>,
    /// `Some(false)` forbids several calls in one answer.
    pub parallel_tool_calls: Option<bool>,
    /// How hard to think.
    pub effort: Option<Effort>,
    /// Shape of the answer's text.
    pub format: Option<Format<'b>>,
    /// The caller's own user, opaque.
    pub user: Option<Cow<'b, str>>,
    /// Top-level members of the body that have no place above, in order: name and JSON text. Which
    /// of them an upstream can take is the adapter's to decide.
    pub extra: Vec<(Cow<'b, str>, &'b RawValue)>,
}

/// One message.
#[derive(Debug)]
pub struct Turn<'b> {
    pub role: Role,
    /// Name of the participant, as OpenAI has it.
    pub name: Option<Cow<'b, str>>,
    pub parts: Vec<Part<'b>>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Instructions; OpenAI's `developer` too.
    System,
    User,
    Assistant,
    /// Results of tools: its parts are [`Part::ToolResult`]s.
    Tool,
}

/// A piece of a message.
#[derive(Debug)]
pub enum Part<'b> {
    Text {
        text: Cow<'b, str>,
        marks: Marks<'b>,
    },
    Image {
        source: Source<'b>,
        /// OpenAI's `detail`.
        detail: Option<Cow<'b, str>>,
        marks: Marks<'b>,
    },
    /// A document.
    File {
        source: Source<'b>,
        name: Option<Cow<'b, str>>,
        marks: Marks<'b>,
    },
    /// Sound, base64; `format` is OpenAI's, such as `wav`.
    Audio {
        data: Cow<'b, str>,
        format: Cow<'b, str>,
    },
    /// Reasoning of an earlier answer; the signature is the provider's, opaque.
    Thinking {
        text: Cow<'b, str>,
        signature: Option<Cow<'b, str>>,
    },
    /// Reasoning that only the provider can read.
    RedactedThinking { data: Cow<'b, str> },
    /// What an earlier answer refused with.
    Refusal { text: Cow<'b, str> },
    ToolCall {
        id: Cow<'b, str>,
        name: Cow<'b, str>,
        /// JSON text, usually of an object; whatever the model wrote.
        arguments: Cow<'b, str>,
        marks: Marks<'b>,
    },
    ToolResult {
        call_id: Cow<'b, str>,
        /// Texts, images and files.
        parts: Vec<Part<'b>>,
        is_error: bool,
        marks: Marks<'b>,
    },
    /// Something that only the caller's own protocol has: the value of its `type`. An adapter that
    /// meets it refuses the request by this name.
    Foreign { kind: Cow<'b, str> },
}

/// What Anthropic's callers write on a part or tool; JSON text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks<'b> {
    pub cache_control: Option<&'b RawValue>,
    pub citations: Option<&'b RawValue>,
}

/// Where the bytes of an image or file are.
#[derive(Debug)]
pub enum Source<'b> {
    Base64 {
        media_type: Cow<'b, str>,
        data: Cow<'b, str>,
    },
    Url(Cow<'b, str>),
    /// Uploaded before; the id belongs to the provider.
    FileId(Cow<'b, str>),
    /// Plain text.
    Text(Cow<'b, str>),
}

/// A function that the model may call.
#[derive(Debug)]
pub struct Tool<'b> {
    pub name: Cow<'b, str>,
    pub description: Option<Cow<'b, str>>,
    /// JSON Schema of its arguments.
    pub parameters: Option<&'b RawValue>,
    pub strict: Option<bool>,
    pub marks: Marks<'b>,
}

/// Which tool the model is to call.
#[derive(Debug, Eq, PartialEq)]
pub enum ToolChoice<'b> {
    Auto,
    None,
    /// Any, but one.
    Required,
    Named(Cow<'b, str>),
}

/// How hard to think.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    /// Beyond `high`, where a provider has it.
    XHigh,
}

/// Shape of the answer's text.
#[derive(Debug)]
pub enum Format<'b> {
    /// Any JSON object.
    JsonObject,
    JsonSchema {
        name: Option<Cow<'b, str>>,
        description: Option<Cow<'b, str>>,
        schema: &'b RawValue,
        strict: Option<bool>,
    },
}
