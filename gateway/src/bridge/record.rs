//! What is known about one finished request. [bridge]
//!
//! Every request yields exactly one record: it moves the metrics, becomes the access line and is
//! the usage event. Probes yield none. No field can hold a credential, a header or a body.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use config_sync::model::labels::{CallerLabels, TargetLabels};

use super::limits::Dimension;
use super::tried::Tried;
use crate::short_text::ShortText;

/// One finished request.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// Id answered in `x-sluice-request-id`; 1–256 printable bytes.
    pub request_id: ShortText,
    /// Trace id, 32 lower-case hex digits, when the caller sent a valid `traceparent`.
    pub trace_id: Option<ShortText>,
    /// Wall clock at the end of the request, Unix milliseconds.
    pub finished_unix_ms: i64,
    /// Number of the worker that served it.
    pub worker: u16,
    /// Request method; unusual ones are recorded as `OTHER`.
    pub method: &'static str,
    /// Path after rewrites, without query.
    pub path: ShortText,
    /// Route template ([`super::domain`]).
    pub endpoint: &'static str,
    /// `openai`, `anthropic`, …
    pub inbound_protocol: &'static str,
    /// Status sent; 499 when the caller left before the head.
    pub status: u16,
    /// Envelope type of the rejection.
    pub error_kind: Option<&'static str>,
    /// Cause for the operator; never shown to the caller, holds no secret.
    pub error: Option<Box<str>>,
    /// How the request ended.
    pub end: End,
    /// The authenticated caller; `None` when denied or not asked.
    pub caller: Option<Arc<CallerLabels>>,
    /// The target that served it; `None` when none was chosen.
    pub target: Option<Arc<TargetLabels>>,
    /// Model name as the caller sent it; empty when it was never read. Log only, never a label.
    pub requested_model: ShortText,
    /// Whether the caller asked for a stream.
    pub stream: bool,
    /// Address of the caller, after trusted proxies.
    pub client_ip: IpAddr,
    /// `User-Agent` as sent; empty when absent.
    pub user_agent: ShortText,
    /// Tokens.
    pub usage: Usage,
    /// Cost in millionths of a US dollar.
    pub cost_micro_usd: u64,
    /// From the first byte of the head to the end of the answer, microseconds.
    pub total_us: u64,
    /// Until the response head was sent, microseconds; `None` when none was.
    pub head_us: Option<u64>,
    /// Until the first content event of a stream, microseconds.
    pub ttft_us: Option<u64>,
    /// Until the upstream's response head, microseconds.
    pub upstream_us: Option<u64>,
    /// Bytes read from the caller: heads and bodies.
    pub bytes_in: u64,
    /// Bytes written to the caller: heads and bodies.
    pub bytes_out: u64,
    /// Stream events relayed.
    pub events: u32,
    /// Id the provider gave its answer (in the body).
    pub provider_request_id: Option<ShortText>,
    /// Id the provider gave the HTTP exchange (in a header).
    pub upstream_request_id: Option<ShortText>,
    /// Why the model stopped.
    pub finish_reason: Option<ShortText>,
    /// Upstream attempts made.
    pub attempts: u16,
    /// Its attempts, where one of them failed or a target was passed over; at most [`TRIED_MAX`](super::tried::TRIED_MAX). Empty
    /// where the first one succeeded: the record says everything then.
    pub tried: Vec<Tried>,
    /// The group that was asked for, by its name; `None` for a call to a direct model.
    pub group: Option<Arc<str>>,
    /// Targets that failed or were passed over before the one that served it.
    pub fallbacks: u16,
    /// The limit that refused it.
    pub limit: Option<Box<LimitHit>>,
    /// Model name sent upstream; empty when nothing was sent.
    pub upstream_model: ShortText,
    /// The passthrough route that served it.
    pub passthrough_route: Option<Arc<str>>,
    /// Whom the caller said it acts for, in the route's identity header; at most 256 characters.
    pub client_identity: Option<ShortText>,
}

/// A limit that refused a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LimitHit {
    /// What there was too much of.
    pub dimension: Dimension,
    /// Whose limit it is.
    pub layer: LimitLayer,
    /// Id of the policy; empty where it is none.
    pub policy_id: Box<str>,
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum LimitLayer {
    /// The key's own.
    ApiKey,
    /// The model's own.
    Model,
    /// A policy's.
    Policy,
}

impl LimitLayer {
    /// Value of the label `layer`.
    pub fn label(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::Model => "model",
            Self::Policy => "policy",
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum End {
    /// The answer was delivered completely.
    Completed,
    /// The gateway refused it, and said so.
    Rejected,
    /// The caller left first.
    ClientGone,
    /// The upstream failed: before the head (answered) or within the stream (cut).
    UpstreamFailed,
    /// Cut by the end of a bounded drain.
    Drained,
}

impl End {
    /// Value of the `end` key of the access line.
    pub fn label(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::ClientGone => "client_gone",
            Self::UpstreamFailed => "upstream_failed",
            Self::Drained => "drained",
        }
    }
}

/// Tokens of one request. Zero is not absent: `source` tells.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// Where the figures come from.
    pub source: UsageSource,
    /// Input tokens.
    pub prompt: u64,
    /// Output tokens.
    pub completion: u64,
    /// Sum as the provider reported it.
    pub total: u64,
    /// Input tokens the provider served from its cache.
    pub cached_prompt: u64,
    /// Output tokens spent on reasoning.
    pub reasoning: u64,
    /// Tokens written to the provider's cache, not among `prompt`.
    pub cache_creation: u64,
    /// Tokens read from the provider's cache, not among `prompt`.
    pub cache_read: u64,
}

impl Usage {
    /// What counts against limits.
    pub fn charged(&self) -> u64 {
        [self.completion, self.cache_creation, self.cache_read]
            .into_iter()
            .fold(self.prompt, u64::saturating_add)
    }
}

/// Where token figures come from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum UsageSource {
    /// Nobody knows.
    #[default]
    Absent,
    /// The provider's own figures.
    Reported,
    /// Ours, from the length of the text.
    Estimated,
}

impl UsageSource {
    /// Value of the `usage_source` key of the access line.
    pub fn label(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Reported => "reported",
            Self::Estimated => "estimated",
        }
    }
}

impl Default for RequestRecord {
    /// A request of which nothing is known yet.
    fn default() -> Self {
        Self {
            request_id: ShortText::default(),
            trace_id: None,
            finished_unix_ms: 0,
            worker: 0,
            method: "",
            path: ShortText::default(),
            endpoint: "",
            inbound_protocol: "",
            status: 0,
            error_kind: None,
            error: None,
            end: End::Completed,
            caller: None,
            target: None,
            requested_model: ShortText::default(),
            stream: false,
            client_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            user_agent: ShortText::default(),
            usage: Usage::default(),
            cost_micro_usd: 0,
            total_us: 0,
            head_us: None,
            ttft_us: None,
            upstream_us: None,
            bytes_in: 0,
            bytes_out: 0,
            events: 0,
            provider_request_id: None,
            upstream_request_id: None,
            finish_reason: None,
            attempts: 0,
            tried: Vec::new(),
            group: None,
            fallbacks: 0,
            limit: None,
            upstream_model: ShortText::default(),
            passthrough_route: None,
            client_identity: None,
        }
    }
}

impl RequestRecord {
    /// Whether the answer reached the caller whole, error envelopes included.
    pub fn delivered(&self) -> bool {
        match self.end {
            End::Completed | End::Rejected => true,
            // Before the first event the failure is an envelope, after it a cut stream.
            End::UpstreamFailed => self.events == 0,
            End::ClientGone | End::Drained => false,
        }
    }

    /// Whether the caller left before a response head was sent.
    pub fn cancelled_before_head(&self) -> bool {
        self.end == End::ClientGone && self.head_us.is_none()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A request that never got further than the router.
    pub(crate) fn record() -> RequestRecord {
        RequestRecord {
            request_id: "req-1".into(),
            finished_unix_ms: 1_767_607_200_123,
            method: "POST",
            path: "/v1/chat/completions".into(),
            endpoint: "/v1/chat/completions",
            inbound_protocol: "openai",
            status: 200,
            client_ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
            total_us: 12_345,
            head_us: Some(12_000),
            bytes_in: 100,
            bytes_out: 200,
            ..RequestRecord::default()
        }
    }

    pub(crate) fn caller(id: &str) -> Arc<CallerLabels> {
        Arc::new(CallerLabels {
            api_key_id: id.into(),
            team_id: "team".into(),
            user_id: "user".into(),
            user_name: "Ann".into(),
        })
    }

    pub(crate) fn target(model: &str) -> Arc<TargetLabels> {
        Arc::new(TargetLabels {
            provider: "openai".into(),
            model: model.into(),
            upstream_model: "gpt-4o".into(),
            provider_key_id: "pk1".into(),
            provider_key_name: "prod".into(),
            model_id: "m1".into(),
        })
    }

    #[test]
    fn only_whole_answers_count_as_delivered() {
        let cases = [
            (End::Completed, 3, true),
            (End::Rejected, 0, true),
            (End::UpstreamFailed, 0, true),
            (End::UpstreamFailed, 1, false),
            (End::ClientGone, 0, false),
            (End::Drained, 0, false),
        ];
        for (end, events, want) in cases {
            let record = RequestRecord {
                end,
                events,
                ..record()
            };
            assert_eq!(record.delivered(), want, "{end:?} after {events} events");
        }
    }

    #[test]
    fn leaving_after_the_head_is_not_a_cancel_before_it() {
        let gone = RequestRecord {
            end: End::ClientGone,
            ..record()
        };
        assert!(!gone.cancelled_before_head());
        assert!(
            RequestRecord {
                head_us: None,
                ..gone
            }
            .cancelled_before_head()
        );
    }

    #[test]
    fn usage_is_absent_unless_somebody_knows() {
        assert_eq!(Usage::default().source, UsageSource::Absent);
        assert_eq!(UsageSource::Absent.label(), "absent");
    }
}
