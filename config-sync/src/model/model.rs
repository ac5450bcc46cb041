//! Models: a name for callers, and the upstream that serves it. [pure]

use std::sync::Arc;

use ipnet::IpNet;

use super::glob::{Glob, GlobError};
use super::labels::TargetLabels;
use super::provider_key::ProviderKey;
use super::rate_limit::RateLimit;
use super::{cidr, field, refuse_nulls, unenforced};
use crate::tree::{Fields, Problems, Unknown, Value};

mod direct;
mod virtual_kind;

pub use direct::{AutoPromptCaching, BackgroundModelCheck, Cooldown, Embedding, PromptCacheTtl};
pub use virtual_kind::ModelKind;

use virtual_kind::Marker;

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

/// A model, ready to route to. What only direct models have is empty or unset on the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Resource id.
    pub id: Arc<str>,
    /// What callers send as `model`; a pattern if it holds a `*` and the model is direct.
    pub display_name: Arc<str>,
    /// Whether it has an upstream of its own, or which models stand behind it.
    pub kind: ModelKind,
    /// Vendor id.
    pub provider: Arc<str>,
    /// The upstream's model id; a `*` stands for what the name's `*` matched.
    pub model_name: Arc<str>,
    /// Id of the provider key, be it there or not: a key that is replaced changes no model.
    pub provider_key_id: Arc<str>,
    /// Callers' addresses admitted, never empty; `None`: all.
    pub allowed_cidrs: Option<Vec<IpNet>>,
    /// Prices, where known.
    pub cost: Option<Cost>,
    /// When this row first appeared, in Unix seconds.
    pub created: i64,
    /// Deadline of unary requests in ms; `Some(0)`: none, and no further setting is asked.
    pub timeout_ms: Option<u64>,
    /// Longest gap between the chunks of a stream in ms, never 0.
    pub stream_timeout_ms: Option<u64>,
    /// Attempts after a retryable failure.
    pub retries: Option<u32>,
    /// Limits of the model itself.
    pub rate_limit: Option<RateLimit>,
    /// When it is left alone after failures.
    pub cooldown: Cooldown,
    /// How it is probed; `None`: it is not.
    pub background_model_check: Option<BackgroundModelCheck>,
    /// Cache markers; `None`: not set.
    pub auto_prompt_caching: Option<AutoPromptCaching>,
    /// Set where it answers with vectors.
    pub embedding: Option<Embedding>,
}

impl Model {
    /// The model id to send upstream, in three pieces, any of them empty. `capture`: what the `*` of
    /// the row's name matched.
    pub fn upstream_model<'a>(&'a self, capture: Option<&'a str>) -> [&'a str; 3] {
        match (capture, self.model_name.split_once('*')) {
            (Some(text), Some((before, after))) => [before, text, after],
            (None, _) | (_, None) => ["", &self.model_name, ""],
        }
    }

    /// What metrics and logs say of it with `key`.
    pub fn labels(&self, key: &ProviderKey) -> TargetLabels {
        TargetLabels::new(
            &self.id,
            &self.display_name,
            &self.provider,
            &self.model_name,
            (&key.id, &key.name),
        )
    }

    /// Whether the name is a pattern.
    pub fn is_wildcard(&self) -> bool {
        self.kind == ModelKind::Direct && self.display_name.contains('*')
    }
}

/// A model as read from its document: no id yet.
#[derive(Clone, Debug)]
pub struct ModelDocument {
    /// What callers send as `model`.
    pub display_name: Arc<str>,
    /// Id of the provider key; empty unless the model is direct.
    pub provider_key_id: Arc<str>,
    /// Whether it has an upstream of its own, or which models stand behind it.
    pub kind: ModelKind,
    /// Fields that are set and have no effect in this version.
    pub unenforced: Vec<&'static str>,
    provider: Arc<str>,
    model_name: Arc<str>,
    timeout_ms: Option<u64>,
    stream_timeout_ms: Option<u64>,
    retries: Option<u32>,
    allowed_cidrs: Option<Vec<IpNet>>,
    cost: Option<Cost>,
    rate_limit: Option<RateLimit>,
    cooldown: Option<Cooldown>,
    background_model_check: Option<BackgroundModelCheck>,
    auto_prompt_caching: Option<AutoPromptCaching>,
    embedding: Option<Embedding>,
}

impl ModelDocument {
    /// Reads a document. The result is usable only if no problem was noted; `None` where it cannot
    /// even be said what kind of model it is, which is a problem too.
    pub fn read(value: &Value, problems: &Problems, unknown: Unknown) -> Option<Self> {
        let fields = Fields::new(value, "", problems, unknown);
        let display_name = fields.take_required_str("display_name").unwrap_or("");
        let document = match Marker::find(&fields) {
            Ok(None) => Some(Self::read_direct(&fields, display_name)),
            Ok(Some(marker)) => Self::read_virtual(&fields, display_name, marker),
            Err(several) => {
                fields.problem(several, "must be the only kind that a model is of");
                return None;
            }
        };
        fields.finish();
        refuse_nulls(value, "", problems);
        document
    }

    fn read_direct(fields: &Fields<'_>, display_name: &str) -> Self {
        let wildcard = display_name.contains('*');
        if Glob::parse(display_name) == Err(GlobError::SeveralStars) {
            fields.problem("display_name", GlobError::SeveralStars.to_string());
        }
        let document = Self {
            display_name: display_name.into(),
            kind: ModelKind::Direct,
            provider: read_provider(fields).into(),
            model_name: read_model_name(fields, wildcard).into(),
            provider_key_id: field::text(fields, "provider_key_id").unwrap_or_default(),
            timeout_ms: fields.take_u64("timeout"),
            stream_timeout_ms: field::timeout_ms(fields, "stream_timeout"),
            retries: fields.take_u32("retries"),
            allowed_cidrs: read_cidrs(fields),
            cost: read_cost(fields),
            rate_limit: RateLimit::read(fields, "rate_limit"),
            cooldown: Cooldown::read(fields, "cooldown"),
            background_model_check: BackgroundModelCheck::read(fields, "background_model_check"),
            auto_prompt_caching: AutoPromptCaching::read(fields, "auto_prompt_caching"),
            embedding: Embedding::read(fields, "embedding"),
            unenforced: Vec::new(),
        };
        document.with_unenforced()
    }

    fn read_virtual(fields: &Fields<'_>, display_name: &str, marker: Marker) -> Option<Self> {
        marker.refuse_foreign(fields);
        if fields.unknown() == Unknown::Refused && display_name.contains('*') {
            let message = "must not hold `*`: only a direct model stands for a pattern";
            fields.problem("display_name", message);
        }
        let live = |key| !marker.dead_knobs().contains(&key);
        let timeout = live("timeout").then(|| fields.take_u64("timeout"));
        let gap = live("stream_timeout").then(|| field::timeout_ms(fields, "stream_timeout"));
        let retries = live("retries").then(|| fields.take_u32("retries"));
        let rate_limit = RateLimit::read(fields, "rate_limit");
        let allowed_cidrs = read_cidrs(fields);
        let document = Self {
            display_name: display_name.into(),
            kind: marker.read(fields)?,
            provider: Arc::default(),
            model_name: Arc::default(),
            provider_key_id: Arc::default(),
            timeout_ms: timeout.flatten(),
            stream_timeout_ms: gap.flatten(),
            retries: retries.flatten(),
            allowed_cidrs,
            cost: None,
            rate_limit,
            cooldown: None,
            background_model_check: None,
            auto_prompt_caching: None,
            embedding: None,
            unenforced: Vec::new(),
        };
        Some(document.with_unenforced())
    }

    fn with_unenforced(self) -> Self {
        let unenforced = unenforced::set(&[(self.kind.name(), !self.kind.is_served())]);
        Self { unenforced, ..self }
    }

    /// The model under its id; `created` in Unix seconds.
    pub fn into_model(self, id: Arc<str>, created: i64) -> Model {
        Model {
            id,
            display_name: self.display_name,
            kind: self.kind,
            provider: self.provider,
            model_name: self.model_name,
            provider_key_id: self.provider_key_id,
            timeout_ms: self.timeout_ms,
            stream_timeout_ms: self.stream_timeout_ms,
            retries: self.retries,
            allowed_cidrs: self.allowed_cidrs,
            cost: self.cost,
            created,
            rate_limit: self.rate_limit,
            cooldown: self.cooldown.unwrap_or_default(),
            background_model_check: self.background_model_check,
            auto_prompt_caching: self.auto_prompt_caching,
            embedding: self.embedding,
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

/// An empty list admits everyone.
fn read_cidrs(fields: &Fields<'_>) -> Option<Vec<IpNet>> {
    cidr::read(fields, "allowed_cidrs").filter(|networks| !networks.is_empty())
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

#[cfg(test)]
mod tests;
