//! Which schemas can be promised to be obeyed. [pure]

use serde_json::value::RawValue;

use crate::json::{Cursor, JsonError, Kind};

/// What is known of one object of a schema.
#[derive(Default)]
struct Seen {
    /// Members of `properties`; `None` without any.
    properties: Option<usize>,
    required: usize,
    /// Whether `additionalProperties` is `false`.
    closed: bool,
    /// Whether `type` is `object`, alone or among others.
    object: bool,
}

/// Whether every object in `schema` forbids further properties and requires those it names: what
/// OpenAI asks of a strict schema. It refuses others.
pub(super) fn is_closed(schema: &RawValue) -> bool {
    let mut cursor = Cursor::strict(schema.get().as_bytes());
    walk(&mut cursor).unwrap_or(false)
}

/// Steps over a schema, or a list of them. The cursor bounds the depth.
fn walk(cursor: &mut Cursor<'_>) -> Result<bool, JsonError> {
    match cursor.kind() {
        Kind::Object => object(cursor),
        Kind::Array => {
            let mut closed = true;
            cursor.array(|cursor, _| {
                closed &= walk(cursor)?;
                Ok::<_, JsonError>(())
            })?;
            Ok(closed)
        }
        _ => cursor.skip().map(|()| true),
    }
}

fn object(cursor: &mut Cursor<'_>) -> Result<bool, JsonError> {
    let mut seen = Seen::default();
    let mut closed = true;
    cursor.object(|cursor, key| {
        match key.name {
            b"properties" => {
                let (count, inside) = named(cursor)?;
                seen.properties = Some(count);
                closed &= inside;
            }
            b"$defs" | b"definitions" => closed &= named(cursor)?.1,
            b"items" | b"prefixItems" | b"anyOf" | b"allOf" | b"oneOf" => closed &= walk(cursor)?,
            b"required" if cursor.kind() == Kind::Array => {
                cursor.array(|cursor, _| {
                    seen.required += 1;
                    cursor.skip()
                })?;
            }
            b"additionalProperties" => seen.closed = cursor.value()?.kind == Kind::Bool(false),
            b"type" => {
                let span = cursor.value()?.span;
                let kinds = span.of(cursor.document());
                seen.object = memchr::memmem::find(kinds, b"\"object\"").is_some();
            }
            _ => cursor.skip()?,
        }
        Ok::<_, JsonError>(())
    })?;
    let is_object = seen.object || seen.properties.is_some();
    let all = seen.closed && seen.properties.unwrap_or(0) == seen.required;
    Ok(closed && (!is_object || all))
}

/// Steps over an object of named schemas; returns their number and whether all are closed.
fn named(cursor: &mut Cursor<'_>) -> Result<(usize, bool), JsonError> {
    if cursor.kind() != Kind::Object {
        cursor.skip()?;
        return Ok((0, false));
    }
    let (mut count, mut closed) = (0, true);
    cursor.object(|cursor, _| {
        count += 1;
        closed &= walk(cursor)?;
        Ok::<_, JsonError>(())
    })?;
    Ok((count, closed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_closed_when_all_its_objects_are() {
        let cases = [
            (
                r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}"#,
                true,
            ),
            (
                r#"{"type":"object","properties":{"a":{}},"required":[],"additionalProperties":false}"#,
                false,
            ),
            (
                r#"{"type":"object","properties":{"a":{}},"required":["a"]}"#,
                false,
            ),
            (
                r#"{"type":"object","properties":{"a":{"type":"object"}},"required":["a"],"additionalProperties":false}"#,
                false,
            ),
            (
                r#"{"properties":{"a":{"items":{"type":["object","null"]}}},"required":["a"],"additionalProperties":false}"#,
                false,
            ),
            (
                r#"{"properties":{"properties":{"type":"number"}},"required":["properties"],"additionalProperties":false}"#,
                true,
            ),
            (
                r##"{"$ref":"#/$defs/a","$defs":{"a":{"type":"object","additionalProperties":true}}}"##,
                false,
            ),
            (r#"{"anyOf":[{"type":"string"},{"type":"object"}]}"#, false),
            (r#"{"type":"string","enum":["\"object\""]}"#, true),
            (r#"{"properties":7}"#, false),
            ("{}", true),
        ];
        for (schema, want) in cases {
            let raw: &RawValue = serde_json::from_str(schema).unwrap();
            assert_eq!(is_closed(raw), want, "{schema}");
        }
    }
}
