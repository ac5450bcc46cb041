//! Limits of requests, tokens and concurrency. [pure]

use super::field;
use crate::tree::Fields;

/// Limits counted in fixed windows of the wall clock. `None`: unlimited; 0 admits nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RateLimit {
    /// Requests per second.
    pub rps: Option<u64>,
    /// Requests per minute.
    pub rpm: Option<u64>,
    /// Requests per hour.
    pub rph: Option<u64>,
    /// Requests per day.
    pub rpd: Option<u64>,
    /// Tokens per minute.
    pub tpm: Option<u64>,
    /// Tokens per day.
    pub tpd: Option<u64>,
    /// Requests in flight.
    pub concurrency: Option<u32>,
}

impl RateLimit {
    /// Whether nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }

    /// The limits at `key`; `None` where there are none.
    pub(super) fn read<'a>(fields: &Fields<'a>, key: &'a str) -> Option<Self> {
        let block = field::block(fields, key)?;
        let limit = Self {
            tpm: block.take_u64("tpm"),
            tpd: block.take_u64("tpd"),
            ..Self::of_requests(&block)
        };
        block.finish();
        Some(limit)
    }

    /// The limits of `block` that count no tokens.
    pub(super) fn of_requests(block: &Fields<'_>) -> Self {
        Self {
            rps: block.take_u64("rps"),
            rpm: block.take_u64("rpm"),
            rph: block.take_u64("rph"),
            rpd: block.take_u64("rpd"),
            tpm: None,
            tpd: None,
            concurrency: block.take_u32("concurrency"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{ProblemKind, Problems, Unknown};
    use serde_json::json;

    #[test]
    fn limits_are_whole_numbers_and_zero_is_one() {
        let cases = [
            (
                json!({"rps": 0, "rpm": 1, "rph": 2, "rpd": 3, "tpm": 4, "tpd": 5, "concurrency": 6}),
                "",
                "",
            ),
            (json!({}), "", ""),
            (json!({"rpm": -1}), "x.rpm", "x.rpm"),
            (json!({"rpm": 1.5}), "x.rpm", "x.rpm"),
            (json!({"tps": 1}), "x.tps", ""),
            (
                json!({"concurrency": 4_294_967_296_u64}),
                "x.concurrency",
                "x.concurrency",
            ),
            (json!(5), "x", "x"),
        ];
        for (value, strict, lenient) in cases {
            let doc = json!({ "x": value });
            for (unknown, want) in [(Unknown::Refused, strict), (Unknown::Ignored, lenient)] {
                let problems = Problems::default();
                RateLimit::read(&Fields::new(&doc, "", &problems, unknown), "x");
                assert_eq!(problems.paths().join(" "), want, "{value}");
            }
        }
    }

    #[test]
    fn what_is_absent_is_unlimited() {
        let doc =
            json!({"none": {}, "some": {"tpd": 0}, "wide": {"concurrency": 4_294_967_296_u64}});
        let problems = Problems::default();
        let fields = Fields::new(&doc, "", &problems, Unknown::Refused);
        assert_eq!(RateLimit::read(&fields, "missing"), None);
        assert!(RateLimit::read(&fields, "none").unwrap().is_unlimited());
        let some = RateLimit::read(&fields, "some").unwrap();
        assert_eq!(
            (some.tpd, some.rpm, some.is_unlimited()),
            (Some(0), None, false)
        );
        RateLimit::read(&fields, "wide");
        assert_eq!(problems.into_vec()[0].kind, ProblemKind::Parse);
    }
}
