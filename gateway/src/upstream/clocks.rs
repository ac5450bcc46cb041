//! The five clocks of a request: connect, head, first event, gap, total. [pure]

use std::time::Duration;

use config_sync::model::Model;

use crate::settings::UpstreamSettings;

/// How long each phase of one attempt may take. `None` is for ever.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Clocks {
    /// Name resolution, TCP and TLS.
    pub connect: Option<Duration>,
    /// From the request's last byte to the response head.
    pub head: Option<Duration>,
    /// From the response head to the first event of a stream.
    pub first_event: Option<Duration>,
    /// Between two reads of a stream.
    pub gap: Option<Duration>,
    /// From the start of the attempt to the response's last byte.
    pub total: Option<Duration>,
    /// Whether the response head is withheld until the first event, so that a silent target fails
    /// with a status: a budget that the model set itself.
    pub withhold_head: bool,
}

impl Clocks {
    /// The clocks of a request to `model`.
    ///
    /// Unary: the model's `timeout`, else its group's, else `upstream.timeout_ms`, bounds head and
    /// body together. Streams: the model's `stream_timeout`, else its group's, else a `timeout` in the
    /// same order, else the deployment's clock of the phase bounds each silence.
    pub(crate) fn of(
        model: &Model,
        group: Option<&Model>,
        upstream: &UpstreamSettings,
        stream: bool,
    ) -> Self {
        let group_timeout = group.and_then(|group| group.timeout_ms);
        let own_timeout = model.timeout_ms.or(group_timeout).map(millis);
        if !stream {
            let total = own_timeout.unwrap_or(upstream.timeout);
            return Self {
                connect: upstream.connect_timeout,
                head: total,
                first_event: None,
                gap: None,
                total,
                withhold_head: false,
            };
        }
        let group_stream = group.and_then(|group| group.stream_timeout_ms);
        let own_stream = model.stream_timeout_ms.or(group_stream).map(millis);
        let own = own_stream.or(own_timeout);
        let first_event = own.unwrap_or(upstream.first_event_timeout);
        Self {
            connect: upstream.connect_timeout,
            head: first_event,
            first_event,
            gap: own.unwrap_or(upstream.event_gap_timeout),
            total: upstream.stream_total_timeout,
            withhold_head: own.is_some(),
        }
    }

    /// The clocks of a request to a passthrough route. Its `timeout_ms`, else `upstream.timeout_ms`,
    /// bounds head and body together; an event stream has the deployment's clocks.
    pub(crate) fn of_route(timeout_ms: Option<u64>, upstream: &UpstreamSettings) -> Self {
        let total = timeout_ms.map(millis).unwrap_or(upstream.timeout);
        Self {
            connect: upstream.connect_timeout,
            head: total,
            first_event: upstream.first_event_timeout,
            gap: upstream.event_gap_timeout,
            total,
            withhold_head: false,
        }
    }

    /// The same once the response turned out to be an event stream: `timeout_ms` is met by its head.
    pub(crate) fn for_events(mut self, upstream: &UpstreamSettings) -> Self {
        self.total = upstream.stream_total_timeout;
        self
    }
}

impl Clocks {
    /// The same where only `left` remains for the attempt.
    #[must_use]
    pub(crate) fn within(self, left: Duration) -> Self {
        let clip = |clock: Option<Duration>| Some(clock.map_or(left, |clock| clock.min(left)));
        Self {
            connect: clip(self.connect),
            head: clip(self.head),
            total: clip(self.total),
            ..self
        }
    }
}

/// 0 is no deadline.
fn millis(ms: u64) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::fixture;
    use serde_json::json;

    fn deployment() -> UpstreamSettings {
        UpstreamSettings {
            timeout: millis(600_000),
            first_event_timeout: millis(90_000),
            event_gap_timeout: millis(30_000),
            stream_total_timeout: None,
            connect_timeout: millis(5_000),
            tcp_keepalive: None,
            pool_idle_timeout: None,
            pool_max_idle_per_host: None,
            retries: 2,
            tls: Default::default(),
        }
    }

    #[test]
    fn a_routes_timeout_bounds_heads_and_bodies_but_no_stream() {
        let upstream = deployment();
        for (timeout_ms, want) in [(None, Some(600_000)), (Some(7), Some(7))] {
            let clocks = Clocks::of_route(timeout_ms, &upstream);
            let want = want.and_then(millis);
            assert_eq!((clocks.head, clocks.total), (want, want));
            let stream = clocks.for_events(&upstream);
            assert_eq!((stream.head, stream.total), (want, None));
            assert_eq!(stream.gap, millis(30_000));
        }
    }

    #[test]
    fn a_models_own_budget_wins_over_the_deployments_and_withholds_the_head() {
        // (model) -> (unary total), (first event, gap, withheld)
        let cases = [
            (
                json!({}),
                Some(600_000),
                (Some(90_000), Some(30_000), false),
            ),
            (json!({"timeout": 50}), Some(50), (Some(50), Some(50), true)),
            (json!({"timeout": 0}), None, (None, None, true)),
            (
                json!({"stream_timeout": 70}),
                Some(600_000),
                (Some(70), Some(70), true),
            ),
            (
                json!({"stream_timeout": 0, "timeout": 9}),
                Some(9),
                (Some(9), Some(9), true),
            ),
        ];
        for (fields, total, (first, gap, withheld)) in cases {
            let model = fixture::model("m", fields.clone());
            let unary = Clocks::of(&model, None, &deployment(), false);
            let wanted = total.map(Duration::from_millis);
            assert_eq!((unary.total, unary.head), (wanted, wanted), "{fields}");
            let stream = Clocks::of(&model, None, &deployment(), true);
            assert_eq!(stream.head, first.map(Duration::from_millis), "{fields}");
            assert_eq!(stream.first_event, first.map(Duration::from_millis));
            assert_eq!(stream.gap, gap.map(Duration::from_millis), "{fields}");
            assert_eq!(stream.withhold_head, withheld, "{fields}");
        }
    }
}
