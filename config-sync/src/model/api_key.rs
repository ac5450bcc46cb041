//! Caller credentials and what they allow. [pure]

mod grants;

use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::glob::Glob;
use super::labels::CallerLabels;
use super::rate_limit::RateLimit;
use super::{read_globs, unenforced};
use crate::tree::{Fields, Problems, Unknown, Value};

pub use grants::McpAccess;

/// A caller's key. Holds neither the key nor its hash.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiKey {
    /// Resource id.
    pub id: Arc<str>,
    /// Display name, for `${request.api_key.name}`.
    pub name: Option<Arc<str>>,
    /// Patterns of model names; none denies every model.
    pub allowed_models: Vec<Glob>,
    /// Unix ms; the key is still valid at this instant, not after.
    pub expires_at: Option<i64>,
    /// Known, but refused.
    pub disabled: bool,
    /// Team, for attribution.
    pub team_id: Option<Arc<str>>,
    /// User, for attribution.
    pub user_id: Option<Arc<str>>,
    /// Label only.
    pub user_name: Option<Arc<str>>,
    /// Limits of the key itself.
    pub rate_limit: Option<RateLimit>,
    /// Tools it may use, beside what policies say; `None`: no rule of its own.
    pub mcp_access: Option<McpAccess>,
    /// Limits of tool calls by the name of an MCP server; no token windows.
    pub mcp_rate_limits: Vec<(Arc<str>, RateLimit)>,
    /// Patterns of agent names; none denies every agent.
    pub allowed_agents: Vec<Glob>,
    /// Patterns of passthrough routes' names; none denies every route.
    pub allowed_routes: Vec<Glob>,
    /// Prepared label values.
    pub labels: Arc<CallerLabels>,
}

impl ApiKey {
    /// Whether the key may call a model by the name the caller sent.
    pub fn may_use(&self, model_name: &str) -> bool {
        self.allowed_models
            .iter()
            .any(|glob| glob.matches(model_name))
    }

    /// Whether the key may use the passthrough route of that name.
    pub fn may_relay(&self, route_name: &str) -> bool {
        self.allowed_routes
            .iter()
            .any(|glob| glob.matches(route_name))
    }
}

/// An API key as read from its document, not yet given its id. Its hash is not printed.
#[derive(Clone)]
pub struct ApiKeyDocument {
    /// SHA-256 of the key that callers present.
    pub key_hash: [u8; 32],
    /// The identity-claim value bound to this key, and the OIDC provider that asserts it.
    pub jwt: Option<(Arc<str>, Arc<str>)>,
    /// Fields that are set and have no effect in this version.
    pub unenforced: Vec<&'static str>,
    key: ApiKey,
}

impl ApiKeyDocument {
    /// Reads a document. The result is usable only if no problem was noted.
    pub fn read(value: &Value, problems: &Problems, unknown: Unknown) -> Self {
        let fields = Fields::new(value, "", problems, unknown);
        fields.refuse_null(&["disabled", "allowed_models"]);
        let shared = |text: Option<&str>| text.map(Arc::<str>::from);
        if !fields.has("allowed_models") {
            fields.problem(
                "allowed_models",
                "is required (an empty list denies every model)",
            );
        }
        let key_hash = read_hash(&fields);
        let allowed_models = read_globs(&fields, "allowed_models", str::to_owned);
        let jwt = read_jwt(&fields);
        let key = ApiKey {
            id: "".into(),
            name: shared(fields.take_str("display_name")),
            allowed_models,
            expires_at: read_expiry(&fields),
            disabled: fields.take_bool("disabled").unwrap_or(false),
            team_id: shared(fields.take_nonempty_str("team_id")),
            user_id: shared(fields.take_nonempty_str("user_id")),
            user_name: shared(fields.take_str("user_name")),
            rate_limit: RateLimit::read(&fields, "rate_limit"),
            mcp_access: McpAccess::read(&fields, "mcp_access"),
            mcp_rate_limits: grants::mcp_rate_limits(&fields, "mcp_rate_limits"),
            allowed_agents: read_globs(&fields, "allowed_agents", str::to_owned),
            allowed_routes: read_globs(&fields, "allowed_routes", str::to_owned),
            labels: Arc::new(CallerLabels::new(&"".into(), None, None, None)),
        };
        let unenforced = unenforced_of(&key, jwt.is_some(), fields.take("mcp_rate_limits"));
        fields.finish();
        Self {
            key_hash,
            jwt,
            unenforced,
            key,
        }
    }

    /// The patterns of the models it may use.
    pub fn allowed_models(&self) -> &[Glob] {
        &self.key.allowed_models
    }

    /// The key under its id.
    pub fn into_key(self, id: Arc<str>) -> ApiKey {
        let key = self.key;
        let labels = CallerLabels::new(
            &id,
            key.team_id.as_ref(),
            key.user_id.as_ref(),
            key.user_name.as_ref(),
        );
        ApiKey {
            id,
            labels: Arc::new(labels),
            ..key
        }
    }
}

impl fmt::Debug for ApiKeyDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyDocument")
            .field("key_hash", &"***")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// 64 hex digits; upper case is lowered.
fn read_hash(fields: &Fields<'_>) -> [u8; 32] {
    let mut hash = [0; 32];
    if let Some(text) = fields.take_required_str("key_hash")
        && !decode_hex(text, &mut hash)
    {
        fields.problem("key_hash", "must be a SHA-256 in 64 hexadecimal digits");
    }
    hash
}

fn decode_hex(text: &str, out: &mut [u8; 32]) -> bool {
    if text.len() != 2 * out.len() {
        return false;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    for (pair, byte) in text.as_bytes().chunks_exact(2).zip(out) {
        let &[high, low] = pair else { return false };
        let (Some(high), Some(low)) = (digit(high), digit(low)) else {
            return false;
        };
        // Two digits below 16 fit into a byte.
        *byte = (high << 4 | low) as u8;
    }
    true
}

fn read_jwt(fields: &Fields<'_>) -> Option<(Arc<str>, Arc<str>)> {
    let subject = fields.take_nonempty_str("jwt_subject");
    let provider = fields.take_nonempty_str("jwt_provider");
    if subject.is_some() && provider.is_none() {
        fields.problem("jwt_subject", "needs `jwt_provider`");
    }
    Some((subject?.into(), provider?.into()))
}

fn read_expiry(fields: &Fields<'_>) -> Option<i64> {
    let text = fields.take_str("expires_at")?;
    let parsed = OffsetDateTime::parse(text, &Rfc3339).ok();
    let unix_ms = parsed.and_then(|at| i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok());
    if unix_ms.is_none() {
        fields.problem(
            "expires_at",
            "must be a time such as 2030-01-01T00:00:00Z (RFC 3339)",
        );
    }
    unix_ms
}

fn unenforced_of(
    key: &ApiKey,
    has_jwt: bool,
    mcp_rate_limits: Option<&Value>,
) -> Vec<&'static str> {
    unenforced::set(&[
        ("jwt_subject", has_jwt),
        ("mcp_access", key.mcp_access.is_some()),
        ("mcp_rate_limits", mcp_rate_limits.is_some()),
        // An empty list grants nothing, which is what this version does anyway.
        ("allowed_agents", !key.allowed_agents.is_empty()),
    ])
}

#[cfg(test)]
mod tests;
