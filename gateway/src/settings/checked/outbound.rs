//! `upstream`, `downstream` and `shutdown`: connections, deadlines and the drain. [boot]

use std::time::Duration;

use config_sync::tree::Fields;

use super::tls::{TrustSettings, trust};
use crate::settings::field::{Context, DURATION_SECS_MAX, flag, millis, secs, small, whole};

/// Most retries of one request, whatever asks for them.
const RETRIES_MAX: u32 = 100;
/// Kernel bounds of TCP keepalive: `TCP_KEEPIDLE` and `TCP_KEEPINTVL`, `TCP_KEEPCNT`.
const KEEPALIVE_SECS_MAX: u64 = 32_767;
const KEEPALIVE_PROBES_MAX: u32 = 127;

/// Connections to model providers. Every duration may be switched off with 0 (`None`).
///
/// A model's own `timeout` and `stream_timeout` win over the values here.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// `timeout_ms`: a whole call that is not streamed. Default 600 000 ms.
    pub timeout: Option<Duration>,
    /// `ttft_timeout_ms`: until the first event of a stream. Default `stream_timeout_ms`, else
    /// `timeout_ms`.
    pub first_event_timeout: Option<Duration>,
    /// `stream_idle_timeout_ms`: between two events of a stream. Default `stream_timeout_ms`, else
    /// `timeout_ms`.
    pub event_gap_timeout: Option<Duration>,
    /// `stream_total_timeout_ms`: a whole stream. Default 0, none.
    pub stream_total_timeout: Option<Duration>,
    /// `connect_timeout_ms`: name, TCP and TLS together. Default 5000 ms.
    pub connect_timeout: Option<Duration>,
    /// `tcp_keepalive_secs` and the two keys beside it; 0 seconds: no probes.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// `pool_idle_timeout_secs`: age at which an unused connection is closed. Default 30 s; off:
    /// kept for as long as the upstream keeps it.
    pub pool_idle_timeout: Option<Duration>,
    /// `pool_max_idle_per_host`: unused connections kept per worker and target, at most 65 535; 0:
    /// none is kept. Default none: the pool's own bound. File descriptors at rest: workers ×
    /// targets × this.
    pub pool_max_idle_per_host: Option<usize>,
    /// `retries`: further attempts where neither the model nor its group says. Default 2, at most
    /// 100; 0 disables.
    pub retries: u32,
    /// `tls`: trust in every server that the gateway calls, and its own identity there.
    pub tls: TrustSettings,
}

/// Probes on a silent connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TcpKeepalive {
    /// `tcp_keepalive_secs`: silence before the first probe. Default 60 s, at most 32 767 s.
    pub idle: Duration,
    /// `tcp_keepalive_interval_secs`: between probes. Default 30 s, at most 32 767 s; `None`: the
    /// kernel's choice.
    pub interval: Option<Duration>,
    /// `tcp_keepalive_retries`: probes without an answer. Default 5; 1 to 127.
    pub probes: u32,
}

/// Connections of callers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DownstreamSettings {
    /// `idle_timeout_secs`: a connection without a request is closed. Default 60 s; 0: never, then
    /// idle callers hold a few KiB each for ever.
    pub idle_timeout: Option<Duration>,
    /// `sse_keepalive_interval_secs`: silence on a stream before a comment is sent. Default 15 s;
    /// 0: none.
    pub sse_keepalive_interval: Option<Duration>,
}

/// How the process ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ShutdownSettings {
    /// `min_drain_secs`: how long callers are still accepted after the signal. Default 30 s.
    pub min_drain: Duration,
    /// `max_drain_secs`: after that, streams are cut and the exit code is 1. Default 0, never.
    pub max_drain: Option<Duration>,
    /// `livez_during_drain`: `/livez` stays 200 while draining. Default false.
    pub livez_during_drain: bool,
}

/// Reads the block `upstream`.
pub(super) fn upstream(root: &Fields<'_>, context: &Context<'_>) -> UpstreamSettings {
    let block = root.take_block("upstream");
    let timeout = millis(&block, "timeout_ms", 600_000);
    let stream_timeout = millis(&block, "stream_timeout_ms", 0).or(timeout);
    let settings = UpstreamSettings {
        timeout,
        first_event_timeout: millis(&block, "ttft_timeout_ms", 0).or(stream_timeout),
        event_gap_timeout: millis(&block, "stream_idle_timeout_ms", 0).or(stream_timeout),
        stream_total_timeout: millis(&block, "stream_total_timeout_ms", 0),
        connect_timeout: millis(&block, "connect_timeout_ms", 5000),
        tcp_keepalive: keepalive(&block),
        pool_idle_timeout: secs(&block, "pool_idle_timeout_secs", 30),
        pool_max_idle_per_host: block
            .take_u64_in("pool_max_idle_per_host", 0, u16::MAX.into())
            .and_then(|count| usize::try_from(count).ok()),
        retries: small(&block, "retries", 2, (0, RETRIES_MAX)),
        tls: trust(&block, context),
    };
    block.finish();
    settings
}

fn keepalive(block: &Fields<'_>) -> Option<TcpKeepalive> {
    let bounds = (0, KEEPALIVE_SECS_MAX);
    let idle = whole(block, "tcp_keepalive_secs", 60, bounds);
    let interval = whole(block, "tcp_keepalive_interval_secs", 30, bounds);
    let probes = small(block, "tcp_keepalive_retries", 5, (1, KEEPALIVE_PROBES_MAX));
    (idle != 0).then(|| TcpKeepalive {
        idle: Duration::from_secs(idle),
        interval: Some(Duration::from_secs(interval)).filter(|interval| !interval.is_zero()),
        probes,
    })
}

/// Reads the block `downstream`.
pub(super) fn downstream(root: &Fields<'_>) -> DownstreamSettings {
    let block = root.take_block("downstream");
    let settings = DownstreamSettings {
        idle_timeout: secs(&block, "idle_timeout_secs", 60),
        sse_keepalive_interval: secs(&block, "sse_keepalive_interval_secs", 15),
    };
    block.finish();
    settings
}

/// Reads the block `shutdown`.
pub(super) fn shutdown(root: &Fields<'_>, context: &Context<'_>) -> ShutdownSettings {
    let block = root.take_block("shutdown");
    let min_secs = whole(&block, "min_drain_secs", 30, (0, DURATION_SECS_MAX));
    let settings = ShutdownSettings {
        min_drain: Duration::from_secs(min_secs),
        max_drain: secs(&block, "max_drain_secs", 0),
        livez_during_drain: flag(&block, "livez_during_drain", false),
    };
    if settings
        .max_drain
        .is_some_and(|max| max < settings.min_drain)
    {
        context.warn(
            "shutdown.max_drain_secs is below shutdown.min_drain_secs: \
             streams are cut as soon as the minimum is over",
        );
    }
    block.finish();
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::field::reading::read;
    use serde_json::{Value, json};

    fn read_upstream(block: &Value) -> (UpstreamSettings, Vec<String>) {
        let doc = json!({ "upstream": block });
        let read = read(&doc, &[], |root, _, context| upstream(root, context));
        (read.got, read.problems)
    }

    #[test]
    fn zero_switches_durations_off() {
        let (got, problems) = read_upstream(&json!({
            "timeout_ms": 0, "connect_timeout_ms": 0, "tcp_keepalive_secs": 0,
            "pool_idle_timeout_secs": 0, "pool_max_idle_per_host": 0, "retries": 0,
        }));
        assert_eq!(problems, [""; 0]);
        assert_eq!(
            (got.timeout, got.connect_timeout, got.pool_idle_timeout),
            (None, None, None)
        );
        assert_eq!(
            (got.tcp_keepalive, got.pool_max_idle_per_host),
            (None, Some(0))
        );
        assert_eq!(got.retries, 0);
        let (got, _) = read_upstream(&json!({"tcp_keepalive_interval_secs": 0}));
        assert_eq!(
            got.tcp_keepalive.and_then(|keepalive| keepalive.interval),
            None
        );
        let doc = json!({"downstream": {"idle_timeout_secs": 0, "sse_keepalive_interval_secs": 0}});
        let got = read(&doc, &[], |root, _, _| downstream(root)).got;
        assert_eq!((got.idle_timeout, got.sse_keepalive_interval), (None, None));
    }

    #[test]
    fn what_a_socket_or_a_clock_cannot_take_is_refused() {
        let cases = [
            ("timeout_ms", json!(u64::MAX), "must be 0 to 31536000000"),
            (
                "pool_idle_timeout_secs",
                json!(u64::MAX),
                "must be 0 to 31536000",
            ),
            ("tcp_keepalive_secs", json!(32_768), "must be 0 to 32767"),
            ("tcp_keepalive_retries", json!(0), "must be 1 to 127"),
            (
                "pool_max_idle_per_host",
                json!(65_536),
                "must be 0 to 65535",
            ),
            ("retries", json!(101), "must be 0 to 100"),
            (
                "connect_timeout_ms",
                json!(-1),
                "must be a whole number, 0 or more, not a number",
            ),
        ];
        for (key, value, want) in cases {
            let (_, problems) = read_upstream(&json!({ key: value }));
            assert_eq!(problems, [format!("upstream.{key}: {want}")]);
        }
    }

    #[test]
    fn a_drain_that_ends_before_its_minimum_is_warned_about() {
        for (max, warned) in [(0, 0), (29, 1), (30, 0)] {
            let doc = json!({"shutdown": {"max_drain_secs": max}});
            let read = read(&doc, &[], |root, _, context| shutdown(root, context));
            assert_eq!(read.warnings.len(), warned, "{max}");
        }
    }
}
