//! Where an upstream is, resolved once per provider key. [pure]

use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::provider_key::{Adapter, KeyTls};

/// Longest base URL, in bytes.
const URL_BYTES_MAX: usize = 2048;

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

/// Why a text is no base URL. Holds nothing of the text, which may carry a credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UrlError {
    /// Neither `http://` nor `https://`.
    Scheme,
    /// `user@` or `user:password@`.
    UserInfo,
    /// A `?` or `#`.
    QueryOrFragment,
    /// No host, or characters that no host has.
    Host,
    /// Not 1 to 65535.
    Port,
    /// Characters that a path must percent-encode.
    Path,
    /// Over the length limit.
    TooLong,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "must start with http:// or https://",
            Self::UserInfo => "must not hold a user name or password",
            Self::QueryOrFragment => "must not hold a query or fragment",
            Self::Host => "must hold a host name or IP address (international names in punycode)",
            Self::Port => "must hold a port of 1 to 65535, or none",
            Self::Path => "must percent-encode blanks and other special characters of its path",
            Self::TooLong => "must be at most 2048 bytes",
        })
    }
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
            .or_else(|| {
                is_own(&vendor, "openai").then(|| Parsed::of_vendor("api.openai.com", "/v1"))
            })
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
    host: String,
    is_ipv6: bool,
    port: u16,
    path: String,
}

impl Parsed {
    fn parse(url: &str) -> Result<Self, UrlError> {
        if url.len() > URL_BYTES_MAX {
            return Err(UrlError::TooLong);
        }
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(UrlError::Scheme),
        };
        if rest.contains(['?', '#']) {
            return Err(UrlError::QueryOrFragment);
        }
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        let (host, is_ipv6, port) = split_authority(authority)?;
        if !path.bytes().all(is_path_byte) {
            return Err(UrlError::Path);
        }
        Ok(Self {
            https,
            host,
            is_ipv6,
            port: port.unwrap_or(default_port(https)),
            path: path.trim_end_matches('/').to_owned(),
        })
    }

    fn of_vendor(host: &str, path: &str) -> Self {
        Self {
            https: true,
            host: host.to_owned(),
            is_ipv6: false,
            port: default_port(true),
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
        let bare = base.path.is_empty() && base.port == default_port(base.https);
        if bare && base.host == "api.openai.com" {
            base.path.push_str("/v1");
        }
        base
    }

    fn finish(self, tls: &KeyTls) -> BaseUrl {
        let mut authority = if self.is_ipv6 {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port != default_port(self.https) {
            authority.push_str(&format!(":{}", self.port));
        }
        BaseUrl {
            pool_key: self.pool_key(tls),
            https: self.https,
            host: self.host.into(),
            port: self.port,
            authority: authority.into(),
            path: self.path.into(),
        }
    }

    fn pool_key(&self, tls: &KeyTls) -> u128 {
        let mut hash = Sha256::new();
        hash.update([u8::from(self.https), u8::from(tls.verify)]);
        hash.update(self.port.to_be_bytes());
        // Neither field can hold a NUL, so the separator keeps them apart.
        hash.update(self.host.as_bytes());
        hash.update([0]);
        hash.update(tls.ca_cert.as_deref().unwrap_or("").as_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        digest
            .iter()
            .take(16)
            .fold(0, |key, &byte| key << 8 | u128::from(byte))
    }
}

/// Host, whether it is an IPv6 address, and the port if one is written.
fn split_authority(authority: &str) -> Result<(String, bool, Option<u16>), UrlError> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']').ok_or(UrlError::Host)?;
        let address: Ipv6Addr = address.parse().map_err(|_| UrlError::Host)?;
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(parse_port(port)?),
            None if rest.is_empty() => None,
            None => return Err(UrlError::Host),
        };
        return Ok((address.to_string(), true, port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(parse_port(port)?)),
        None => (authority, None),
    };
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let starts_well = host.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_');
    if !starts_well || !host.bytes().all(legal) || host.contains("..") || host.len() > 253 {
        return Err(UrlError::Host);
    }
    Ok((host.to_ascii_lowercase(), false, port))
}

fn parse_port(text: &str) -> Result<u16, UrlError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UrlError::Port);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(UrlError::Port),
        Ok(port) => Ok(port),
    }
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// A byte of a path, its slashes and percent signs included (RFC 3986, 3.3).
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:@".contains(&byte)
}

#[cfg(test)]
mod tests;
