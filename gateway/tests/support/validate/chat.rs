//! A chat completions stream, held against what OpenAI's SDKs take for granted.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses its own part"
)]

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// What a stream said, put together.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    pub content: String,
    pub reasoning: String,
    pub refusal: String,
    /// Blocks of reasoning: text and signature, or `None` and the opaque data.
    pub thinking: Vec<(Option<String>, String)>,
    /// Id, name and arguments of each call.
    pub calls: Vec<(String, String, String)>,
    pub finish: Option<String>,
    pub usage: Option<Value>,
    /// The error that cut the stream.
    pub error: Option<Value>,
}

/// Reads a whole body.
///
/// # Errors
///
/// What a client could stumble over, and at which event.
pub fn read(body: &str) -> Result<Answer, String> {
    let mut stream = Stream::default();
    let whole = body.strip_suffix("\n\n");
    let whole = whole.ok_or("the last event has no blank line")?;
    for (index, event) in whole.split("\n\n").enumerate() {
        let told = stream.event(event);
        told.map_err(|problem| format!("event {index}: {problem}: {event}"))?;
    }
    match stream.end {
        Some(_) => Ok(stream.answer),
        None => Err("no [DONE] and no error".to_owned()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Done,
    Error,
}

#[derive(Debug, Default)]
struct Stream {
    /// `id`, `model` and `created` of the first chunk.
    same: Option<[Value; 3]>,
    role_seen: bool,
    /// Whether the block of reasoning that was begun last is complete.
    thought_closed: bool,
    end: Option<End>,
    answer: Answer,
}

type Told = Result<(), String>;

impl Stream {
    fn event(&mut self, event: &str) -> Told {
        if event.lines().all(|line| line.starts_with(':')) {
            return check(self.end.is_none(), "a comment after the end");
        }
        check(self.end.is_none(), "an event after the end")?;
        if let Some(error) = event.strip_prefix("event: error\ndata: ") {
            return self.error(error);
        }
        let data = event.strip_prefix("data: ");
        let data = data.ok_or("neither a data line nor an error")?;
        check(!data.contains(['\n', '\r']), "several lines")?;
        if data == "[DONE]" {
            self.end = Some(End::Done);
            check(self.role_seen, "no chunk with a role")?;
            return check(
                self.answer.finish.is_some(),
                "[DONE] without a finish reason",
            );
        }
        let chunk: Value = serde_json::from_str(data).map_err(|error| error.to_string())?;
        let chunk = chunk.as_object().ok_or("not an object")?;
        self.chunk(chunk)
    }

    fn error(&mut self, data: &str) -> Told {
        let envelope: Value = serde_json::from_str(data).map_err(|error| error.to_string())?;
        let error = envelope.get("error").ok_or("no error in an error event")?;
        for name in ["message", "type"] {
            check(error[name].is_string(), name)?;
        }
        self.answer.error = Some(error.clone());
        self.end = Some(End::Error);
        Ok(())
    }

    fn chunk(&mut self, chunk: &Map<String, Value>) -> Told {
        only(
            chunk,
            &["id", "object", "created", "model", "choices", "usage"],
        )?;
        check(
            chunk.get("object") == Some(&"chat.completion.chunk".into()),
            "object",
        )?;
        let same =
            ["id", "model", "created"].map(|name| chunk.get(name).cloned().unwrap_or_default());
        let [id, model, created] = &same;
        check(id.as_str().is_some_and(|id| !id.is_empty()), "id")?;
        check(model.is_string() && created.is_i64(), "model and created")?;
        let first = self.same.get_or_insert_with(|| same.clone());
        check(*first == same, "id, model and created must not change")?;
        let choices = chunk.get("choices").and_then(Value::as_array);
        match choices.map(Vec::as_slice) {
            Some([]) => self.usage(chunk),
            Some([choice]) => {
                check(!chunk.contains_key("usage"), "usage beside a choice")?;
                self.choice(choice.as_object().ok_or("a choice is no object")?)
            }
            _ => Err("choices".to_owned()),
        }
    }

    fn usage(&mut self, chunk: &Map<String, Value>) -> Told {
        let usage = chunk.get("usage").and_then(Value::as_object);
        let usage = usage.ok_or("neither a choice nor usage")?;
        check(self.answer.finish.is_some(), "usage before the finish")?;
        check(self.answer.usage.is_none(), "usage twice")?;
        for name in ["prompt_tokens", "completion_tokens", "total_tokens"] {
            check(usage.get(name).is_some_and(Value::is_u64), name)?;
        }
        self.answer.usage = Some(Value::Object(usage.clone()));
        Ok(())
    }

    fn choice(&mut self, choice: &Map<String, Value>) -> Told {
        only(choice, &["index", "delta", "finish_reason", "logprobs"])?;
        check(self.answer.finish.is_none(), "a choice after the finish")?;
        check(choice.get("index") == Some(&0.into()), "index")?;
        let delta = choice.get("delta").and_then(Value::as_object);
        self.delta(delta.ok_or("delta")?)?;
        match choice.get("finish_reason") {
            None | Some(Value::Null) => Ok(()),
            Some(Value::String(reason)) if !reason.is_empty() => {
                let called = reason != "tool_calls" || !self.answer.calls.is_empty();
                check(called, "tool_calls without any")?;
                for (_, _, arguments) in &self.answer.calls {
                    let parsed = serde_json::from_str::<Value>(arguments);
                    check(
                        parsed.is_ok() || reason == "length",
                        "arguments are not JSON",
                    )?;
                }
                self.answer.finish = Some(reason.clone());
                Ok(())
            }
            _ => Err("finish_reason".to_owned()),
        }
    }

    fn delta(&mut self, delta: &Map<String, Value>) -> Told {
        if !std::mem::replace(&mut self.role_seen, true) {
            check(
                delta.get("role") == Some(&"assistant".into()),
                "the role comes first",
            )?;
        } else {
            check(!delta.contains_key("role"), "the role comes once")?;
        }
        for (name, value) in delta {
            let text = value.as_str().ok_or("not a text");
            match name.as_str() {
                "role" => {}
                "content" => self.answer.content += text?,
                "reasoning_content" => self.answer.reasoning += text?,
                "refusal" => self.answer.refusal += text?,
                "tool_calls" => self.calls(value)?,
                "thinking_blocks" => self.thinking(value)?,
                other => return Err(format!("unknown member {other}")),
            }
        }
        Ok(())
    }

    /// Each call is begun once, in order, and continued by its index.
    fn calls(&mut self, calls: &Value) -> Told {
        let calls = calls.as_array().filter(|calls| !calls.is_empty());
        for call in calls.ok_or("tool_calls")? {
            let index = call["index"].as_u64().ok_or("index of a call")? as usize;
            let function = call["function"].as_object().ok_or("function")?;
            let arguments = function.get("arguments").and_then(Value::as_str);
            let arguments = arguments.ok_or("arguments")?;
            if let Some(begun) = self.answer.calls.get_mut(index) {
                let again = call.get("id").is_some() || function.contains_key("name");
                check(!again, "id and name come once")?;
                begun.2 += arguments;
                continue;
            }
            check(index == self.answer.calls.len(), "calls are counted from 0")?;
            check(call["type"] == "function", "type of a call")?;
            let text = |value: Option<&Value>| {
                let text = value
                    .and_then(Value::as_str)
                    .filter(|text| !text.is_empty());
                text.map(str::to_owned)
            };
            let id = text(call.get("id")).ok_or("id of a call")?;
            let name = text(function.get("name")).ok_or("name of a call")?;
            let known = self.answer.calls.iter().any(|(other, ..)| *other == id);
            check(!known, "two calls with one id")?;
            self.answer.calls.push((id, name, arguments.to_owned()));
        }
        Ok(())
    }

    fn thinking(&mut self, blocks: &Value) -> Told {
        for block in blocks.as_array().ok_or("thinking_blocks")? {
            let text = |name: &str| block[name].as_str().map(str::to_owned);
            match block["type"].as_str() {
                Some("thinking") => {
                    let thinking = text("thinking").ok_or("thinking")?;
                    let signature = text("signature").unwrap_or_default();
                    self.thought(&thinking, &signature);
                }
                Some("redacted_thinking") => {
                    let data = text("data").ok_or("data")?;
                    self.answer.thinking.push((None, data));
                    self.thought_closed = true;
                }
                _ => return Err("type of a block".to_owned()),
            }
            let last = self.answer.thinking.len() - 1;
            check(block["index"] == last, "index of a block")?;
        }
        Ok(())
    }

    /// A signature, which may come in pieces, closes its block.
    fn thought(&mut self, thinking: &str, signature: &str) {
        let blocks = &mut self.answer.thinking;
        let is_new = self.thought_closed && !thinking.is_empty();
        match blocks.last_mut() {
            Some((Some(text), signed)) if !is_new => {
                *text += thinking;
                *signed += signature;
            }
            _ => blocks.push((Some(thinking.to_owned()), signature.to_owned())),
        }
        self.thought_closed = !signature.is_empty();
    }
}

fn check(holds: bool, what: &str) -> Told {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

fn only(object: &Map<String, Value>, names: &[&str]) -> Told {
    let known: BTreeMap<&str, ()> = names.iter().map(|name| (*name, ())).collect();
    match object
        .keys()
        .find(|name| !known.contains_key(name.as_str()))
    {
        Some(name) => Err(format!("unknown member {name}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = r#"{"role":"assistant"}"#;

    fn chunk(delta: &str, finish: &str) -> String {
        format!(
            r#"data: {{"id":"c","object":"chat.completion.chunk","created":7,"model":"m","choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}"#
        )
    }

    fn more(delta: &str) -> String {
        chunk(delta, "null")
    }

    fn usage() -> String {
        let numbers = r#"{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}"#;
        format!(
            r#"data: {{"id":"c","object":"chat.completion.chunk","created":7,"model":"m","choices":[],"usage":{numbers}}}"#
        )
    }

    fn begin(index: u32, id: &str) -> String {
        more(&format!(
            r#"{{"tool_calls":[{{"index":{index},"id":"{id}","type":"function","function":{{"name":"f","arguments":""}}}}]}}"#
        ))
    }

    fn argue(index: u32, json: &str) -> String {
        more(&format!(
            r#"{{"tool_calls":[{{"index":{index},"function":{{"arguments":"{json}"}}}}]}}"#
        ))
    }

    fn read_all(events: &[String]) -> Result<Answer, String> {
        read(&(events.join("\n\n") + "\n\n"))
    }

    fn whole() -> Vec<String> {
        vec![
            more(ROLE),
            more(
                r#"{"reasoning_content":"hm","thinking_blocks":[{"index":0,"type":"thinking","thinking":"hm"}]}"#,
            ),
            more(
                r#"{"thinking_blocks":[{"index":0,"type":"thinking","thinking":"","signature":"s"}]}"#,
            ),
            more(r#"{"thinking_blocks":[{"index":1,"type":"redacted_thinking","data":"d"}]}"#),
            ":".to_owned(),
            more(r#"{"content":"a"}"#),
            begin(0, "x"),
            argue(0, "{"),
            argue(0, "}"),
            begin(1, "y"),
            argue(1, "{}"),
            chunk("{}", "\"tool_calls\""),
            usage(),
            "data: [DONE]".to_owned(),
        ]
    }

    #[test]
    fn a_sound_stream_is_put_together() {
        let answer = read_all(&whole()).unwrap();
        assert_eq!((&*answer.content, &*answer.reasoning), ("a", "hm"));
        let call = |id: &str| (id.to_owned(), "f".to_owned(), "{}".to_owned());
        assert_eq!(answer.calls, [call("x"), call("y")]);
        let signed = (Some("hm".to_owned()), "s".to_owned());
        assert_eq!(answer.thinking, [signed, (None, "d".to_owned())]);
        assert_eq!(answer.finish.as_deref(), Some("tool_calls"));
        assert_eq!(answer.usage.unwrap()["total_tokens"], 3);
    }

    #[test]
    fn an_error_ends_a_stream_and_nothing_follows() {
        let error = "event: error\ndata: {\"error\":{\"message\":\"m\",\"type\":\"t\"}}".to_owned();
        let cut = [more(ROLE), error.clone()];
        assert_eq!(read_all(&cut).unwrap().error.unwrap()["type"], "t");
        for after in [
            error.clone(),
            "data: [DONE]".to_owned(),
            ":".to_owned(),
            more("{}"),
        ] {
            assert!(read_all(&[more(ROLE), error.clone(), after]).is_err());
        }
    }

    #[test]
    fn a_stream_that_lacks_or_repeats_something_is_refused() {
        let sound = whole();
        for (at, event) in sound.iter().enumerate() {
            // Only these may be missing: a comment, texts, a block, and what was asked for.
            let optional = [1, 2, 3, 4, 5, 12].contains(&at);
            let mut lacking = sound.clone();
            lacking.remove(at);
            assert_eq!(read_all(&lacking).is_ok(), optional, "without {event}");
            if !optional || at == 12 {
                let mut repeating = sound.clone();
                repeating.insert(at, event.clone());
                assert!(read_all(&repeating).is_err(), "twice {event}");
            }
        }
    }

    #[test]
    fn broken_events_are_refused() {
        let other = |from: &str, to: &str| more("{}").replace(from, to);
        for bad in [
            other("\"id\":\"c\"", "\"id\":\"d\""),
            other("\"model\":\"m\"", "\"model\":\"n\""),
            other("\"created\":7", "\"created\":8"),
            other(".chunk", ""),
            other("\"index\":0", "\"index\":1"),
            other("\"delta\":{}", "\"delta\":null"),
            other("data: ", "data:"),
            other("data: ", "event: x\ndata: "),
            other("{\"id\"", "{\"x\":1,\"id\""),
            "data: {".to_owned(),
            "data: [1]".to_owned(),
            more(ROLE),
            more(r#"{"content":null}"#),
            more(r#"{"x":"y"}"#),
            more(r#"{"tool_calls":[]}"#),
            chunk("{}", "\"\""),
            usage(),
            begin(1, "x"),
            begin(0, ""),
            argue(0, "{}"),
        ] {
            let events = [
                more(ROLE),
                bad.clone(),
                chunk("{}", "\"stop\""),
                "data: [DONE]".to_owned(),
            ];
            assert!(read_all(&events).is_err(), "{bad}");
        }
        let mut cut = whole().join("\n\n") + "\n\n";
        assert!(read(&cut).is_ok());
        cut.pop();
        assert!(read(&cut).is_err());
        let half = [
            more(ROLE),
            begin(0, "x"),
            argue(0, "{"),
            chunk("{}", "\"stop\""),
            "data: [DONE]".to_owned(),
        ];
        assert!(read_all(&half).is_err());
    }
}
