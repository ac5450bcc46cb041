//! What a key grants and limits beside models. [pure]

use std::sync::Arc;

use super::super::glob::Glob;
use super::super::rate_limit::RateLimit;
use super::super::{field, read_globs};
use crate::tree::{Fields, Unknown};

/// The tools a key may use, as `<server>__<tool>`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct McpAccess {
    /// What is allowed; none allows nothing.
    pub allow: Vec<Glob>,
    /// What is not, whatever `allow` says.
    pub deny: Vec<Glob>,
}

impl McpAccess {
    /// The block at `key`; `None`: the key has no rule of its own.
    pub(super) fn read<'a>(fields: &Fields<'a>, key: &'a str) -> Option<Self> {
        let block = field::block(fields, key)?;
        if block.unknown() == Unknown::Refused {
            field::required(&block, "allow");
        } else {
            // A former field.
            block.take("mode");
        }
        let access = Self {
            allow: read_globs(&block, "allow", str::to_owned),
            deny: read_globs(&block, "deny", str::to_owned),
        };
        block.finish();
        Some(access)
    }
}

/// Limits by the name of an MCP server, without token windows.
pub(super) fn mcp_rate_limits<'a>(fields: &Fields<'a>, key: &'a str) -> Vec<(Arc<str>, RateLimit)> {
    let mut limits = Vec::new();
    for (path, server, value) in fields.take_entries(key) {
        if let Some(block) = field::mapping(fields, &path, value) {
            limits.push((server.into(), RateLimit::of_requests(&block)));
            block.finish();
        }
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Problems, Value};
    use serde_json::json;

    type Reader = for<'a> fn(&Fields<'a>, &'a str) -> usize;
    const ACCESS: Reader = |fields, key| {
        McpAccess::read(fields, key).map_or(0, |access| access.allow.len() + access.deny.len())
    };
    const LIMITS: Reader = |fields, key| mcp_rate_limits(fields, key).len();

    #[test]
    fn shapes_are_checked() {
        // Read, value, entries read strictly, paths of problems: strict, lenient.
        let cases: [(Reader, Value, usize, &str, &str); 7] = [
            (
                ACCESS,
                json!({"allow": ["a*"], "deny": ["a__b"]}),
                2,
                "",
                "",
            ),
            (ACCESS, json!({"allow": []}), 0, "", ""),
            (
                ACCESS,
                json!({"allow": ["a*"], "deny": ["a**"]}),
                1,
                "x.deny[0]",
                "",
            ),
            (ACCESS, json!({"mode": 3}), 0, "x.allow x.mode", ""),
            (
                LIMITS,
                json!({"srv": {"rpm": 1}, "two": {"tpm": 1}}),
                2,
                "x.two.tpm",
                "",
            ),
            (
                LIMITS,
                json!({"srv": {"rpm": -1}}),
                1,
                "x.srv.rpm",
                "x.srv.rpm",
            ),
            (LIMITS, json!({"srv": 1}), 0, "x.srv", "x.srv"),
        ];
        for (read, value, entries, strict, lenient) in cases {
            let doc = json!({ "x": value });
            for (unknown, want) in [(Unknown::Refused, strict), (Unknown::Ignored, lenient)] {
                let problems = Problems::default();
                let got = read(&Fields::new(&doc, "", &problems, unknown), "x");
                assert_eq!(got, entries, "{value}");
                assert_eq!(problems.paths().join(" "), want, "{value}");
            }
        }
    }

    #[test]
    fn limits_of_a_server_keep_its_name() {
        let doc = json!({"x": {"srv": {"rpm": 0, "concurrency": 2}, "null": {"rps": null}}});
        let problems = Problems::default();
        let limits = mcp_rate_limits(&Fields::new(&doc, "", &problems, Unknown::Refused), "x");
        let srv = RateLimit {
            rpm: Some(0),
            concurrency: Some(2),
            ..RateLimit::default()
        };
        let want = [("srv".into(), srv), ("null".into(), RateLimit::default())];
        assert_eq!(limits, want);
        assert!(problems.is_empty());
    }
}
