//! Who is calling a passthrough route that does not look for a key where typed routes do. [pure]

use std::sync::Arc;

use config_sync::model::api_key::ApiKey;
use config_sync::snapshot::Snapshot;
use sha2::{Digest, Sha256};

use super::credential::bearer;
use super::{Denial, valid_at};
use crate::http::h1::RequestHead;

/// Finds the key that stands in the header `name`, raw or as a bearer token.
///
/// # Errors
///
/// Why the caller is denied. Two lines of that name count as none: which one counts would be a guess.
pub fn by_header<'s>(
    snapshot: &'s Snapshot,
    head: &RequestHead,
    name: &str,
    now_unix_ms: i64,
) -> Result<&'s Arc<ApiKey>, Denial> {
    let mut values = head.header_all(name);
    let value = values.next().filter(|_| values.next().is_none());
    let plaintext = value.map(token).filter(|token| !token.is_empty());
    let plaintext = plaintext.ok_or(Denial::MissingCredentials)?;
    let key = find(snapshot, plaintext).ok_or(Denial::UnknownKey)?;
    valid_at(key, now_unix_ms).map(|()| key)
}

/// Lets a request run as `key`, that of an anonymous route, if it is there and valid.
///
/// # Errors
///
/// Why it is not.
pub fn as_principal(key: Option<&Arc<ApiKey>>, now_unix_ms: i64) -> Result<&Arc<ApiKey>, Denial> {
    let key = key.ok_or(Denial::UnknownKey)?;
    valid_at(key, now_unix_ms).map(|()| key)
}

/// Whether `value` is the key of a caller, raw or as a bearer token, be it disabled or expired.
pub fn is_key(snapshot: &Snapshot, value: &[u8]) -> bool {
    find(snapshot, token(value)).is_some()
}

fn token(value: &[u8]) -> &[u8] {
    bearer(value).unwrap_or(value.trim_ascii())
}

fn find<'s>(snapshot: &'s Snapshot, plaintext: &[u8]) -> Option<&'s Arc<ApiKey>> {
    snapshot.api_key(&Sha256::digest(plaintext).into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::credential::tests::head;
    use crate::route::fixture;

    fn snapshot() -> Snapshot {
        let key = |extra| {
            let mut key = json!({"allowed_models": []});
            key.as_object_mut().unwrap().extend(match extra {
                serde_json::Value::Object(extra) => extra,
                _ => panic!("members"),
            });
            key
        };
        fixture::snapshot(
            Vec::new(),
            &[],
            &[
                ("good", key(json!({}))),
                ("off", key(json!({"disabled": true}))),
                ("old", key(json!({"expires_at": "1970-01-01T00:00:00Z"}))),
            ],
        )
    }

    #[test]
    fn a_key_stands_raw_or_as_a_token_in_one_line_of_its_header() {
        let snapshot = snapshot();
        for (fields, want) in [
            ("x-key: good\r\n", Ok("k0")),
            ("X-KEY:  good \r\n", Ok("k0")),
            ("x-key: Bearer good\r\n", Ok("k0")),
            ("x-key: bearer  good\r\n", Ok("k0")),
            ("x-key: Basic good\r\n", Err(Denial::UnknownKey)),
            ("x-key: bad\r\n", Err(Denial::UnknownKey)),
            ("x-key: off\r\n", Err(Denial::KeyDisabled)),
            ("x-key: old\r\n", Err(Denial::KeyExpired)),
            ("x-key: \r\n", Err(Denial::MissingCredentials)),
            ("", Err(Denial::MissingCredentials)),
            (
                "x-key: good\r\nx-key: good\r\n",
                Err(Denial::MissingCredentials),
            ),
            (
                "authorization: Bearer good\r\n",
                Err(Denial::MissingCredentials),
            ),
        ] {
            let got = by_header(&snapshot, &head(fields), "x-key", 1);
            assert_eq!(got.map(|key| &*key.id), want, "{fields}");
        }
    }

    #[test]
    fn a_principal_must_be_there_and_valid() {
        let snapshot = snapshot();
        let find = |id: &str| snapshot.api_keys().find(|key| &*key.id == id);
        for (id, want) in [
            ("k0", Ok("k0")),
            ("k1", Err(Denial::KeyDisabled)),
            ("k2", Err(Denial::KeyExpired)),
            ("k3", Err(Denial::UnknownKey)),
        ] {
            let got = as_principal(find(id), 1);
            assert_eq!(got.map(|key| &*key.id), want, "{id}");
        }
    }

    #[test]
    fn any_key_of_a_caller_is_recognised_also_one_that_is_no_longer_valid() {
        let snapshot = snapshot();
        for (value, want) in [
            ("good", true),
            ("Bearer good", true),
            ("bearer off", true),
            ("old", true),
            ("Basic good", false),
            ("theirs", false),
            ("", false),
        ] {
            assert_eq!(is_key(&snapshot, value.as_bytes()), want, "{value}");
        }
    }
}
