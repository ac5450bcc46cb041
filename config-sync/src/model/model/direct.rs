//! Settings that only a model with an upstream of its own has. [pure]

use std::sync::Arc;

use super::super::field;
use crate::tree::Fields;

/// When a failing target is left alone, and for how long.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cooldown {
    /// Whether it ever is. Default: yes.
    pub enabled: bool,
    /// Seconds where the upstream names none; 0 never cools down. Default 30.
    pub default_seconds: u64,
    /// Most seconds, 1 or more. Default 600.
    pub max_seconds: u64,
    /// Whether the upstream's `Retry-After` decides. Default: yes.
    pub honor_retry_after: bool,
    /// Statuses that count as a failure. Default: 401, 408, 429, 500, 502, 503, 504.
    pub trigger_statuses: Vec<u16>,
    /// Whether a timeout counts. Default: yes.
    pub trigger_on_timeout: bool,
    /// Whether a broken connection counts. Default: yes.
    pub trigger_on_transport: bool,
}

impl Default for Cooldown {
    fn default() -> Self {
        Self {
            enabled: true,
            default_seconds: 30,
            max_seconds: 600,
            honor_retry_after: true,
            trigger_statuses: vec![401, 408, 429, 500, 502, 503, 504],
            trigger_on_timeout: true,
            trigger_on_transport: true,
        }
    }
}

impl Cooldown {
    /// The block at `key`; `None` where there is none.
    pub(super) fn read<'a>(fields: &Fields<'a>, key: &'a str) -> Option<Self> {
        let block = field::block(fields, key)?;
        let unset = Self::default();
        let flag = |key, otherwise| block.take_bool(key).unwrap_or(otherwise);
        let cooldown = Self {
            enabled: flag("enabled", unset.enabled),
            default_seconds: block
                .take_u64("default_seconds")
                .unwrap_or(unset.default_seconds),
            max_seconds: block
                .take_u64_in("max_seconds", 1, u64::MAX)
                .unwrap_or(unset.max_seconds),
            honor_retry_after: flag("honor_retry_after", unset.honor_retry_after),
            trigger_statuses: field::statuses(&block, "trigger_statuses", 100..=599)
                .unwrap_or(unset.trigger_statuses),
            trigger_on_timeout: flag("trigger_on_timeout", unset.trigger_on_timeout),
            trigger_on_transport: flag("trigger_on_transport", unset.trigger_on_transport),
        };
        block.finish();
        Some(cooldown)
    }
}

/// A probe of the upstream on a timer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BackgroundModelCheck {
    /// Whether it runs.
    pub enabled: bool,
    /// Seconds between probes, 5 or more.
    pub interval_seconds: u64,
    /// Deadline of a probe in seconds, 1 or more.
    pub timeout_seconds: u64,
    /// What the model is asked.
    pub prompt: Arc<str>,
    /// Longest answer in tokens, 1 or more.
    pub max_tokens: u64,
    /// Age in seconds at which a bad result no longer counts, 1 or more.
    pub stale_after_seconds: u64,
    /// Statuses that say nothing about the model's health.
    pub ignore_statuses: Vec<u16>,
}

impl BackgroundModelCheck {
    /// The block at `key`; `None` where there is none, or where a problem was noted.
    pub(super) fn read<'a>(fields: &Fields<'a>, key: &'a str) -> Option<Self> {
        let block = field::block(fields, key)?;
        let number = |key, min| {
            field::required(&block, key);
            block.take_u64_in(key, min, u64::MAX)
        };
        field::required(&block, "enabled");
        let enabled = block.take_bool("enabled");
        let interval_seconds = number("interval_seconds", 5);
        let timeout_seconds = number("timeout_seconds", 1);
        let max_tokens = number("max_tokens", 1);
        let stale_after_seconds = number("stale_after_seconds", 1);
        let prompt = field::text(&block, "prompt");
        let ignore_statuses = field::statuses(&block, "ignore_statuses", 100..=599);
        block.finish();
        Some(Self {
            enabled: enabled?,
            interval_seconds: interval_seconds?,
            timeout_seconds: timeout_seconds?,
            prompt: prompt?,
            max_tokens: max_tokens?,
            stale_after_seconds: stale_after_seconds?,
            ignore_statuses: ignore_statuses.unwrap_or_default(),
        })
    }
}

/// Anthropic cache markers set by the gateway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AutoPromptCaching {
    /// Whether they are set.
    pub enabled: bool,
    /// How long the upstream keeps what is marked. Default 5 minutes.
    pub ttl: PromptCacheTtl,
}

/// The lifetimes that Anthropic offers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PromptCacheTtl {
    /// 5 minutes.
    #[default]
    FiveMinutes,
    /// 1 hour.
    OneHour,
}

impl AutoPromptCaching {
    /// The block at `key`; `None` where there is none, or where a problem was noted.
    pub(super) fn read<'a>(fields: &Fields<'a>, key: &'a str) -> Option<Self> {
        let block = field::block(fields, key)?;
        let words = [
            ("5m", PromptCacheTtl::FiveMinutes),
            ("1h", PromptCacheTtl::OneHour),
        ];
        field::required(&block, "enabled");
        let enabled = block.take_bool("enabled");
        let ttl = block.take_choice("ttl", &words).unwrap_or_default();
        block.finish();
        Some(Self {
            enabled: enabled?,
            ttl,
        })
    }
}

/// Marks a model whose vectors the gateway itself may use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Embedding {
    /// Length of a vector, 1 or more.
    pub dimensions: u32,
    /// Whether vectors are brought to unit length. Default: yes.
    pub normalize: bool,
}

impl Embedding {
    /// The block at `key`; `None` where there is none, or where a problem was noted.
    pub(super) fn read<'a>(fields: &Fields<'a>, key: &'a str) -> Option<Self> {
        let block = field::block(fields, key)?;
        field::required(&block, "dimensions");
        let dimensions = block.take_u32_in("dimensions", 1, u32::MAX);
        let normalize = block.take_bool("normalize").unwrap_or(true);
        block.finish();
        Some(Self {
            dimensions: dimensions?,
            normalize,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Problems, Unknown, Value};
    use serde_json::json;

    /// Reads the block at the key, and says whether there was one.
    type Reader = for<'a> fn(&Fields<'a>, &'a str) -> bool;
    const COOLDOWN: Reader = |fields, key| Cooldown::read(fields, key).is_some();
    const CHECK: Reader = |fields, key| BackgroundModelCheck::read(fields, key).is_some();
    const CACHING: Reader = |fields, key| AutoPromptCaching::read(fields, key).is_some();
    const EMBEDDING: Reader = |fields, key| Embedding::read(fields, key).is_some();

    #[test]
    fn each_block_is_checked() {
        let check = json!({"enabled": true, "interval_seconds": 5, "timeout_seconds": 1, "prompt": "p",
                           "max_tokens": 1, "stale_after_seconds": 1, "ignore_statuses": [429]});
        let cases: [(Reader, Value, &[&str]); 11] = [
            (
                COOLDOWN,
                json!({"enabled": false, "trigger_statuses": [429]}),
                &[],
            ),
            (
                COOLDOWN,
                json!({"max_seconds": 0, "trigger_statuses": [99]}),
                &["x.max_seconds", "x.trigger_statuses[0]"],
            ),
            (COOLDOWN, json!({"seconds": 1}), &["x.seconds"]),
            (COOLDOWN, json!([]), &["x"]),
            (CHECK, check, &[]),
            (
                CHECK,
                json!({"enabled": true, "interval_seconds": 4, "timeout_seconds": 1, "max_tokens": 1}),
                &["x.interval_seconds", "x.stale_after_seconds", "x.prompt"],
            ),
            (CACHING, json!({"enabled": true, "ttl": "1h"}), &[]),
            (CACHING, json!({"ttl": "2h"}), &["x.enabled", "x.ttl"]),
            (EMBEDDING, json!({"dimensions": 3, "normalize": false}), &[]),
            (EMBEDDING, json!({"dimensions": 0}), &["x.dimensions"]),
            (EMBEDDING, json!({}), &["x.dimensions"]),
        ];
        for (read, value, want) in cases {
            let doc = json!({ "x": value });
            let problems = Problems::default();
            let fields = Fields::new(&doc, "", &problems, Unknown::Refused);
            read(&fields, "x");
            assert!(!read(&fields, "absent"));
            fields.finish();
            assert_eq!(problems.paths(), want, "{value}");
        }
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let doc = json!({"cooldown": {"default_seconds": 0}, "caching": {"enabled": true},
                         "embedding": {"dimensions": 3}});
        let problems = Problems::default();
        let fields = Fields::new(&doc, "", &problems, Unknown::Refused);
        let want = Cooldown {
            default_seconds: 0,
            ..Cooldown::default()
        };
        assert_eq!(Cooldown::read(&fields, "cooldown"), Some(want));
        let caching = AutoPromptCaching::read(&fields, "caching").unwrap();
        assert_eq!(caching.ttl, PromptCacheTtl::FiveMinutes);
        assert!(Embedding::read(&fields, "embedding").unwrap().normalize);
    }
}
