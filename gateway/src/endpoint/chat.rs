//! `POST /v1/chat/completions`: its messages. [pure]

use super::call::Fault;
use crate::json::{Cursor, Kind, text};
use crate::rejection::Rejection;

const FIELD: &str = "messages";

/// Roles that reach an upstream. What a role means is the upstream's.
const ROLES: [&str; 6] = [
    "user",
    "assistant",
    "system",
    "tool",
    "developer",
    "function",
];

/// Steps over and checks `messages`; returns the UTF-8 bytes of their text.
pub(super) fn messages(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    if cursor.kind() != Kind::Array {
        return Err(Fault::field(FIELD, "must be a list"));
    }
    let mut bytes = 0_u64;
    let mut count = 0;
    cursor.array(|cursor, index| {
        count += 1;
        bytes = bytes.saturating_add(message(cursor, index)?);
        Ok::<_, Fault>(())
    })?;
    if count == 0 {
        return Err(Fault::field(FIELD, "must not be empty"));
    }
    Ok(bytes)
}

/// A problem with the message at `index`.
fn fault(index: usize, problem: &str) -> Fault {
    Fault(Rejection::InvalidRequest {
        problem: format!("messages[{index}]{problem}").into(),
        param: Some(FIELD),
    })
}

fn message(cursor: &mut Cursor<'_>, index: usize) -> Result<u64, Fault> {
    if cursor.kind() != Kind::Object {
        return Err(fault(index, ": must be an object"));
    }
    let mut role_seen = false;
    let mut content_seen = false;
    let mut bytes = 0;
    cursor.object(|cursor, key| match key.name {
        b"role" => {
            if std::mem::replace(&mut role_seen, true) {
                return Err(fault(index, ".role: duplicate field"));
            }
            role(cursor, index)
        }
        b"content" => {
            if std::mem::replace(&mut content_seen, true) {
                return Err(fault(index, ".content: duplicate field"));
            }
            bytes = content(cursor, index)?;
            Ok(())
        }
        _ => Ok(cursor.skip()?),
    })?;
    if !role_seen {
        return Err(fault(index, ".role: missing field"));
    }
    Ok(bytes)
}

fn role(cursor: &mut Cursor<'_>, index: usize) -> Result<(), Fault> {
    let value = cursor.value()?;
    if ROLES
        .iter()
        .any(|role| text::is(cursor.document(), &value, role))
    {
        return Ok(());
    }
    Err(fault(
        index,
        ".role: must be system, developer, user, assistant, tool or function",
    ))
}

/// The text bytes of a content: a string, `null` or a list of parts.
fn content(cursor: &mut Cursor<'_>, index: usize) -> Result<u64, Fault> {
    match cursor.kind() {
        Kind::String => {
            let value = cursor.value()?;
            Ok(text::decoded_len(cursor.document(), &value))
        }
        Kind::Null => cursor.skip().map(|()| 0).map_err(Fault::from),
        Kind::Array => {
            let mut bytes = 0_u64;
            cursor.array(|cursor, _| {
                if cursor.kind() != Kind::Object {
                    return Err(fault(index, ".content: parts must be objects"));
                }
                cursor.object(|cursor, key| {
                    let is_text = key.name == b"text";
                    let value = cursor.value()?;
                    if is_text {
                        let length = text::decoded_len(cursor.document(), &value);
                        bytes = bytes.saturating_add(length);
                    }
                    Ok::<_, Fault>(())
                })?;
                Ok(())
            })?;
            Ok(bytes)
        }
        _ => Err(fault(index, ".content: must be a string, null or a list")),
    }
}

/// Steps over a value; returns the UTF-8 bytes of the text a model reads in it: the value itself where
/// it is a string, and every member named `text`, `content`, `thinking`, `output` or `arguments`.
pub(super) fn text_bytes(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    match cursor.kind() {
        Kind::String => {
            let value = cursor.value()?;
            Ok(text::decoded_len(cursor.document(), &value))
        }
        Kind::Array => {
            let mut bytes = 0_u64;
            cursor.array(|cursor, _| {
                bytes = bytes.saturating_add(text_bytes(cursor)?);
                Ok::<_, Fault>(())
            })?;
            Ok(bytes)
        }
        Kind::Object => {
            let mut bytes = 0_u64;
            cursor.object(|cursor, key| {
                match key.name {
                    b"text" | b"content" | b"thinking" | b"output" | b"arguments" => {
                        bytes = bytes.saturating_add(text_bytes(cursor)?);
                    }
                    _ => cursor.skip()?,
                }
                Ok::<_, Fault>(())
            })?;
            Ok(bytes)
        }
        _ => cursor.skip().map(|()| 0).map_err(Fault::from),
    }
}
