//! What the startup file may say and this version does not do. [boot]
//!
//! The keys are read and checked like all others, so that a file is right or wrong for good; only
//! what is switched on is refused, or warned about where the gateway serves as well without it.

use config_sync::tree::{Problems, Value};

use super::checked::{Settings, SourceSettings};
use super::field::Context;

type IsOn = fn(&Settings) -> bool;

/// Keys that stop the boot when switched on.
const REFUSED: &[(&str, IsOn)] = &[
    ("managed.enabled", |s| {
        matches!(s.source, SourceSettings::Managed(_))
    }),
    ("admin.tls", |s| {
        s.admin.as_ref().is_some_and(|admin| admin.tls.is_some())
    }),
    ("observability.metrics.prometheus.bearer_token_file", |s| {
        s.observability.prometheus.bearer_token_file.is_some()
    }),
    ("observability.metrics.otlp.enabled", |s| {
        s.observability.metrics_otlp.is_some()
    }),
    ("observability.tracing.otlp.enabled", |s| {
        s.observability.tracing_otlp.is_some()
    }),
    ("cache.redis", |s| s.cache.redis.is_some()),
];

/// Settings without an effect.
const WITHOUT_EFFECT: &[(&str, IsOn)] = &[
    ("the admin API is not served by this version", |s| {
        s.admin.is_some()
    }),
    (
        "managed.snapshot_cache_path has no effect: a resources file is its own copy",
        |s| s.snapshot_cache.is_some() && matches!(s.source, SourceSettings::File(_)),
    ),
    (
        "resources_file_watch has no effect without resources_file",
        |s| s.resources_file_watch && !matches!(s.source, SourceSettings::File(_)),
    ),
    (
        "bedrock_endpoint_url has no effect: this version has no guardrails",
        |s| s.bedrock_endpoint_url.is_some(),
    ),
];

/// JSON pointers to keys whose value, whatever it is, has no effect.
const UNREAD: &[&str] = &[
    "/observability/metrics/buckets/guardrail_latency",
    "/observability/metrics/buckets/a2a_ttfb",
];

/// Notes what is switched on and not supported, and what is written and not read.
pub(super) fn check(tree: &Value, settings: &Settings, problems: &Problems, context: &Context<'_>) {
    for (path, _) in REFUSED.iter().filter(|(_, is_on)| is_on(settings)) {
        problems.push(*path, "not supported by this version");
    }
    for (message, _) in WITHOUT_EFFECT.iter().filter(|(_, is_on)| is_on(settings)) {
        context.warn(*message);
    }
    let written = |pointer: &&&str| tree.pointer(pointer).is_some_and(|value| !value.is_null());
    for pointer in UNREAD.iter().filter(written) {
        let key = pointer.trim_start_matches('/').replace('/', ".");
        context.warn(format!("{key} has no effect in this version"));
    }
}
