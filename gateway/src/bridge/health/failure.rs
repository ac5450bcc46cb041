//! Why a target is left alone. [bridge]

use config_sync::model::model::Cooldown;

/// An attempt that failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Failure {
    /// What went wrong.
    pub class: FailureClass,
    /// Whether another attempt was allowed (proxy.md §6.1). Only such failures count for the grade.
    pub is_retryable: bool,
    /// Seconds the upstream asked for in `Retry-After`.
    pub retry_after_secs: Option<u32>,
}

/// What went wrong with an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FailureClass {
    /// No answer, or no next event, within the deadline.
    Timeout,
    /// The connection could not be made or broke, also in the middle of a stream.
    Transport,
    /// The upstream answered with this status.
    Status(u16),
    /// A success that could not be understood.
    Decode,
    /// An error inside a stream that had begun, with its status; 0 where it names none.
    InBand(u16),
}

impl FailureClass {
    /// Why the target cools down, if it does.
    pub(super) fn trigger(self, cooldown: &Cooldown) -> Option<Reason> {
        let listed = |status| cooldown.trigger_statuses.contains(&status);
        let (triggers, reason) = match self {
            Self::Timeout => (cooldown.trigger_on_timeout, Reason::RequestTimeout),
            Self::Transport => (cooldown.trigger_on_transport, Reason::TransportError),
            Self::Status(status) => (listed(status), Reason::of_status(status)),
            Self::Decode => (true, Reason::UpstreamDecodeError),
            // A caller's bad request must not take the target from everybody else.
            Self::InBand(status) => (
                !(400..=499).contains(&status) || listed(status),
                Reason::UpstreamInBandError,
            ),
        };
        (cooldown.enabled && triggers).then_some(reason)
    }
}

/// Why a target is not simply healthy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// 401.
    UpstreamAuthFailure,
    /// 408.
    UpstreamRequestTimeout,
    /// 429.
    UpstreamRateLimited,
    /// 5xx.
    UpstreamServerError,
    /// Any other status.
    UpstreamStatusFailure,
    /// An error inside a stream.
    UpstreamInBandError,
    /// No answer in time.
    RequestTimeout,
    /// No connection, or a broken one.
    TransportError,
    /// An answer that could not be understood.
    UpstreamDecodeError,
    /// The last probe failed.
    BackgroundCheckFailed,
    /// The last probe failed in a way that says nothing.
    IgnoredTransientError,
}

impl Reason {
    /// All, in the order of their discriminants.
    pub const ALL: [Self; 11] = [
        Self::UpstreamAuthFailure,
        Self::UpstreamRequestTimeout,
        Self::UpstreamRateLimited,
        Self::UpstreamServerError,
        Self::UpstreamStatusFailure,
        Self::UpstreamInBandError,
        Self::RequestTimeout,
        Self::TransportError,
        Self::UpstreamDecodeError,
        Self::BackgroundCheckFailed,
        Self::IgnoredTransientError,
    ];

    /// Value of `status_reason`.
    pub fn label(self) -> &'static str {
        match self {
            Self::UpstreamAuthFailure => "upstream_auth_failure",
            Self::UpstreamRequestTimeout => "upstream_request_timeout",
            Self::UpstreamRateLimited => "upstream_rate_limited",
            Self::UpstreamServerError => "upstream_server_error",
            Self::UpstreamStatusFailure => "upstream_status_failure",
            Self::UpstreamInBandError => "upstream_in_band_error",
            Self::RequestTimeout => "request_timeout",
            Self::TransportError => "transport_error",
            Self::UpstreamDecodeError => "upstream_decode_error",
            Self::BackgroundCheckFailed => "background_check_failed",
            Self::IgnoredTransientError => "ignored_transient_error",
        }
    }

    fn of_status(status: u16) -> Self {
        match status {
            401 => Self::UpstreamAuthFailure,
            408 => Self::UpstreamRequestTimeout,
            429 => Self::UpstreamRateLimited,
            500..=599 => Self::UpstreamServerError,
            _ => Self::UpstreamStatusFailure,
        }
    }
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CheckOutcome {
    /// With an answer.
    Passed,
    /// With a failure.
    Failed,
    /// With a failure that the model's `ignore_statuses` lists: the target's state stays.
    Ignored,
}

impl CheckOutcome {
    /// All, in the order of their discriminants.
    pub(super) const ALL: [Self; 3] = [Self::Passed, Self::Failed, Self::Ignored];
}
