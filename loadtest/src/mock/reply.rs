//! Bodies of answers that are not streamed. [pure]

use serde_json::{Value, json};

use crate::mock::ask::Ask;
use crate::mock::plan::{Plan, json_inside};
use crate::mock::script::{Bad, Part, Script, UsageSend};
use crate::mock::wire::number;
use crate::mock::{messages, responses};

/// Prompt tokens reported unless the script says otherwise.
pub(super) const PROMPT_TOKENS: u64 = 10;
/// Prompt bytes that an answer echoes.
const ECHO_BYTES_MAX: usize = 1024;

/// The endpoints whose answers are scripted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Chat,
    Completions,
    Embeddings,
    Messages,
    CountTokens,
    Responses,
}

impl Endpoint {
    pub(super) fn of(path: &str) -> Option<Self> {
        let ends = [
            ("/messages", Self::Messages),
            ("/messages/count_tokens", Self::CountTokens),
            ("/responses", Self::Responses),
        ];
        if let Some((_, endpoint)) = ends.iter().find(|(end, _)| path.ends_with(end)) {
            return Some(*endpoint);
        }
        if path.ends_with("/chat/completions") {
            Some(Self::Chat)
        } else if path.ends_with("/completions") {
            Some(Self::Completions)
        } else {
            path.ends_with("/embeddings").then_some(Self::Embeddings)
        }
    }

    /// Whether answers are streamed where the request asks for it.
    pub(super) fn streams(self) -> bool {
        !matches!(self, Self::Embeddings | Self::CountTokens)
    }

    /// Begin of the `id` of an answer in OpenAI's older shapes.
    fn id(self) -> &'static str {
        match self {
            Self::Completions => "cmpl-mock-",
            Self::Embeddings => "embd-mock-",
            _ => "chatcmpl-mock-",
        }
    }
}

/// What an answer is about.
pub(super) struct Answer<'a> {
    pub(super) endpoint: Endpoint,
    pub(super) ask: &'a Ask<'a>,
    pub(super) script: &'a Script,
    pub(super) plan: Plan<'a>,
    /// Number of the request.
    pub(super) number: u64,
    pub(super) connection: u64,
    pub(super) now_unix_us: u64,
}

impl Answer<'_> {
    /// Appends the JSON body of a unary answer.
    pub(super) fn body(&self, out: &mut Vec<u8>) {
        match self.script.fault.bad {
            Some(Bad::Json) => return out.extend_from_slice(b"{\"id\":\"chatcmpl-mock\",\"choi"),
            Some(Bad::Html) => return out.extend_from_slice(b"<html><body>mock</body></html>"),
            _ => {}
        }
        match self.endpoint {
            Endpoint::Embeddings => self.embeddings(out),
            Endpoint::Chat | Endpoint::Completions => self.completion(out),
            Endpoint::Messages => self.value(&messages::body(self), out),
            Endpoint::CountTokens => self.value(&messages::count(self), out),
            Endpoint::Responses => self.value(&responses::body(self), out),
        }
    }

    #[allow(clippy::unused_self, reason = "reads as the other bodies do")]
    fn value(&self, value: &Value, out: &mut Vec<u8>) {
        // Writing to a vector does not fail.
        let _ = serde_json::to_writer(out, value);
    }

    /// The text of part `index` of a unary answer.
    pub(super) fn part_text(&self, index: usize) -> String {
        if self.plan.is_json(index) {
            return self.plan.args().to_owned();
        }
        let mut text = vec![b'"'];
        self.text(&mut text);
        text.push(b'"');
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Which request on which connection this answers.
    pub(super) fn mock(&self) -> Value {
        json!({"request": self.number, "connection": self.connection})
    }

    pub(super) fn completion_tokens(&self) -> u64 {
        let plan = &self.script.usage;
        plan.completion
            .unwrap_or(u64::from(self.script.shape.events))
    }

    fn completion(&self, out: &mut Vec<u8>) {
        let chat = self.endpoint == Endpoint::Chat;
        self.preamble(
            if chat {
                "chat.completion"
            } else {
                "text_completion"
            },
            out,
        );
        out.extend_from_slice(b"\"choices\":[");
        for index in 0..self.choices() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(b"{\"index\":");
            number(u64::from(index), out);
            match chat {
                true => self.message(out),
                false => {
                    out.extend_from_slice(br#","text":""#);
                    self.text(out);
                    out.push(b'"');
                }
            }
            out.extend_from_slice(br#","logprobs":null,"finish_reason":"#);
            self.finish_reason(out);
            out.push(b'}');
        }
        out.push(b']');
        if self.script.usage.send != UsageSend::Never {
            out.push(b',');
            self.usage(out);
        }
        out.extend_from_slice(br#","system_fingerprint":"fp_mock","mock":{"request":"#);
        number(self.number, out);
        out.extend_from_slice(b",\"connection\":");
        number(self.connection, out);
        out.extend_from_slice(b"}}");
    }

    /// `,"message":{…}` with the parts that chat completions have a place for.
    fn message(&self, out: &mut Vec<u8>) {
        let parts = || self.plan.parts.iter().enumerate();
        let find = |wanted| parts().find(|(_, part)| **part == wanted);
        out.extend_from_slice(br#","message":{"role":"assistant","content":"#);
        match find(Part::Text) {
            Some((index, _)) if self.plan.is_json(index) => json_text(self.plan.args(), out),
            Some(_) => {
                out.push(b'"');
                self.text(out);
                out.push(b'"');
            }
            None => out.extend_from_slice(b"null"),
        }
        if let Some((index, _)) = find(Part::Thinking) {
            out.extend_from_slice(br#","reasoning_content":"#);
            json_text(&self.part_text(index), out);
        }
        let calls = parts().filter(|(_, part)| **part == Part::Tool);
        for (nth, _) in calls.enumerate() {
            let begin = match nth {
                0 => br#","tool_calls":["#.as_slice(),
                _ => b",",
            };
            out.extend_from_slice(begin);
            out.extend_from_slice(br#"{"id":"call_mock_"#);
            number(nth as u64 + 1, out);
            out.extend_from_slice(br#"","type":"function","function":{"name":"#);
            json_text(self.plan.tool_name(), out);
            out.extend_from_slice(br#","arguments":""#);
            json_inside(self.plan.args(), out);
            out.extend_from_slice(br#""}}"#);
        }
        if self.plan.calls_tools() {
            out.push(b']');
        }
        out.extend_from_slice(br#","refusal":null}"#);
    }

    /// `{"id":…,"object":…,"created":…,"model":…,` with the id and model left out by `bad=no_id`.
    pub(super) fn preamble(&self, object: &str, out: &mut Vec<u8>) {
        out.push(b'{');
        let named = self.script.fault.bad != Some(Bad::NoId);
        if named {
            out.extend_from_slice(b"\"id\":\"");
            out.extend_from_slice(self.endpoint.id().as_bytes());
            number(self.number, out);
            out.extend_from_slice(b"\",");
        }
        out.extend_from_slice(b"\"object\":\"");
        out.extend_from_slice(object.as_bytes());
        out.extend_from_slice(b"\",\"created\":");
        number(self.now_unix_us / 1_000_000, out);
        out.push(b',');
        if named {
            out.extend_from_slice(b"\"model\":");
            json_text(self.model(), out);
            out.push(b',');
        }
    }

    pub(super) fn model(&self) -> &str {
        let echo = self.script.shape.model_echo.as_deref();
        echo.unwrap_or(&self.ask.model)
    }

    pub(super) fn choices(&self) -> u32 {
        self.script.shape.choices.unwrap_or(self.ask.choices())
    }

    /// The finish reason as JSON: a text or null.
    pub(super) fn finish_reason(&self, out: &mut Vec<u8>) {
        match self.script.shape.finish.as_deref() {
            Some("") => out.extend_from_slice(b"null"),
            Some(reason) => json_text(reason, out),
            None if self.plan.calls_tools() => out.extend_from_slice(b"\"tool_calls\""),
            None => out.extend_from_slice(b"\"stop\""),
        }
    }

    /// `e0 <unix micros>`, then padding or an echo of the prompt.
    fn text(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(b"e0 ");
        number(self.now_unix_us, out);
        match self.script.shape.reply_bytes {
            Some(size) => pad(start, size, out),
            None => {
                out.push(b' ');
                echo(self.ask.prompt(), out);
            }
        }
    }

    /// `"usage":{…}`
    pub(super) fn usage(&self, out: &mut Vec<u8>) {
        let plan = &self.script.usage;
        let prompt = plan.prompt.unwrap_or(PROMPT_TOKENS);
        let completion = match self.endpoint {
            Endpoint::Embeddings => 0,
            _ => self.completion_tokens(),
        };
        out.extend_from_slice(b"\"usage\":{\"prompt_tokens\":");
        number(prompt, out);
        if self.endpoint != Endpoint::Embeddings {
            out.extend_from_slice(b",\"completion_tokens\":");
            number(completion, out);
        }
        out.extend_from_slice(b",\"total_tokens\":");
        number(prompt.saturating_add(completion), out);
        if let Some(cached) = plan.cached {
            out.extend_from_slice(b",\"prompt_tokens_details\":{\"cached_tokens\":");
            number(cached, out);
            out.push(b'}');
        }
        if let Some(reasoning) = plan.reasoning {
            out.extend_from_slice(b",\"completion_tokens_details\":{\"reasoning_tokens\":");
            number(reasoning, out);
            out.push(b'}');
        }
        out.push(b'}');
    }

    fn embeddings(&self, out: &mut Vec<u8>) {
        let dims = self.script.shape.dims.or(self.ask.dimensions).unwrap_or(8);
        out.extend_from_slice(b"{\"object\":\"list\",\"model\":");
        json_text(self.model(), out);
        out.extend_from_slice(b",\"data\":[");
        for index in 0..self.ask.inputs() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(b"{\"object\":\"embedding\",\"index\":");
            number(index as u64, out);
            out.extend_from_slice(b",\"embedding\":");
            match self.ask.wants_base64() {
                true => base64_vector(dims, out),
                false => float_vector(dims, out),
            }
            out.push(b'}');
        }
        out.push(b']');
        if self.script.usage.send != UsageSend::Never {
            out.push(b',');
            self.usage(out);
        }
        out.push(b'}');
    }
}

/// Appends spaces and `x` until the text begun at `start` has `size` bytes.
pub(super) fn pad(start: usize, size: usize, out: &mut Vec<u8>) {
    let target = start + size;
    if out.len() < target {
        out.push(b' ');
        out.resize(target, b'x');
    }
}

pub(super) fn json_text(text: &str, out: &mut Vec<u8>) {
    // Writing to a vector does not fail, nor does a text fail to be JSON.
    let _ = serde_json::to_writer(out, text);
}

/// Appends the inside of a JSON text that shows `prompt`, itself JSON.
fn echo(prompt: &str, out: &mut Vec<u8>) {
    let text = serde_json::from_str::<String>(prompt).unwrap_or_else(|_| prompt.to_owned());
    let end = text.floor_char_boundary(ECHO_BYTES_MAX.min(text.len()));
    let quoted = serde_json::to_vec(text.get(..end).unwrap_or("")).unwrap_or_default();
    out.extend_from_slice(quoted.get(1..quoted.len() - 1).unwrap_or_default());
}

fn float_vector(dims: usize, out: &mut Vec<u8>) {
    out.push(b'[');
    for index in 0..dims {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"0.125");
    }
    out.push(b']');
}

/// The same vector as little-endian 32-bit floats in base64.
fn base64_vector(dims: usize, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes = 0.125_f32.to_le_bytes().repeat(dims);
    out.push(b'"');
    for group in bytes.chunks(3) {
        let byte = |index| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 0x3f) as usize];
            out.push(if place <= group.len() { digit } else { b'=' });
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(endpoint: Endpoint, script: &str, ask: &str) -> serde_json::Value {
        let (script, ask): (Script, _) =
            (script.parse().unwrap(), Ask::parse(ask.as_bytes()).unwrap());
        let answer = Answer {
            endpoint,
            ask: &ask,
            script: &script,
            plan: Plan::of(&script, &ask),
            number: 7,
            connection: 3,
            now_unix_us: 1_700_000_000_123_456,
        };
        let mut out = Vec::new();
        answer.body(&mut out);
        serde_json::from_slice(&out).unwrap()
    }

    const ASK: &str = r#"{"model":"m/\"1\"","messages":[{"content":"say \"hi\"\n"}]}"#;

    #[test]
    fn a_chat_answer_echoes_model_and_prompt() {
        let body = body(Endpoint::Chat, "usage_cached=4", ASK);
        assert_eq!(body["id"], "chatcmpl-mock-7");
        assert_eq!(body["model"], "m/\"1\"");
        let content = &body["choices"][0]["message"]["content"];
        assert_eq!(content, "e0 1700000000123456 say \"hi\"\n");
        assert_eq!(body["usage"]["total_tokens"], 15);
        assert_eq!(body["usage"]["prompt_tokens_details"]["cached_tokens"], 4);
        assert_eq!(body["mock"]["connection"], 3);
    }

    #[test]
    fn the_script_shapes_an_answer() {
        let sized = body(
            Endpoint::Chat,
            "reply_bytes=300,usage=no,n=2,model_echo=x",
            ASK,
        );
        assert_eq!(
            sized["choices"][1]["message"]["content"]
                .as_str()
                .unwrap()
                .len(),
            300
        );
        assert_eq!(sized["model"], "x");
        assert!(sized.get("usage").is_none());
        let tools = body(Endpoint::Chat, "tools=yes", ASK);
        assert_eq!(tools["choices"][0]["finish_reason"], "tool_calls");
        let text = body(
            Endpoint::Completions,
            "finish=length",
            r#"{"model":"m","prompt":"p"}"#,
        );
        assert_eq!(text["choices"][0]["text"], "e0 1700000000123456 p");
        assert_eq!(text["choices"][0]["finish_reason"], "length");
        assert!(body(Endpoint::Chat, "bad=no_id", ASK).get("id").is_none());
    }

    #[test]
    fn embeddings_come_as_floats_or_as_base64() {
        let ask = r#"{"model":"m","input":["a","b"],"dimensions":3}"#;
        let floats = body(Endpoint::Embeddings, "", ask);
        assert_eq!(
            floats["data"][1]["embedding"],
            serde_json::json!([0.125, 0.125, 0.125])
        );
        let ask = r#"{"model":"m","input":"a","encoding_format":"base64"}"#;
        let packed = body(Endpoint::Embeddings, "dims=2", ask);
        assert_eq!(packed["data"][0]["embedding"], "AAAAPgAAAD4=");
        assert_eq!(packed["usage"]["total_tokens"], 10);
    }
}
