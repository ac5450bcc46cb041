//! Who is calling: the presented key, looked up by its digest. [pure]

mod credential;
mod route;

use std::sync::Arc;

use config_sync::model::api_key::ApiKey;
use config_sync::snapshot::Snapshot;
use sha2::{Digest, Sha256};

use crate::bridge::domain::AuthDecision;
use crate::http::h1::RequestHead;
use crate::rejection::{AuthFault, Rejection};

pub use route::{as_principal, by_header, is_key};

/// Why a caller was denied, as the auth counter knows it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Denial {
    MissingCredentials,
    UnknownKey,
    KeyDisabled,
    KeyExpired,
}

impl From<Denial> for AuthDecision {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::MissingCredentials => Self::MissingCredentials,
            Denial::UnknownKey => Self::ApiKeyUnknown,
            Denial::KeyDisabled => Self::ApiKeyDisabled,
            Denial::KeyExpired => Self::ApiKeyExpired,
        }
    }
}

impl From<Denial> for Rejection {
    fn from(denial: Denial) -> Self {
        Self::Unauthenticated(match denial {
            Denial::MissingCredentials => AuthFault::Missing,
            Denial::UnknownKey => AuthFault::Unknown,
            Denial::KeyDisabled => AuthFault::Disabled,
            Denial::KeyExpired => AuthFault::Expired,
        })
    }
}

/// Finds the key of the caller. The plaintext is hashed at once and kept nowhere.
///
/// # Errors
///
/// The 401 for the caller, and the reason for the counter.
pub fn identify<'s>(
    snapshot: &'s Snapshot,
    head: &RequestHead,
    now_unix_ms: i64,
) -> Result<&'s Arc<ApiKey>, (Rejection, Denial)> {
    let found = match credential::presented(head) {
        None => Err(Denial::MissingCredentials),
        Some(plaintext) => snapshot
            .api_key(&Sha256::digest(plaintext).into())
            .ok_or(Denial::UnknownKey),
    };
    found
        .and_then(|key| valid_at(key, now_unix_ms).map(|()| key))
        .map_err(|denial| (denial.into(), denial))
}

/// A key is valid at the very instant it expires.
fn valid_at(key: &ApiKey, now_unix_ms: i64) -> Result<(), Denial> {
    if key.disabled {
        return Err(Denial::KeyDisabled);
    }
    match key.expires_at {
        Some(expires_at) if expires_at < now_unix_ms => Err(Denial::KeyExpired),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::route::fixture;

    #[test]
    fn callers_are_found_by_digest_and_judged_at_the_instant_of_the_call() {
        let snapshot = fixture::snapshot(
            Vec::new(),
            &[],
            &[
                ("good", json!({"allowed_models": []})),
                (
                    "until",
                    json!({"allowed_models": [], "expires_at": "1970-01-01T00:00:01Z"}),
                ),
                ("off", json!({"allowed_models": [], "disabled": true})),
                (
                    "off-and-old",
                    json!({"allowed_models": [], "disabled": true, "expires_at": "1970-01-01T00:00:00Z"}),
                ),
            ],
        );
        for (plaintext, now_unix_ms, want) in [
            ("good", i64::MAX, Ok("k0")),
            ("until", 999, Ok("k1")),
            ("until", 1000, Ok("k1")),
            ("until", 1001, Err(Denial::KeyExpired)),
            ("off", 0, Err(Denial::KeyDisabled)),
            ("off-and-old", 1000, Err(Denial::KeyDisabled)),
            ("Good", 0, Err(Denial::UnknownKey)),
        ] {
            for fields in ["authorization: Bearer", "x-api-key:"] {
                let head = credential::tests::head(&format!("{fields} {plaintext}\r\n"));
                let got = identify(&snapshot, &head, now_unix_ms);
                let got = got.map(|key| &*key.id).map_err(|(_, denial)| denial);
                assert_eq!(got, want, "{plaintext} at {now_unix_ms}");
            }
        }
        let (_, denial) = identify(&snapshot, &credential::tests::head(""), 0).unwrap_err();
        assert_eq!(denial, Denial::MissingCredentials);
    }

    #[test]
    fn every_denial_is_a_401_with_a_reason_of_its_own() {
        let all = [
            (Denial::MissingCredentials, "none", "invalid_api_key"),
            (Denial::UnknownKey, "api_key", "invalid_api_key"),
            (Denial::KeyDisabled, "api_key", "api_key_disabled"),
            (Denial::KeyExpired, "api_key", "api_key_expired"),
        ];
        for (denial, method, code) in all {
            let rejection = Rejection::from(denial);
            assert_eq!(rejection.status(), 401);
            assert_eq!(rejection.kind(), "invalid_api_key");
            let (counted_as, result, _) = AuthDecision::from(denial).labels();
            assert_eq!((counted_as, result), (method, "denied"));
            assert_eq!(rejection.code(), code);
        }
        let reasons = all.map(|(denial, ..)| AuthDecision::from(denial).labels().2);
        let reasons = std::collections::HashSet::from(reasons);
        assert_eq!(reasons.len(), 4);
    }
}
