//! What another attempt needs of a request. [ring]

use config_sync::snapshot::Snapshot;
use monoio::time::Instant;

use crate::bridge::memory::Share;
use crate::worker::buffers::Buffers;
use crate::worker::core::LocalSnapshot;

/// Longest upstream request that is kept for another attempt. Longer ones get a single attempt.
const REQUEST_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A request on its way to an upstream, for as long as it may have to be sent again: until the
/// client has the first byte of an answer. A long stream keeps nothing of it.
#[derive(Default)]
pub(crate) struct Replay {
    /// The upstream request; empty where there is to be no other attempt.
    pub request: Vec<u8>,
    /// What a request to another target is made of: the configuration the call was checked against,
    /// and its body. The body is a copy of its own size: a worker's buffers are few and warm as long
    /// as requests that wait for their upstream hold none.
    call: Option<(LocalSnapshot, Box<[u8]>)>,
    /// What covers the two.
    share: Share,
    /// When the client got the head of an event stream, if it did before an attempt was settled on: no
    /// other attempt sends one, and what fails is told in band.
    pub head_at: Option<Instant>,
}

impl Replay {
    /// Writes the upstream request, of a body that `share` covers, into a buffer of the worker's.
    pub(crate) fn new(buffers: &Buffers, share: Share) -> Self {
        Self {
            request: buffers.take(),
            call: None,
            share,
            head_at: None,
        }
    }

    /// Keeps the call, so that requests to other targets can be made of it.
    pub(crate) fn keep(&mut self, snapshot: LocalSnapshot, body: &[u8]) {
        self.call = Some((snapshot, body.into()));
    }

    /// The request was sent: it is kept unless it is too long.
    pub(crate) fn sent(&mut self, buffers: &Buffers) {
        if !self.may_be_sent_again() {
            self.give_up(buffers);
        }
    }

    /// Whether the request, which was not sent yet, may be sent more than once.
    pub(crate) fn may_be_sent_again(&self) -> bool {
        self.request.len() <= REQUEST_BYTES_MAX
    }

    /// Whether there can be another attempt.
    pub(crate) fn is_there(&self) -> bool {
        !self.request.is_empty()
    }

    /// The configuration, the body, and the place of the next upstream request, emptied; `None`
    /// where the call was not kept.
    pub(crate) fn parts(&mut self) -> Option<(&Snapshot, &[u8], &mut Vec<u8>)> {
        let (snapshot, body) = self.call.as_ref()?;
        self.request.clear();
        Some((snapshot, body, &mut self.request))
    }

    /// There will be no other attempt.
    pub(crate) fn give_up(&mut self, buffers: &Buffers) {
        self.call = None;
        self.share = Share::default();
        buffers.give(std::mem::take(&mut self.request));
    }
}
