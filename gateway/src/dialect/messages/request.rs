//! The body of a Messages request as a conversation. [pure]

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::content;
use super::names::{Names, shortened};
use super::place::Place;
use super::settings;
use super::tools;
use crate::canonical::{Conversation, Effort, Part, Role, Turn};
use crate::rejection::Rejection;

/// The members of the body, in order.
struct Members<'b>(Vec<(Cow<'b, str>, &'b RawValue)>);

/// A key, borrowed unless it holds escapes.
#[derive(Deserialize)]
struct Name<'b>(#[serde(borrow)] Cow<'b, str>);

/// Reads a body; the names are those of tools that the target knows by shorter ones.
///
/// # Errors
///
/// [`Rejection::InvalidRequest`], naming the field at fault.
pub(super) fn read(body: &[u8]) -> Result<(Conversation<'_>, Names), Rejection> {
    let members: Members<'_> =
        serde_json::from_slice(body).map_err(|error| Rejection::InvalidRequest {
            problem: format!("not valid JSON: {error}").into(),
            param: None,
        })?;
    let mut reader = Reader::default();
    for (name, raw) in members.0 {
        reader.member(name, raw)?;
    }
    Ok(reader.finish())
}

/// What was read so far.
#[derive(Default)]
struct Reader<'b> {
    conversation: Conversation<'b>,
    names: Names,
    /// `system`, which stands first wherever its member does.
    system: Option<Cow<'b, str>>,
    /// How hard to think, by the budget for it.
    thinking: Option<Effort>,
}

impl<'b> Reader<'b> {
    fn member(&mut self, name: Cow<'b, str>, raw: &'b RawValue) -> Result<(), Rejection> {
        if raw.get() == "null" {
            return Ok(());
        }
        let conversation = &mut self.conversation;
        match name.as_ref() {
            "messages" => self.messages(raw)?,
            "system" => self.system = content::texts(raw, &Place::member("system"))?,
            "stream" => conversation.stream = Place::member("stream").boolean(raw)?,
            "max_tokens" => conversation.max_tokens = Some(settings::max_tokens(raw)?),
            "temperature" => {
                conversation.temperature = Some(Place::member("temperature").number(raw)?);
            }
            "top_p" => conversation.top_p = Some(Place::member("top_p").number(raw)?),
            "stop_sequences" => conversation.stop = settings::stop(raw)?,
            "tools" => conversation.tools = tools::read(raw, &mut self.names)?,
            "tool_choice" => {
                let (choice, parallel) = tools::choice(raw)?;
                conversation.tool_choice = Some(choice);
                conversation.parallel_tool_calls = parallel;
            }
            "metadata" => conversation.user = settings::user(raw)?.map(shortened),
            "thinking" => self.thinking = settings::thinking(raw)?,
            "output_config" => settings::output(raw, conversation)?,
            "output_format" => {
                let format = settings::format(raw, &Place::member("output_format"))?;
                conversation.format.get_or_insert(format);
            }
            // The model is the route's; the tiers are Anthropic's, under a name that others use too.
            "model" | "service_tier" => {}
            _ => conversation.extra.push((name, raw)),
        }
        Ok(())
    }

    fn messages(&mut self, raw: &'b RawValue) -> Result<(), Rejection> {
        let place = Place::member("messages");
        let messages = place.items(raw)?;
        if messages.is_empty() {
            return Err(place.fault("must not be empty"));
        }
        let turns = &mut self.conversation.turns;
        turns.reserve(messages.len() + 1);
        for (index, message) in messages.into_iter().enumerate() {
            content::message(message, &place.item(index), turns)?;
        }
        Ok(())
    }

    fn finish(mut self) -> (Conversation<'b>, Names) {
        let conversation = &mut self.conversation;
        if let Some(text) = self.system.filter(|text| !text.is_empty()) {
            conversation.turns.insert(0, system(text));
        }
        conversation.effort = conversation.effort.or(self.thinking);
        // Without a tool there is nothing to choose; servers refuse the question.
        if conversation.tools.is_empty() {
            conversation.tool_choice = None;
            conversation.parallel_tool_calls = None;
        }
        (self.conversation, self.names)
    }
}

/// A turn of instructions.
pub(super) fn system(text: Cow<'_, str>) -> Turn<'_> {
    Turn {
        role: Role::System,
        name: None,
        parts: vec![Part::Text {
            text,
            marks: Default::default(),
        }],
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), raw)) = map.next_entry()? {
                    members.push((name, raw));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}
