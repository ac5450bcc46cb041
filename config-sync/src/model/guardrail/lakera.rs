//! Lakera Guard. [pure]

use super::super::field;
use super::super::http_url::HttpUrl;
use super::remote::{self, BufferLimit, Remote};
use crate::secret::Secret;
use crate::tree::Fields;

const ENDPOINT: &str = "https://api.lakera.ai";

/// Prompt injection and personal data, as Lakera sees them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lakera {
    /// The service.
    pub endpoint: HttpUrl,
    /// Its key.
    pub api_key: Secret,
    /// The project whose policy applies; `None`: the key's.
    pub project_id: Option<Box<str>>,
    /// How it is called.
    pub remote: Remote,
    /// How much of an answer is held back.
    pub buffer: BufferLimit,
}

pub(super) fn read(fields: &Fields<'_>) -> Option<Lakera> {
    let endpoint = remote::read_endpoint(fields, ENDPOINT);
    let api_key = field::required_header_secret(fields, "api_key");
    let project_id = fields.take_str("project_id").map(Into::into);
    let remote = Remote::read(fields);
    let buffer = BufferLimit::read(fields);
    Some(Lakera {
        endpoint: endpoint?,
        api_key: api_key?,
        project_id,
        remote,
        buffer,
    })
}
