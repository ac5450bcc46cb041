//! Every settable key of the startup file with the shape of its value. [boot]
//!
//! Environment variables are read by this table, and so are scalars put together from `${NAME}`: a
//! value is read as what its key wants, not as what it looks like. A test holds the table equal to
//! the keys that the readers in `checked` take.

/// What the value of a key looks like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    /// A string; an address, a path and a choice too.
    Text,
    /// True or false.
    Bool,
    /// A whole number, 0 or more.
    Whole,
    /// Any finite number.
    Number,
    /// A list of strings; in a variable, separated by commas.
    Texts,
    /// A list of numbers; in a variable, separated by commas.
    Numbers,
    /// A list of mappings; in a variable, one JSON array.
    Objects,
}

use Shape::{Bool, Number, Numbers, Objects, Text, Texts, Whole};

/// Dotted paths, in the order of the specification.
pub(super) const KEYS: &[(&str, Shape)] = &[
    ("resources_file", Text),
    ("resources_file_watch", Bool),
    ("bedrock_endpoint_url", Text),
    ("etcd.endpoints", Texts),
    ("etcd.prefix", Text),
    ("etcd.env_id", Text),
    ("etcd.user", Text),
    ("etcd.password_env", Text),
    ("etcd.dial_timeout_ms", Whole),
    ("etcd.request_timeout_ms", Whole),
    ("etcd.tls.ca_cert_file", Text),
    ("etcd.tls.client_cert_file", Text),
    ("etcd.tls.client_key_file", Text),
    ("etcd.tls.domain_name", Text),
    ("proxy.addr", Text),
    ("proxy.request_body_limit_bytes", Whole),
    ("proxy.tls.cert_file", Text),
    ("proxy.tls.key_file", Text),
    ("proxy.tls.certificates", Objects),
    ("proxy.tls.client_ca_file", Text),
    ("proxy.tls.client_verify", Text),
    ("proxy.tls.min_version", Text),
    ("proxy.tls.max_version", Text),
    ("proxy.tls.dynamic", Bool),
    ("proxy.real_ip.trusted_proxies", Texts),
    ("proxy.real_ip.recursive", Bool),
    ("proxy.real_ip.header", Text),
    ("proxy.request_id.accept_headers", Texts),
    ("proxy.thread_per_core", Bool),
    ("proxy.workers", Whole),
    ("proxy.pin_cpus", Bool),
    ("proxy.io_engine", Text),
    ("proxy.max_connections_per_worker", Whole),
    ("proxy.max_requests_per_worker", Whole),
    ("proxy.memory.high_percent", Whole),
    ("proxy.memory.high_bytes", Whole),
    ("proxy.memory.bodies_bytes", Whole),
    ("proxy.header_read_timeout_secs", Whole),
    ("proxy.http2.enabled", Bool),
    ("proxy.http2.max_concurrent_streams", Whole),
    ("proxy.url_rewrites", Objects),
    ("admin.enabled", Bool),
    ("admin.addr", Text),
    ("admin.admin_keys", Texts),
    ("admin.read_only_keys", Texts),
    ("admin.writes_enabled", Bool),
    ("admin.playground_enabled", Bool),
    ("admin.audit_log_file", Text),
    ("admin.tls.cert_file", Text),
    ("admin.tls.key_file", Text),
    ("admin.tls.certificates", Objects),
    ("admin.tls.client_ca_file", Text),
    ("admin.tls.client_verify", Text),
    ("admin.tls.min_version", Text),
    ("admin.tls.max_version", Text),
    ("observability.service_name", Text),
    ("observability.log_level", Text),
    ("observability.log_format", Text),
    ("observability.log_output", Text),
    ("observability.access_log", Bool),
    ("observability.access_log_output", Text),
    ("observability.access_log_rotate_bytes", Whole),
    ("observability.access_log_keep", Whole),
    ("observability.metrics.prometheus.enabled", Bool),
    ("observability.metrics.prometheus.path", Text),
    ("observability.metrics.prometheus.addr", Text),
    ("observability.metrics.prometheus.bearer_token_file", Text),
    ("observability.metrics.prometheus.tls.cert_file", Text),
    ("observability.metrics.prometheus.tls.key_file", Text),
    ("observability.metrics.prometheus.tls.certificates", Objects),
    ("observability.metrics.prometheus.tls.client_ca_file", Text),
    ("observability.metrics.prometheus.tls.client_verify", Text),
    ("observability.metrics.prometheus.tls.min_version", Text),
    ("observability.metrics.prometheus.tls.max_version", Text),
    ("observability.metrics.otlp.enabled", Bool),
    ("observability.metrics.otlp.endpoint", Text),
    ("observability.metrics.client_type_rules", Objects),
    ("observability.metrics.buckets.request_e2e_latency", Numbers),
    ("observability.metrics.buckets.request_ttft", Numbers),
    ("observability.metrics.buckets.guardrail_latency", Numbers),
    ("observability.metrics.buckets.a2a_ttfb", Numbers),
    ("observability.tracing.otlp.enabled", Bool),
    ("observability.tracing.otlp.endpoint", Text),
    ("observability.tracing.otlp.sample_ratio", Number),
    ("cache.backend", Text),
    ("cache.redis.mode", Text),
    ("cache.redis.url", Text),
    ("cache.redis.nodes", Texts),
    ("cache.redis.sentinels", Texts),
    ("cache.redis.master_name", Text),
    ("cache.redis.username", Text),
    ("cache.redis.password", Text),
    ("cache.redis.database", Whole),
    ("cache.redis.tls.ca_file", Text),
    ("cache.redis.tls.client_cert_file", Text),
    ("cache.redis.tls.client_key_file", Text),
    ("cache.redis.tls.verify", Bool),
    ("ratelimit.backend", Text),
    ("ratelimit.concurrency_ttl_secs", Whole),
    ("ratelimit.on_redis_failure", Text),
    ("ratelimit.redis_timeout_ms", Whole),
    ("ratelimit.redis.mode", Text),
    ("ratelimit.redis.url", Text),
    ("ratelimit.redis.nodes", Texts),
    ("ratelimit.redis.sentinels", Texts),
    ("ratelimit.redis.master_name", Text),
    ("ratelimit.redis.username", Text),
    ("ratelimit.redis.password", Text),
    ("ratelimit.redis.database", Whole),
    ("ratelimit.redis.tls.ca_file", Text),
    ("ratelimit.redis.tls.client_cert_file", Text),
    ("ratelimit.redis.tls.client_key_file", Text),
    ("ratelimit.redis.tls.verify", Bool),
    ("upstream.timeout_ms", Whole),
    ("upstream.stream_timeout_ms", Whole),
    ("upstream.ttft_timeout_ms", Whole),
    ("upstream.stream_idle_timeout_ms", Whole),
    ("upstream.stream_total_timeout_ms", Whole),
    ("upstream.connect_timeout_ms", Whole),
    ("upstream.tcp_keepalive_secs", Whole),
    ("upstream.tcp_keepalive_interval_secs", Whole),
    ("upstream.tcp_keepalive_retries", Whole),
    ("upstream.pool_idle_timeout_secs", Whole),
    ("upstream.pool_max_idle_per_host", Whole),
    ("upstream.retries", Whole),
    ("upstream.tls.ca_file", Text),
    ("upstream.tls.client_cert_file", Text),
    ("upstream.tls.client_key_file", Text),
    ("upstream.tls.verify", Bool),
    ("downstream.idle_timeout_secs", Whole),
    ("downstream.sse_keepalive_interval_secs", Whole),
    ("shutdown.min_drain_secs", Whole),
    ("shutdown.max_drain_secs", Whole),
    ("shutdown.livez_during_drain", Bool),
    ("managed.enabled", Bool),
    ("managed.cp_base_url", Text),
    ("managed.cp_etcd_endpoint", Text),
    ("managed.cp_ca_cert_file", Text),
    ("managed.cp_cert_pem", Text),
    ("managed.cp_cert_file", Text),
    ("managed.cp_key_pem", Text),
    ("managed.cp_key_file", Text),
    ("managed.cp_ca_pem", Text),
    ("managed.cp_ca_file", Text),
    ("managed.mtls_dir", Text),
    ("managed.dp_id_file", Text),
    ("managed.snapshot_cache_path", Text),
    ("managed.heartbeat_interval_secs", Whole),
    ("managed.transport", Text),
    ("managed.enrollment_token", Text),
    ("managed.enrollment_token_file", Text),
    ("managed.metrics_push", Bool),
    ("managed.snapshot_max_age_hours", Whole),
    ("secrets.keyring_file", Text),
    ("secrets.master_key_files", Texts),
];

/// The shape of the value at `path`; `None` for a block, and for what does not exist.
pub(super) fn shape_of(path: &str) -> Option<Shape> {
    KEYS.iter()
        .find(|(key, _)| *key == path)
        .map(|(_, shape)| *shape)
}

/// Whether `path` is a key or lies within one.
pub(super) fn is_known(path: &str) -> bool {
    let key = path.split_once('[').map_or(path, |(key, _)| key);
    shape_of(key).is_some()
}

/// The names that stand in the block at `path` (empty: at the top), sorted.
pub(super) fn names_in(path: &str) -> Vec<&'static str> {
    let within = |key: &'static str| match path {
        "" => Some(key),
        _ => key.strip_prefix(path)?.strip_prefix('.'),
    };
    let mut names: Vec<_> = KEYS
        .iter()
        .filter_map(|(key, _)| within(key)?.split('.').next())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_blocks_are_told_apart() {
        assert_eq!(shape_of("proxy.addr"), Some(Text));
        assert_eq!(shape_of("proxy"), None);
        assert_eq!(shape_of("proxy.adr"), None);
        assert!(is_known("proxy.addr") && is_known("proxy.url_rewrites[0].match"));
        assert!(!is_known("proxy") && !is_known("colour[0]"));
        assert_eq!(
            names_in("shutdown"),
            ["livez_during_drain", "max_drain_secs", "min_drain_secs"]
        );
        assert_eq!(
            names_in("proxy.real_ip"),
            ["header", "recursive", "trusted_proxies"]
        );
        assert!(names_in("").contains(&"secrets"));
        assert!(names_in("proxy.addr").is_empty());
    }

    #[test]
    fn every_path_can_be_named_by_a_variable() {
        for (key, _) in KEYS {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c);
            assert!(key.chars().all(plain) && !key.contains("__"), "{key}");
        }
    }
}
