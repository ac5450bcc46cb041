//! The moderations endpoint of OpenAI. [pure]

use super::super::field;
use super::super::http_url::HttpUrl;
use super::remote::{self, Remote};
use crate::secret::Secret;
use crate::tree::{Fields, kind};

const ENDPOINT: &str = "https://api.openai.com/v1";
const MODEL: &str = "omni-moderation-latest";

/// Flags and scores by category; detects only.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenaiModeration {
    /// The base that `/moderations` is appended to.
    pub endpoint: HttpUrl,
    /// Its key.
    pub api_key: Secret,
    /// The moderation model.
    pub model: Box<str>,
    /// Category and the score from which it counts as found; none: the service's own flag decides.
    pub category_thresholds: Vec<(Box<str>, f64)>,
    /// How it is called.
    pub remote: Remote,
}

pub(super) fn read(fields: &Fields<'_>) -> Option<OpenaiModeration> {
    let endpoint = remote::read_endpoint(fields, ENDPOINT);
    let api_key = field::required_header_secret(fields, "api_key");
    let model = fields.take_nonempty_str("model").unwrap_or(MODEL).into();
    let mut category_thresholds = Vec::new();
    for (path, name, value) in fields.take_entries("category_thresholds") {
        match value.as_f64() {
            Some(threshold) => category_thresholds.push((name.into(), threshold)),
            None => {
                let message = format!("must be a number, not {}", kind(value));
                fields.problems().push(path, message);
            }
        }
    }
    let remote = Remote::read(fields);
    Some(OpenaiModeration {
        endpoint: endpoint?,
        api_key: api_key?,
        model,
        category_thresholds,
        remote,
    })
}
