//! Settings that can be served with: every default filled in, every value checked. [boot]

mod admin;
mod observability;
mod outbound;
mod proxy;
mod redis;
mod secrets;
mod source;
mod tls;

use std::path::PathBuf;

use config_sync::tree::{Fields, Problems, Unknown, Value};

pub use admin::{AdminSettings, KeyDigest};
pub use observability::{
    BucketSettings, LogFormat, ObservabilitySettings, Output, PrometheusSettings, TracingOtlp,
};
pub use outbound::{DownstreamSettings, ShutdownSettings, TcpKeepalive, UpstreamSettings};
pub use proxy::{IoEngine, MemoryMark, MemorySettings, ProxySettings};
pub use redis::{CacheSettings, OnRedisFailure, RatelimitSettings, RedisSettings, Topology};
pub use secrets::SecretsSettings;
pub use source::{
    EtcdEndpoint, EtcdLogin, EtcdSettings, EtcdTls, ManagedSettings, Material, SourceSettings,
    Transport,
};
pub use tls::{ClientCa, ClientVerify, Identity, ListenerTls, TlsVersion, TrustSettings};

use super::field::{Context, flag};

/// Everything that is fixed while the process runs. Durations that may be switched off are
/// `Option`s: `None` is off.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where resources come from.
    pub source: SourceSettings,
    /// `resources_file_watch`: reload the resources file when it changes. Default false.
    pub resources_file_watch: bool,
    /// `etcd.env_id`: label of metrics (`unknown` when empty) and part of redis keys. Default "".
    pub env_id: Box<str>,
    /// `managed.snapshot_cache_path`: the last configuration, for a start without its source.
    /// Default none; in managed mode `/var/lib/sluice/config_cache.json`.
    pub snapshot_cache: Option<PathBuf>,
    /// Keys that open sealed values.
    pub secrets: SecretsSettings,
    /// `bedrock_endpoint_url`: endpoint of every guardrail of kind `bedrock`. Default none.
    pub bedrock_endpoint_url: Option<Box<str>>,
    /// The callers' listener.
    pub proxy: ProxySettings,
    /// The operators' listener; `None`: not bound. Default none.
    pub admin: Option<AdminSettings>,
    /// Logs, metrics, traces.
    pub observability: ObservabilitySettings,
    /// Response caching.
    pub cache: CacheSettings,
    /// Counters of limits.
    pub ratelimit: RatelimitSettings,
    /// Connections to providers.
    pub upstream: UpstreamSettings,
    /// Connections of callers.
    pub downstream: DownstreamSettings,
    /// The drain.
    pub shutdown: ShutdownSettings,
}

/// Reads the whole document. With problems noted, the settings are not to be used.
pub(super) fn settings(tree: &Value, problems: &Problems, context: &Context<'_>) -> Settings {
    let root = Fields::new(tree, "", problems, Unknown::Refused);
    let source::Sources {
        source,
        env_id,
        snapshot_cache,
        managed,
    } = source::source(&root, context);
    let settings = Settings {
        source,
        resources_file_watch: flag(&root, "resources_file_watch", false),
        env_id,
        snapshot_cache,
        secrets: secrets::secrets(&root),
        bedrock_endpoint_url: root
            .take_str("bedrock_endpoint_url")
            .filter(|url| !url.is_empty())
            .map(Box::from),
        proxy: proxy::proxy(&root, problems, context),
        admin: admin::admin(&root, managed, context),
        observability: observability::observability(&root, problems, context),
        cache: redis::cache(&root, context),
        ratelimit: redis::ratelimit(&root, context),
        upstream: outbound::upstream(&root, context),
        downstream: outbound::downstream(&root),
        shutdown: outbound::shutdown(&root, context),
    };
    root.finish();
    settings
}
