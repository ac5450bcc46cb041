//! `proxy`: the callers' listener and the workers behind it. [boot]

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use config_sync::tree::{Fields, Problems, Unknown};

use super::tls::{ListenerTls, listener};
use crate::client_ip::{RealIp, network};
use crate::rewrite::{Rewrites, Rule, RuleError};
use crate::settings::field::{Context, addr, choice, flag, is_header_name, small, text, whole};

/// Largest JSON body where nothing else is set, in bytes.
const JSON_BODY_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Largest multipart body where nothing else is set, in bytes.
const MULTIPART_BODY_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Most workers. Each costs a thread, a ring and a connection pool.
const WORKERS_MAX: u64 = 1024;
/// Longest time that a caller may take for a request head.
const HEADER_READ_SECS_MAX: u64 = 3600;
/// Requests at a time on one connection of HTTP/2.
const HTTP2_STREAMS_DEFAULT: u32 = 128;
/// Most that may be allowed: each may hold a head, a window and its buffers.
const HTTP2_STREAMS_MAX: u32 = 1024;
/// Mark of memory, in percent of what there is: what one interval between two measurements takes in
/// fits above it, down to limits of 128 MiB.
const HIGH_PERCENT_DEFAULT: u64 = 85;
/// Nothing would fit above a higher one.
const HIGH_PERCENT_MAX: u64 = 95;
/// Headers that a request id is never read from: credentials, routing, signatures and traces.
const NO_REQUEST_ID: &[&str] = &[
    "authorization",
    "x-api-key",
    "x-goog-api-key",
    "api-key",
    "x-amz-security-token",
    "x-amz-date",
    "x-amz-content-sha256",
    "proxy-authorization",
    "cookie",
    "host",
    "traceparent",
    "tracestate",
];

/// The proxy listener.
#[derive(Clone, Debug)]
pub struct ProxySettings {
    /// `addr`: bound once by each worker. Required.
    pub addr: SocketAddr,
    /// Largest JSON body in bytes; `None`: unlimited. Default 32 MiB; `request_body_limit_bytes`
    /// sets both limits, an explicit 0 lifts them. A request holds at most this much of its body.
    pub json_body_bytes_max: Option<u64>,
    /// Largest multipart body in bytes; `None`: unlimited. Default 512 MiB; see above.
    pub multipart_body_bytes_max: Option<u64>,
    /// `tls`. Default none, plain HTTP.
    pub tls: Option<ListenerTls>,
    /// `real_ip`: how a caller's address is found behind proxies.
    pub real_ip: RealIp,
    /// `request_id.accept_headers`: lower-case names, in the order in which they are tried.
    /// Default `x-sluice-request-id`; empty: every id is minted.
    pub request_id_headers: Box<[Box<str>]>,
    /// `workers`: threads that serve. Default: the CPUs that affinity and cgroup grant; 1 to 1024.
    pub workers: NonZeroUsize,
    /// `pin_cpus`: worker *n* stays on the *n*-th CPU of the affinity mask. Default true.
    pub pin_cpus: bool,
    /// `io_engine`. Default `auto`.
    pub io_engine: IoEngine,
    /// `max_connections_per_worker`; beyond, new ones are answered 503 and closed. Default 0, unlimited (`None`).
    pub max_connections_per_worker: Option<NonZeroUsize>,
    /// `max_requests_per_worker`; beyond, new ones are answered 503. Default 0, unlimited (`None`):
    /// what a request holds differs a hundredfold, so that no number suits; memory is bounded by
    /// `memory`.
    pub max_requests_per_worker: Option<NonZeroUsize>,
    /// `memory`: the mark above which nothing more is taken in.
    pub memory: MemorySettings,
    /// `header_read_timeout_secs`: for a whole request head from its first byte (from the accept,
    /// for the first request). Default 10 s; 1 to 3600.
    pub header_read_timeout: Duration,
    /// `http2.max_concurrent_streams`: requests that a client may have open at a time on one
    /// connection. Default 128; 1 to 1024. `None` where `http2.enabled` is false: default true.
    pub http2_streams_max: Option<u32>,
    /// `url_rewrites`, compiled. Default none.
    pub rewrites: Rewrites,
}

/// Bounds of memory.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MemorySettings {
    /// `high_percent` and `high_bytes`.
    pub mark: MemoryMark,
    /// `bodies_bytes`: all bodies together that are held whole, of requests and of answers. Default
    /// (`None`) a quarter of the mark; 0: no bound.
    pub bodies_bytes: Option<u64>,
}

impl MemorySettings {
    /// Bytes of all bodies together; `default` where nothing is set, `None` where there is no bound.
    pub fn bodies_max(&self, default: Option<u64>) -> Option<u64> {
        match self.bodies_bytes {
            None => default,
            Some(0) => None,
            set => set,
        }
    }
}

/// The mark above which nothing more is taken in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum MemoryMark {
    /// `high_percent: 0`: there is none.
    #[default]
    Off,
    /// `high_percent`: of the control group's limit, else of the host's memory. Default 85; at most
    /// 95.
    Percent(u64),
    /// `high_bytes`, which wins. Default none.
    Bytes(u64),
}

impl MemoryMark {
    /// The mark where the process may have `limit` bytes; never above them.
    pub fn of(self, limit: u64) -> u64 {
        match self {
            Self::Off => limit,
            Self::Percent(percent) => limit / 100 * percent,
            Self::Bytes(bytes) => bytes.min(limit),
        }
    }
}

/// How workers wait for sockets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IoEngine {
    /// io_uring where the kernel grants it, else epoll.
    Auto,
    /// io_uring or no start.
    IoUring,
    /// epoll.
    Epoll,
}

/// Reads the block `proxy`.
pub(super) fn proxy(
    root: &Fields<'_>,
    problems: &Problems,
    context: &Context<'_>,
) -> ProxySettings {
    let block = root.take_block("proxy");
    if block.take("addr").is_none() {
        block.problem("addr", "required");
    }
    let (json_body_bytes_max, multipart_body_bytes_max) = body_limits(&block);
    let settings = ProxySettings {
        addr: addr(&block, "addr").unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into()),
        json_body_bytes_max,
        multipart_body_bytes_max,
        tls: listener(&block, true, context),
        real_ip: real_ip(&block),
        request_id_headers: request_id_headers(&block),
        workers: workers(&block, context),
        pin_cpus: flag(&block, "pin_cpus", true),
        io_engine: choice(
            &block,
            "io_engine",
            IoEngine::Auto,
            &[
                ("auto", IoEngine::Auto),
                ("io_uring", IoEngine::IoUring),
                ("epoll", IoEngine::Epoll),
            ],
        ),
        max_connections_per_worker: count(&block, "max_connections_per_worker"),
        max_requests_per_worker: count(&block, "max_requests_per_worker"),
        memory: memory(&block),
        header_read_timeout: Duration::from_secs(whole(
            &block,
            "header_read_timeout_secs",
            10,
            (1, HEADER_READ_SECS_MAX),
        )),
        http2_streams_max: http2(&block),
        rewrites: rewrites(&block, problems),
    };
    block.finish();
    settings
}

/// A number of things per worker; 0 is `None`.
fn count<'a>(block: &Fields<'a>, key: &'a str) -> Option<NonZeroUsize> {
    let count = block.take_u64_in(key, 0, u32::MAX.into())?;
    NonZeroUsize::new(usize::try_from(count).ok()?)
}

fn memory(block: &Fields<'_>) -> MemorySettings {
    let block = block.take_block("memory");
    let percent = whole(
        &block,
        "high_percent",
        HIGH_PERCENT_DEFAULT,
        (0, HIGH_PERCENT_MAX),
    );
    let bytes = block.take_u64("high_bytes").filter(|bytes| *bytes > 0);
    let settings = MemorySettings {
        mark: match (bytes, percent) {
            (Some(bytes), _) => MemoryMark::Bytes(bytes),
            (None, 0) => MemoryMark::Off,
            (None, percent) => MemoryMark::Percent(percent),
        },
        bodies_bytes: block.take_u64("bodies_bytes"),
    };
    block.finish();
    settings
}

fn body_limits(block: &Fields<'_>) -> (Option<u64>, Option<u64>) {
    match block.take_u64("request_body_limit_bytes") {
        None => (Some(JSON_BODY_BYTES_MAX), Some(MULTIPART_BODY_BYTES_MAX)),
        Some(0) => (None, None),
        Some(limit) => (Some(limit), Some(limit)),
    }
}

fn http2(block: &Fields<'_>) -> Option<u32> {
    let block = block.take_block("http2");
    let enabled = flag(&block, "enabled", true);
    let streams_max = small(
        &block,
        "max_concurrent_streams",
        HTTP2_STREAMS_DEFAULT,
        (1, HTTP2_STREAMS_MAX),
    );
    block.finish();
    enabled.then_some(streams_max)
}

fn workers(block: &Fields<'_>, context: &Context<'_>) -> NonZeroUsize {
    let available = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let wanted = block
        .take_u64_in("workers", 1, WORKERS_MAX)
        .and_then(|count| NonZeroUsize::new(usize::try_from(count).ok()?));
    if block.take_bool("thread_per_core") == Some(false) {
        context.warn(
            "proxy.thread_per_core is false: Sluice always serves thread per core, \
             so this means proxy.workers: 1",
        );
        return NonZeroUsize::MIN;
    }
    wanted.unwrap_or(available)
}

fn real_ip(parent: &Fields<'_>) -> RealIp {
    let block = parent.take_block("real_ip");
    let mut trusted = Vec::new();
    let list = block.take_strings("trusted_proxies").unwrap_or_default();
    for (index, entry) in list.into_iter().enumerate() {
        match network(entry.trim()) {
            Ok(net) => trusted.push(net),
            Err(error) => block.problem(&format!("trusted_proxies[{index}]"), error.to_string()),
        }
    }
    let header = block.take_str("header").unwrap_or("x-forwarded-for");
    if !is_header_name(header) {
        block.problem("header", "must be a header name");
    }
    let settings = RealIp {
        trusted: trusted.into(),
        recursive: flag(&block, "recursive", false),
        header: header.to_ascii_lowercase().into(),
    };
    block.finish();
    settings
}

fn request_id_headers(parent: &Fields<'_>) -> Box<[Box<str>]> {
    let block = parent.take_block("request_id");
    let default = || vec!["x-sluice-request-id"];
    let list = block.take_strings("accept_headers").unwrap_or_else(default);
    let mut names = Vec::new();
    for (index, name) in list.into_iter().enumerate() {
        let name = name.to_ascii_lowercase();
        let at = format!("accept_headers[{index}]");
        if !is_header_name(&name) {
            block.problem(&at, "must be a header name");
        } else if NO_REQUEST_ID.contains(&name.as_str()) {
            block.problem(
                &at,
                "must not be a header of credentials, routing or tracing",
            );
        } else {
            names.push(name.into());
        }
    }
    block.finish();
    names.into()
}

fn rewrites(block: &Fields<'_>, problems: &Problems) -> Rewrites {
    let list = block.take_list("url_rewrites").unwrap_or_default();
    let compiled = list.into_iter().filter_map(|(path, item)| {
        let rule = Fields::new(item, &path, problems, Unknown::Refused);
        let name = rule.take_str("name");
        for key in ["match", "rewrite"] {
            if item.is_object() && rule.take(key).is_none() {
                rule.problem(key, "required");
            }
        }
        let pattern = text(&rule, "match");
        let template = rule.take_str("rewrite");
        let compiled = pattern.zip(template).and_then(|(pattern, template)| {
            Rule::compile(name, pattern, template)
                .map_err(|error| match error {
                    RuleError::Match(message) => rule.problem("match", message),
                    RuleError::Rewrite(message) => rule.problem("rewrite", message),
                })
                .ok()
        });
        rule.finish();
        compiled
    });
    Rewrites::new(compiled.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::field::reading::read;
    use serde_json::{Value, json};

    fn read_proxy(mut block: Value) -> (ProxySettings, Vec<String>) {
        if let Some(map) = block.as_object_mut() {
            map.entry("addr").or_insert("0.0.0.0:3000".into());
        }
        let doc = json!({ "proxy": block });
        let read = read(&doc, &[], proxy);
        (read.got, read.problems)
    }

    #[test]
    fn an_address_has_a_port_and_no_name() {
        for addr in [
            "0.0.0.0",
            "localhost:80",
            ":80",
            "[::1]",
            "0.0.0.0:99999",
            "",
        ] {
            let (_, problems) = read_proxy(json!({ "addr": addr }));
            let want = "proxy.addr: must be an address and a port, such as `127.0.0.1:3000`";
            assert_eq!(problems, [want], "{addr}");
        }
        assert_eq!(read_proxy(json!({"addr": "[::]:80"})).0.addr.port(), 80);
    }

    #[test]
    fn credential_and_trace_headers_are_never_request_ids() {
        for name in NO_REQUEST_ID {
            let list = json!(["x-ok", name.to_uppercase()]);
            let (got, problems) = read_proxy(json!({"request_id": {"accept_headers": list}}));
            let want = "must not be a header of credentials, routing or tracing";
            assert_eq!(
                problems,
                [format!("proxy.request_id.accept_headers[1]: {want}")]
            );
            assert_eq!(*got.request_id_headers, [Box::from("x-ok")]);
        }
        let (_, problems) = read_proxy(json!({"request_id": {"accept_headers": ["a b", ""]}}));
        assert_eq!(problems.len(), 2, "{problems:?}");
        let (got, _) = read_proxy(json!({"request_id": {"accept_headers": []}}));
        assert!(got.request_id_headers.is_empty());
    }

    #[test]
    fn proxies_are_networks_and_their_header_is_a_header() {
        let (got, problems) = read_proxy(json!({"real_ip": {
            "trusted_proxies": ["10.0.0.0/8", " ::1 "], "recursive": true, "header": "X-Real-IP"}}));
        assert_eq!(problems, [""; 0]);
        assert_eq!(
            (got.real_ip.trusted.len(), got.real_ip.recursive),
            (2, true)
        );
        assert_eq!(&*got.real_ip.header, "x-real-ip");
        let (_, problems) = read_proxy(json!({"real_ip": {"header": "x real"}}));
        assert_eq!(problems, ["proxy.real_ip.header: must be a header name"]);
    }

    #[test]
    fn http_2_is_on_with_bounded_streams_unless_switched_off() {
        let cases = [
            (json!({}), Some(128)),
            (json!({"max_concurrent_streams": 7}), Some(7)),
            (json!({"enabled": false, "max_concurrent_streams": 7}), None),
        ];
        for (block, want) in cases {
            let (got, problems) = read_proxy(json!({ "http2": block }));
            assert_eq!((got.http2_streams_max, problems), (want, Vec::new()));
        }
        for bad in [json!(0), json!(1025)] {
            let (_, problems) = read_proxy(json!({"http2": {"max_concurrent_streams": bad}}));
            let want = "proxy.http2.max_concurrent_streams: must be 1 to 1024";
            assert_eq!(problems, [want]);
        }
        let (_, problems) = read_proxy(json!({"http2": {"enabled": "often", "streams": 1}}));
        assert_eq!(problems.len(), 2, "{problems:?}");
    }

    #[test]
    fn the_mark_of_memory_is_a_part_of_it_or_a_number() {
        let cases = [
            (json!({}), MemoryMark::Percent(85), 850),
            (json!({"high_percent": 50}), MemoryMark::Percent(50), 500),
            (json!({"high_percent": 0}), MemoryMark::Off, 1000),
            (
                json!({"high_percent": 0, "high_bytes": 7}),
                MemoryMark::Bytes(7),
                7,
            ),
            (json!({"high_bytes": 5000}), MemoryMark::Bytes(5000), 1000),
        ];
        for (block, want, bytes) in cases {
            let (got, problems) = read_proxy(json!({ "memory": block }));
            assert_eq!((got.memory.mark, problems), (want, Vec::new()));
            assert_eq!(want.of(1000), bytes);
        }
        let bodies = [
            (json!(null), Some(9)),
            (json!(0), None),
            (json!(3), Some(3)),
        ];
        for (bytes, want) in bodies {
            let (got, _) = read_proxy(json!({"memory": {"bodies_bytes": bytes}}));
            assert_eq!(got.memory.bodies_max(Some(9)), want);
        }
        let (_, problems) = read_proxy(json!({"memory": {"high_percent": 96}}));
        assert_eq!(problems, ["proxy.memory.high_percent: must be 0 to 95"]);
    }

    #[test]
    fn numbers_have_bounds() {
        let cases = [
            ("workers", json!(0), "must be 1 to 1024"),
            ("workers", json!(1025), "must be 1 to 1024"),
            ("header_read_timeout_secs", json!(0), "must be 1 to 3600"),
            (
                "max_connections_per_worker",
                json!(1_u64 << 32),
                "must be 0 to 4294967295",
            ),
            (
                "io_engine",
                json!("uring"),
                "must be one of: auto, io_uring, epoll",
            ),
        ];
        for (key, value, want) in cases {
            let (_, problems) = read_proxy(json!({ key: value }));
            assert_eq!(problems, [format!("proxy.{key}: {want}")]);
        }
        let (got, _) = read_proxy(json!({"max_connections_per_worker": 7, "io_engine": "epoll"}));
        assert_eq!(
            got.max_connections_per_worker.map(NonZeroUsize::get),
            Some(7)
        );
        assert_eq!(got.io_engine, IoEngine::Epoll);
    }

    #[test]
    fn a_rule_names_what_it_lacks_and_what_it_has_too_much() {
        let (_, problems) =
            read_proxy(json!({"url_rewrites": [{"to": 1}, 3, {"match": "", "rewrite": ""}]}));
        assert_eq!(
            problems,
            [
                "proxy.url_rewrites[0].match: required",
                "proxy.url_rewrites[0].rewrite: required",
                "proxy.url_rewrites[0].to: unknown key `to` (known here: match, name, rewrite)",
                "proxy.url_rewrites[1]: must be a mapping, not a number",
                "proxy.url_rewrites[2].match: must not be blank",
            ]
        );
    }
}
