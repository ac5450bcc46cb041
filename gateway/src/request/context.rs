//! What is known of one request, gathered phase by phase into its record. [ring]

use std::net::SocketAddr;
use std::rc::Rc;

use monoio::time::Instant;

use crate::bridge::record::{End, LimitHit, RequestRecord, Usage};
use crate::dialect::Dialect;
use crate::http::h1::RequestHead;
use crate::rejection::{Rejection, Side};
use crate::relay::Stop;
use crate::relay::stream::Tally;
use crate::request_id;
use crate::short_text::ShortText;
use crate::worker::Worker;
use crate::worker::core::Phase;

/// Status recorded for a caller who left; nobody gets it.
const CLIENT_GONE: u16 = 499;

/// What a request is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'p> {
    /// Route template.
    pub endpoint: &'static str,
    /// The protocol of the caller.
    pub dialect: Dialect,
    /// Path after rewrites, without query.
    pub path: &'p str,
}

/// One request on its way. Yields its record exactly once: by [`Context::finish`], or, where the
/// task ends otherwise, when dropped.
pub(crate) struct Context {
    pub worker: Rc<Worker>,
    pub started: Instant,
    /// The protocol of the caller.
    pub dialect: Dialect,
    /// The record so far; taken when it is handed over.
    record: Option<Box<RequestRecord>>,
    /// When the answer was sent, where nothing more is awaited.
    ended: Option<Instant>,
}

impl Context {
    /// Begins the record of a request.
    pub(crate) fn new(
        worker: &Rc<Worker>,
        head: &RequestHead,
        request_id: ShortText,
        peer: SocketAddr,
        place: &Place<'_>,
    ) -> Self {
        let endpoint = place.endpoint;
        let real_ip = &worker.settings.real_ip;
        let trace = request_id::trace_context(
            head.header_all("traceparent"),
            head.header_all("tracestate"),
        );
        let forwarded = head.header_all(&real_ip.header);
        let mut record = worker.bridge.blank();
        record.request_id = request_id;
        record.trace_id = trace.map(|trace| trace.trace_id.into());
        record.worker = worker.id;
        record.method = head.method().label();
        record.path = place.path.into();
        record.endpoint = endpoint;
        record.inbound_protocol = place.dialect.label();
        record.client_ip = real_ip.resolve(peer.ip(), forwarded);
        record.user_agent = text(head.header("user-agent"));
        worker.shard().in_flight(endpoint, 1);
        Self {
            worker: Rc::clone(worker),
            started: worker.now(),
            dialect: place.dialect,
            record: Some(record),
            ended: None,
        }
    }

    /// The record so far.
    pub(crate) fn record(&mut self) -> &mut RequestRecord {
        self.record
            .as_mut()
            .expect("the record is handed over by `finish`, which consumes the context")
    }

    /// Microseconds from the start to `at`.
    pub(crate) fn micros_to(&self, at: Instant) -> u64 {
        let spent = at.saturating_duration_since(self.started).as_micros();
        u64::try_from(spent).unwrap_or(u64::MAX)
    }

    /// Notes that the request ends at `at`: nothing more may be awaited. Returns the
    /// microseconds until then.
    pub(crate) fn ended(&mut self, at: Instant) -> u64 {
        self.ended = Some(at);
        self.micros_to(at)
    }

    /// Notes what was sent.
    pub(crate) fn sent(&mut self, tally: &Tally) {
        let head_us = tally.head_at.map(|at| self.micros_to(at));
        let ttft_us = tally.first_content_at.map(|at| self.micros_to(at));
        let record = self.record();
        record.head_us = head_us;
        record.ttft_us = ttft_us;
        record.events = tally.events;
        record.bytes_out += tally.bytes_out;
        self.worker.shard().events(u64::from(tally.events));
    }

    /// The attempt so far failed and others follow: nothing that it said of its answer stands.
    pub(crate) fn forget_answer(&mut self) {
        let record = self.record();
        record.usage = Usage::default();
        record.cost_micro_usd = 0;
        record.provider_request_id = None;
        record.finish_reason = None;
    }

    /// Notes a refusal or failure with its cause.
    pub(crate) fn failed(&mut self, rejection: &Rejection) {
        let record = self.record();
        record.status = rejection.status();
        record.error_kind = Some(rejection.kind());
        record.error = rejection.detail().map(String::into_boxed_str);
        if let Rejection::Overloaded(what) = rejection {
            self.worker.shard().overloaded(*what);
        }
        let record = self.record();
        if let Rejection::RateLimited(limited) = rejection {
            let policy = limited.policy.as_ref();
            record.limit = Some(Box::new(LimitHit {
                dimension: limited.dimension,
                layer: limited.layer,
                policy_id: policy.map_or_else(Box::default, |policy| policy.id.clone()),
            }));
        }
        record.end = match rejection.side() {
            Side::Upstream => End::UpstreamFailed,
            Side::Caller | Side::Gateway => End::Rejected,
        };
    }

    /// Accounts for the request. The only place that does, with the drop below.
    pub(crate) fn finish(mut self, stopped: Option<&Stop>) {
        match stopped {
            None => {}
            Some(Stop::Rejected(rejection) | Stop::Cut(rejection)) => self.failed(rejection),
            Some(Stop::HungUp) => {
                let drained = self.worker.phase.get() == Phase::Cutting;
                let record = self.record();
                record.status = CLIENT_GONE;
                (record.end, record.error_kind) = if drained {
                    (End::Drained, Some("shutting_down"))
                } else {
                    (End::ClientGone, Some("client_disconnected"))
                };
            }
        }
        self.hand_over();
    }

    fn hand_over(&mut self) {
        let ended = self.ended.unwrap_or_else(|| self.worker.tick());
        let total_us = self.micros_to(ended);
        let Some(mut record) = self.record.take() else {
            return;
        };
        record.total_us = total_us;
        record.finished_unix_ms = self.worker.unix_ms();
        let endpoint = record.endpoint;
        self.worker.bridge.finish(record);
        // Last: the process may end once nothing is in flight, and what is queued by then is written.
        self.worker.shard().in_flight(endpoint, -1);
    }
}

impl Drop for Context {
    /// A task that panicked still accounts for its request.
    fn drop(&mut self) {
        if let Some(record) = self.record.as_mut() {
            record.status = 500;
            record.error_kind = Some("api_error");
            record.error = Some("the task ended before the request did".into());
            record.end = End::Rejected;
            self.hand_over();
        }
    }
}

/// A header's value for the log: cut and cleaned where it is written.
fn text(value: Option<&[u8]>) -> ShortText {
    /// The log shows 256 characters; more need not be carried.
    const CARRIED_MAX: usize = 1024;
    let value = value.unwrap_or_default();
    ShortText::lossy(value.get(..CARRIED_MAX).unwrap_or(value))
}
