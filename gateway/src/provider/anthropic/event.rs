//! One event of a Messages stream, read in one pass. [pure]

use std::borrow::Cow;

use super::message::Message;
use super::piece::Piece;
use super::usage::Report;
use crate::http::sse::name_of;
use crate::json::{Cursor, JsonError, Kind as JsonKind, Value, text};
use crate::rejection::Rejection;

/// What an event is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Kind {
    MessageStart,
    BlockStart,
    BlockDelta,
    BlockStop,
    MessageDelta,
    MessageStop,
    Ping,
    Error,
    /// A kind that is not known yet.
    #[default]
    Other,
}

impl Kind {
    fn of(name: &[u8]) -> Self {
        match name {
            b"message_start" => Self::MessageStart,
            b"content_block_start" => Self::BlockStart,
            b"content_block_delta" => Self::BlockDelta,
            b"content_block_stop" => Self::BlockStop,
            b"message_delta" => Self::MessageDelta,
            b"message_stop" => Self::MessageStop,
            b"ping" => Self::Ping,
            b"error" => Self::Error,
            _ => Self::Other,
        }
    }
}

/// What an event says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Event {
    pub(super) kind: Kind,
    /// The block that is meant.
    pub(super) index: u64,
    /// The message that starts.
    pub(super) message: Option<Message>,
    /// The block that starts, or more of it or of the message.
    pub(super) piece: Option<Piece>,
    pub(super) usage: Option<Report>,
}

impl Event {
    /// Reads `event`, whose payload is `payload`.
    ///
    /// The payload says what it is; where it does not, its line `event` does.
    ///
    /// # Errors
    ///
    /// [`Rejection::Decode`] where the payload is not one JSON object, unless the event calls itself
    /// an error.
    pub(super) fn read(event: &[u8], payload: &[u8]) -> Result<Self, Rejection> {
        let named = || Kind::of(name_of(event).unwrap_or_default());
        Self::parse(payload, named).or_else(|problem| match named() {
            Kind::Error => Ok(Self {
                kind: Kind::Error,
                ..Self::default()
            }),
            _ => Err(Rejection::Decode {
                detail: Cow::Owned(format!("upstream event: {problem}")),
            }),
        })
    }

    fn parse(payload: &[u8], named: impl Fn() -> Kind) -> Result<Self, JsonError> {
        let mut read = Self::default();
        let mut kind: Option<Value> = None;
        let mut has_error = false;
        let mut cursor = Cursor::lenient(payload);
        cursor.object(|cursor, key| {
            match key.name {
                b"type" => kind = Some(cursor.value()?),
                b"index" => {
                    let value = cursor.value()?;
                    read.index = text::count(payload, &value);
                }
                b"message" if cursor.kind() == JsonKind::Object => {
                    read.message = Some(Message::read(cursor, |_| {})?);
                }
                b"delta" | b"content_block" => read.piece = Piece::read(cursor)?,
                b"usage" => read.usage = Report::read(cursor)?,
                b"error" => has_error = cursor.value()?.kind == JsonKind::Object,
                _ => cursor.skip()?,
            }
            Ok::<_, JsonError>(())
        })?;
        cursor.end()?;
        read.kind = match kind.filter(|kind| kind.kind == JsonKind::String) {
            Some(kind) => Kind::of(kind.inner().of(payload)),
            None if has_error => Kind::Error,
            None => named(),
        };
        Ok(read)
    }
}
