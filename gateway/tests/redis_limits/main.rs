//! Limits counted in redis: the counters against real servers.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it")]

mod arranged;
mod counting;
mod link;
mod outages;
mod server;
mod slots;

use std::sync::Arc;
use std::time::Duration;

use config_sync::model::rate_limit::RateLimit;
use gateway::bridge::shared_limits::{Admitted, Ask, LayerAsk, Outcome, Refused};
use gateway::cold::limits::{RedisLimits, RedisLimitsOptions};
use gateway::settings::{RedisSettings, Secret, Topology, TrustSettings};
use server::{Server, eventually};
use tokio::task::AbortHandle;

/// The counters of one gateway, looked after until they are dropped.
struct Gateway {
    limits: Arc<RedisLimits>,
    upkeep: AbortHandle,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.upkeep.abort();
    }
}

impl Gateway {
    /// One that has connected.
    async fn on(settings: &RedisSettings, options: RedisLimitsOptions) -> Self {
        let gateway = Self::beside(settings, options);
        gateway.counts().await;
        gateway
    }

    /// One that may never connect.
    fn beside(settings: &RedisSettings, options: RedisLimitsOptions) -> Self {
        let limits = Arc::new(RedisLimits::new(settings, options).unwrap());
        let running = Arc::clone(&limits);
        let upkeep = tokio::spawn(async move { running.run().await }).abort_handle();
        Self { limits, upkeep }
    }

    async fn counts(&self) {
        eventually("redis counts", async || !self.limits.breaker().is_open()).await;
    }

    async fn admit(&self, ask: &Ask) -> Admitted {
        match self.limits.admit(ask).await {
            Ok(Outcome::Admitted(admitted)) => admitted,
            other => panic!("{other:?}"),
        }
    }

    async fn refuse(&self, ask: &Ask) -> Refused {
        match self.limits.admit(ask).await {
            Ok(Outcome::Refused(refused)) => refused,
            other => panic!("{other:?}"),
        }
    }
}

/// Patient, for a shared machine.
fn options() -> RedisLimitsOptions {
    RedisLimitsOptions {
        env_id: "".into(),
        concurrency_ttl: Duration::from_secs(300),
        timeout: Duration::from_secs(5),
    }
}

fn single(server: &Server) -> RedisSettings {
    settings(Topology::Single {
        url: Secret::from(server.url()),
    })
}

fn settings(topology: Topology) -> RedisSettings {
    RedisSettings {
        topology,
        username: None,
        password: None,
        tls: TrustSettings::default(),
    }
}

/// A request with these layers and reserved tokens.
fn ask(layers: &[(&str, RateLimit)], tokens: u64) -> Ask {
    let layer = |(key, limits): &(&str, RateLimit)| LayerAsk {
        key: (*key).into(),
        limits: *limits,
    };
    Ask {
        layers: layers.iter().map(layer).collect(),
        tokens,
    }
}

fn none() -> RateLimit {
    RateLimit::default()
}
