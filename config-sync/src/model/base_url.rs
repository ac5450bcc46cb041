//! Where an upstream is, resolved once per provider key. [pure]

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::http_url::HttpUrl;
pub use super::origin::UrlError;
use super::origin::{Authority, Parts, is_path_byte};
use super::provider_key::{Adapter, KeyTls};

/// The port of `https` where none is named.
const HTTPS_PORT: u16 = 443;

/// OpenAI's own host.
const OPENAI_HOST: &str = "api.openai.com";

/// The path suffixes that the gateway itself appends on the OpenAI wire, longest match first. An
/// operator who pastes a whole endpoint URL as base means the part before it.
const OPENAI_ENDPOINTS: [&str; 18] = [
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/images/generations",
    "/images/edits",
    "/audio/transcriptions",
    "/audio/translations",
    "/audio/speech",
    "/messages/count_tokens",
    "/messages",
    "/responses",
    "/rerank",
    "/realtime",
    "/files",
    "/batches",
    "/fine_tuning/jobs",
    "/videos",
    "/models",
];

/// The same on the Anthropic wire, where `/v1` is always appended.
const ANTHROPIC_ENDPOINTS: [&str; 3] = ["/v1/messages/count_tokens", "/v1/messages", "/v1"];

/// The base that an upstream's endpoint paths are appended to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BaseUrl {
    /// TLS or plain TCP.
    pub https: bool,
    /// Host name in lower case or IP address, an IPv6 address without brackets.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
    /// Value of the `Host` header: host and, unless it is the scheme's default, port.
    pub authority: Arc<str>,
    /// Empty, or a path that starts with `/` and does not end with one.
    pub path: Arc<str>,
    /// Equal exactly where scheme, host, port and TLS settings are equal: connections may be shared.
    /// The first 16 bytes of a SHA-256 over them.
    pub pool_key: u128,
}

impl BaseUrl {
    /// The base that `url` is, without slashes at its end.
    pub fn of_url(url: &HttpUrl, tls: &KeyTls) -> Self {
        Self {
            https: url.https,
            host: Arc::clone(&url.host),
            port: url.port,
            authority: Arc::clone(&url.authority),
            path: url.base_path().into(),
            pool_key: pool_key(url.https, url.port, &url.host, tls),
        }
    }

    /// `https` to `host`, a name in lower case and no address, on the scheme's own port.
    pub fn of_host(host: &str, tls: &KeyTls) -> Self {
        let host: Arc<str> = host.into();
        Self {
            https: true,
            port: HTTPS_PORT,
            authority: Arc::clone(&host),
            path: "".into(),
            pool_key: pool_key(true, HTTPS_PORT, &host, tls),
            host,
        }
    }
}

/// Connections are shared where all of these are equal.
fn pool_key(https: bool, port: u16, host: &str, tls: &KeyTls) -> u128 {
    let mut hash = Sha256::new();
    hash.update([u8::from(https), u8::from(tls.verify)]);
    hash.update(port.to_be_bytes());
    // None of the fields can hold a NUL, so the separator keeps them apart.
    hash.update(host.as_bytes());
    hash.update([0]);
    hash.update(tls.server_name.as_deref().unwrap_or("").as_bytes());
    hash.update([0]);
    hash.update(tls.ca_cert.as_deref().unwrap_or("").as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    digest
        .iter()
        .take(16)
        .fold(0, |key, &byte| key << 8 | u128::from(byte))
}

/// The base for a provider key; `None` where there is none and the vendor has no default.
///
/// `vendor` is the key's `provider`; an empty one counts as the adapter's own vendor. No other
/// vendor's key is ever sent to a default host. Adapters without a resolver have no base.
///
/// # Errors
///
/// [`UrlError`] for an `api_base` that no adapter could use.
pub fn resolve(
    api_base: Option<&str>,
    vendor: &str,
    adapter: Option<Adapter>,
    tls: &KeyTls,
) -> Result<Option<BaseUrl>, UrlError> {
    let given = api_base.map(str::trim).filter(|base| !base.is_empty());
    let given = given.map(Parsed::parse).transpose()?;
    let vendor = vendor.trim().to_ascii_lowercase();
    match adapter {
        Some(Adapter::Openai) => Ok(given
            .map(Parsed::openai)
            .or_else(|| is_own(&vendor, "openai").then(|| Parsed::of_vendor(OPENAI_HOST, "/v1")))
            .map(|base| base.finish(tls))),
        Some(Adapter::Anthropic) => Ok(given
            .map(|base| base.without_endpoint(&ANTHROPIC_ENDPOINTS))
            .or_else(|| {
                is_own(&vendor, "anthropic").then(|| Parsed::of_vendor("api.anthropic.com", ""))
            })
            .map(|base| base.finish(tls))),
        Some(Adapter::Bedrock | Adapter::Vertex | Adapter::AzureOpenai) | None => Ok(None),
    }
}

fn is_own(vendor: &str, own: &str) -> bool {
    vendor.is_empty() || vendor == own
}

/// A URL in its parts, checked.
#[derive(Debug)]
struct Parsed {
    https: bool,
    authority: Authority,
    path: String,
}

impl Parsed {
    fn parse(url: &str) -> Result<Self, UrlError> {
        let parts = Parts::of(url)?;
        if parts.query.is_some() || parts.fragment.is_some() {
            return Err(UrlError::QueryOrFragment);
        }
        if parts.user_info.is_some() {
            return Err(UrlError::UserInfo);
        }
        let authority = Authority::parse(parts.host_and_port)?;
        if !parts.path.bytes().all(is_path_byte) {
            return Err(UrlError::Path);
        }
        Ok(Self {
            https: parts.https,
            authority,
            path: parts.path.trim_end_matches('/').to_owned(),
        })
    }

    fn of_vendor(host: &str, path: &str) -> Self {
        Self {
            https: true,
            authority: Authority::of_name(host),
            path: path.to_owned(),
        }
    }

    /// Drops one pasted endpoint, and the slashes it leaves behind.
    fn without_endpoint(mut self, endpoints: &[&str]) -> Self {
        if let Some(kept) = endpoints
            .iter()
            .find_map(|endpoint| self.path.strip_suffix(endpoint))
        {
            self.path = kept.trim_end_matches('/').to_owned();
        }
        self
    }

    /// The OpenAI wire's base: `/v1` belongs to it, and is added for OpenAI's own host only.
    fn openai(self) -> Self {
        let mut base = self.without_endpoint(&OPENAI_ENDPOINTS);
        let is_own_host = base.authority.header_value(base.https) == OPENAI_HOST;
        if base.path.is_empty() && is_own_host {
            base.path.push_str("/v1");
        }
        base
    }

    fn finish(self, tls: &KeyTls) -> BaseUrl {
        let port = self.authority.port(self.https);
        BaseUrl {
            pool_key: pool_key(self.https, port, &self.authority.host, tls),
            https: self.https,
            port,
            authority: self.authority.header_value(self.https).into(),
            host: self.authority.host.into(),
            path: self.path.into(),
        }
    }
}

#[cfg(test)]
mod tests;
