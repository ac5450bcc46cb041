//! What an Anthropic client may expect of a streamed message, as a state machine over the whole body.

use serde_json::Value;

/// What a valid stream said.
#[derive(Debug, Default)]
pub struct Message {
    pub id: String,
    pub model: String,
    /// The finished blocks, as a whole message holds them.
    pub content: Vec<Value>,
    /// `None` where the stream was cut.
    pub stop_reason: Option<String>,
    /// The last number told of each kind.
    pub usage: serde_json::Map<String, Value>,
    /// The `error` event that ended the stream.
    pub error: Option<Value>,
}

/// Checks the body of an event stream, and returns what it says.
///
/// A stream is whole when it ends in `message_stop`, or cut when it ends in one `error` event.
///
/// # Panics
///
/// Where it breaks the protocol, with the offset of the event that does.
#[track_caller]
pub fn validate(body: &[u8]) -> Message {
    match checked(body) {
        Ok(message) => message,
        Err((at, problem)) => panic!("at byte {at}: {problem}\n{}", String::from_utf8_lossy(body)),
    }
}

/// Checks the body of an event stream; a problem comes with its offset.
pub fn checked(body: &[u8]) -> Result<Message, (usize, String)> {
    let text =
        std::str::from_utf8(body).map_err(|error| (error.valid_up_to(), "not UTF-8".to_owned()))?;
    let mut stream = Stream::default();
    let mut at = 0;
    // Line ends of any kind, each of them one byte here.
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    for frame in lines.split_inclusive("\n\n") {
        let problem = match frame.strip_suffix("\n\n") {
            Some(frame) => stream.frame(frame),
            None => Err("an event without its blank line".to_owned()),
        };
        problem.map_err(|problem| (at, problem))?;
        at += frame.len();
    }
    stream.end().map_err(|problem| (at, problem))
}

#[derive(Debug, Default, PartialEq)]
enum Stage {
    #[default]
    Fresh,
    /// Between blocks.
    Open,
    /// Inside the block at this index.
    Block(u64),
    /// After `message_delta`.
    Closing,
    Over,
}

#[derive(Default)]
struct Stream {
    stage: Stage,
    message: Message,
    /// Input of the open tool call, as text.
    input: String,
    /// Calls whose input is no JSON: allowed where the answer was cut short.
    broken_inputs: usize,
}

type Checked<T = ()> = Result<T, String>;

impl Stream {
    fn frame(&mut self, frame: &str) -> Checked {
        if frame.split('\n').all(|line| line.starts_with(':')) {
            return Ok(());
        }
        let (mut name, mut data) = (None, None);
        for line in frame.split('\n').filter(|line| !line.starts_with(':')) {
            let slot = match line.split_once(": ") {
                Some(("event", value)) => (&mut name, value),
                Some(("data", value)) => (&mut data, value),
                _ => return Err(format!("an unexpected line: {line:?}")),
            };
            if slot.0.replace(slot.1).is_some() {
                return Err("a field twice in one event".to_owned());
            }
        }
        let name = name.ok_or("an event without name")?;
        let data = data.ok_or("an event without data")?;
        let event: Value =
            serde_json::from_str(data).map_err(|error| format!("data is no JSON: {error}"))?;
        if string(&event, "type")? != name {
            return Err(format!("event {name:?} with another type: {data}"));
        }
        self.event(name, &event)
    }

    fn event(&mut self, name: &str, event: &Value) -> Checked {
        if self.stage == Stage::Over {
            return Err(format!("{name} after the end"));
        }
        match name {
            "ping" => Ok(()),
            "error" => {
                let error = &event["error"];
                string(error, "type")?;
                string(error, "message")?;
                self.message.error = Some(event.clone());
                self.stage = Stage::Over;
                Ok(())
            }
            "message_start" if self.stage == Stage::Fresh => self.message_start(&event["message"]),
            "content_block_start" if self.stage == Stage::Open => self.block_start(event),
            "content_block_delta" => self.block_delta(event),
            "content_block_stop" => self.block_stop(event),
            "message_delta" if self.stage == Stage::Open => self.message_delta(event),
            "message_stop" if self.stage == Stage::Closing => {
                self.stage = Stage::Over;
                Ok(())
            }
            _ => Err(format!("{name} does not follow {:?}", self.stage)),
        }
    }

    fn message_start(&mut self, message: &Value) -> Checked {
        let constants = [("type", "message"), ("role", "assistant")];
        for (name, want) in constants {
            if string(message, name)? != want {
                return Err(format!("{name} of the message is not {want}"));
            }
        }
        self.message.id = string(message, "id")?.to_owned();
        if !self.message.id.starts_with("msg_") {
            return Err(format!("an id that is no message's: {}", self.message.id));
        }
        self.message.model = string(message, "model")?.to_owned();
        for name in ["stop_reason", "stop_sequence"] {
            if message.get(name) != Some(&Value::Null) {
                return Err(format!("{name} is not null at the start"));
            }
        }
        if message["content"]
            .as_array()
            .is_none_or(|blocks| !blocks.is_empty())
        {
            return Err("content is not an empty list at the start".to_owned());
        }
        self.usage(&message["usage"], &["input_tokens", "output_tokens"])?;
        self.stage = Stage::Open;
        Ok(())
    }

    fn usage(&mut self, usage: &Value, required: &[&str]) -> Checked {
        let usage = usage.as_object().ok_or("no usage")?;
        for (name, count) in usage {
            if name.ends_with("_tokens") && count.as_u64().is_none() {
                return Err(format!("usage.{name} is no count"));
            }
            self.message.usage.insert(name.clone(), count.clone());
        }
        match required.iter().find(|name| !usage.contains_key(**name)) {
            None => Ok(()),
            Some(name) => Err(format!("no usage.{name}")),
        }
    }

    fn block_start(&mut self, event: &Value) -> Checked {
        let index = number(event, "index")?;
        if index != self.message.content.len() as u64 {
            return Err(format!("block {index} is out of order"));
        }
        let block = &event["content_block"];
        match string(block, "type")? {
            "text" if string(block, "text")?.is_empty() => {}
            "thinking" if string(block, "thinking")?.is_empty() => {}
            "redacted_thinking" => {
                string(block, "data")?;
            }
            "tool_use" => {
                for name in ["id", "name"] {
                    if string(block, name)?.is_empty() {
                        return Err(format!("a tool call without {name}"));
                    }
                }
                if block["input"] != serde_json::json!({}) {
                    return Err("a tool call that begins with input".to_owned());
                }
            }
            kind => return Err(format!("a {kind} block that does not begin empty")),
        }
        self.input.clear();
        self.message.content.push(block.clone());
        self.stage = Stage::Block(index);
        Ok(())
    }

    /// The open block, which `event` must belong to.
    fn open(&mut self, event: &Value) -> Checked<&mut Value> {
        let index = number(event, "index")?;
        if self.stage != Stage::Block(index) {
            return Err(format!("block {index} is not open: {:?}", self.stage));
        }
        let open = self.message.content.last_mut();
        Ok(open.expect("a block is open"))
    }

    fn block_delta(&mut self, event: &Value) -> Checked {
        let delta = &event["delta"];
        let kind = string(delta, "type")?;
        let (wanted, member) = match kind {
            "text_delta" => ("text", "text"),
            "input_json_delta" => ("tool_use", "partial_json"),
            "thinking_delta" => ("thinking", "thinking"),
            "signature_delta" => ("thinking", "signature"),
            _ => return Err(format!("an unknown delta: {kind}")),
        };
        let more = string(delta, member)?;
        let block = self.open(event)?;
        if block["type"] != wanted {
            return Err(format!("{kind} in a {} block", block["type"]));
        }
        if kind == "input_json_delta" {
            self.input.push_str(more);
        } else {
            let text = block[member].as_str().unwrap_or_default();
            block[member] = Value::String(format!("{text}{more}"));
        }
        Ok(())
    }

    fn block_stop(&mut self, event: &Value) -> Checked {
        let input = std::mem::take(&mut self.input);
        let block = self.open(event)?;
        if block["type"] == "tool_use" && !input.is_empty() {
            match serde_json::from_str(&input) {
                Ok(parsed @ Value::Object(_)) => block["input"] = parsed,
                _ => {
                    block["input"] = Value::String(input);
                    self.broken_inputs += 1;
                }
            }
        }
        self.stage = Stage::Open;
        Ok(())
    }

    fn message_delta(&mut self, event: &Value) -> Checked {
        const REASONS: [&str; 7] = [
            "end_turn",
            "max_tokens",
            "stop_sequence",
            "tool_use",
            "pause_turn",
            "refusal",
            "model_context_window_exceeded",
        ];
        let reason = string(&event["delta"], "stop_reason")?;
        if !REASONS.contains(&reason) {
            return Err(format!("an unknown stop_reason: {reason}"));
        }
        if self.broken_inputs > 0 && reason != "max_tokens" {
            return Err("the input of a tool call is no JSON object".to_owned());
        }
        let calls = self
            .message
            .content
            .iter()
            .any(|block| block["type"] == "tool_use");
        if reason == "tool_use" && !calls {
            return Err("stop_reason tool_use without a call".to_owned());
        }
        self.message.stop_reason = Some(reason.to_owned());
        self.usage(&event["usage"], &["output_tokens"])?;
        self.stage = Stage::Closing;
        Ok(())
    }

    fn end(self) -> Checked<Message> {
        match self.stage {
            Stage::Over => Ok(self.message),
            stage => Err(format!("the stream ends in {stage:?}")),
        }
    }
}

fn string<'v>(value: &'v Value, name: &str) -> Checked<&'v str> {
    let text = value.get(name).and_then(Value::as_str);
    text.ok_or_else(|| format!("{name} is no string in {value}"))
}

fn number(value: &Value, name: &str) -> Checked<u64> {
    let number = value.get(name).and_then(Value::as_u64);
    number.ok_or_else(|| format!("{name} is no number in {value}"))
}
