//! Agents behind the gateway. [pure]

use std::sync::Arc;

use super::field;
use super::http_url::{self, HttpUrl};
use crate::secret::Secret;
use crate::tree::{Fields, Problems, Unknown, Value};

/// Deadline of one call, in ms, where none is written.
const TIMEOUT_MS: u64 = 30_000;

/// An agent, as read from its document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct A2aAgent {
    /// One segment of a path: it is served at `/a2a/<name>`.
    pub name: Arc<str>,
    /// Its JSON-RPC endpoint. `None` where a document of a store has no URL there: nothing can be
    /// sent to it.
    pub url: Option<HttpUrl>,
    /// The version it speaks.
    pub protocol_version: A2aVersion,
    /// What is presented there.
    pub auth: A2aAuth,
    /// Deadline of one call; never 0.
    pub timeout_ms: u64,
    /// Whether it is served.
    pub enabled: bool,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum A2aVersion {
    /// 1.0.
    V1_0,
    /// 0.3.
    V0_3,
}

const VERSIONS: [(&str, A2aVersion); 2] = [("1.0", A2aVersion::V1_0), ("0.3", A2aVersion::V0_3)];

impl A2aVersion {
    /// The value of `A2A-Version`.
    pub fn header_value(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V0_3 => "0.3",
        }
    }
}

/// The credential for an agent. Callers never see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum A2aAuth {
    /// None.
    None,
    /// `Authorization: Bearer`.
    Bearer(Secret),
    /// `x-api-key`.
    ApiKey(Secret),
}

#[derive(Clone, Copy)]
enum AuthWord {
    None,
    Bearer,
    ApiKey,
}

const AUTHS: [(&str, AuthWord); 3] = [
    ("none", AuthWord::None),
    ("bearer", AuthWord::Bearer),
    ("api_key", AuthWord::ApiKey),
];

impl A2aAgent {
    /// Reads a document. The result is usable only if no problem was noted.
    pub fn read(value: &Value, problems: &Problems, unknown: Unknown) -> Self {
        let fields = Fields::new(value, "", problems, unknown);
        fields.refuse_null(&["protocol_version", "auth_type", "enabled"]);
        let name = field::name(&fields);
        if !name.is_empty() && !field::is_path_segment(name) {
            fields.problem("name", field::NOT_A_PATH_SEGMENT);
        }
        let protocol_version = fields.take_choice("protocol_version", &VERSIONS);
        let agent = Self {
            name: name.into(),
            url: http_url::read_loose(&fields, "url"),
            protocol_version: protocol_version.unwrap_or(A2aVersion::V1_0),
            auth: read_auth(&fields),
            timeout_ms: fields
                .take_u64_in("timeout_ms", 1, u64::MAX)
                .unwrap_or(TIMEOUT_MS),
            enabled: fields.take_bool("enabled").unwrap_or(true),
        };
        fields.finish();
        agent
    }
}

fn read_auth(fields: &Fields<'_>) -> A2aAuth {
    let secret = |fields| {
        field::required_header_secret(fields, "secret").unwrap_or_else(|| Secret::from(""))
    };
    match fields
        .take_choice("auth_type", &AUTHS)
        .unwrap_or(AuthWord::None)
    {
        AuthWord::None => {
            fields.take_str("secret");
            A2aAuth::None
        }
        AuthWord::Bearer => A2aAuth::Bearer(secret(fields)),
        AuthWord::ApiKey => A2aAuth::ApiKey(secret(fields)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_as(value: &Value, unknown: Unknown) -> (A2aAgent, Vec<String>, Vec<String>) {
        let problems = Problems::default();
        let agent = A2aAgent::read(value, &problems, unknown);
        let ignored = problems.ignored();
        let said = problems.into_vec();
        (
            agent,
            said.iter().map(ToString::to_string).collect(),
            ignored,
        )
    }

    /// A minimal valid document with `extra` on top.
    fn with(extra: &Value) -> Value {
        let mut doc = json!({"name": "invoices", "url": "https://agents.example.net/a2a"});
        for (key, value) in extra.as_object().unwrap() {
            doc[key] = value.clone();
        }
        doc
    }

    #[test]
    fn absent_fields_have_their_defaults_and_written_ones_are_read() {
        let url = HttpUrl::parse("https://agents.example.net/a2a").ok();
        let mut want = A2aAgent {
            name: "invoices".into(),
            url,
            protocol_version: A2aVersion::V1_0,
            auth: A2aAuth::None,
            timeout_ms: 30_000,
            enabled: true,
        };
        assert_eq!(read_as(&with(&json!({})), Unknown::Refused).0, want);
        let extra = json!({"protocol_version": "0.3", "auth_type": "api_key", "secret": "k-9",
                           "timeout_ms": 5, "enabled": false});
        want.protocol_version = A2aVersion::V0_3;
        want.auth = A2aAuth::ApiKey("k-9".into());
        (want.timeout_ms, want.enabled) = (5, false);
        let (agent, said, _) = read_as(&with(&extra), Unknown::Refused);
        assert_eq!((agent, said), (want, vec![]));
        for (word, version) in VERSIONS {
            assert_eq!(version.header_value(), word);
        }
    }

    #[test]
    fn each_mistake_is_named_by_its_field_and_never_quoted() {
        const OK: &str = "";
        let both = |extra: Value, want: &'static str| (extra, want, want);
        let cases = [
            both(json!({"name": ""}), "name: must not be empty"),
            both(json!({"name": "canary/b"}), "name: must be one segment"),
            both(json!({"name": "canary b"}), "name: must be one segment"),
            both(json!({"name": "a__b_"}), OK),
            both(json!({"name": null, "display_name": "b"}), OK),
            both(
                json!({"display_name": "canary"}),
                "name: `name` and its former name",
            ),
            both(json!({"url": null}), "url: is required"),
            (json!({"url": "canary"}), "url: must start with http", OK),
            (
                json!({"url": "https://canary@h"}),
                "url: must not hold a user name",
                OK,
            ),
            both(
                json!({"protocol_version": "canary"}),
                "protocol_version: must be one of 1.0, 0.3",
            ),
            both(
                json!({"protocol_version": null}),
                "protocol_version: must not be null",
            ),
            both(
                json!({"auth_type": "oauth2"}),
                "auth_type: must be one of none, bearer, api_key",
            ),
            both(json!({"auth_type": null}), "auth_type: must not be null"),
            both(json!({"auth_type": "bearer"}), "secret: is required"),
            both(
                json!({"auth_type": "api_key", "secret": ""}),
                "secret: must not be empty",
            ),
            both(
                json!({"auth_type": "bearer", "secret": "canary\r"}),
                "secret: must not hold line",
            ),
            both(json!({"secret": "unused"}), OK),
            both(json!({"secret": null, "timeout_ms": null}), OK),
            both(json!({"timeout_ms": 0}), "timeout_ms: must be 1 to"),
            both(
                json!({"timeout_ms": -1}),
                "timeout_ms: must be a whole number",
            ),
            both(json!({"enabled": null}), "enabled: must not be null"),
            (json!({"novel": "canary"}), "novel: unknown key", OK),
        ];
        for (extra, strict, lenient) in cases {
            for (unknown, want) in [(Unknown::Refused, strict), (Unknown::Ignored, lenient)] {
                let (_, said, _) = read_as(&with(&extra), unknown);
                assert_eq!(
                    said.len(),
                    usize::from(!want.is_empty()),
                    "{extra}: {said:?}"
                );
                assert!(
                    said.iter().all(|line| line.starts_with(want)),
                    "{extra}: {said:?}"
                );
                assert!(said.iter().all(|line| !line.contains("canary")), "{said:?}");
            }
        }
        let (agent, _, ignored) = read_as(&with(&json!({"url": "x", "n": 1})), Unknown::Ignored);
        assert_eq!(
            (agent.url, ignored),
            (None, vec!["url".to_owned(), "n".to_owned()])
        );
    }

    #[test]
    fn no_credential_is_printed() {
        let extra = json!({"url": "https://h/canary", "auth_type": "bearer", "secret": "canary"});
        let (agent, said, _) = read_as(&with(&extra), Unknown::Refused);
        assert_eq!(said, Vec::<String>::new());
        let printed = format!("{agent:?} {agent:#?}");
        assert!(
            !printed.contains("canary") && printed.contains("invoices"),
            "{printed}"
        );
    }
}
