//! The tool calls of one stream, put together from their pieces. [pure]
//!
//! A call is told once its id and its name are known; arguments that come before are held. Upstreams
//! number calls, but not all of them do, and some give no id.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::said::{CALLS_MAX, Piece};
use crate::canonical::{Delta, Escaped};
use crate::json::{Kind, text};
use crate::rejection::Rejection;

/// Most bytes held for the calls of one stream, as JSON escapes them: ids, names, and arguments of calls
/// whose id or name is not known yet.
const HELD_BYTES_MAX: usize = 1024 * 1024;

/// What stands for a call's id where the upstream gave none: the same for the same call of the same
/// answer, another one for every other.
pub(super) fn minted_id(answer_id: &str, ordinal: usize, name: &[u8], arguments: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    (answer_id, ordinal, name, arguments).hash(&mut hasher);
    format!("call_{:016x}", hasher.finish())
}

/// The calls of one stream.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// In the order in which they appeared; at most [`CALLS_MAX`].
    calls: Vec<Call>,
    /// How many were told.
    begun: u32,
    /// Bytes in all ids, names and [`Call::held`].
    held_bytes: usize,
}

/// One call. Texts are as they stood between their quotes.
#[derive(Debug, Default)]
struct Call {
    /// The upstream's number.
    number: Option<u64>,
    id: Option<Box<[u8]>>,
    name: Option<Box<[u8]>>,
    /// Arguments that came before the call could be told.
    held: Vec<u8>,
    /// Its index, once it was told.
    index: Option<u32>,
}

impl Call {
    /// Tells the call and what was held of it, once id and name are known.
    fn tell(&mut self, begun: &mut u32, emit: &mut dyn FnMut(Delta<'_>)) {
        let (None, Some(id), Some(name)) = (self.index, &self.id, &self.name) else {
            return;
        };
        let (id, name) = (Escaped::new(id), Escaped::new(name));
        let index = *self.index.insert(*begun);
        *begun += 1;
        emit(Delta::ToolCall { index, id, name });
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            let json = Escaped::new(&held);
            emit(Delta::Arguments { index, json });
        }
    }
}

impl Calls {
    /// Whether there is any.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Takes a piece of a call in `payload`; returns the UTF-8 bytes of its texts.
    ///
    /// # Errors
    ///
    /// [`Rejection::Decode`] for more calls or held bytes than are allowed.
    pub(super) fn take(
        &mut self,
        payload: &[u8],
        piece: &Piece,
        emit: &mut dyn FnMut(Delta<'_>),
    ) -> Result<u64, Rejection> {
        let raw = |value: crate::json::Value| value.inner().of(payload);
        let (id, name) = (piece.id.map(raw), piece.name.map(raw));
        if id.is_none() && name.is_none() && piece.arguments.is_none() {
            return Ok(0);
        }
        let at = match self.place_of(piece.index, id, name) {
            Some(at) => at,
            None if self.calls.len() >= CALLS_MAX => return Err(excess("too many tool calls")),
            None => {
                self.calls.push(Call {
                    number: piece.index,
                    ..Call::default()
                });
                self.calls.len() - 1
            }
        };
        let Some(call) = self.calls.get_mut(at) else {
            return Ok(0);
        };
        let mut bytes = 0;
        if let (None, Some(name)) = (&call.name, piece.name) {
            bytes += text::decoded_len(payload, &name);
        }
        let id = id.filter(|_| call.id.is_none());
        let name = name.filter(|_| call.name.is_none());
        let kept = id.map_or(0, <[u8]>::len) + name.map_or(0, <[u8]>::len);
        if self.held_bytes + kept > HELD_BYTES_MAX {
            return Err(excess("ids and names of tool calls"));
        }
        self.held_bytes += kept;
        call.id = call.id.take().or_else(|| id.map(Box::from));
        call.name = call.name.take().or_else(|| name.map(Box::from));
        self.held_bytes -= call.held.len();
        call.tell(&mut self.begun, emit);
        self.held_bytes += call.held.len();
        let Some(arguments) = piece.arguments else {
            return Ok(bytes);
        };
        let mut escaped = Vec::new();
        let json = if arguments.kind == Kind::String {
            bytes += text::decoded_len(payload, &arguments);
            raw(arguments)
        } else {
            let object = String::from_utf8_lossy(arguments.span.of(payload));
            bytes += object.len() as u64;
            text::write_escaped(&object, &mut escaped);
            &escaped
        };
        if let Some(index) = call.index {
            let json = Escaped::new(json);
            emit(Delta::Arguments { index, json });
        } else if self.held_bytes + json.len() > HELD_BYTES_MAX {
            return Err(excess("arguments of a tool call without id or name"));
        } else {
            self.held_bytes += json.len();
            call.held.extend_from_slice(json);
        }
        Ok(bytes)
    }

    /// Tells the calls whose id never came. To be called at the end of the stream.
    ///
    /// # Errors
    ///
    /// [`Rejection::Decode`] for a call without a name.
    pub(super) fn flush(
        &mut self,
        answer_id: &str,
        emit: &mut dyn FnMut(Delta<'_>),
    ) -> Result<(), Rejection> {
        for (ordinal, call) in self.calls.iter_mut().enumerate() {
            if call.index.is_some() {
                continue;
            }
            let Some(name) = &call.name else {
                return Err(excess("a tool call without a name"));
            };
            if call.id.is_none() {
                let minted = minted_id(answer_id, ordinal, name, &call.held);
                call.id = Some(minted.into_bytes().into());
            }
            call.tell(&mut self.begun, emit);
        }
        Ok(())
    }

    /// Where the call stands that a piece belongs to; `None` for a new one.
    fn place_of(
        &self,
        number: Option<u64>,
        id: Option<&[u8]>,
        name: Option<&[u8]>,
    ) -> Option<usize> {
        let is_it = |call: &Call| match (number, id) {
            (Some(_), _) => call.number == number,
            (None, Some(id)) => call.id.as_deref() == Some(id),
            (None, None) => true,
        };
        let at = self.calls.iter().rposition(is_it)?;
        let call = self.calls.get(at)?;
        // Some upstreams give several calls one number, or none: another id begins another call,
        // and so does a name where nothing else tells calls apart.
        let other_id = id.is_some() && call.id.is_some() && call.id.as_deref() != id;
        let another = number.is_none() && id.is_none() && name.is_some() && call.name.is_some();
        (!other_id && !another).then_some(at)
    }
}

fn excess(what: &'static str) -> Rejection {
    Rejection::Decode {
        detail: format!("upstream event: {what}").into(),
    }
}
