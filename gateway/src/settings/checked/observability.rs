//! `observability`: logs, metrics and traces. [boot]

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::path::PathBuf;

use config_sync::tree::{Fields, Problems, Unknown};
use tracing_subscriber::EnvFilter;

use super::tls::{ListenerTls, listener};
use crate::client_type::{ClientTypes, RULES_MAX, Rule, RuleError};
use crate::settings::field::{Context, addr, choice, flag, path, small, text};

/// Most edges of a histogram: each is a counter per series and worker.
const BUCKETS_MAX: usize = 64;
/// Size at which the access log is rotated where nothing else is set, in bytes.
const ROTATE_BYTES: u64 = 100 * 1024 * 1024;
/// Smallest size for rotation: below, files would change several times a second under load.
const ROTATE_BYTES_MIN: u64 = 1024 * 1024;
/// Most rotated files kept.
const KEEP_MAX: u32 = 1000;
/// Variables that win over `log_level`, the first that is set and not blank.
const FILTER_VARIABLES: [&str; 2] = ["SLUICE_LOG", "RUST_LOG"];
/// What a directive without `=` may be.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

const E2E_SECS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 420.0,
    600.0,
];
const TTFT_SECS: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];
const GUARDRAIL_SECS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// What the process says about itself.
#[derive(Clone, Debug)]
pub struct ObservabilitySettings {
    /// `service_name`: in the first log line and in traces. Default `sluice`.
    pub service_name: Box<str>,
    /// The log filter: `SLUICE_LOG`, else `RUST_LOG`, else `log_level`. Default `info`. Parses.
    pub log_filter: Box<str>,
    /// `log_format`. Default `text`.
    pub log_format: LogFormat,
    /// `log_output`: everything but access lines. Default `stderr`.
    pub log_output: Output,
    /// `access_log`: one line per proxied request. Default true.
    pub access_log: bool,
    /// `access_log_output`. Default `stdout`.
    pub access_log_output: Output,
    /// `access_log_rotate_bytes`: size at which a log *file* is renamed and begun anew. Default
    /// 100 MiB, at least 1 MiB; 0: never (`None`).
    pub access_log_rotate_bytes: Option<NonZeroU64>,
    /// `access_log_keep`: renamed files kept beside the current one. Default 5, at most 1000.
    /// Disk: (this + 1) × `access_log_rotate_bytes`.
    pub access_log_keep: u32,
    /// `metrics.prometheus`: the metrics and status listener.
    pub prometheus: PrometheusSettings,
    /// `metrics.client_type_rules`, compiled, ahead of the built-in table. Default none.
    pub client_types: ClientTypes,
    /// `metrics.buckets`.
    pub buckets: BucketSettings,
    /// `metrics.otlp.endpoint` where `metrics.otlp.enabled`. Default none.
    pub metrics_otlp: Option<Box<str>>,
    /// `tracing.otlp` where enabled. Default none.
    pub tracing_otlp: Option<TracingOtlp>,
}

/// The shape of log lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// `time level target message key=value`.
    Text,
    /// One object per line.
    Json,
}

/// Where lines go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}

/// The metrics and status listener. It is bound in any case, for `/status/…`.
#[derive(Clone, Debug)]
pub struct PrometheusSettings {
    /// `enabled`: serve metrics at `path`. Default true.
    pub enabled: bool,
    /// `path`. Default `/metrics`; never below `/status`.
    pub path: Box<str>,
    /// `addr`. Default `0.0.0.0:9090`.
    pub addr: SocketAddr,
    /// `tls`. Default none, plain HTTP.
    pub tls: Option<ListenerTls>,
    /// `bearer_token_file`: readers must present what the file holds. Default none, open.
    pub bearer_token_file: Option<PathBuf>,
}

/// Upper bounds of histogram buckets in seconds: 1 to 64, ascending, without `+Inf`.
///
/// Memory: 8 bytes per edge, series and worker.
#[derive(Clone, Debug, PartialEq)]
pub struct BucketSettings {
    /// `request_e2e_latency`. Default 5 ms to 600 s in 17 steps.
    pub request_e2e_latency: Box<[f64]>,
    /// `request_ttft`. Default 50 ms to 300 s in 12 steps.
    pub request_ttft: Box<[f64]>,
    /// `guardrail_latency`. Default 1 ms to 30 s in 14 steps.
    pub guardrail_latency: Box<[f64]>,
    /// `a2a_ttfb`. Default as that of `request_ttft`.
    pub a2a_ttfb: Box<[f64]>,
}

/// Export of traces.
#[derive(Clone, Debug, PartialEq)]
pub struct TracingOtlp {
    /// `endpoint`: not blank.
    pub endpoint: Box<str>,
    /// `sample_ratio`: share of traces kept, 0 to 1. Default 1.
    pub sample_ratio: f64,
}

/// Reads the block `observability`.
pub(super) fn observability(
    root: &Fields<'_>,
    problems: &Problems,
    context: &Context<'_>,
) -> ObservabilitySettings {
    let block = root.take_block("observability");
    let metrics = block.take_block("metrics");
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let settings = ObservabilitySettings {
        service_name: text(&block, "service_name").unwrap_or("sluice").into(),
        log_filter: log_filter(&block, problems, context),
        log_format: choice(&block, "log_format", LogFormat::Text, &formats),
        log_output: output(&block, "log_output").unwrap_or(Output::Stderr),
        access_log: flag(&block, "access_log", true),
        access_log_output: output(&block, "access_log_output").unwrap_or(Output::Stdout),
        access_log_rotate_bytes: rotate_bytes(&block),
        access_log_keep: small(&block, "access_log_keep", 5, (0, KEEP_MAX)),
        prometheus: prometheus(&metrics, context),
        client_types: client_types(&metrics, problems),
        buckets: buckets(&metrics, problems),
        metrics_otlp: metrics_otlp(&metrics),
        tracing_otlp: tracing_otlp(&block),
    };
    metrics.finish();
    block.finish();
    settings
}

fn log_filter(block: &Fields<'_>, problems: &Problems, context: &Context<'_>) -> Box<str> {
    let level = text(block, "log_level").unwrap_or("info");
    let parts: Vec<_> = level.split(',').map(str::trim).collect();
    let level = parts.join(",");
    // A bare word is a target to the parser: a misspelt level would silence everything else.
    let is_level = |part: &str| LEVELS.iter().any(|level| part.eq_ignore_ascii_case(level));
    let misspelt = |part: &&str| !part.contains(['=', '[']) && !is_level(part);
    if parts.iter().any(misspelt) || EnvFilter::try_new(&level).is_err() {
        let levels = LEVELS.join(", ");
        let message = format!("must be a level ({levels}), or `target=level` by commas");
        block.problem("log_level", message);
    }
    let of_variable = |name: &&'static str| {
        let filter = context.variables.get(*name).map(|text| text.trim())?;
        (!filter.is_empty()).then_some((*name, filter))
    };
    let Some((name, filter)) = FILTER_VARIABLES.iter().find_map(of_variable) else {
        return level.into();
    };
    if EnvFilter::try_new(filter).is_err() {
        problems.push(name, "is no valid log filter");
    }
    filter.into()
}

fn output(block: &Fields<'_>, key: &'static str) -> Option<Output> {
    match text(block, key)? {
        "stderr" => Some(Output::Stderr),
        "stdout" => Some(Output::Stdout),
        file if file.contains('/') => Some(Output::File(file.into())),
        _ => {
            block.problem(key, "must be `stderr`, `stdout` or a path with a `/`");
            None
        }
    }
}

fn rotate_bytes(block: &Fields<'_>) -> Option<NonZeroU64> {
    let key = "access_log_rotate_bytes";
    let bytes = block.take_u64(key).unwrap_or(ROTATE_BYTES);
    if bytes != 0 && bytes < ROTATE_BYTES_MIN {
        block.problem(key, format!("must be 0 or at least {ROTATE_BYTES_MIN}"));
    }
    NonZeroU64::new(bytes)
}

fn prometheus(metrics: &Fields<'_>, context: &Context<'_>) -> PrometheusSettings {
    let block = metrics.take_block("prometheus");
    let default_addr = || SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9090));
    let settings = PrometheusSettings {
        enabled: flag(&block, "enabled", true),
        path: metrics_path(&block),
        addr: addr(&block, "addr").unwrap_or_else(default_addr),
        tls: listener(&block, false, context),
        bearer_token_file: token_file(&block),
    };
    block.finish();
    settings
}

fn metrics_path(block: &Fields<'_>) -> Box<str> {
    let written = block.take_str("path").unwrap_or_default().trim();
    let path = match written {
        "" => "/metrics".to_owned(),
        _ if written.starts_with('/') => written.to_owned(),
        _ => format!("/{written}"),
    };
    if path == "/status" || path.starts_with("/status/") {
        block.problem("path", "must not lie below `/status`");
    }
    if path.contains(|c: char| !c.is_ascii_graphic() || matches!(c, '?' | '#')) {
        block.problem(
            "path",
            "must be a path without query, fragment and white space",
        );
    }
    path.into()
}

fn token_file(block: &Fields<'_>) -> Option<PathBuf> {
    let file = path(block, "bearer_token_file")?;
    let fault = match std::fs::read_to_string(&file) {
        Ok(token) if token.trim().is_empty() => format!("{} is empty", file.display()),
        Ok(_) => return Some(file),
        Err(error) => format!("cannot read {}: {error}", file.display()),
    };
    block.problem("bearer_token_file", fault);
    None
}

fn client_types(metrics: &Fields<'_>, problems: &Problems) -> ClientTypes {
    let list = metrics.take_list("client_type_rules").unwrap_or_default();
    if list.len() > RULES_MAX {
        metrics.problem(
            "client_type_rules",
            format!("must hold at most {RULES_MAX} rules"),
        );
    }
    let compiled = list.into_iter().take(RULES_MAX).filter_map(|(path, item)| {
        let rule = Fields::new(item, &path, problems, Unknown::Refused);
        for key in ["pattern", "client"] {
            if item.is_object() && rule.take(key).is_none() {
                rule.problem(key, "required");
            }
        }
        let (pattern, client) = (rule.take_str("pattern"), rule.take_str("client"));
        let compiled = pattern.zip(client).and_then(|(pattern, client)| {
            Rule::compile(pattern, client)
                .map_err(|error| match error {
                    RuleError::Pattern(message) => rule.problem("pattern", message),
                    RuleError::Client(message) => rule.problem("client", message),
                })
                .ok()
        });
        rule.finish();
        compiled
    });
    ClientTypes::new(compiled.collect())
}

fn buckets(metrics: &Fields<'_>, problems: &Problems) -> BucketSettings {
    let block = metrics.take_block("buckets");
    let settings = BucketSettings {
        request_e2e_latency: edges(&block, "request_e2e_latency", E2E_SECS, problems),
        request_ttft: edges(&block, "request_ttft", TTFT_SECS, problems),
        guardrail_latency: edges(&block, "guardrail_latency", GUARDRAIL_SECS, problems),
        a2a_ttfb: edges(&block, "a2a_ttfb", TTFT_SECS, problems),
    };
    block.finish();
    settings
}

fn edges(
    block: &Fields<'_>,
    key: &'static str,
    default: &[f64],
    problems: &Problems,
) -> Box<[f64]> {
    let Some(list) = block.take_list(key) else {
        return default.into();
    };
    let mut edges = Vec::with_capacity(list.len());
    for (path, item) in &list {
        match item.as_f64() {
            Some(edge) => edges.push(edge),
            None => problems.push(path, "must be a number"),
        }
    }
    let ascending = edges.is_sorted_by(|low, high| low < high);
    let positive = edges.iter().all(|edge| edge.is_finite() && *edge > 0.0);
    if !(1..=BUCKETS_MAX).contains(&list.len()) || !ascending || !positive {
        block.problem(
            key,
            format!(
                "must be 1 to {BUCKETS_MAX} numbers above 0, strictly ascending, without infinity"
            ),
        );
    }
    edges.into()
}

fn metrics_otlp(metrics: &Fields<'_>) -> Option<Box<str>> {
    let block = metrics.take_block("otlp");
    let enabled = flag(&block, "enabled", false);
    let endpoint = block.take_str("endpoint").unwrap_or_default();
    block.finish();
    enabled.then(|| endpoint.into())
}

fn tracing_otlp(parent: &Fields<'_>) -> Option<TracingOtlp> {
    let tracing = parent.take_block("tracing");
    let block = tracing.take_block("otlp");
    let enabled = flag(&block, "enabled", false);
    let endpoint = block.take_str("endpoint").unwrap_or_default();
    if enabled && endpoint.trim().is_empty() {
        block.problem("endpoint", "required with `enabled: true`");
    }
    let sample_ratio = block.take_f64("sample_ratio").unwrap_or(1.0);
    if !(0.0..=1.0).contains(&sample_ratio) {
        block.problem("sample_ratio", "must be 0 to 1");
    }
    block.finish();
    tracing.finish();
    enabled.then(|| TracingOtlp {
        endpoint: endpoint.into(),
        sample_ratio,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::field::reading::read;
    use serde_json::{Value, json};

    fn read_block(block: &Value) -> (ObservabilitySettings, Vec<String>) {
        let doc = json!({ "observability": block });
        let read = read(&doc, &[], observability);
        (read.got, read.problems)
    }

    #[test]
    fn lines_go_to_a_stream_or_a_path() {
        let cases = [
            ("stderr", Some(Output::Stderr)),
            ("stdout", Some(Output::Stdout)),
            (
                "/var/log/a.log",
                Some(Output::File("/var/log/a.log".into())),
            ),
            ("./a.log", Some(Output::File("./a.log".into()))),
            ("sterr", None),
            (" ", None),
        ];
        for (text, want) in cases {
            for key in ["log_output", "access_log_output"] {
                let (got, problems) = read_block(&json!({ key: text }));
                assert_eq!(
                    problems.len(),
                    usize::from(want.is_none()),
                    "{text}: {problems:?}"
                );
                let got = match key {
                    "log_output" => got.log_output,
                    _ => got.access_log_output,
                };
                assert!(want.as_ref().is_none_or(|want| *want == got), "{text}");
            }
        }
    }

    #[test]
    fn files_rotate_at_a_size_or_never() {
        let size = |bytes: u64| {
            let (got, problems) = read_block(&json!({"access_log_rotate_bytes": bytes}));
            problems
                .is_empty()
                .then(|| got.access_log_rotate_bytes.map(u64::from))
        };
        assert_eq!(size(0), Some(None));
        assert_eq!(size(1 << 20), Some(Some(1 << 20)));
        assert_eq!(size((1 << 20) - 1), None);
    }

    #[test]
    fn the_metrics_path_is_completed_and_kept_off_status() {
        let path = |text: &str| {
            let (got, problems) = read_block(&json!({"metrics": {"prometheus": {"path": text}}}));
            problems
                .is_empty()
                .then(|| String::from(got.prometheus.path))
        };
        let cases = [
            ("", Some("/metrics")),
            ("  ", Some("/metrics")),
            ("prom", Some("/prom")),
            ("/a/b", Some("/a/b")),
            ("/statusx", Some("/statusx")),
            ("/status", None),
            ("status/ready", None),
            ("/a?b", None),
            ("/a b", None),
        ];
        for (text, want) in cases {
            assert_eq!(path(text).as_deref(), want, "{text}");
        }
        let (_, problems) =
            read_block(&json!({"metrics": {"prometheus": {"enabled": false, "addr": "x"}}}));
        assert_eq!(problems.len(), 1, "{problems:?}");
    }

    #[test]
    fn a_token_file_is_readable_and_not_empty() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("written");
            let block = json!({"metrics": {"prometheus": {"bearer_token_file": path}}});
            read_block(&block).1.len()
        };
        assert_eq!((file("a", "token\n"), file("b", " \n")), (0, 1));
        let block = json!({"metrics": {"prometheus": {"bearer_token_file": "/nowhere/x"}}});
        assert_eq!(read_block(&block).1.len(), 1);
    }

    #[test]
    fn bucket_edges_ascend_above_zero() {
        let ok: [Value; 3] = [
            json!([1]),
            json!([0.5, 1, 1.5]),
            json!((1..=64).collect::<Vec<_>>()),
        ];
        let bad: [Value; 7] = [
            json!([]),
            json!([0, 1]),
            json!([-1]),
            json!([2, 1]),
            json!([1, 1]),
            json!(["1"]),
            json!((1..=65).collect::<Vec<_>>()),
        ];
        let count = |list: &Value| {
            read_block(&json!({"metrics": {"buckets": {"a2a_ttfb": list}}}))
                .1
                .len()
        };
        assert!(ok.iter().all(|list| count(list) == 0));
        assert!(bad.iter().all(|list| count(list) >= 1));
    }

    #[test]
    fn client_rules_are_bounded_and_each_is_checked() {
        let rule = json!({"pattern": "acme", "client": "acme"});
        let count = |rules: Value| read_block(&json!({"metrics": {"client_type_rules": rules}})).1;
        assert_eq!(count(json!(vec![rule.clone(); RULES_MAX])), [""; 0]);
        assert_eq!(count(json!(vec![rule; RULES_MAX + 1])).len(), 1);
        let path = "observability.metrics.client_type_rules";
        assert_eq!(
            count(
                json!([{"pattern": "("}, {"pattern": "(", "client": "a"}, {"pattern": "a", "client": "A"}])
            ),
            [
                format!("{path}[0].client: required"),
                format!("{path}[1].pattern: is no valid regular expression: unclosed group"),
                format!(
                    "{path}[2].client: must be 1 to 64 of `a-z`, `0-9`, `.`, `_`, `-`, starting with a letter or digit"
                ),
            ]
        );
    }

    #[test]
    fn export_of_traces_needs_an_endpoint_and_a_share() {
        let count = |otlp: Value| read_block(&json!({"tracing": {"otlp": otlp}})).1.len();
        assert_eq!(count(json!({"enabled": true})), 1);
        assert_eq!(count(json!({"enabled": true, "endpoint": " "})), 1);
        assert_eq!(
            count(json!({"enabled": true, "endpoint": "http://a", "sample_ratio": 0})),
            0
        );
        assert_eq!(count(json!({"sample_ratio": 1.1})), 1);
    }
}
