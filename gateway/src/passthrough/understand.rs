//! What a request body gives away about itself. [pure]

use crate::dialect::Dialect;
use crate::json::{Cursor, JsonError, Kind, text};
use crate::short_text::ShortText;

/// The protocol of a body, by its top-level keys.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Shape {
    /// A `messages` array.
    Chat,
    /// An `input` text or array.
    Responses,
    /// A `prompt`.
    Completions,
    /// Anything else, JSON or not.
    #[default]
    Opaque,
}

/// What is understood of a request body.
#[derive(Clone, Debug, Default)]
pub struct Understood {
    pub shape: Shape,
    /// The requested model, where it is named; empty otherwise.
    pub model: ShortText,
}

impl Understood {
    /// The protocol in which a stream is told that it failed.
    pub fn dialect(&self, path: &str) -> Dialect {
        match self.shape {
            Shape::Responses => Dialect::Responses,
            Shape::Chat if path.ends_with("/messages") => Dialect::Anthropic,
            Shape::Chat | Shape::Completions | Shape::Opaque => Dialect::Openai,
        }
    }
}

/// Looks at the top level of `body`. Never fails: what is no JSON object is opaque.
pub fn understand(body: &[u8]) -> Understood {
    let mut understood = Understood::default();
    let mut cursor = Cursor::lenient(body);
    if cursor.kind() != Kind::Object {
        return understood;
    }
    let mut found = [false; 3];
    let walked = cursor.object(|cursor, key| {
        let kind = cursor.kind();
        match key.name {
            b"messages" => found[0] |= kind == Kind::Array,
            b"input" => found[1] |= matches!(kind, Kind::String | Kind::Array),
            b"prompt" => found[2] = true,
            b"model" if kind == Kind::String => {
                let value = cursor.value()?;
                let name = text::of(cursor.document(), &value);
                understood.model = ShortText::from(&*name.unwrap_or_default());
                return Ok(());
            }
            _ => {}
        }
        cursor.skip()
    });
    let walked: Result<_, JsonError> = walked;
    if walked.is_err() {
        return Understood::default();
    }
    understood.shape = match found {
        [true, ..] => Shape::Chat,
        [_, true, _] => Shape::Responses,
        [_, _, true] => Shape::Completions,
        _ => Shape::Opaque,
    };
    understood
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_level_keys_decide_and_anything_else_is_opaque() {
        for (body, shape, model) in [
            (r#"{"model":"m","messages":[]}"#, Shape::Chat, "m"),
            (r#"{"messages":[{"x":1}],"prompt":"p"}"#, Shape::Chat, ""),
            (r#"{"messages":"no"}"#, Shape::Opaque, ""),
            (r#"{"input":"a","model":"\u006d"}"#, Shape::Responses, "m"),
            (r#"{"input":[1]}"#, Shape::Responses, ""),
            (r#"{"input":{}}"#, Shape::Opaque, ""),
            (r#"{"prompt":7}"#, Shape::Completions, ""),
            (r#"{"a":{"messages":[]}}"#, Shape::Opaque, ""),
            (r#"{"model":7}"#, Shape::Opaque, ""),
            (r#"{"messages":[],"model":"m""#, Shape::Opaque, ""),
            (r#"[{"messages":[]}]"#, Shape::Opaque, ""),
            ("", Shape::Opaque, ""),
            ("--boundary", Shape::Opaque, ""),
        ] {
            let understood = understand(body.as_bytes());
            assert_eq!(
                (understood.shape, &*understood.model),
                (shape, model),
                "{body}"
            );
        }
        let bytes = understand(b"{\"messages\":[],\"model\":\"\xff\"}");
        assert_eq!(bytes.shape, Shape::Chat);
    }

    #[test]
    fn a_failure_is_told_in_the_protocol_of_the_body() {
        let of = |body: &[u8], path| understand(body).dialect(path);
        assert_eq!(
            of(b"{\"messages\":[]}", "/x/v1/messages"),
            Dialect::Anthropic
        );
        assert_eq!(
            of(b"{\"messages\":[]}", "/x/chat/completions"),
            Dialect::Openai
        );
        assert_eq!(of(b"{\"input\":\"\"}", "/x"), Dialect::Responses);
        assert_eq!(of(b"", "/x/v1/messages"), Dialect::Openai);
    }
}
