//! One series: the counters of requests that share every label. [bridge]

use std::sync::Arc;

use config_sync::model::labels::{CallerLabels, TargetLabels};

use super::counter::Counter;
use super::domain;
use super::histogram::{BucketSettings, Histogram};
use super::record::{RequestRecord, UsageSource};

/// Label value of everything beyond a cap on series.
pub const OTHER: &str = "other";

/// Who called, as labels.
#[derive(Clone, Debug)]
pub enum CallerId {
    /// Nobody was authenticated.
    Absent,
    /// This key.
    Known(Arc<CallerLabels>),
    /// One of many beyond the cap.
    Other,
}

/// Whom the request was for, as labels.
#[derive(Clone, Debug)]
pub enum TargetId {
    /// The model name was never read.
    Unknown,
    /// No configured model has the name.
    Unresolved,
    /// This target.
    Known(Arc<TargetLabels>),
    /// One of many beyond the cap.
    Other,
}

/// The labels of one series. `outcome` and `status_class` follow from the status.
#[derive(Clone, Debug)]
pub struct SeriesLabels {
    /// Route template.
    pub endpoint: &'static str,
    /// Protocol spoken by the caller.
    pub inbound_protocol: &'static str,
    /// The caller.
    pub caller: CallerId,
    /// The target.
    pub target: TargetId,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Whether another target than the first served it.
    pub fallback: bool,
    /// Status answered; a multiple of 100 beyond the cap.
    pub status: u16,
}

impl SeriesLabels {
    /// The labels under which `record` counts.
    pub fn of(record: &RequestRecord) -> Self {
        Self {
            endpoint: record.endpoint,
            inbound_protocol: record.inbound_protocol,
            caller: record
                .caller
                .clone()
                .map_or(CallerId::Absent, CallerId::Known),
            target: match &record.target {
                Some(target) => TargetId::Known(Arc::clone(target)),
                None if record.requested_model.is_empty() => TargetId::Unknown,
                None => TargetId::Unresolved,
            },
            stream: record.stream,
            fallback: record.fallbacks > 0,
            status: record.status,
        }
    }

    /// These labels with everything unbounded folded together.
    pub(super) fn overflow(&self) -> Self {
        Self {
            caller: match self.caller {
                CallerId::Absent => CallerId::Absent,
                CallerId::Known(_) | CallerId::Other => CallerId::Other,
            },
            target: TargetId::Other,
            status: self.status / 100 * 100,
            ..self.clone()
        }
    }

    /// Bytes that are equal exactly when all labels are. Values hold no control characters, so
    /// one can separate them.
    pub(super) fn identity(&self) -> Box<[u8]> {
        let mut out = Vec::with_capacity(128);
        let mut part = |text: &str| {
            out.extend_from_slice(text.as_bytes());
            out.push(0x1f);
        };
        part(self.endpoint);
        part(self.inbound_protocol);
        part(if self.stream { "s" } else { "" });
        part(if self.fallback { "f" } else { "" });
        match &self.caller {
            CallerId::Absent => part("\x01absent"),
            CallerId::Other => part("\x01other"),
            CallerId::Known(c) => {
                for value in [&c.api_key_id, &c.team_id, &c.user_id, &c.user_name] {
                    part(value);
                }
            }
        }
        match &self.target {
            TargetId::Unknown => part("\x01unknown"),
            TargetId::Unresolved => part("\x01unresolved"),
            TargetId::Other => part("\x01other"),
            TargetId::Known(t) => target_parts(t).for_each(|value| part(value)),
        }
        out.extend_from_slice(&self.status.to_be_bytes());
        out.into()
    }
}

/// Bytes that are equal exactly when the labels of two targets are.
pub(super) fn target_identity(target: &TargetLabels) -> Box<[u8]> {
    let mut out = Vec::with_capacity(64);
    for value in target_parts(target) {
        out.extend_from_slice(value.as_bytes());
        out.push(0x1f);
    }
    out.into()
}

fn target_parts(t: &TargetLabels) -> impl Iterator<Item = &Arc<str>> {
    let key = [&t.provider_key_id, &t.provider_key_name];
    [&t.provider, &t.model, &t.upstream_model]
        .into_iter()
        .chain(key)
}

/// The counters of one series. Written by one worker, read by the scrape.
#[derive(Debug)]
pub struct Series {
    /// What the counters are about.
    pub labels: SeriesLabels,
    /// Requests.
    pub requests: Counter,
    /// Callers that left before the response head.
    pub cancelled: Counter,
    /// Time to the response head, or to the end when there was none.
    pub duration: Histogram,
    /// Time to the last byte, of answers delivered whole.
    pub e2e: Histogram,
    /// Time to the first content event.
    pub ttft: Histogram,
    /// Input tokens.
    pub prompt_tokens: Counter,
    /// Output tokens.
    pub completion_tokens: Counter,
    /// Their sum as the provider reports it.
    pub total_tokens: Counter,
    /// Tokens of either kind that nobody reported.
    pub estimated_tokens: Counter,
    /// Cost in millionths of a US dollar.
    pub micro_usd: Counter,
}

impl Series {
    pub(super) fn new(labels: SeriesLabels, buckets: &BucketSettings) -> Self {
        Self {
            labels,
            requests: Counter::default(),
            cancelled: Counter::default(),
            duration: Histogram::new(&buckets.duration),
            e2e: Histogram::new(&buckets.e2e),
            ttft: Histogram::new(&buckets.ttft),
            prompt_tokens: Counter::default(),
            completion_tokens: Counter::default(),
            total_tokens: Counter::default(),
            estimated_tokens: Counter::default(),
            micro_usd: Counter::default(),
        }
    }

    /// Counts one request. Only the owning worker may call this.
    pub(super) fn count(&self, record: &RequestRecord) {
        self.requests.add(1);
        if record.cancelled_before_head() {
            self.cancelled.add(1);
        }
        self.duration
            .observe(record.head_us.unwrap_or(record.total_us));
        if record.delivered() {
            self.e2e.observe(record.total_us);
        }
        if let Some(ttft_us) = record.ttft_us {
            self.ttft.observe(ttft_us);
        }
        let usage = &record.usage;
        match usage.source {
            UsageSource::Absent => {}
            UsageSource::Reported => self.tokens(record),
            UsageSource::Estimated => {
                self.tokens(record);
                self.estimated_tokens
                    .add(usage.prompt.saturating_add(usage.completion));
            }
        }
        self.micro_usd.add(record.cost_micro_usd);
    }

    fn tokens(&self, record: &RequestRecord) {
        self.prompt_tokens.add(record.usage.prompt);
        self.completion_tokens.add(record.usage.completion);
        self.total_tokens.add(record.usage.total);
    }

    /// Whether the `llm_*` families count it.
    pub fn is_llm(&self) -> bool {
        domain::ENDPOINTS[domain::endpoint_slot(self.labels.endpoint)].llm
    }
}

/// Attempts at one target. Written by one worker, read by the scrape.
#[derive(Debug)]
pub struct TargetSeries {
    /// The target.
    pub target: Option<Arc<TargetLabels>>,
    /// Attempts whose answer was good to its end, or as far as the caller wanted it.
    pub success: Counter,
    /// Attempts without an answer, with an error, or whose answer broke off.
    pub failure: Counter,
    /// Attempts whose caller left before an answer came.
    pub left: Counter,
    /// Cooldowns begun.
    pub cooled_down: Counter,
}

impl TargetSeries {
    /// `None` stands for all targets beyond the cap.
    pub(super) fn new(target: Option<Arc<TargetLabels>>) -> Self {
        Self {
            target,
            success: Counter::default(),
            failure: Counter::default(),
            left: Counter::default(),
            cooled_down: Counter::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{caller, record, target};
    use super::super::record::{End, Usage};
    use super::*;

    #[test]
    fn equal_labels_have_equal_identities_whatever_their_pointers() {
        let one = RequestRecord {
            caller: Some(caller("k1")),
            target: Some(target("m")),
            ..record()
        };
        let same = RequestRecord {
            caller: Some(caller("k1")),
            ..one.clone()
        };
        let identity = SeriesLabels::of(&one).identity();
        assert_eq!(identity, SeriesLabels::of(&same).identity());
        let others = [
            RequestRecord {
                caller: Some(caller("k2")),
                ..one.clone()
            },
            RequestRecord {
                caller: None,
                ..one.clone()
            },
            RequestRecord {
                target: Some(target("n")),
                ..one.clone()
            },
            RequestRecord {
                target: None,
                ..one.clone()
            },
            RequestRecord {
                target: None,
                requested_model: "x".into(),
                ..one.clone()
            },
            RequestRecord {
                stream: true,
                ..one.clone()
            },
            RequestRecord {
                status: 201,
                ..one.clone()
            },
            RequestRecord {
                endpoint: "/v1/embeddings",
                ..one.clone()
            },
        ];
        for other in others {
            assert_ne!(identity, SeriesLabels::of(&other).identity(), "{other:?}");
        }
    }

    #[test]
    fn a_callers_text_never_becomes_a_label() {
        let labels = SeriesLabels::of(&RequestRecord {
            requested_model: "evil".into(),
            ..record()
        });
        assert!(matches!(labels.target, TargetId::Unresolved));
        assert!(matches!(
            SeriesLabels::of(&record()).target,
            TargetId::Unknown
        ));
    }

    #[test]
    fn beyond_the_cap_only_closed_sets_remain() {
        let labels = SeriesLabels::of(&RequestRecord {
            caller: Some(caller("k1")),
            status: 429,
            ..record()
        });
        let folded = labels.overflow();
        assert_eq!(folded.status, 400);
        assert!(matches!(folded.caller, CallerId::Other));
        assert!(matches!(folded.target, TargetId::Other));
    }

    #[test]
    fn absent_usage_moves_no_token_and_estimates_are_counted_twice() {
        let series = Series::new(SeriesLabels::of(&record()), &BucketSettings::default());
        let usage = |source| Usage {
            source,
            prompt: 10,
            completion: 5,
            total: 15,
            ..Usage::default()
        };
        let with = |source| RequestRecord {
            usage: usage(source),
            ..record()
        };
        series.count(&with(UsageSource::Absent));
        assert_eq!(series.prompt_tokens.value(), 0);
        series.count(&with(UsageSource::Reported));
        assert_eq!(
            (
                series.prompt_tokens.value(),
                series.estimated_tokens.value()
            ),
            (10, 0)
        );
        series.count(&with(UsageSource::Estimated));
        assert_eq!(
            (series.total_tokens.value(), series.estimated_tokens.value()),
            (30, 15)
        );
        assert_eq!(series.requests.value(), 3);
    }

    #[test]
    fn a_stream_that_was_cut_has_no_end_to_end_time() {
        let buckets = BucketSettings::default();
        let series = Series::new(SeriesLabels::of(&record()), &buckets);
        series.count(&RequestRecord {
            end: End::ClientGone,
            head_us: None,
            ..record()
        });
        let mut sums = vec![0; buckets.e2e.micros().len() + 2];
        series.e2e.add_to(&mut sums);
        assert!(sums.iter().all(|sum| *sum == 0));
        assert_eq!(series.cancelled.value(), 1);
    }
}
