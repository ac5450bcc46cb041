//! The gateway's own credential in an upstream request. [pure]

use config_sync::model::{Adapter, ProviderKey};

use crate::http::h1::write;
use crate::rejection::Rejection;

const UNUSABLE: &str = "the provider key of this passthrough route is not usable: \
                        api_key must be a non-empty legal header value";
const OTHER_SHAPE: &str =
    "the provider key of this passthrough route holds no key that a header can carry";

/// The version of Anthropic's protocol that is asked for.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// A provider key as header lines.
pub struct Credential<'k> {
    key: &'k str,
    anthropic: bool,
    /// Lower-case names of caller headers that it replaces.
    pub(super) strip: &'k [Box<str>],
}

impl<'k> Credential<'k> {
    /// The credential of `key`.
    ///
    /// # Errors
    ///
    /// [`Rejection::UpstreamUnusable`] for one that is no header value. Nothing of it is said.
    pub(super) fn of(key: &'k ProviderKey) -> Result<Self, Rejection> {
        if matches!(key.adapter, Some(Adapter::Bedrock | Adapter::Vertex)) {
            return Err(Rejection::UpstreamUnusable(OTHER_SHAPE));
        }
        let secret = key.api_key.expose();
        let is_legal = !secret.is_empty()
            && secret.trim() == secret
            && secret.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !is_legal {
            return Err(Rejection::UpstreamUnusable(UNUSABLE));
        }
        let vendor = key.vendor.trim();
        Ok(Self {
            key: secret,
            anthropic: vendor.eq_ignore_ascii_case("anthropic")
                || (vendor.is_empty() && key.adapter == Some(Adapter::Anthropic)),
            strip: &key.strip_headers,
        })
    }

    /// Whether the credential brings a header of that name itself.
    pub(super) fn sets(&self, lower_name: &str) -> bool {
        self.anthropic && lower_name == "anthropic-version"
    }

    /// Appends its lines.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if self.anthropic {
            write::header(out, "x-api-key", self.key.as_bytes());
            write::header(out, "anthropic-version", ANTHROPIC_VERSION.as_bytes());
            return;
        }
        out.extend_from_slice(b"authorization: Bearer ");
        out.extend_from_slice(self.key.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Never the key.
impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("anthropic", &self.anthropic)
            .field("strip", &self.strip)
            .finish_non_exhaustive()
    }
}
