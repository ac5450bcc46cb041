//! Why etcd could not be read or written. [pure]

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use etcd_client::Error as ClientError;

/// Longest text taken over from another program, in characters.
const TEXT_MAX: usize = 300;

/// Why etcd could not be read or written. No text holds a credential or a value.
#[derive(Debug)]
pub enum StoreError {
    /// The operator's: a file or a variable that cannot be used, named by its setting.
    Options(String),
    /// No connection, or it broke.
    Unreachable(String),
    /// No answer in time. What was asked may still have taken effect.
    TimedOut {
        /// What was asked for.
        what: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// etcd said no: a wrong password, a missing permission, no leader…
    Refused(String),
    /// The token of the login is no longer valid; a new connection gets another.
    TokenExpired,
    /// The revision asked for is gone from the history.
    Compacted,
    /// The revision asked for is still to come: another, younger store answers.
    FutureRevision,
    /// One answer is larger than is taken.
    AnswerTooLarge,
    /// More is stored below the prefix than is taken.
    StoreTooLarge(&'static str),
    /// An answer that etcd does not give.
    Protocol(&'static str),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(text) | Self::Unreachable(text) | Self::Refused(text) => {
                f.write_str(text)
            }
            Self::TimedOut { what, after } => {
                write!(f, "no answer to {what} within {} ms", after.as_millis())
            }
            Self::TokenExpired => f.write_str("the token of the login has expired"),
            Self::Compacted => f.write_str("the revision asked for has been compacted"),
            Self::FutureRevision => f.write_str("the revision asked for is still to come"),
            Self::AnswerTooLarge => f.write_str("an answer is larger than is taken"),
            Self::StoreTooLarge(what) => write!(f, "below the prefix are {what}"),
            Self::Protocol(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for StoreError {}

/// Numbers of gRPC's status codes.
mod code {
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const FAILED_PRECONDITION: i32 = 9;
    pub(super) const OUT_OF_RANGE: i32 = 11;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

impl From<ClientError> for StoreError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::GRpcStatus(status) => {
                let text = with_causes(status.message(), status.source());
                of_status(status.code() as i32, status.message(), text)
            }
            ClientError::TransportError(error) => {
                Self::Unreachable(with_causes(&error.to_string(), error.source()))
            }
            ClientError::IoError(error) => Self::Unreachable(short(&error.to_string())),
            other => Self::Unreachable(short(&other.to_string())),
        }
    }
}

/// What a status means; the code alone does not tell, etcd uses one for several things.
fn of_status(code: i32, message: &str, text: String) -> StoreError {
    match code {
        code::OUT_OF_RANGE if message.contains("message length too large") => {
            StoreError::AnswerTooLarge
        }
        _ if is_compaction(message) => StoreError::Compacted,
        code::OUT_OF_RANGE if message.contains("future revision") => StoreError::FutureRevision,
        // The second: the server's users or roles changed after the token was given out.
        _ if message.contains("invalid auth token")
            || message.contains("revision of auth store is old") =>
        {
            StoreError::TokenExpired
        }
        code::INVALID_ARGUMENT
        | code::PERMISSION_DENIED
        | code::FAILED_PRECONDITION
        | code::UNAUTHENTICATED => StoreError::Refused(text),
        _ => StoreError::Unreachable(text),
    }
}

/// Whether a server's text says that the history no longer reaches back far enough.
pub(super) fn is_compaction(text: &str) -> bool {
    text.contains("revision has been compacted") || text.contains("compacted revision")
}

/// `message` and what caused it, each said once.
fn with_causes(message: &str, mut cause: Option<&(dyn std::error::Error + 'static)>) -> String {
    let mut text = message.to_owned();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&said);
        }
        cause = error.source();
    }
    short(&text)
}

/// `text` on one line, cut at [`TEXT_MAX`].
pub(super) fn short(text: &str) -> String {
    let one_line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    one_line.take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_told_apart_by_what_they_mean_for_the_follower() {
        let cases = [
            (
                11,
                "etcdserver: mvcc: required revision has been compacted",
                "Compacted",
            ),
            (
                11,
                "etcdserver: mvcc: required revision is a future revision",
                "FutureRevision",
            ),
            (
                11,
                "Error, decoded message length too large: found 9 bytes, the limit is: 8 bytes",
                "AnswerTooLarge",
            ),
            (16, "etcdserver: invalid auth token", "TokenExpired"),
            (
                3,
                "etcdserver: revision of auth store is old",
                "TokenExpired",
            ),
            (7, "etcdserver: permission denied", "Refused"),
            (
                3,
                "etcdserver: authentication failed, invalid user ID or password",
                "Refused",
            ),
            (14, "etcdserver: no leader", "Unreachable"),
            (2, "h2 protocol error", "Unreachable"),
        ];
        for (code, message, want) in cases {
            let error = of_status(code, message, message.to_owned());
            let name = format!("{error:?}");
            assert!(name.starts_with(want), "{message}: {name}");
        }
    }

    #[test]
    fn texts_of_others_are_one_short_line() {
        let text = short(&"a\nb\u{1b}[31m".repeat(200));
        assert_eq!(text.chars().count(), TEXT_MAX);
        assert!(text.chars().all(|c| !c.is_control()));
    }
}
