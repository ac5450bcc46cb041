//! Models: a name for callers, and the upstream that serves it. [pure]

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::glob::{Glob, GlobError};
use super::labels::TargetLabels;
use super::provider_key::ProviderKey;
use super::{refuse_nulls, unenforced};
use crate::tree::{Fields, Problems, Unknown, Value};

/// Longest vendor id.
const PROVIDER_BYTES_MAX: usize = 64;
/// Markers of the model kinds that have no upstream of their own.
pub(crate) const VIRTUAL_KINDS: [&str; 3] = ["routing", "ensemble", "semantic"];

/// Prices in USD per 1000 tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Prompt tokens.
    pub input_per_1k: f64,
    /// Completion tokens.
    pub output_per_1k: f64,
}

/// A direct model, ready to route to.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Resource id.
    pub id: Arc<str>,
    /// What callers send as `model`; a pattern if it holds a `*`.
    pub display_name: Arc<str>,
    /// Vendor id.
    pub provider: Arc<str>,
    /// The upstream's model id; a `*` stands for what the name's `*` matched.
    pub model_name: Arc<str>,
    /// The credential; `None` if the row names one that does not exist.
    pub provider_key: Option<Arc<ProviderKey>>,
    /// Deadline of unary requests in ms; `Some(0)`: none, and no further setting is asked.
    pub timeout_ms: Option<u64>,
    /// Longest gap between the chunks of a stream in ms, never 0.
    pub stream_timeout_ms: Option<u64>,
    /// Attempts after a retryable failure.
    pub retries: Option<u32>,
    /// Callers' addresses admitted, never empty; `None`: all.
    pub allowed_cidrs: Option<Vec<IpNet>>,
    /// Prices, where known.
    pub cost: Option<Cost>,
    /// When this row first appeared, in Unix seconds.
    pub created: i64,
    /// Prepared label values.
    pub labels: Arc<TargetLabels>,
}

impl Model {
    /// The model id to send upstream. `capture`: what the `*` of the row's name matched.
    pub fn upstream_model(&self, capture: Option<&str>) -> Cow<'_, str> {
        match (capture, self.model_name.split_once('*')) {
            (Some(text), Some((before, after))) => Cow::Owned([before, text, after].concat()),
            (None, _) | (_, None) => Cow::Borrowed(&self.model_name),
        }
    }

    /// Whether the name is a pattern.
    pub fn is_wildcard(&self) -> bool {
        self.display_name.contains('*')
    }
}

/// A model as read from its document: no id yet, and its provider key not looked up.
#[derive(Clone, Debug)]
pub struct ModelDocument {
    /// What callers send as `model`.
    pub display_name: Arc<str>,
    /// Id of the provider key.
    pub provider_key_id: Arc<str>,
    /// Fields that are set and have no effect in this version.
    pub unenforced: Vec<&'static str>,
    provider: Arc<str>,
    model_name: Arc<str>,
    timeout_ms: Option<u64>,
    stream_timeout_ms: Option<u64>,
    retries: Option<u32>,
    allowed_cidrs: Option<Vec<IpNet>>,
    cost: Option<Cost>,
}

impl ModelDocument {
    /// Reads a document. The result is usable only if no problem was noted; `None` for a kind of
    /// model that this version does not serve, which is a problem too.
    pub fn read(value: &Value, problems: &Problems, unknown: Unknown) -> Option<Self> {
        let fields = Fields::new(value, "", problems, unknown);
        let display_name = fields.take_required_str("display_name").unwrap_or("");
        if let Some(kind) = VIRTUAL_KINDS.into_iter().find(|kind| fields.has(kind)) {
            fields.problem(kind, "is not supported by this version");
            return None;
        }
        refuse_nulls(value, "", problems);
        let wildcard = display_name.contains('*');
        if Glob::parse(display_name) == Err(GlobError::SeveralStars) {
            fields.problem("display_name", GlobError::SeveralStars.to_string());
        }
        let document = Self {
            display_name: display_name.into(),
            provider: read_provider(&fields).into(),
            model_name: read_model_name(&fields, wildcard).into(),
            provider_key_id: fields
                .take_required_str("provider_key_id")
                .unwrap_or("")
                .into(),
            timeout_ms: fields.take_u64("timeout"),
            stream_timeout_ms: fields.take_u64("stream_timeout").filter(|&ms| ms > 0),
            retries: fields
                .take_u64_in("retries", 0, u64::from(u32::MAX))
                .and_then(|retries| u32::try_from(retries).ok()),
            allowed_cidrs: read_cidrs(&fields),
            cost: read_cost(&fields),
            unenforced: read_unenforced(&fields),
        };
        fields.finish();
        Some(document)
    }

    /// The model under its id, with its credential and `created` in Unix seconds.
    pub fn into_model(self, id: Arc<str>, key: Option<Arc<ProviderKey>>, created: i64) -> Model {
        let key_names = key.as_ref().map(|key| (&key.id, &key.name));
        let labels = TargetLabels::new(
            &id,
            &self.display_name,
            &self.provider,
            &self.model_name,
            key_names,
        );
        Model {
            id,
            display_name: self.display_name,
            provider: self.provider,
            model_name: self.model_name,
            provider_key: key,
            timeout_ms: self.timeout_ms,
            stream_timeout_ms: self.stream_timeout_ms,
            retries: self.retries,
            allowed_cidrs: self.allowed_cidrs,
            cost: self.cost,
            created,
            labels: Arc::new(labels),
        }
    }
}

fn read_provider<'a>(fields: &Fields<'a>) -> &'a str {
    let Some(provider) = fields.take_required_str("provider") else {
        return "";
    };
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let starts = provider.bytes().next().is_some_and(alphanumeric);
    let legal = |byte| alphanumeric(byte) || matches!(byte, b'.' | b'_' | b'-');
    if !starts || !provider.bytes().all(legal) || provider.len() > PROVIDER_BYTES_MAX {
        fields.problem(
            "provider",
            "must be at most 64 of a-z, 0-9, `.`, `_`, `-`, and start with a letter or digit",
        );
    }
    provider
}

/// A wildcard row without a `model_name` sends what its `*` matched.
fn read_model_name<'a>(fields: &Fields<'a>, wildcard: bool) -> &'a str {
    if wildcard && !fields.has("model_name") {
        return "*";
    }
    fields.take_required_str("model_name").unwrap_or("")
}

/// Networks and single addresses; an empty list admits everyone.
fn read_cidrs(fields: &Fields<'_>) -> Option<Vec<IpNet>> {
    let mut networks = Vec::new();
    for (path, item) in fields.take_list("allowed_cidrs")? {
        match item.as_str().and_then(parse_network) {
            Some(network) => networks.push(network),
            None => fields.problems().push(
                path,
                "must be a network such as 10.0.0.0/8, or an IP address",
            ),
        }
    }
    (!networks.is_empty()).then_some(networks)
}

fn parse_network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    text.parse::<IpNet>()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn read_cost(fields: &Fields<'_>) -> Option<Cost> {
    fields.take("cost")?;
    let block = fields.take_block("cost");
    let price = |key| {
        if block.take(key).is_none() {
            block.problem(key, "is required");
        }
        let price = block.take_f64(key)?;
        if price < 0.0 {
            block.problem(key, "must be 0 or more");
        }
        Some(price)
    };
    let (input, output) = (price("input_per_1k"), price("output_per_1k"));
    block.finish();
    Some(Cost {
        input_per_1k: input?,
        output_per_1k: output?,
    })
}

fn read_unenforced(fields: &Fields<'_>) -> Vec<&'static str> {
    unenforced::embedding(fields, "embedding");
    let found = [
        ("rate_limit", unenforced::rate_limit(fields, "rate_limit")),
        ("cooldown", unenforced::cooldown(fields, "cooldown")),
        ("retries", fields.has("retries")),
        (
            "background_model_check",
            unenforced::background_model_check(fields, "background_model_check"),
        ),
        (
            "auto_prompt_caching",
            unenforced::auto_prompt_caching(fields, "auto_prompt_caching"),
        ),
    ];
    found
        .iter()
        .filter(|(_, set)| *set)
        .map(|(name, _)| *name)
        .collect()
}

#[cfg(test)]
mod tests;
