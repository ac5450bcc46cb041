//! `GET /v1/models` and `GET /v1/models/:id`, answered from the snapshot. [pure]

use config_sync::model::api_key::ApiKey;
use config_sync::model::model::Model;
use config_sync::snapshot::Snapshot;

use crate::json::text::write_escaped;
use crate::rejection::Rejection;

/// Appends the list of models that `key` may use, sorted by id. Wildcard rows have no name to list.
pub fn write_list(snapshot: &Snapshot, key: &ApiKey, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"object\":\"list\",\"data\":[");
    let mut first = true;
    for model in snapshot.model_names() {
        if !key.may_use(&model.display_name) {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        write_model(model, out);
    }
    out.extend_from_slice(b"]}");
}

/// Appends one model. `parameter` is the path parameter as sent.
///
/// # Errors
///
/// [`Rejection::PathParameter`] for malformed percent-encoding; [`Rejection::ModelNotFound`] for
/// what the list would not show to `key`.
pub fn write_one(
    snapshot: &Snapshot,
    key: &ApiKey,
    parameter: &str,
    out: &mut Vec<u8>,
) -> Result<(), Rejection> {
    let name = percent_decoded(parameter).ok_or(Rejection::PathParameter)?;
    let listed = snapshot
        .resolve(&name)
        .filter(|found| *found.model.display_name == *name && !name.contains('*'))
        .filter(|_| key.may_use(&name));
    match listed {
        Some(found) => {
            write_model(found.model, out);
            Ok(())
        }
        None => Err(Rejection::ModelNotFound { model: name.into() }),
    }
}

fn write_model(model: &Model, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":\"");
    write_escaped(&model.display_name, out);
    out.extend_from_slice(b"\",\"object\":\"model\",\"created\":");
    out.extend_from_slice(itoa::Buffer::new().format(model.created).as_bytes());
    out.extend_from_slice(b",\"owned_by\":\"");
    write_escaped(&model.provider, out);
    out.extend_from_slice(b"\"}");
}

/// `None` for a `%` without two hex digits, and for bytes that are not UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push(u8::try_from(high << 4 | low).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_decoded_or_refused() {
        for (sent, want) in [
            ("gpt-4o", Some("gpt-4o")),
            ("openai%2Fgpt%204", Some("openai/gpt 4")),
            ("%c3%A9", Some("é")),
            ("a+b", Some("a+b")),
            ("%", None),
            ("%2", None),
            ("%zz", None),
            ("%+1", None),
            ("%ff", None),
        ] {
            assert_eq!(percent_decoded(sent).as_deref(), want, "{sent}");
        }
    }
}
