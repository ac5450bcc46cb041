//! Model groups: one name for several targets, and the order in which they are tried. [pure]

mod streams;

use std::collections::HashSet;
use std::sync::Arc;

use super::{field, header};
use crate::tree::{Fields, Unknown};

pub use streams::{
    HEDGE_MS_MAX, HOLD_BACK_MS_MAX, HOLD_BACK_TOKENS_MAX, Hedge, HedgeAfter, HoldBack,
};

/// Where the key of a consistent hash is looked for first, unless a group says otherwise.
const DEFAULT_HASH_HEADER: &str = "x-sluice-routing-key";

/// The targets of a group and how one is chosen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Routing {
    /// At least one, as configured.
    pub targets: Vec<Target>,
    /// The order within a tier of one priority. Default: as configured.
    pub strategy: Strategy,
    /// Where the key of [`Strategy::ConsistentHash`] comes from; the first that yields one counts, and
    /// none of them is the empty key. Default: the header `x-sluice-routing-key`, then the API key.
    pub hash_on: Vec<HashSource>,
    /// Attempts after a retryable failure, for targets that set none; `None`: the deployment's.
    pub retries: Option<u32>,
    /// Targets tried after the first; `None`: all.
    pub max_fallbacks: Option<u32>,
    /// Whether a 429 is retryable. Default: no.
    pub retry_on_429: bool,
    /// Further statuses that are retryable, 400 to 599.
    pub fallback_on_statuses: Vec<u16>,
    /// What happens when no target is healthy.
    pub when_all_unavailable: WhenAllUnavailable,
    /// How much of a stream is held back beyond its first content; `None`: nothing.
    pub hold_back: Option<HoldBack>,
    /// When a stream is asked of a second target too; `None`: never.
    pub hedge: Option<Hedge>,
}

/// One target of a group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// Display name of a direct model.
    pub model: Arc<str>,
    /// Share of requests, 1 or more. Default 1.
    pub weight: u32,
    /// Its tier: the higher is tried first. Default 0.
    pub priority: i32,
    /// Tags a request may ask for; `default` stands in for those no target has.
    pub tags: Vec<Arc<str>>,
}

/// How the targets of a tier are ordered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Strategy {
    /// As configured.
    #[default]
    Failover,
    /// In turn, by weight.
    RoundRobin,
    /// By a key of the request.
    ConsistentHash,
    /// The cheapest first.
    LeastCost,
    /// The fastest first.
    LeastLatency,
    /// The least loaded first, by weight.
    LeastBusy,
}

impl Strategy {
    /// Whether weights have an effect.
    pub fn is_weighted(self) -> bool {
        match self {
            Self::RoundRobin | Self::ConsistentHash | Self::LeastBusy => true,
            Self::Failover | Self::LeastCost | Self::LeastLatency => false,
        }
    }
}

const STRATEGIES: [(&str, Strategy); 6] = [
    ("failover", Strategy::Failover),
    ("round_robin", Strategy::RoundRobin),
    ("consistent_hash", Strategy::ConsistentHash),
    ("least_cost", Strategy::LeastCost),
    ("least_latency", Strategy::LeastLatency),
    ("least_busy", Strategy::LeastBusy),
];

/// What of a request is hashed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HashSource {
    /// The header of this name, in lower case.
    Header(Arc<str>),
    /// The cookie of this name.
    Cookie(Arc<str>),
    /// The id of the caller's key.
    ApiKey,
    /// The caller's address.
    ClientIp,
}

#[derive(Clone, Copy)]
enum HashKind {
    Header,
    Cookie,
    ApiKey,
    ClientIp,
}

const HASH_KINDS: [(&str, HashKind); 4] = [
    ("header", HashKind::Header),
    ("cookie", HashKind::Cookie),
    ("api_key", HashKind::ApiKey),
    ("client_ip", HashKind::ClientIp),
];

/// The answer of a group without a healthy target.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WhenAllUnavailable {
    /// 503.
    #[default]
    Fail,
    /// All are tried nevertheless.
    TryAnyway,
}

impl Routing {
    /// Reads the block of a group. The result is usable only if no problem was noted.
    pub(super) fn read(fields: Fields<'_>) -> Self {
        let strategy = fields
            .take_choice("strategy", &STRATEGIES)
            .unwrap_or_default();
        let availability = [
            ("fail", WhenAllUnavailable::Fail),
            ("try_anyway", WhenAllUnavailable::TryAnyway),
        ];
        let routing = Self {
            targets: read_targets(&fields, strategy),
            strategy,
            hash_on: read_hash_on(&fields, strategy),
            retries: fields.take_u32("retries"),
            max_fallbacks: fields.take_u32("max_fallbacks"),
            retry_on_429: fields.take_bool("retry_on_429").unwrap_or(false),
            fallback_on_statuses: field::statuses(&fields, "fallback_on_statuses", 400..=599)
                .unwrap_or_default(),
            when_all_unavailable: fields
                .take_choice("when_all_unavailable", &availability)
                .unwrap_or_default(),
            hold_back: HoldBack::read(&fields),
            hedge: Hedge::read(&fields),
        };
        fields.finish();
        routing
    }
}

fn read_targets(fields: &Fields<'_>, strategy: Strategy) -> Vec<Target> {
    let is_strict = fields.unknown() == Unknown::Refused;
    let mut names = HashSet::new();
    let mut targets = Vec::new();
    for (path, item) in field::items(fields, "targets") {
        let Some(block) = field::mapping(fields, &path, item) else {
            continue;
        };
        let model = field::text(&block, "model");
        let weight = block.take_u32("weight").unwrap_or(1);
        if is_strict && weight == 0 && strategy.is_weighted() {
            block.problem("weight", "must be 1 or more with this strategy");
        }
        let priority = block.take_i32("priority").unwrap_or(0);
        let tags = field::texts(&block, "tags");
        if let Some(model) = model {
            if !names.insert(Arc::clone(&model)) && is_strict {
                block.problem("model", "is a target already");
            }
            targets.push(Target {
                model,
                weight: weight.max(1),
                priority,
                tags,
            });
        }
        block.finish();
    }
    targets
}

/// Lenient: a source that can yield nothing is left out.
fn read_hash_on(fields: &Fields<'_>, strategy: Strategy) -> Vec<HashSource> {
    if fields.take("hash_on").is_none() {
        return vec![
            HashSource::Header(DEFAULT_HASH_HEADER.into()),
            HashSource::ApiKey,
        ];
    }
    if fields.unknown() == Unknown::Refused && strategy != Strategy::ConsistentHash {
        fields.problem("hash_on", "is only accepted with strategy consistent_hash");
    }
    let mut sources = Vec::new();
    for (path, item) in field::some_items(fields, "hash_on") {
        if let Some(block) = field::mapping(fields, &path, item) {
            sources.extend(read_hash_source(&block));
            block.finish();
        }
    }
    sources
}

fn read_hash_source(block: &Fields<'_>) -> Option<HashSource> {
    let is_strict = block.unknown() == Unknown::Refused;
    let kind = field::required_choice(block, "type", &HASH_KINDS);
    let name = block.take_str("name");
    let token = || {
        let found = name.filter(|name| header::is_name(name));
        if found.is_none() && is_strict {
            let message = match name {
                Some(_) => "must be a legal name of a header or cookie",
                None => "is required for header and cookie",
            };
            block.problem("name", message);
        }
        found
    };
    match kind? {
        HashKind::Header => {
            token().map(|name| HashSource::Header(name.to_ascii_lowercase().into()))
        }
        HashKind::Cookie => token().map(|name| HashSource::Cookie(name.into())),
        unnamed @ (HashKind::ApiKey | HashKind::ClientIp) => {
            if block.has("name") && is_strict {
                block.problem("name", "is not accepted for api_key and client_ip");
            }
            Some(match unnamed {
                HashKind::ClientIp => HashSource::ClientIp,
                _ => HashSource::ApiKey,
            })
        }
    }
}
