//! What another attempt needs of a request. [ring]

use config_sync::snapshot::Snapshot;

use crate::worker::core::LocalSnapshot;

/// Longest body that is kept for another attempt. Requests with a longer one get a single attempt.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The request's body and the configuration it was checked against. Given up once the client has the
/// first byte of an answer, so that a long stream pins neither.
///
/// The body is a copy of its own size: a worker's buffers are few and warm as long as requests that
/// wait for their upstream hold none.
pub(crate) struct Replay(Option<(LocalSnapshot, Box<[u8]>)>);

impl Replay {
    /// Keeps `body`, unless it is too long.
    pub(crate) fn of(snapshot: LocalSnapshot, body: &[u8]) -> Self {
        let is_short = body.len() <= BODY_BYTES_MAX;
        Self(is_short.then(|| (snapshot, body.into())))
    }

    /// Of a request that is sent once.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Whether there can be another attempt.
    pub(crate) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// What was kept.
    pub(crate) fn parts(&self) -> Option<(&Snapshot, &[u8])> {
        let (snapshot, body) = self.0.as_ref()?;
        Some((snapshot, body))
    }

    /// There will be no other attempt.
    pub(crate) fn give_up(&mut self) {
        self.0 = None;
    }
}
