//! The attempts of one request of which not all succeeded. [bridge]

use std::sync::Arc;

use config_sync::model::labels::TargetLabels;

use crate::short_text::ShortText;

/// Most attempts of one request that are listed: 2 KB. The record counts all of them.
pub const TRIED_MAX: usize = 16;

/// One attempt, or a target that was passed over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tried {
    /// Whom it was for.
    pub target: Arc<TargetLabels>,
    /// Why it was made.
    pub kind: AttemptKind,
    /// The upstream's status, where it named one; else the one that such a failure is answered with.
    pub status: u16,
    /// What went wrong; `None` for the attempt that served the request.
    pub error_class: Option<&'static str>,
    /// From its start to its end, microseconds; `None` where nothing was sent, because the target was
    /// at its limit.
    pub spent_us: Option<u64>,
    /// The id the upstream gave the exchange.
    pub upstream_request_id: Option<ShortText>,
    /// Tokens it had written when it failed, which were held back and never sent; `None` where it had
    /// written nothing, or it was sent.
    pub discarded_tokens: Option<u64>,
}

/// Why an attempt was made.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum AttemptKind {
    /// It is the first one.
    Initial,
    /// The one before it failed at the same target.
    Retry,
    /// Those at another target failed.
    Fallback,
    /// The one before it was slow, at another target.
    Hedge,
}

impl AttemptKind {
    /// Value of `attempt_kind`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Retry => "retry",
            Self::Fallback => "fallback",
            Self::Hedge => "hedge",
        }
    }
}
