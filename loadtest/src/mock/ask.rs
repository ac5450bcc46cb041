//! What the mock reads of a request body. [pure]

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The fields that change an answer; all others are skipped.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Ask<'b> {
    #[serde(borrow, default)]
    pub(super) model: Cow<'b, str>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    n: Option<u32>,
    #[serde(default)]
    pub(super) dimensions: Option<usize>,
    #[serde(borrow, default)]
    encoding_format: Option<&'b RawValue>,
    #[serde(borrow, default)]
    messages: Option<&'b RawValue>,
    #[serde(borrow, default)]
    prompt: Option<&'b RawValue>,
    #[serde(borrow, default)]
    input: Option<&'b RawValue>,
    #[serde(borrow, default)]
    text: Option<&'b RawValue>,
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct Message<'b> {
    #[serde(borrow, default)]
    content: Option<&'b RawValue>,
    #[serde(borrow, default)]
    role: Option<Cow<'b, str>>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'b, str>>,
}

#[derive(Deserialize)]
struct Kind<'b> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'b, str>,
}

impl<'b> Ask<'b> {
    pub(super) fn parse(body: &'b [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    pub(super) fn streams(&self) -> bool {
        self.stream == Some(true)
    }

    pub(super) fn wants_usage(&self) -> bool {
        let options = self.stream_options.as_ref();
        options.and_then(|options| options.include_usage) == Some(true)
    }

    pub(super) fn choices(&self) -> u32 {
        self.n.unwrap_or(1)
    }

    pub(super) fn wants_base64(&self) -> bool {
        self.encoding_format
            .is_some_and(|format| format.get() == "\"base64\"")
    }

    /// Texts to embed: the length of `input` if it is a list of texts or token lists.
    pub(super) fn inputs(&self) -> usize {
        let items = self
            .input
            .and_then(|input| serde_json::from_str(input.get()).ok());
        match items {
            Some(serde_json::Value::Array(items)) if items.iter().any(|item| !item.is_number()) => {
                items.len()
            }
            _ => 1,
        }
    }

    /// How the text is to be shaped, as Responses has it.
    pub(super) fn text(&self) -> Option<serde_json::Value> {
        serde_json::from_str(self.text?.get()).ok()
    }

    /// The last thing said: JSON of the last message's content, or of the prompt or input.
    pub(super) fn prompt(&self) -> &'b str {
        let content = self.last().and_then(|message| message.content);
        let whole = self.prompt.or(self.input);
        content.or(whole).map_or("", RawValue::get)
    }

    /// Whether the last thing said is the result of a tool.
    pub(super) fn brings_result(&self) -> bool {
        let Some(last) = self.last() else {
            return false;
        };
        if last.role.as_deref() == Some("tool")
            || last.kind.as_deref() == Some("function_call_output")
        {
            return true;
        }
        let blocks = last.content.map_or("[]", RawValue::get);
        let blocks: Vec<Kind<'_>> = serde_json::from_str(blocks).unwrap_or_default();
        blocks.iter().any(|block| block.kind == "tool_result")
    }

    /// The last message, or item of `input`.
    fn last(&self) -> Option<Message<'b>> {
        let list = self.messages.or(self.input)?;
        let messages: Vec<Message<'b>> = serde_json::from_str(list.get()).ok()?;
        messages.into_iter().last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_an_openai_body_are_read() {
        let body = br#"{"model":"m\u0041","stream":true,"stream_options":{"include_usage":true},
            "messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}],"x":{"y":[1]}}"#;
        let ask = Ask::parse(body).unwrap();
        assert_eq!(ask.model, "mA");
        assert!(ask.streams() && ask.wants_usage());
        assert_eq!(ask.prompt(), "\"b\"");
    }

    #[test]
    fn inputs_counts_texts_and_takes_a_token_list_as_one() {
        let cases = [
            (r#""a""#, 1),
            (r#"["a","b"]"#, 2),
            ("[1,2,3]", 1),
            ("[[1],[2,3]]", 2),
        ];
        for (input, want) in cases {
            let body = format!(r#"{{"model":"m","input":{input}}}"#);
            assert_eq!(
                Ask::parse(body.as_bytes()).unwrap().inputs(),
                want,
                "{input}"
            );
        }
    }
}
