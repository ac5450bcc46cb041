//! Tool servers behind the gateway. [pure]

use std::fmt;
use std::sync::Arc;

use super::http_url::{self, HttpUrl};
use super::{field, header};
use crate::secret::Secret;
use crate::tree::{Fields, Map, Problems, Unknown, Value};

/// Deadline of one operation, in ms, where none is written.
const TIMEOUT_MS: u64 = 30_000;
/// Header of an API key, in lower case, where none is written.
const API_KEY_HEADER: &str = "x-api-key";
/// What stands between the server's and the tool's name in the name that callers see.
const TOOL_SEPARATOR: &str = "__";

/// A tool server, as read from its document.
#[derive(Clone, Debug, PartialEq)]
pub struct McpServer {
    /// Holds no `__` and does not end in `_`: callers see its tools as `<name>__<tool>`.
    pub name: Arc<str>,
    /// The endpoint, or the base of a REST service. `None` where a document of a store has no URL
    /// there: nothing can be sent to it.
    pub url: Option<HttpUrl>,
    /// What is spoken there.
    pub kind: McpServerKind,
    /// What is presented there.
    pub auth: McpAuth,
    /// The one protocol version that is spoken; `None`: as negotiated.
    pub protocol_version: Option<McpProtocolVersion>,
    /// Deadline of one operation; never 0.
    pub timeout_ms: u64,
    /// Whether it is served.
    pub enabled: bool,
    /// A credential would cross a network without TLS: worth a warning to its writer.
    pub secret_in_clear: bool,
}

/// What a server speaks.
#[derive(Clone, Debug, PartialEq)]
pub enum McpServerKind {
    /// MCP over streamable HTTP.
    Mcp,
    /// REST, with a tool for each operation of this document.
    Openapi(OpenApi),
}

/// An OpenAPI 3 document; free-form as far as it was checked.
#[derive(Clone, PartialEq)]
pub struct OpenApi(pub Arc<Map<String, Value>>);

impl fmt::Debug for OpenApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenApi(..)")
    }
}

/// The credential for a server. Callers never see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum McpAuth {
    /// None.
    None,
    /// `Authorization: Bearer`.
    Bearer(Secret),
    /// A header of its own.
    ApiKey {
        /// In lower case.
        header: Box<str>,
        /// Its value.
        secret: Secret,
    },
    /// Client credentials, exchanged for a bearer token.
    Oauth2 {
        /// The client.
        client_id: Box<str>,
        /// Its secret.
        client_secret: Secret,
        /// Where tokens come from. `None` where a document of a store has no URL there.
        token_url: Option<HttpUrl>,
        /// Joined with blanks.
        scopes: Box<str>,
    },
}

/// A protocol version that is spoken without negotiation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum McpProtocolVersion {
    /// 2026-07-28: stateless, no downgrade.
    V20260728,
}

const PROTOCOL_VERSIONS: [(&str, McpProtocolVersion); 1] =
    [("2026-07-28", McpProtocolVersion::V20260728)];

#[derive(Clone, Copy, PartialEq)]
enum KindWord {
    Mcp,
    Openapi,
}

const KINDS: [(&str, KindWord); 2] = [("mcp", KindWord::Mcp), ("openapi", KindWord::Openapi)];

#[derive(Clone, Copy, PartialEq)]
enum AuthWord {
    None,
    Bearer,
    ApiKey,
    Oauth2,
}

const AUTHS: [(&str, AuthWord); 4] = [
    ("none", AuthWord::None),
    ("bearer", AuthWord::Bearer),
    ("api_key", AuthWord::ApiKey),
    ("oauth2", AuthWord::Oauth2),
];

impl McpServer {
    /// Reads a document. The result is usable only if no problem was noted.
    pub fn read(value: &Value, problems: &Problems, unknown: Unknown) -> Self {
        let fields = Fields::new(value, "", problems, unknown);
        fields.refuse_null(&["type", "transport", "auth_type", "enabled"]);
        let name = read_name(&fields).into();
        let url = http_url::read_loose(&fields, "url");
        let kind_word = fields.take_choice("type", &KINDS).unwrap_or(KindWord::Mcp);
        fields.take_choice("transport", &[("streamable_http", ())]);
        let kind = read_kind(&fields, kind_word);
        let auth = read_auth(&fields, kind_word);
        let protocol_version = fields.take_choice("protocol_version", &PROTOCOL_VERSIONS);
        let timeout_ms = fields.take_u64_in("timeout_ms", 1, u64::MAX);
        let enabled = fields.take_bool("enabled").unwrap_or(true);
        fields.finish();
        let in_clear = |url: &Option<HttpUrl>| url.as_ref().is_some_and(HttpUrl::is_in_clear);
        let secret_in_clear = match &auth {
            McpAuth::None => false,
            McpAuth::Bearer(_) | McpAuth::ApiKey { .. } => in_clear(&url),
            McpAuth::Oauth2 { token_url, .. } => in_clear(token_url) || in_clear(&url),
        };
        Self {
            name,
            url,
            kind,
            auth,
            protocol_version,
            timeout_ms: timeout_ms.unwrap_or(TIMEOUT_MS),
            enabled,
            secret_in_clear,
        }
    }
}

fn read_name<'a>(fields: &Fields<'a>) -> &'a str {
    let name = field::name(fields);
    if name.contains(TOOL_SEPARATOR) || name.ends_with('_') {
        fields.problem("name", "must not hold `__` nor end in `_`");
    } else if !name.is_empty()
        && fields.unknown() == Unknown::Refused
        && !field::is_path_segment(name)
    {
        fields.problem("name", field::NOT_A_PATH_SEGMENT);
    }
    name
}

fn read_kind(fields: &Fields<'_>, kind: KindWord) -> McpServerKind {
    let spec = fields.take("spec");
    if kind == KindWord::Mcp {
        for key in ["spec", "api_key_header"] {
            if fields.take(key).is_some() {
                fields.problem(key, "is for the type `openapi` only");
            }
        }
        return McpServerKind::Mcp;
    }
    let empty = Map::new();
    let spec = match spec {
        Some(Value::Object(spec)) => spec,
        Some(_) => {
            fields.problem("spec", "must be a mapping: an OpenAPI 3 document");
            &empty
        }
        None => {
            fields.problem("spec", "is required for the type `openapi`");
            &empty
        }
    };
    let version = spec.get("openapi").and_then(Value::as_str);
    let is_version_3 = version.is_some_and(|version| version.starts_with("3."));
    let strict = fields.unknown() == Unknown::Refused;
    if spec.contains_key("swagger") || (strict && !spec.is_empty() && !is_version_3) {
        fields.problem(
            "spec",
            "must be an OpenAPI 3 document (`openapi: 3.…`), not Swagger 2",
        );
    }
    McpServerKind::Openapi(OpenApi(Arc::new(spec.clone())))
}

/// What goes with another kind of authentication is checked all the same.
fn read_auth(fields: &Fields<'_>, kind: KindWord) -> McpAuth {
    let auth = fields
        .take_choice("auth_type", &AUTHS)
        .unwrap_or(AuthWord::None);
    let secret = match auth {
        AuthWord::None => fields.take_str("secret").map(Secret::from),
        AuthWord::Bearer | AuthWord::ApiKey => field::required_header_secret(fields, "secret"),
        AuthWord::Oauth2 => field::required_secret(fields, "secret"),
    };
    let secret = secret.unwrap_or_else(|| Secret::from(""));
    let header = fields.take_str("api_key_header");
    if kind == KindWord::Openapi {
        only_with(
            fields,
            "api_key_header",
            auth == AuthWord::ApiKey,
            "`api_key`",
        );
        if header.is_some_and(|header| !header::is_name(header)) {
            fields.problem("api_key_header", "must be a legal header name");
        }
    }
    let scopes = fields.take_strings("scopes").unwrap_or_default();
    only_with(fields, "scopes", auth == AuthWord::Oauth2, "`oauth2`");
    if auth != AuthWord::Oauth2 {
        fields.take_str("client_id");
        fields.take_str("token_url");
    }
    match auth {
        AuthWord::None => McpAuth::None,
        AuthWord::Bearer => McpAuth::Bearer(secret),
        AuthWord::ApiKey => McpAuth::ApiKey {
            header: header.unwrap_or(API_KEY_HEADER).to_ascii_lowercase().into(),
            secret,
        },
        AuthWord::Oauth2 => McpAuth::Oauth2 {
            client_id: fields.take_required_str("client_id").unwrap_or("").into(),
            client_secret: secret,
            token_url: http_url::read_loose(fields, "token_url"),
            scopes: scopes.join(" ").into(),
        },
    }
}

/// A field that means something with one kind of authentication: with others strict reading refuses
/// it, and lenient reading passes over it.
fn only_with<'a>(fields: &Fields<'a>, key: &'a str, applies: bool, auth: &str) {
    if applies || fields.take(key).is_none() {
        return;
    }
    match fields.unknown() {
        Unknown::Refused => fields.problem(key, format!("is for the `auth_type` {auth} only")),
        Unknown::Ignored => fields.problems().ignore(&format!("inapplicable:{key}")),
    }
}

#[cfg(test)]
mod tests;
