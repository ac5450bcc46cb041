//! A strict reader of a whole Responses stream.
//!
//! Rules: OpenAI API reference, "Responses streaming events".

use serde_json::Value;

/// Checks the body of an event stream from its first byte to its last; returns the last event's
/// response.
///
/// # Panics
///
/// Where the protocol is broken: with the number of the event, from 0, and what is wrong with it.
pub fn check(body: &str) -> Value {
    match read(body) {
        Ok(response) => response,
        Err((event, problem)) => panic!("event {event}: {problem}\n{body}"),
    }
}

/// As [`check`]; what is wrong as a value.
pub fn read(body: &str) -> Result<Value, (usize, String)> {
    let mut stream = Stream::default();
    let mut count = 0;
    let Some(whole) = body.strip_suffix("\n\n") else {
        return Err((0, "the body does not end with a blank line".to_owned()));
    };
    for event in whole.split("\n\n") {
        if event.lines().all(|line| line.starts_with(':')) {
            continue;
        }
        stream
            .event(count, event)
            .map_err(|problem| (count, problem))?;
        count += 1;
    }
    stream
        .last
        .ok_or_else(|| (count, "the stream has no end".to_owned()))
}

/// One output item as far as it was streamed.
#[derive(Default)]
struct Item {
    added: Value,
    done: Option<Value>,
    /// Text of each part or, of a call, of the call itself.
    parts: Vec<Part>,
}

#[derive(Default)]
struct Part {
    kind: String,
    text: String,
    text_done: bool,
    part_done: bool,
}

#[derive(Default)]
struct Stream {
    created: bool,
    in_progress: bool,
    id: String,
    items: Vec<Item>,
    failing: bool,
    last: Option<Value>,
}

type Checked = Result<(), String>;

fn ensure(holds: bool, problem: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(problem()) }
}

fn text<'v>(value: &'v Value, member: &str) -> Result<&'v str, String> {
    value[member]
        .as_str()
        .ok_or_else(|| format!("no text {member}"))
}

impl Stream {
    fn event(&mut self, sequence: usize, event: &str) -> Checked {
        let (name, data) = event
            .strip_prefix("event: ")
            .and_then(|rest| rest.split_once("\ndata: "))
            .ok_or("not an event and a data line")?;
        ensure(!data.contains('\n'), || "more than two lines".to_owned())?;
        let data: Value = serde_json::from_str(data).map_err(|error| error.to_string())?;
        ensure(data["type"] == name, || {
            format!("{name} of type {}", data["type"])
        })?;
        let number = &data["sequence_number"];
        ensure(*number == sequence, || format!("sequence number {number}"))?;
        ensure(self.last.is_none(), || format!("{name} after the end"))?;
        ensure(!self.failing || name == "response.failed", || {
            format!("{name} after an error")
        })?;
        let begins = matches!(name, "response.created" | "error");
        ensure(self.created || begins, || {
            format!("{name} before response.created")
        })?;
        match name {
            "response.created" | "response.in_progress" => self.begin(name, &data["response"]),
            "response.output_item.added" => self.item_added(&data),
            "response.output_item.done" => self.item_done(&data),
            "response.content_part.added" => self.part_added(&data, "message", "content_index"),
            "response.content_part.done" => self.part_done(&data, "content_index"),
            "response.reasoning_summary_part.added" => {
                self.part_added(&data, "reasoning", "summary_index")
            }
            "response.reasoning_summary_part.done" => self.part_done(&data, "summary_index"),
            "response.completed" | "response.incomplete" | "response.failed" => {
                self.end(name, &data["response"])
            }
            "error" => {
                self.failing = true;
                text(&data, "message").map(drop)
            }
            _ => self.piece(name, &data),
        }
    }

    fn begin(&mut self, name: &str, response: &Value) -> Checked {
        let seen = match name {
            "response.created" => &mut self.created,
            _ => &mut self.in_progress,
        };
        ensure(!std::mem::replace(seen, true), || format!("{name} again"))?;
        ensure(self.items.is_empty(), || format!("{name} after an item"))?;
        response_object(response, "in_progress")?;
        let empty = response["output"].as_array().is_some_and(Vec::is_empty);
        ensure(empty, || "output before there is any".to_owned())?;
        let id = text(response, "id")?;
        ensure(self.id.is_empty() || self.id == id, || {
            "another id".to_owned()
        })?;
        self.id = id.to_owned();
        Ok(())
    }

    fn item_added(&mut self, data: &Value) -> Checked {
        let index = &data["output_index"];
        ensure(*index == self.items.len(), || {
            format!("output_index {index}")
        })?;
        let item = &data["item"];
        ensure(item["status"] == "in_progress", || {
            format!("added {}", item["status"])
        })?;
        let id = text(item, "id")?;
        let known = self.items.iter().any(|other| other.added["id"] == id);
        ensure(!known, || format!("id {id} again"))?;
        let mut parts = Vec::new();
        match text(item, "type")? {
            "message" => {
                ensure(item["role"] == "assistant", || "no assistant".to_owned())?;
                ensure(item["content"] == Value::Array(Vec::new()), || {
                    "content from the start".to_owned()
                })?;
            }
            "reasoning" => ensure(item["summary"] == Value::Array(Vec::new()), || {
                "summary from the start".to_owned()
            })?,
            kind @ ("function_call" | "custom_tool_call") => {
                let member = if kind == "function_call" {
                    "arguments"
                } else {
                    "input"
                };
                ensure(item[member] == "", || format!("{member} from the start"))?;
                ensure(!text(item, "call_id")?.is_empty(), || {
                    "no call id".to_owned()
                })?;
                ensure(!text(item, "name")?.is_empty(), || "no name".to_owned())?;
                parts.push(Part {
                    kind: member.to_owned(),
                    ..Part::default()
                });
            }
            kind => return Err(format!("unknown item {kind}")),
        }
        self.items.push(Item {
            added: item.clone(),
            done: None,
            parts,
        });
        Ok(())
    }

    /// The item that an event is about, which must be open.
    fn open_item(&mut self, data: &Value) -> Result<&mut Item, String> {
        let index = data["output_index"].as_u64().ok_or("no output_index")?;
        let item = self
            .items
            .get_mut(usize::try_from(index).map_err(|error| error.to_string())?)
            .ok_or_else(|| format!("no item {index}"))?;
        ensure(item.done.is_none(), || format!("item {index} is done"))?;
        if !data["item_id"].is_null() {
            let (id, want) = (&data["item_id"], &item.added["id"]);
            ensure(id == want, || format!("item {id} instead of {want}"))?;
        }
        Ok(item)
    }

    fn part_added(&mut self, data: &Value, kind: &str, counter: &str) -> Checked {
        let item = self.open_item(data)?;
        ensure(item.added["type"] == kind, || {
            format!("a part of no {kind}")
        })?;
        let index = &data[counter];
        ensure(*index == item.parts.len(), || format!("{counter} {index}"))?;
        let before = item.parts.last().is_none_or(|part| part.part_done);
        ensure(before, || "the part before is open".to_owned())?;
        let part = &data["part"];
        let kind = text(part, "type")?.to_owned();
        ensure(text(part, member_of(&kind)?)?.is_empty(), || {
            "text from the start".to_owned()
        })?;
        item.parts.push(Part {
            kind,
            ..Part::default()
        });
        Ok(())
    }

    fn part_done(&mut self, data: &Value, counter: &str) -> Checked {
        let item = self.open_item(data)?;
        let index = &data[counter];
        ensure(is_last(index, &item.parts), || format!("{counter} {index}"))?;
        let part = item.parts.last_mut().ok_or("no part")?;
        ensure(part.text_done, || "its text is not done".to_owned())?;
        ensure(!std::mem::replace(&mut part.part_done, true), || {
            "done again".to_owned()
        })?;
        same_part(part, &data["part"])
    }

    /// A delta, or the whole of a text.
    fn piece(&mut self, name: &str, data: &Value) -> Checked {
        let (kind, counter) = match name.trim_end_matches(".delta").trim_end_matches(".done") {
            "response.output_text" => ("output_text", "content_index"),
            "response.refusal" => ("refusal", "content_index"),
            "response.reasoning_summary_text" => ("summary_text", "summary_index"),
            "response.function_call_arguments" => ("arguments", ""),
            "response.custom_tool_call_input" => ("input", ""),
            _ => return Err(format!("unknown event {name}")),
        };
        ensure(data["item_id"].is_string(), || "no item_id".to_owned())?;
        let item = self.open_item(data)?;
        if !counter.is_empty() {
            let index = &data[counter];
            ensure(is_last(index, &item.parts), || format!("{counter} {index}"))?;
        }
        let part = item.parts.last_mut().ok_or("no part")?;
        ensure(part.kind == kind, || {
            format!("{kind} in a part {}", part.kind)
        })?;
        ensure(!part.text_done, || "more after its end".to_owned())?;
        if name.ends_with(".delta") {
            let delta = text(data, "delta")?;
            ensure(!delta.is_empty(), || "an empty delta".to_owned())?;
            part.text.push_str(delta);
            return Ok(());
        }
        let whole = text(data, member_of(kind)?)?;
        ensure(whole == part.text, || {
            format!("{whole:?} is done, {:?} was sent", part.text)
        })?;
        part.text_done = true;
        Ok(())
    }

    fn item_done(&mut self, data: &Value) -> Checked {
        let item = self.open_item(data)?;
        let done = &data["item"];
        let status = text(done, "status")?;
        ensure(matches!(status, "completed" | "incomplete"), || {
            format!("done {status}")
        })?;
        for part in &item.parts {
            let ended = part.text_done && (part.part_done || is_call(&part.kind));
            ensure(ended, || "a part is open".to_owned())?;
        }
        same_item(item, done)?;
        item.done = Some(done.clone());
        Ok(())
    }

    fn end(&mut self, name: &str, response: &Value) -> Checked {
        ensure(self.in_progress, || "never in progress".to_owned())?;
        response_object(response, name.trim_start_matches("response."))?;
        ensure(response["id"] == self.id.as_str(), || {
            "another id".to_owned()
        })?;
        let failed = name == "response.failed";
        ensure(response["error"].is_object() == failed, || {
            "error".to_owned()
        })?;
        let incomplete = name == "response.incomplete";
        let details = &response["incomplete_details"];
        ensure(details["reason"].is_string() == incomplete, || {
            format!("{details}")
        })?;
        let output = response["output"].as_array().ok_or("no output")?;
        ensure(output.len() == self.items.len(), || {
            format!("{} items instead of {}", output.len(), self.items.len())
        })?;
        for (shown, item) in output.iter().zip(&self.items) {
            match &item.done {
                Some(done) => ensure(done == shown, || format!("{shown} instead of {done}"))?,
                None if failed => same_item(item, shown)?,
                None => return Err("an item is open".to_owned()),
            }
        }
        if !failed {
            usage(&response["usage"])?;
        }
        self.last = Some(response.clone());
        Ok(())
    }
}

fn is_last(index: &Value, parts: &[Part]) -> bool {
    parts
        .len()
        .checked_sub(1)
        .is_some_and(|last| *index == last)
}

fn is_call(kind: &str) -> bool {
    matches!(kind, "arguments" | "input")
}

/// The member with the text of a part or event.
fn member_of(kind: &str) -> Result<&'static str, String> {
    match kind {
        "output_text" | "summary_text" => Ok("text"),
        "refusal" => Ok("refusal"),
        "arguments" => Ok("arguments"),
        "input" => Ok("input"),
        _ => Err(format!("unknown part {kind}")),
    }
}

fn same_part(part: &Part, shown: &Value) -> Checked {
    ensure(shown["type"] == part.kind.as_str(), || {
        format!("part {shown}")
    })?;
    let shown = text(shown, member_of(&part.kind)?)?;
    ensure(shown == part.text, || {
        format!("{shown:?} instead of {:?}", part.text)
    })
}

/// Whether `shown` says what was streamed of `item`.
fn same_item(item: &Item, shown: &Value) -> Checked {
    for member in ["id", "type", "call_id", "name", "role"] {
        ensure(shown[member] == item.added[member], || {
            format!("another {member}")
        })?;
    }
    if let Some(part) = item.parts.first().filter(|part| is_call(&part.kind)) {
        let whole = text(shown, member_of(&part.kind)?)?;
        return ensure(whole == part.text, || {
            format!("{whole:?} instead of {:?}", part.text)
        });
    }
    let list = match text(shown, "type")? {
        "message" => &shown["content"],
        _ => &shown["summary"],
    };
    let list = list.as_array().ok_or("no parts")?;
    ensure(list.len() == item.parts.len(), || {
        format!("{} parts", list.len())
    })?;
    item.parts
        .iter()
        .zip(list)
        .try_for_each(|(part, shown)| same_part(part, shown))
}

/// What the official SDKs read of a response object.
pub fn response_object(response: &Value, status: &str) -> Checked {
    ensure(response["object"] == "response", || {
        "no response".to_owned()
    })?;
    ensure(response["status"] == status, || {
        format!("status {}", response["status"])
    })?;
    ensure(response["created_at"].is_u64(), || {
        "no created_at".to_owned()
    })?;
    ensure(!text(response, "model")?.is_empty(), || {
        "no model".to_owned()
    })?;
    ensure(response["tools"].is_array(), || "no tools".to_owned())?;
    ensure(response["parallel_tool_calls"].is_boolean(), || {
        "no parallel_tool_calls".to_owned()
    })?;
    let members = response.as_object().ok_or("no object")?;
    for member in [
        "error",
        "incomplete_details",
        "instructions",
        "max_output_tokens",
        "metadata",
        "reasoning",
        "store",
        "temperature",
        "text",
        "tool_choice",
        "top_p",
        "usage",
    ] {
        ensure(members.contains_key(member), || format!("no {member}"))?;
    }
    Ok(())
}

fn usage(usage: &Value) -> Checked {
    for pointer in [
        "/input_tokens",
        "/input_tokens_details/cached_tokens",
        "/output_tokens",
        "/output_tokens_details/reasoning_tokens",
        "/total_tokens",
    ] {
        let count = usage.pointer(pointer).and_then(Value::as_u64);
        ensure(count.is_some(), || format!("usage without {pointer}"))?;
    }
    Ok(())
}
