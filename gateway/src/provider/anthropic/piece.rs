//! A content block, or a piece of one in a stream. [pure]

use crate::json::{Cursor, JsonError, Kind, Value, text};

/// The members of a block, of a block that starts, or of a `delta`. Which of them are there depends
/// on the type.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Piece {
    pub(super) kind: Option<Value>,
    pub(super) text: Option<Value>,
    pub(super) thinking: Option<Value>,
    pub(super) signature: Option<Value>,
    /// Redacted thinking.
    pub(super) data: Option<Value>,
    /// A fragment of a tool's input, as a string.
    pub(super) partial_json: Option<Value>,
    pub(super) id: Option<Value>,
    pub(super) name: Option<Value>,
    /// A tool's input, as an object.
    pub(super) input: Option<Value>,
    pub(super) stop_reason: Option<Value>,
}

impl Piece {
    /// Steps over a value; `None` where it is no object.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Option<Self>, JsonError> {
        if cursor.kind() != Kind::Object {
            return cursor.skip().map(|()| None);
        }
        let mut piece = Self::default();
        cursor.object(|cursor, key| {
            let value = cursor.value()?;
            let is_text = value.kind == Kind::String;
            match key.name {
                b"input" => piece.input = Some(value),
                _ if !is_text => {}
                b"type" => piece.kind = Some(value),
                b"text" => piece.text = Some(value),
                b"thinking" => piece.thinking = Some(value),
                b"signature" => piece.signature = Some(value),
                b"data" => piece.data = Some(value),
                b"partial_json" => piece.partial_json = Some(value),
                b"id" => piece.id = Some(value),
                b"name" => piece.name = Some(value),
                b"stop_reason" => piece.stop_reason = Some(value),
                _ => {}
            }
            Ok::<_, JsonError>(())
        })?;
        Ok(Some(piece))
    }

    /// Its type; empty where it has none.
    pub(super) fn kind<'d>(&self, document: &'d [u8]) -> &'d [u8] {
        raw(document, self.kind)
    }

    /// UTF-8 bytes that the model wrote, but for a whole `input`.
    pub(super) fn text_bytes(&self, document: &[u8]) -> u64 {
        let name = self.name.filter(|_| is_tool(self.kind(document)));
        [self.text, self.thinking, self.partial_json, name]
            .iter()
            .flatten()
            .map(|value| text::decoded_len(document, value))
            .fold(0, u64::saturating_add)
    }

    /// JSON text of a tool's whole input; `None` where it is missing or `null`.
    pub(super) fn input<'d>(&self, document: &'d [u8]) -> Option<&'d [u8]> {
        let value = self.input.filter(|value| value.kind != Kind::Null)?;
        Some(value.span.of(document))
    }
}

/// The inside of a string, escapes and all; empty where there is none.
pub(super) fn raw(document: &[u8], value: Option<Value>) -> &[u8] {
    value.map_or(b"", |value| value.inner().of(document))
}

/// Whether a block of type `kind` is a call of a tool, the upstream's own tools included.
fn is_tool(kind: &[u8]) -> bool {
    matches!(kind, b"tool_use" | b"server_tool_use" | b"mcp_tool_use")
}
