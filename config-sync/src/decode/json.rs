//! JSON text to a tree of values, and to its canonical text. [pure]

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use super::{Rejection, RejectionKind};
use crate::document::Document;
use crate::tree::{Map, Value};

/// Deepest nesting. Resources need 8; the rest is room for free-form body fields.
pub const DEPTH_MAX: usize = 64;
/// Longest document. A store's own limit is near 1.5 MiB.
pub const VALUE_BYTES_MAX: usize = 4 << 20;

/// What the reader refuses though it is JSON.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Trouble {
    TooDeep,
    DuplicateKey,
}

/// Parses one JSON document. What was read is wiped also where the rest is refused.
///
/// A key that an object holds twice has no one meaning, like both spellings of a renamed field, so
/// it is refused the same way.
///
/// # Errors
///
/// [`RejectionKind::NonJson`] for another syntax or nesting beyond [`DEPTH_MAX`],
/// [`RejectionKind::ParseFailed`] for a duplicate key or more than [`VALUE_BYTES_MAX`] bytes. The
/// message gives the place, never the text.
pub fn parse(text: &[u8]) -> Result<Document, Rejection> {
    if text.len() > VALUE_BYTES_MAX {
        let why = format!("the document is longer than {VALUE_BYTES_MAX} bytes");
        return Err(Rejection::new(RejectionKind::ParseFailed, &why));
    }
    let trouble = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(text);
    let seed = Seed {
        depth: 0,
        trouble: &trouble,
    };
    let parsed = seed
        .deserialize(&mut reader)
        .map(Document::from)
        .and_then(|document| reader.end().map(|()| document));
    parsed.map_err(|error| {
        let (kind, what) = match trouble.get() {
            Some(Trouble::TooDeep) => (RejectionKind::NonJson, "nested too deeply"),
            Some(Trouble::DuplicateKey) => (
                RejectionKind::ParseFailed,
                "a key is written twice in one object",
            ),
            None => (RejectionKind::NonJson, "not JSON"),
        };
        let (line, column) = (error.line(), error.column());
        Rejection::new(kind, &format!("{what} at line {line}, column {column}"))
    })
}

/// Reads any value, `depth` levels below the root.
#[derive(Clone, Copy)]
struct Seed<'t> {
    depth: usize,
    trouble: &'t Cell<Option<Trouble>>,
}

impl Seed<'_> {
    fn below<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX {
            return Err(self.refuse(Trouble::TooDeep));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }

    fn refuse<E: serde::de::Error>(self, trouble: Trouble) -> E {
        self.trouble.set(Some(trouble));
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        // A document, so that what was read is wiped if the rest is refused.
        let mut list = Document::from(Value::Array(Vec::new()));
        while let Some(item) = items.next_element_seed(below)? {
            if let Value::Array(list) = list.value_mut() {
                list.push(item);
            }
        }
        Ok(std::mem::take(list.value_mut()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut object = Document::from(Value::Object(Map::new()));
        while let Some(key) = entries.next_key::<String>()? {
            let Value::Object(fields) = object.value_mut() else {
                continue;
            };
            if fields.contains_key(&key) {
                return Err(self.refuse(Trouble::DuplicateKey));
            }
            fields.insert(key, entries.next_value_seed(below)?);
        }
        Ok(std::mem::take(object.value_mut()))
    }
}

/// The one text that stands for `value`: keys sorted by their bytes, no whitespace.
///
/// It is wiped when dropped, and its memory never moves.
pub fn canonical(value: &Value) -> Zeroizing<Vec<u8>> {
    let mut length = Count(0);
    write_canonical(value, &mut length);
    let mut text = Zeroizing::new(Vec::with_capacity(length.0));
    write_canonical(value, &mut *text);
    debug_assert_eq!(text.len(), length.0);
    text
}

/// Measures what is written.
struct Count(usize);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn write_canonical(value: &Value, out: &mut impl std::io::Write) {
    // Neither writer above can fail, nor can a value be no JSON: all keys are strings.
    let raw = |out: &mut _, bytes: &[u8]| {
        let _ = std::io::Write::write_all(out, bytes);
    };
    match value {
        Value::Array(items) => {
            raw(out, b"[");
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    raw(out, b",");
                }
                write_canonical(item, out);
            }
            raw(out, b"]");
        }
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| key.as_bytes());
            raw(out, b"{");
            for (index, (key, field)) in fields.into_iter().enumerate() {
                if index > 0 {
                    raw(out, b",");
                }
                let _ = serde_json::to_writer(&mut *out, key);
                raw(out, b":");
                write_canonical(field, out);
            }
            raw(out, b"}");
        }
        scalar => {
            let _ = serde_json::to_writer(&mut *out, scalar);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_are_read_as_serde_reads_them() {
        let texts = [
            r#"{"b":[1,-2,1.5,1e3,true,null,"\u00e9\n"],"a":{"x":{}}}"#,
            "18446744073709551615",
            " [] ",
            "\"text\"",
        ];
        for text in texts {
            let want: Value = serde_json::from_str(text).unwrap();
            assert_eq!(parse(text.as_bytes()).unwrap().value(), &want, "{text}");
        }
    }

    #[test]
    fn what_is_refused_is_told_by_its_place_and_not_quoted() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        let deep = nested(DEPTH_MAX + 1);
        let long = " ".repeat(VALUE_BYTES_MAX + 1);
        let cases: &[(&[u8], RejectionKind, &str)] = &[
            (b"", RejectionKind::NonJson, "not JSON at line 1, column 0"),
            (b"canary", RejectionKind::NonJson, "not JSON at line 1"),
            (b"{\"a\":1} canary", RejectionKind::NonJson, "not JSON"),
            (b"{\"canary\": canary", RejectionKind::NonJson, "not JSON"),
            (b"[\"canary\", 1e999]", RejectionKind::NonJson, "not JSON"),
            (b"\"canary \xff\"", RejectionKind::NonJson, "not JSON"),
            (b"{canary: 1}", RejectionKind::NonJson, "not JSON"),
            (
                deep.as_bytes(),
                RejectionKind::NonJson,
                "nested too deeply at line 1",
            ),
            (
                b"{\"canary\":1,\n \"canary\":2}",
                RejectionKind::ParseFailed,
                "twice in one object at line 2",
            ),
            (
                b"{\"a\":1,\"x\":{\"a\":1,\"\\u0061\":2}}",
                RejectionKind::ParseFailed,
                "twice in one object",
            ),
            (long.as_bytes(), RejectionKind::ParseFailed, "longer than"),
        ];
        for (text, kind, want) in cases {
            let shown = String::from_utf8_lossy(&text[..text.len().min(80)]);
            let rejection = parse(text).map(drop).expect_err(&shown);
            assert_eq!(rejection.kind, *kind, "{shown}");
            assert!(rejection.message.contains(want), "{shown}: {rejection}");
            assert!(!rejection.message.contains("canary"), "{shown}");
        }
    }

    #[test]
    fn equal_documents_have_one_canonical_text() {
        let cases = [
            (
                json!({"b": 1, "a": [true, null, {"d": "é\n", "c": 1.5}], "A": {}}),
                "{\"A\":{},\"a\":[true,null,{\"c\":1.5,\"d\":\"é\\n\"}],\"b\":1}",
            ),
            (json!([]), "[]"),
            (json!("x"), "\"x\""),
        ];
        for (value, want) in cases {
            assert_eq!(canonical(&value).as_slice(), want.as_bytes());
        }
        let (one, other) = (
            parse(b"{\"a\":1,\"b\":2e0}").unwrap(),
            parse(b" {\"b\" : 2.0,\"a\":1}\n").unwrap(),
        );
        assert_eq!(canonical(one.value()), canonical(other.value()));
    }
}
