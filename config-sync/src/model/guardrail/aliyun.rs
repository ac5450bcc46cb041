//! Aliyun content moderation and its AI guardrail. [pure]

use super::super::field;
use super::super::http_url::{self, HttpUrl};
use super::remote::{Remote, Streaming};
use crate::secret::Secret;
use crate::tree::Fields;

/// Longest text of one call, in characters.
const WINDOW_CHARS_MAX: u32 = 2_000;
/// Overlap of two pieces, where none is written.
const OVERLAP_CHARS: u32 = 128;

/// Where the service is and who calls it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AliyunKeys {
    /// Region of the service.
    pub region: Box<str>,
    /// Credentials: the id.
    pub access_key_id: Secret,
    /// Credentials: the key.
    pub access_key_secret: Secret,
    /// The service itself; `None`: the region's.
    pub endpoint: Option<HttpUrl>,
}

/// Risk levels of a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AliyunTextModeration {
    /// Where the service is and who calls it.
    pub keys: AliyunKeys,
    /// The level from which a text counts as found.
    pub risk_level: RiskLevel,
    /// How it is called.
    pub remote: Remote,
    /// How streams are cut.
    pub streaming: Streaming,
}

/// A verdict by the policies of the vendor's console.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AliyunAiGuardrail {
    /// Where the service is and who calls it.
    pub keys: AliyunKeys,
    /// Which edition of the service.
    pub service_level: ServiceLevel,
    /// How it is called.
    pub remote: Remote,
    /// How streams are cut.
    pub streaming: Streaming,
}

/// A risk, from low to high.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum RiskLevel {
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
}

const RISK_LEVELS: [(&str, RiskLevel); 3] = [
    ("low", RiskLevel::Low),
    ("medium", RiskLevel::Medium),
    ("high", RiskLevel::High),
];

/// Which edition of the service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServiceLevel {
    /// The full one.
    Pro,
    /// The basic one.
    Basic,
}

const SERVICE_LEVELS: [(&str, ServiceLevel); 2] =
    [("pro", ServiceLevel::Pro), ("basic", ServiceLevel::Basic)];

pub(super) fn read_text_moderation(fields: &Fields<'_>) -> Option<AliyunTextModeration> {
    let keys = read_keys(fields);
    let risk_level = fields.take_choice("risk_level_threshold", &RISK_LEVELS);
    let remote = Remote::read(fields);
    let streaming = Streaming::read(fields, WINDOW_CHARS_MAX, OVERLAP_CHARS);
    Some(AliyunTextModeration {
        keys: keys?,
        risk_level: risk_level.unwrap_or(RiskLevel::High),
        remote,
        streaming,
    })
}

pub(super) fn read_ai_guardrail(fields: &Fields<'_>) -> Option<AliyunAiGuardrail> {
    let keys = read_keys(fields);
    let fallback = ServiceLevel::Pro;
    let service_level = field::loose_choice(fields, "service_level", &SERVICE_LEVELS, fallback);
    let remote = Remote::read(fields);
    let streaming = Streaming::read(fields, WINDOW_CHARS_MAX, OVERLAP_CHARS);
    Some(AliyunAiGuardrail {
        keys: keys?,
        service_level,
        remote,
        streaming,
    })
}

fn read_keys(fields: &Fields<'_>) -> Option<AliyunKeys> {
    let region = fields.take_required_str("region");
    let access_key_id = field::required_secret(fields, "access_key_id");
    let access_key_secret = field::required_secret(fields, "access_key_secret");
    let endpoint = http_url::read(fields, "endpoint");
    Some(AliyunKeys {
        region: region?.into(),
        access_key_id: access_key_id?,
        access_key_secret: access_key_secret?,
        endpoint,
    })
}
