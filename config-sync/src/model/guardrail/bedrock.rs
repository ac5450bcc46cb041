//! AWS ApplyGuardrail. [pure]

use super::super::field;
use super::remote::read_output_fail_open;
use crate::secret::Secret;
use crate::tree::Fields;

/// A guardrail of Amazon Bedrock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BedrockGuardrail {
    /// Its id there, 1 to 64 characters.
    pub guardrail_id: Box<str>,
    /// Its version there, 1 to 16 characters.
    pub guardrail_version: Box<str>,
    /// AWS region.
    pub region: Box<str>,
    /// Static credentials: the id.
    pub access_key_id: Secret,
    /// Static credentials: the key.
    pub secret_access_key: Secret,
    /// Whether a call has a deadline of its own.
    pub latency_mode: LatencyMode,
    /// An unreachable service lets an answer through.
    pub output_fail_open: bool,
}

/// How long a check may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LatencyMode {
    /// As long as the request.
    Serial,
    /// Up to a deadline.
    Timed {
        /// 100 to 5000.
        timeout_ms: u32,
    },
}

#[derive(Clone, Copy)]
enum LatencyWord {
    Serial,
    Timed,
}

const LATENCY_WORDS: [(&str, LatencyWord); 2] = [
    ("serial", LatencyWord::Serial),
    ("timed", LatencyWord::Timed),
];

pub(super) fn read(fields: &Fields<'_>) -> Option<BedrockGuardrail> {
    let guardrail_id = field::required_text_within(fields, "guardrail_id", 1, 64);
    let guardrail_version = field::required_text_within(fields, "guardrail_version", 1, 16);
    let region = fields.take_required_str("region");
    let credentials = read_credentials(fields);
    let latency_mode = read_latency_mode(fields);
    let output_fail_open = read_output_fail_open(fields);
    let (access_key_id, secret_access_key) = credentials?;
    Some(BedrockGuardrail {
        guardrail_id: guardrail_id?.into(),
        guardrail_version: guardrail_version?.into(),
        region: region?.into(),
        access_key_id,
        secret_access_key,
        latency_mode: latency_mode?,
        output_fail_open,
    })
}

fn read_credentials(fields: &Fields<'_>) -> Option<(Secret, Secret)> {
    let block = field::required_block(fields, "aws_credentials")?;
    field::required_choice(&block, "kind", &[("static", ())]);
    let id = field::required_secret(&block, "access_key_id");
    let key = field::required_secret(&block, "secret_access_key");
    block.finish();
    Some((id?, key?))
}

fn read_latency_mode(fields: &Fields<'_>) -> Option<LatencyMode> {
    let block = field::required_block(fields, "latency_mode")?;
    let mode = match field::required_choice(&block, "kind", &LATENCY_WORDS)? {
        LatencyWord::Serial => Some(LatencyMode::Serial),
        LatencyWord::Timed => {
            field::required(&block, "timeout_ms");
            let timeout_ms = block.take_u32_in("timeout_ms", 100, 5_000);
            timeout_ms.map(|timeout_ms| LatencyMode::Timed { timeout_ms })
        }
    };
    block.finish();
    mode
}
