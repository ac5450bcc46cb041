//! `cache` and `ratelimit`: where entries and counters live. [boot]

use std::time::Duration;

use config_sync::tree::Fields;

use super::tls::{TrustSettings, trust};
use crate::settings::Secret;
use crate::settings::field::{Context, DURATION_SECS_MAX, choice, small, text, whole};

/// Response caching. `cache.backend` chooses nothing any more: each cache policy does.
#[derive(Clone, Debug, Default)]
pub struct CacheSettings {
    /// `cache.redis`. Default none: policies that ask for redis get no caching.
    pub redis: Option<RedisSettings>,
}

/// Counters of limits.
#[derive(Clone, Debug)]
pub struct RatelimitSettings {
    /// `ratelimit.redis` with `ratelimit.backend: redis`; `None`: counters of this process only.
    /// Default none.
    pub redis: Option<RedisSettings>,
    /// `concurrency_ttl_secs`: age at which redis reclaims a slot that was never released.
    /// Seconds, default 300.
    pub concurrency_ttl: Duration,
    /// `on_redis_failure`: what becomes of requests while redis does not answer. Default `local`.
    pub on_redis_failure: OnRedisFailure,
    /// `redis_timeout_ms`: longest wait for redis, per admission. 1 to 5000 ms, default 50.
    pub redis_timeout: Duration,
}

impl RatelimitSettings {
    /// What becomes of requests while redis does not answer; `None` where limits are not counted there.
    pub fn shared(&self) -> Option<OnRedisFailure> {
        self.redis.as_ref().map(|_| self.on_redis_failure)
    }
}

/// What becomes of requests while the shared counters cannot be asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnRedisFailure {
    /// They are counted in this process.
    #[default]
    Local,
    /// They are admitted uncounted.
    Open,
    /// They are refused.
    Closed,
}

/// One redis installation.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// Where its servers are.
    pub topology: Topology,
    /// ACL user of cluster nodes, or of the master that the sentinels name. Default none.
    pub username: Option<Box<str>>,
    /// Its password. Default none.
    pub password: Option<Secret>,
    /// Consulted for `rediss://` only; independent of `upstream.tls`.
    pub tls: TrustSettings,
}

/// URLs are secrets: credentials travel in them.
#[derive(Clone, Debug)]
pub enum Topology {
    /// One server.
    Single {
        /// `redis://…` or `rediss://…`.
        url: Secret,
    },
    /// A cluster, found by any of its nodes.
    Cluster {
        /// At least one.
        nodes: Vec<Secret>,
    },
    /// A master that sentinels watch over.
    Sentinel {
        /// At least one.
        sentinels: Vec<Secret>,
        /// What the sentinels call the master.
        master_name: Box<str>,
        /// Number of the database on the master. Default 0.
        database: u32,
    },
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Mode {
    Single,
    Cluster,
    Sentinel,
}

const BACKENDS: &[(&str, bool)] = &[("memory", false), ("redis", true)];

/// Reads the block `cache`.
pub(super) fn cache(root: &Fields<'_>, context: &Context<'_>) -> CacheSettings {
    let block = root.take_block("cache");
    let wants_redis = choice(&block, "backend", false, BACKENDS);
    let redis = redis(&block, context);
    if wants_redis && block.take("redis").is_none() {
        block.problem("redis", "required with `backend: redis`");
    }
    block.finish();
    CacheSettings { redis }
}

/// Reads the block `ratelimit`.
pub(super) fn ratelimit(root: &Fields<'_>, context: &Context<'_>) -> RatelimitSettings {
    let block = root.take_block("ratelimit");
    let wants_redis = choice(&block, "backend", false, BACKENDS);
    let redis = redis(&block, context).filter(|_| wants_redis);
    if wants_redis && block.take("redis").is_none() {
        block.problem("redis", "required with `backend: redis`");
    }
    let secs_min = u64::from(wants_redis);
    let bounds = (secs_min, DURATION_SECS_MAX);
    let concurrency_ttl = Duration::from_secs(whole(&block, "concurrency_ttl_secs", 300, bounds));
    let failures = [
        ("local", OnRedisFailure::Local),
        ("open", OnRedisFailure::Open),
        ("closed", OnRedisFailure::Closed),
    ];
    let on_redis_failure = choice(&block, "on_redis_failure", OnRedisFailure::Local, &failures);
    let timeout_ms = whole(&block, "redis_timeout_ms", 50, (1, 5_000));
    block.finish();
    RatelimitSettings {
        redis,
        concurrency_ttl,
        on_redis_failure,
        redis_timeout: Duration::from_millis(timeout_ms),
    }
}

/// Reads a block named `redis`; `None` where it is absent or broken.
fn redis(parent: &Fields<'_>, context: &Context<'_>) -> Option<RedisSettings> {
    parent.take("redis")?;
    let block = parent.take_block("redis");
    let modes = [
        ("single", Mode::Single),
        ("cluster", Mode::Cluster),
        ("sentinel", Mode::Sentinel),
    ];
    let mode = choice(&block, "mode", Mode::Single, &modes);
    let url = text(&block, "url");
    let nodes = addresses(&block, "nodes", mode == Mode::Cluster);
    let sentinels = addresses(&block, "sentinels", mode == Mode::Sentinel);
    let master_name = text(&block, "master_name");
    let database = small(&block, "database", 0, (0, u32::MAX));
    let topology = match mode {
        Mode::Single => url_of_single(&block, url).map(|url| Topology::Single { url }),
        Mode::Cluster => Some(Topology::Cluster { nodes }),
        Mode::Sentinel => {
            if master_name.is_none() {
                block.problem("master_name", "required with `mode: sentinel`");
            }
            master_name.map(|name| Topology::Sentinel {
                sentinels,
                master_name: name.into(),
                database,
            })
        }
    };
    let username = block.take_str("username").map(Box::from);
    let password = block.take_str("password").map(secret);
    let tls = trust(&block, context);
    block.finish();
    Some(RedisSettings {
        topology: topology?,
        username,
        password,
        tls,
    })
}

fn url_of_single(block: &Fields<'_>, url: Option<&str>) -> Option<Secret> {
    let known = |url: &str| url.starts_with("redis://") || url.starts_with("rediss://");
    match url {
        Some(url) if known(url) => Some(secret(url)),
        Some(_) => {
            block.problem("url", "must start with `redis://` or `rediss://`");
            None
        }
        None => {
            block.problem("url", "required with `mode: single`");
            None
        }
    }
}

fn addresses<'a>(block: &Fields<'a>, key: &'a str, required: bool) -> Vec<Secret> {
    let list = block.take_strings(key).unwrap_or_default();
    if required && list.is_empty() {
        block.problem(key, "needs at least one address with this `mode`");
    }
    if list.iter().any(|item| item.trim().is_empty()) {
        block.problem(key, "must not hold a blank address");
    }
    list.into_iter().map(secret).collect()
}

fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::field::reading;
    use serde_json::{Value, json};

    fn read(doc: &Value) -> (CacheSettings, RatelimitSettings, Vec<String>) {
        let both = |root: &Fields<'_>, context: &Context<'_>| {
            (cache(root, context), ratelimit(root, context))
        };
        let read = reading::read(doc, &[], |root, _, context| both(root, context));
        (read.got.0, read.got.1, read.problems)
    }

    #[test]
    fn each_mode_takes_what_it_needs() {
        let single = json!({"cache": {"redis": {"url": "rediss://:pw@h"}}});
        let (cache, _, said) = read(&single);
        assert_eq!(said, [""; 0]);
        let redis = cache.redis.expect("redis");
        assert!(
            matches!(&redis.topology, Topology::Single { url } if url.expose() == "rediss://:pw@h")
        );
        assert!(!format!("{redis:?}").contains("pw"));

        let sentinel = json!({"backend": "redis", "redis": {
            "mode": "sentinel", "sentinels": ["redis://a", "redis://b"], "master_name": "main",
            "username": "u", "password": "pw", "database": 3}});
        let (_, ratelimit, said) = read(&json!({"ratelimit": sentinel}));
        assert_eq!(said, [""; 0]);
        let redis = ratelimit.redis.expect("redis");
        assert_eq!(redis.password.as_ref().map(Secret::expose), Some("pw"));
        assert!(
            matches!(&redis.topology, Topology::Sentinel { sentinels, database: 3, .. } if sentinels.len() == 2)
        );
    }

    #[test]
    fn what_a_mode_needs_and_lacks_is_named() {
        let cases = [
            (
                json!({"cache": {"backend": "redis"}}),
                "cache.redis: required with `backend: redis`",
            ),
            (
                json!({"ratelimit": {"backend": "redis"}}),
                "ratelimit.redis: required with `backend: redis`",
            ),
            (
                json!({"cache": {"redis": {}}}),
                "cache.redis.url: required with `mode: single`",
            ),
            (
                json!({"cache": {"redis": {"url": "http://h"}}}),
                "cache.redis.url: must start with `redis://` or `rediss://`",
            ),
            (
                json!({"cache": {"redis": {"mode": "cluster"}}}),
                "cache.redis.nodes: needs at least one address with this `mode`",
            ),
            (
                json!({"cache": {"redis": {"mode": "cluster", "nodes": [" "]}}}),
                "cache.redis.nodes: must not hold a blank address",
            ),
            (
                json!({"cache": {"redis": {"mode": "sentinel", "sentinels": ["s"]}}}),
                "cache.redis.master_name: required with `mode: sentinel`",
            ),
            (
                json!({"cache": {"backend": "disk"}}),
                "cache.backend: must be one of: memory, redis",
            ),
            (
                json!({"ratelimit": {"backend": "redis", "redis": {"url": "redis://h"}, "concurrency_ttl_secs": 0}}),
                "ratelimit.concurrency_ttl_secs: must be 1 to 31536000",
            ),
            (
                json!({"ratelimit": {"on_redis_failure": "shut"}}),
                "ratelimit.on_redis_failure: must be one of: local, open, closed",
            ),
            (
                json!({"ratelimit": {"redis_timeout_ms": 0}}),
                "ratelimit.redis_timeout_ms: must be 1 to 5000",
            ),
            (
                json!({"ratelimit": {"redis_timeout_ms": 5_001}}),
                "ratelimit.redis_timeout_ms: must be 1 to 5000",
            ),
        ];
        for (doc, want) in cases {
            assert_eq!(read(&doc).2, [want], "{doc}");
        }
    }

    #[test]
    fn an_outage_is_local_and_noticed_early_unless_said_otherwise() {
        let (_, got, said) = read(&json!({}));
        assert_eq!(said, [""; 0]);
        assert_eq!(got.on_redis_failure, OnRedisFailure::Local);
        assert_eq!(got.redis_timeout, Duration::from_millis(50));
        for (word, want) in [
            ("local", OnRedisFailure::Local),
            ("open", OnRedisFailure::Open),
            ("closed", OnRedisFailure::Closed),
        ] {
            let block = json!({"on_redis_failure": word, "redis_timeout_ms": 5_000});
            let (_, got, said) = read(&json!({"ratelimit": block}));
            assert_eq!(said, [""; 0]);
            assert_eq!(got.on_redis_failure, want);
            assert_eq!(got.redis_timeout, Duration::from_secs(5));
        }
    }

    #[test]
    fn memory_counters_ignore_a_redis_block_but_check_it() {
        let block = json!({"redis": {"url": "redis://h"}, "concurrency_ttl_secs": 0});
        let (_, ratelimit, said) = read(&json!({"ratelimit": block}));
        assert_eq!(said, [""; 0]);
        assert!(ratelimit.redis.is_none());
        assert_eq!(read(&json!({"ratelimit": {"redis": {}}})).2.len(), 1);
    }
}
