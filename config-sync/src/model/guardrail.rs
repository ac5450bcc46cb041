//! Content checks of requests and answers. [pure]

mod aliyun;
mod azure;
mod bedrock;
mod expression;
mod keyword;
mod lakera;
mod openai_moderation;
mod pii;
mod presidio;
mod remote;
mod semantic;

use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use aliyun::{AliyunAiGuardrail, AliyunKeys, AliyunTextModeration, RiskLevel, ServiceLevel};
pub use azure::{AzureContentSafety, AzureTextModeration, HarmCategory, SeverityScale, TextSource};
pub use bedrock::{BedrockGuardrail, LatencyMode};
pub use expression::Expression;
pub use keyword::{Keyword, KeywordPattern};
pub use lakera::Lakera;
pub use openai_moderation::OpenaiModeration;
pub use pii::{CustomPattern, Detector, Pii, PiiType};
pub use presidio::{Entity, MaskOperator, Presidio};
pub use remote::{BufferLimit, Overflow, Remote, StreamMode, Streaming};
pub use semantic::{Semantic, SemanticCategory};

use super::{field, refuse_nulls};
use crate::tree::{Fields, Problems, Unknown, Value};

/// One content check, as read from its document.
#[derive(Clone, Debug, PartialEq)]
pub struct Guardrail {
    /// Appears in metrics and in the reason of a refusal.
    pub name: Arc<str>,
    /// Whether it runs at all.
    pub enabled: bool,
    /// What it looks at.
    pub hook_point: HookPoint,
    /// An unreachable service lets a request through; [`Guardrail::mandatory`] overrides it.
    pub fail_open: bool,
    /// Whether it acts or only records.
    pub enforcement: Enforcement,
    /// A check that cannot be made refuses.
    pub mandatory: bool,
    /// Unix microseconds. Checks run oldest first; those without come last, then by id.
    pub created_at_us: Option<i64>,
    /// The check itself.
    pub kind: GuardrailKind,
}

/// What a guardrail looks at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HookPoint {
    /// Requests.
    Input,
    /// Answers.
    Output,
    /// Requests and answers.
    Both,
}

const HOOK_POINTS: [(&str, HookPoint); 3] = [
    ("input", HookPoint::Input),
    ("output", HookPoint::Output),
    ("both", HookPoint::Both),
];

/// Whether a guardrail acts on what it finds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Enforcement {
    /// It refuses or rewrites.
    Block,
    /// It records what it would have done, and holds no stream back.
    Monitor,
}

const ENFORCEMENTS: [(&str, Enforcement); 2] = [
    ("block", Enforcement::Block),
    ("monitor", Enforcement::Monitor),
];

/// What is done with a finding, where a kind can do both.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// It is replaced.
    Mask,
    /// The request or answer is refused.
    Block,
}

const ACTIONS: [(&str, Action); 2] = [("mask", Action::Mask), ("block", Action::Block)];

/// The check that a guardrail makes.
#[derive(Clone, Debug, PartialEq)]
pub enum GuardrailKind {
    /// Words and expressions, in process.
    Keyword(Keyword),
    /// Personal data and credentials, in process.
    Pii(Pii),
    /// AWS ApplyGuardrail.
    Bedrock(BedrockGuardrail),
    /// Azure Prompt Shield.
    AzureContentSafety(AzureContentSafety),
    /// Azure severities by category.
    AzureTextModeration(Box<AzureTextModeration>),
    /// Aliyun risk levels.
    AliyunTextModeration(AliyunTextModeration),
    /// Aliyun policy verdicts.
    AliyunAiGuardrail(AliyunAiGuardrail),
    /// Lakera Guard.
    Lakera(Lakera),
    /// OpenAI moderations.
    OpenaiModeration(OpenaiModeration),
    /// A self-hosted Presidio.
    Presidio(Box<Presidio>),
    /// Likeness to examples, in process.
    Semantic(Semantic),
}

/// Reads the fields of one kind; `None` only after a problem was noted.
type ReadKind = for<'a, 'f> fn(&'f Fields<'a>) -> Option<GuardrailKind>;

const KINDS: [(&str, ReadKind); 11] = [
    ("keyword", |fields| {
        keyword::read(fields).map(GuardrailKind::Keyword)
    }),
    ("pii", |fields| pii::read(fields).map(GuardrailKind::Pii)),
    ("bedrock", |fields| {
        bedrock::read(fields).map(GuardrailKind::Bedrock)
    }),
    ("azure_content_safety", |fields| {
        azure::read_content_safety(fields).map(GuardrailKind::AzureContentSafety)
    }),
    ("azure_content_safety_text_moderation", |fields| {
        azure::read_text_moderation(fields)
            .map(Box::new)
            .map(GuardrailKind::AzureTextModeration)
    }),
    ("aliyun_text_moderation", |fields| {
        aliyun::read_text_moderation(fields).map(GuardrailKind::AliyunTextModeration)
    }),
    ("aliyun_ai_guardrail", |fields| {
        aliyun::read_ai_guardrail(fields).map(GuardrailKind::AliyunAiGuardrail)
    }),
    ("lakera", |fields| {
        lakera::read(fields).map(GuardrailKind::Lakera)
    }),
    ("openai_moderation", |fields| {
        openai_moderation::read(fields).map(GuardrailKind::OpenaiModeration)
    }),
    ("presidio", |fields| {
        presidio::read(fields)
            .map(Box::new)
            .map(GuardrailKind::Presidio)
    }),
    ("semantic", |fields| {
        semantic::read(fields).map(GuardrailKind::Semantic)
    }),
];

impl GuardrailKind {
    /// The word for it in documents and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Keyword(_) => "keyword",
            Self::Pii(_) => "pii",
            Self::Bedrock(_) => "bedrock",
            Self::AzureContentSafety(_) => "azure_content_safety",
            Self::AzureTextModeration(_) => "azure_content_safety_text_moderation",
            Self::AliyunTextModeration(_) => "aliyun_text_moderation",
            Self::AliyunAiGuardrail(_) => "aliyun_ai_guardrail",
            Self::Lakera(_) => "lakera",
            Self::OpenaiModeration(_) => "openai_moderation",
            Self::Presidio(_) => "presidio",
            Self::Semantic(_) => "semantic",
        }
    }
}

impl Guardrail {
    /// Reads a document. The result is usable only if no problem was noted; `None` where its kind is
    /// unknown or could not be read, which is a problem too.
    pub fn read(value: &Value, problems: &Problems, unknown: Unknown) -> Option<Self> {
        let fields = Fields::new(value, "", problems, unknown);
        let name = fields.take_required_str("name").unwrap_or("").into();
        let enabled = fields.take_bool("enabled").unwrap_or(true);
        let hook_point = fields
            .take_choice("hook_point", &HOOK_POINTS)
            .unwrap_or(HookPoint::Both);
        let fail_open = fields.take_bool("fail_open").unwrap_or(true);
        let enforcement = field::loose_choice(
            &fields,
            "enforcement_mode",
            &ENFORCEMENTS,
            Enforcement::Block,
        );
        let mandatory = fields.take_bool("mandatory").unwrap_or(false);
        let created_at_us = read_created_at(&fields);
        // Stored without effect.
        fields.take_str("direction");
        // The fields of an unknown kind are unknown too: only the kind is worth a message.
        let read_kind = field::required_choice(&fields, "kind", &KINDS)?;
        let kind = read_kind(&fields);
        if matches!(kind, Some(GuardrailKind::Semantic(_))) && !fail_open {
            fields.problem("fail_open", "must be true for a guardrail of this kind");
        }
        fields.finish();
        refuse_nulls(value, "", problems);
        Some(Self {
            name,
            enabled,
            hook_point,
            fail_open,
            enforcement,
            mandatory,
            created_at_us,
            kind: kind?,
        })
    }
}

fn read_created_at(fields: &Fields<'_>) -> Option<i64> {
    let text = fields.take_str("created_at")?;
    let parsed = OffsetDateTime::parse(text, &Rfc3339).ok();
    let unix_us = parsed.and_then(|at| i64::try_from(at.unix_timestamp_nanos() / 1_000).ok());
    if unix_us.is_none() {
        fields.problem(
            "created_at",
            "must be a time such as 2030-01-01T00:00:00Z (RFC 3339)",
        );
    }
    unix_us
}

#[cfg(test)]
mod tests;
