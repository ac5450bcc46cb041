//! A provider key's edits of the request body. [pure]
//!
//! Rare, so the body is scanned once more for it: `temperature` is clamped and content lists are
//! joined as the caller named them; renames come after, defaults last.

#[cfg(test)]
mod tests;

use config_sync::model::provider_key::BodyPolicy;

use crate::json::{Cursor, Edits, JsonError, Kind, Span, Text, text};

/// What makes the call what it is, and what the gateway reads itself: no rename or default may
/// touch it.
const PROTECTED: [&str; 4] = ["model", "messages", "stream", "stream_options"];

/// What a policy does to one body.
pub(super) struct Plan<'p> {
    policy: &'p BodyPolicy,
    members: Vec<Member<'p>>,
    /// Content lists: the list, and the insides of its text parts.
    contents: Vec<(Span, Vec<Span>)>,
    /// Behind the last member, before the closing brace.
    end: usize,
}

/// One top-level member.
struct Member<'p> {
    name: Box<[u8]>,
    renamed: Option<&'p str>,
    removed: bool,
    key: Span,
    value: Span,
    /// What takes the place of an out-of-range temperature.
    bound: Option<String>,
}

impl Member<'_> {
    fn is_called(&self, name: &str) -> bool {
        !self.removed && self.renamed.map_or(&*self.name, str::as_bytes) == name.as_bytes()
    }
}

impl<'p> Plan<'p> {
    /// Reads what of `body` the policy is about; `None` where it changes nothing.
    pub(super) fn of(policy: &'p BodyPolicy, body: &[u8]) -> Option<Self> {
        let idle = policy.renames.is_empty()
            && policy.temperature_min.is_none()
            && policy.temperature_max.is_none()
            && policy.defaults.is_empty()
            && !policy.content_list_to_string;
        if idle {
            return None;
        }
        let mut plan = Self {
            policy,
            members: Vec::new(),
            contents: Vec::new(),
            end: 0,
        };
        // The body was checked when the call was read.
        plan.read(body).ok()?;
        for (from, to) in &policy.renames {
            plan.rename(from, to);
        }
        Some(plan)
    }

    /// Notes the edits.
    pub(super) fn apply<'t>(&'t self, edits: &mut Edits<'t>) {
        for (list, texts) in &self.contents {
            edits.replace(*list, Text::Raw(b"\""));
            for text in texts {
                edits.insert(list.end, Text::Copy(*text));
            }
            edits.insert(list.end, Text::Raw(b"\""));
        }
        for member in self.members.iter().filter(|member| !member.removed) {
            if let Some(bound) = &member.bound {
                edits.replace(member.value, Text::Raw(bound.as_bytes()));
            }
            if let Some(name) = member.renamed {
                let inside = Span {
                    start: member.key.start + 1,
                    end: member.key.end - 1,
                };
                edits.replace(inside, Text::Escaped(name));
            }
        }
        self.remove(edits);
        for (name, json) in &self.policy.defaults {
            let taken = PROTECTED.contains(&&**name);
            if taken || self.members.iter().any(|member| member.is_called(name)) {
                continue;
            }
            edits.insert(self.end, Text::Raw(b",\""));
            edits.insert(self.end, Text::Escaped(name));
            edits.insert(self.end, Text::Raw(b"\":"));
            edits.insert(self.end, Text::Raw(json.as_bytes()));
        }
    }

    fn read(&mut self, body: &[u8]) -> Result<(), JsonError> {
        let mut cursor = Cursor::lenient(body);
        let span = cursor.object(|cursor, key| {
            let flatten = self.policy.content_list_to_string && key.name == b"messages";
            let kind = cursor.kind();
            let value = if flatten && kind == Kind::Array {
                cursor.array(|cursor, _| content_lists(cursor, &mut self.contents))?
            } else {
                cursor.value()?.span
            };
            let temperature = key.name == b"temperature" && kind == Kind::Number;
            let bound = temperature.then(|| clamped(self.policy, value.of(body)));
            self.members.push(Member {
                name: key.name.into(),
                renamed: None,
                removed: false,
                key: key.span,
                value,
                bound: bound.flatten(),
            });
            Ok::<_, JsonError>(())
        })?;
        self.end = self
            .members
            .last()
            .map_or(span.start + 1, |member| member.value.end);
        Ok(())
    }

    /// Moves the value of `from` to `to`, over what is there.
    fn rename(&mut self, from: &'p str, to: &'p str) {
        let protected = PROTECTED.contains(&from) || PROTECTED.contains(&to);
        if from == to || protected || !self.members.iter().any(|member| member.is_called(from)) {
            return;
        }
        for member in &mut self.members {
            if member.is_called(to) {
                member.removed = true;
            } else if member.is_called(from) {
                member.renamed = Some(to);
            }
        }
    }

    /// Removes members run by run, each with one of the commas beside it.
    fn remove(&self, edits: &mut Edits<'_>) {
        let mut index = 0;
        let mut before: Option<&Member<'_>> = None;
        while let Some(first) = self.members.get(index) {
            if !first.removed {
                before = Some(first);
                index += 1;
                continue;
            }
            let rest = self.members.get(index..).unwrap_or_default();
            let run = rest.iter().take_while(|member| member.removed).count();
            index += run;
            let next = self.members.get(index);
            let span = match (next, before) {
                (Some(next), _) => Span {
                    start: first.key.start,
                    end: next.key.start,
                },
                (None, Some(before)) => Span {
                    start: before.value.end,
                    end: self.end,
                },
                (None, None) => Span {
                    start: first.key.start,
                    end: self.end,
                },
            };
            edits.remove(span);
        }
    }
}

/// The bound that takes the place of `number`; `None` where it is in range.
fn clamped(policy: &BodyPolicy, number: &[u8]) -> Option<String> {
    let number: f64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    let mut bounded = number;
    if let Some(max) = policy.temperature_max {
        bounded = bounded.min(max);
    }
    if let Some(min) = policy.temperature_min {
        bounded = bounded.max(min);
    }
    (bounded != number).then(|| bounded.to_string())
}

/// Steps over a message; notes its content where that is a list with text parts.
fn content_lists(
    cursor: &mut Cursor<'_>,
    contents: &mut Vec<(Span, Vec<Span>)>,
) -> Result<(), JsonError> {
    cursor.object(|cursor, key| {
        if key.name != b"content" || cursor.kind() != Kind::Array {
            return cursor.skip();
        }
        let mut texts = Vec::new();
        let list = cursor.array(|cursor, _| {
            texts.extend(part_text(cursor)?);
            Ok::<_, JsonError>(())
        })?;
        if !texts.is_empty() {
            contents.push((list, texts));
        }
        Ok(())
    })?;
    Ok(())
}

/// Steps over a content part; the inside of its text where it is a text part.
fn part_text(cursor: &mut Cursor<'_>) -> Result<Option<Span>, JsonError> {
    let mut is_text = false;
    let mut inside = None;
    cursor.object(|cursor, key| {
        let value = cursor.value()?;
        match key.name {
            b"type" => is_text = text::of(cursor.document(), &value).as_deref() == Some("text"),
            b"text" if value.kind == Kind::String => inside = Some(value.inner()),
            _ => {}
        }
        Ok::<_, JsonError>(())
    })?;
    Ok(inside.filter(|_| is_text))
}
