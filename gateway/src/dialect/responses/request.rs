//! A body of Responses as a conversation. [pure]

use std::borrow::Cow;

use super::content::unsupported;
use super::echo;
use super::input;
use super::node::{Node, Problem, optional, required};
use super::tools::Tools;
use crate::canonical::{Conversation, Effort, Format, Role};
use crate::endpoint::Call;
use crate::json::Kind;
use crate::rejection::Rejection;

/// Members that are read here, in the order of [`Fields`].
const READ: [&str; 13] = [
    "input",
    "instructions",
    "max_output_tokens",
    "max_tokens",
    "temperature",
    "top_p",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "text",
    "reasoning",
    "user",
    "background",
];

/// Members that stand for something only OpenAI has stored.
const STORED: [&str; 3] = ["previous_response_id", "conversation", "prompt"];

/// Members about how the service keeps, shows or bills a response, which change nothing in an answer
/// that is rendered here; read elsewhere, or without a counterpart.
const LEFT_OUT: [&str; 9] = [
    "model",
    "stream",
    "stream_options",
    "store",
    "include",
    "metadata",
    "truncation",
    "max_tool_calls",
    "top_logprobs",
];

type Fields<'b> = [Option<Node<'b>>; READ.len()];

/// What is made of a body.
#[derive(Debug)]
pub(super) struct Request<'b> {
    pub(super) conversation: Conversation<'b>,
    /// Names of custom tools.
    pub(super) custom: Vec<Box<str>>,
    /// What the answer repeats of it ([`echo::write`]).
    pub(super) echo: Box<[u8]>,
}

/// Reads the body of `call`.
pub(super) fn read<'b>(call: &Call, body: &'b [u8]) -> Result<Request<'b>, Rejection> {
    let document = Node::document(body).map_err(|problem| problem.rejection("input"))?;
    let mut conversation = Conversation {
        stream: call.stream,
        ..Conversation::default()
    };
    let fields = fields(document, &mut conversation)?;
    let custom = fill(&fields, &mut conversation)?;
    let echo = echo::write(document).map_err(|problem| problem.rejection("input"))?;
    Ok(Request {
        conversation,
        custom,
        echo,
    })
}

/// Finds the members of the body; those that are unknown go into `extra`.
fn fields<'b>(
    document: Node<'b>,
    conversation: &mut Conversation<'b>,
) -> Result<Fields<'b>, Rejection> {
    let mut fields = [None; READ.len()];
    let mut stored = None;
    let walked = document.each_member(|name, key, value| {
        let is = |known: &&str| known.as_bytes() == name;
        if value.kind == Kind::Null || LEFT_OUT.iter().any(is) {
            return Ok(());
        }
        if let Some(at) = READ.iter().position(is) {
            fields[at] = Some(value);
        } else if let Some(name) = STORED.iter().find(|known| is(known)) {
            stored = Some(*name);
        } else {
            conversation.extra.push((key.text()?, value.raw()?));
        }
        Ok(())
    });
    walked.map_err(|problem| problem.rejection("input"))?;
    match stored {
        None => Ok(fields),
        Some(name) => Err(Rejection::field(
            name,
            "is not supported with this model: send the whole conversation in input",
        )),
    }
}

/// Reads the members into `conversation`; returns the names of custom tools.
fn fill<'b>(
    fields: &Fields<'b>,
    conversation: &mut Conversation<'b>,
) -> Result<Vec<Box<str>>, Rejection> {
    let [input, instructions, fields @ ..] = *fields;
    let [
        max_output_tokens,
        max_tokens,
        temperature,
        top_p,
        fields @ ..,
    ] = fields;
    let [
        tools,
        tool_choice,
        parallel,
        text,
        reasoning,
        user,
        background,
    ] = fields;
    if top("background", background, Node::flag)? == Some(true) {
        return Err(Rejection::field(
            "background",
            "is not supported with this model",
        ));
    }
    let turns = &mut conversation.turns;
    if let Some(parts) = top("instructions", instructions, super::content::read)? {
        input::push(Role::System, parts, turns);
    }
    top("input", input, |node| input::read(node, turns))?
        .ok_or_else(|| Rejection::field("input", "missing field"))?;
    let limit = top("max_output_tokens", max_output_tokens, tokens)?;
    let limit = limit.or(top("max_tokens", max_tokens, tokens)?);
    conversation.max_tokens = limit;
    conversation.temperature = top("temperature", temperature, Node::number)?;
    conversation.top_p = top("top_p", top_p, Node::number)?;
    conversation.parallel_tool_calls = top("parallel_tool_calls", parallel, Node::flag)?;
    conversation.user = top("user", user, Node::text)?;
    conversation.effort = top("reasoning", reasoning, effort)?.flatten();
    let mut tools = top("tools", tools, Tools::read)?.unwrap_or_default();
    conversation.tool_choice = top("tool_choice", tool_choice, |node| tools.choose(node))?;
    conversation.tools = tools.functions;
    if let Some(text) = text {
        wording(text, conversation).map_err(|problem| problem.rejection("text"))?;
    }
    Ok(tools.custom)
}

/// A top-level member, if it is there.
fn top<'b, T>(
    name: &'static str,
    node: Option<Node<'b>>,
    read: impl FnOnce(Node<'b>) -> Result<T, Problem>,
) -> Result<Option<T>, Rejection> {
    node.map(read)
        .transpose()
        .map_err(|problem| problem.rejection(name))
}

fn tokens(node: Node<'_>) -> Result<u64, Problem> {
    let number = std::str::from_utf8(node.bytes).ok();
    let number = number.and_then(|number| number.parse().ok());
    number.ok_or_else(|| Problem::new("must be a whole number that is not negative"))
}

fn effort(node: Node<'_>) -> Result<Option<Effort>, Problem> {
    let [effort] = node.members(["effort"])?;
    optional("effort", effort, |node| match &*node.text()? {
        "none" => Ok(Effort::None),
        "minimal" => Ok(Effort::Minimal),
        "low" => Ok(Effort::Low),
        "medium" => Ok(Effort::Medium),
        "high" => Ok(Effort::High),
        "xhigh" => Ok(Effort::XHigh),
        _ => {
            let problem = "must be none, minimal, low, medium, high or xhigh";
            Err(Problem::new(problem))
        }
    })
}

/// `text`: the format of the answer and how wordy it is to be.
fn wording<'b>(node: Node<'b>, conversation: &mut Conversation<'b>) -> Result<(), Problem> {
    let [format, verbosity] = node.members(["format", "verbosity"])?;
    conversation.format = optional("format", format, self::format)?.flatten();
    if let Some(verbosity) = optional("verbosity", verbosity, Node::raw)? {
        let name = Cow::Borrowed("verbosity");
        conversation.extra.push((name, verbosity));
    }
    Ok(())
}

fn format<'b>(node: Node<'b>) -> Result<Option<Format<'b>>, Problem> {
    let names = ["type", "name", "description", "schema", "strict"];
    let [kind, name, description, schema, strict] = node.members(names)?;
    match &*required("type", kind, Node::text)? {
        "text" => Ok(None),
        "json_object" => Ok(Some(Format::JsonObject)),
        "json_schema" => Ok(Some(Format::JsonSchema {
            name: optional("name", name, Node::text)?,
            description: optional("description", description, Node::text)?,
            schema: required("schema", schema, Node::object)?,
            strict: optional("strict", strict, Node::flag)?,
        })),
        other => Err(unsupported(other).under("type")),
    }
}
