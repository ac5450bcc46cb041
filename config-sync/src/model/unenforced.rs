//! Settings that are checked but have no effect in this version. [pure]
//!
//! A document that carries them stays loadable, a mistake in them is still found, and the snapshot
//! warns once per kind of field.

use super::read_globs;
use crate::tree::{Fields, Unknown};

/// Request and token windows and a concurrency limit. All optional.
pub(crate) fn rate_limit<'a>(fields: &Fields<'a>, key: &'a str) -> bool {
    const U32_MAX: u64 = u32::MAX as u64;
    present(fields, key, |block| {
        for window in ["rps", "rpm", "rph", "rpd", "tpm", "tpd"] {
            block.take_u64(window);
        }
        block.take_u64_in("concurrency", 0, U32_MAX);
    })
}

/// When a failing target is left alone, and for how long.
pub(crate) fn cooldown<'a>(fields: &Fields<'a>, key: &'a str) -> bool {
    present(fields, key, |block| {
        block.take_bool("enabled");
        block.take_u64("default_seconds");
        block.take_u64_in("max_seconds", 1, u64::MAX);
        for trigger in [
            "honor_retry_after",
            "trigger_on_timeout",
            "trigger_on_transport",
        ] {
            block.take_bool(trigger);
        }
        statuses(block, "trigger_statuses");
    })
}

/// A probe of the upstream on a timer.
pub(crate) fn background_model_check<'a>(fields: &Fields<'a>, key: &'a str) -> bool {
    present(fields, key, |block| {
        required(block, "enabled");
        block.take_bool("enabled");
        for (number, min) in [
            ("interval_seconds", 5),
            ("timeout_seconds", 1),
            ("max_tokens", 1),
            ("stale_after_seconds", 1),
        ] {
            required(block, number);
            block.take_u64_in(number, min, u64::MAX);
        }
        block.take_required_str("prompt");
        statuses(block, "ignore_statuses");
    })
}

/// Anthropic cache markers set by the gateway.
pub(crate) fn auto_prompt_caching<'a>(fields: &Fields<'a>, key: &'a str) -> bool {
    present(fields, key, |block| {
        required(block, "enabled");
        block.take_bool("enabled");
        block.take_choice("ttl", &[("5m", ()), ("1h", ())]);
    })
}

/// Marks a model whose vectors the gateway itself may use. Says nothing that must be enforced.
pub(crate) fn embedding<'a>(fields: &Fields<'a>, key: &'a str) -> bool {
    present(fields, key, |block| {
        required(block, "dimensions");
        block.take_u64_in("dimensions", 1, u64::from(u32::MAX));
        block.take_bool("normalize");
    })
}

/// Tool patterns of a key.
pub(crate) fn mcp_access<'a>(fields: &Fields<'a>, key: &'a str) -> bool {
    present(fields, key, |block| {
        if block.unknown() == Unknown::Refused {
            required(block, "allow");
        } else {
            block.take("mode");
        }
        read_globs(block, "allow", str::to_owned);
        read_globs(block, "deny", str::to_owned);
    })
}

/// Limits per MCP server; no token windows.
pub(crate) fn mcp_rate_limits<'a>(fields: &Fields<'a>, key: &'a str) -> bool {
    for (path, _, value) in fields.take_entries(key) {
        let block = Fields::new(value, &path, fields.problems(), fields.unknown());
        for window in ["rps", "rpm", "rph", "rpd"] {
            block.take_u64(window);
        }
        block.take_u64_in("concurrency", 0, u64::from(u32::MAX));
        block.finish();
    }
    fields.take(key).is_some()
}

/// A list of name patterns; an empty one grants nothing, which is what this version does anyway.
pub(crate) fn granted_names<'a>(fields: &Fields<'a>, key: &'a str) -> bool {
    !read_globs(fields, key, str::to_owned).is_empty()
}

fn present<'a>(fields: &Fields<'a>, key: &'a str, read: impl Fn(&Fields<'a>)) -> bool {
    if fields.take(key).is_none() {
        return false;
    }
    let block = fields.take_block(key);
    read(&block);
    block.finish();
    true
}

fn required<'a>(fields: &Fields<'a>, key: &'a str) {
    if fields.take(key).is_none() {
        fields.problem(key, "is required");
    }
}

fn statuses<'a>(fields: &Fields<'a>, key: &'a str) {
    for (path, item) in fields.take_list(key).unwrap_or_default() {
        if !item
            .as_u64()
            .is_some_and(|status| (100..=599).contains(&status))
        {
            fields
                .problems()
                .push(path, "must be a status of 100 to 599");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Problems, Value};
    use serde_json::json;

    type Reader = for<'a> fn(&Fields<'a>, &'a str) -> bool;

    fn problems_of(read: Reader, value: &Value, unknown: Unknown) -> Vec<String> {
        let doc = json!({ "x": value });
        let problems = Problems::default();
        let fields = Fields::new(&doc, "", &problems, unknown);
        read(&fields, "x");
        fields.finish();
        problems
            .into_vec()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn shapes_are_checked_though_nothing_is_enforced() {
        let check = json!({"enabled": true, "interval_seconds": 5, "timeout_seconds": 1, "prompt": "p",
                           "max_tokens": 1, "stale_after_seconds": 1, "ignore_statuses": [429]});
        let cases: [(Reader, Value, &[&str]); 15] = [
            (
                rate_limit,
                json!({"rpm": 0, "tpd": 5, "concurrency": 1}),
                &[],
            ),
            (rate_limit, json!({"rpm": -1}), &["x.rpm"]),
            (rate_limit, json!({"tps": 1}), &["x.tps"]),
            (
                rate_limit,
                json!({"concurrency": 4_294_967_296_u64}),
                &["x.concurrency"],
            ),
            (rate_limit, json!(5), &["x"]),
            (
                cooldown,
                json!({"enabled": false, "trigger_statuses": [429]}),
                &[],
            ),
            (
                cooldown,
                json!({"max_seconds": 0, "trigger_statuses": [99]}),
                &["x.max_seconds", "x.trigger_statuses[0]"],
            ),
            (background_model_check, check, &[]),
            (
                background_model_check,
                json!({"enabled": true, "interval_seconds": 4, "timeout_seconds": 1, "max_tokens": 1}),
                &["x.interval_seconds", "x.stale_after_seconds", "x.prompt"],
            ),
            (
                auto_prompt_caching,
                json!({"enabled": true, "ttl": "2h"}),
                &["x.ttl"],
            ),
            (embedding, json!({"dimensions": 0}), &["x.dimensions"]),
            (
                mcp_access,
                json!({"allow": ["a*"], "deny": ["a**"]}),
                &["x.deny[0]"],
            ),
            (mcp_access, json!({"mode": "x"}), &["x.allow", "x.mode"]),
            (
                mcp_rate_limits,
                json!({"srv": {"rpm": 1}, "two": {"tpm": 1}}),
                &["x.two.tpm"],
            ),
            (granted_names, json!(["a", 1]), &["x[1]"]),
        ];
        for (read, value, want) in cases {
            let said = problems_of(read, &value, Unknown::Refused);
            let paths: Vec<&str> = said
                .iter()
                .filter_map(|line| line.split(": ").next())
                .collect();
            assert_eq!(paths, want, "{value}");
        }
    }

    #[test]
    fn a_newer_writers_fields_are_ignored_where_reading_is_lenient() {
        let said = problems_of(
            mcp_access,
            &json!({"mode": 3, "allow": ["a**"]}),
            Unknown::Ignored,
        );
        assert_eq!(said, Vec::<String>::new());
        let said = problems_of(rate_limit, &json!({"tps": 1}), Unknown::Ignored);
        assert_eq!(said, Vec::<String>::new());
    }

    #[test]
    fn absent_settings_are_not_present() {
        let doc = json!({"null": null, "empty": [], "some": ["a"]});
        let problems = Problems::default();
        let fields = Fields::new(&doc, "", &problems, Unknown::Refused);
        assert!(!cooldown(&fields, "null") && !rate_limit(&fields, "missing"));
        assert!(!granted_names(&fields, "empty") && granted_names(&fields, "some"));
    }
}
