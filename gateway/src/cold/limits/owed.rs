//! What redis has not been told yet. [cold]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::script::{Call, bounded};
use crate::bridge::shared_limits::{Ending, Taken, TakenLayer};

/// Most ends kept for when redis answers again. Worst case about 500 bytes each, 8 MB. More are
/// forgotten; their slots are freed by their TTL.
pub(super) const OWED_MAX: usize = 16_384;

/// The end of a request that was counted.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) taken: Arc<Taken>,
    pub(super) ending: Ending,
    /// Whether only slots are freed: it is not known what else was counted, or taken back already.
    pub(super) slots_only: bool,
}

impl End {
    /// Whether redis has to be told.
    pub(super) fn matters(&self) -> bool {
        let moves_tokens = match self.ending {
            Ending::Settled(tokens) => tokens != self.taken.tokens,
            Ending::Kept => false,
            Ending::Refunded => self.taken.tokens > 0,
            Ending::GivenBack => true,
        };
        !self.taken.layers.is_empty() && (self.taken.has_slot() || moves_tokens && !self.slots_only)
    }

    /// One run of the script for all buckets, or one for each where they are `apart`.
    pub(super) fn calls(&self, apart: bool, stem: impl Fn(&str) -> String) -> Vec<Call> {
        let per_call = match apart {
            true => 1,
            false => self.taken.layers.len().max(1),
        };
        let chunks = self.taken.layers.chunks(per_call);
        let call = |layers: &[TakenLayer]| {
            let mut call = Call::new(self.head());
            for layer in layers {
                call.end(stem(&layer.key), layer, self.slots_only);
            }
            call
        };
        chunks.map(call).collect()
    }

    fn head(&self) -> [String; 4] {
        let charged = match self.ending {
            Ending::Settled(tokens) => bounded(tokens).to_string(),
            Ending::Kept => "-1".to_owned(),
            Ending::Refunded | Ending::GivenBack => "0".to_owned(),
        };
        [
            self.taken.member.to_string(),
            u8::from(self.ending == Ending::GivenBack).to_string(),
            bounded(self.taken.tokens).to_string(),
            charged,
        ]
    }
}

/// Ends in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Owed(Mutex<VecDeque<End>>);

impl Owed {
    /// Keeps `end` for later, if there is room.
    pub(super) fn push(&self, end: End) {
        let mut owed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if owed.len() < OWED_MAX && end.matters() {
            owed.push_back(end);
        }
    }

    /// The oldest, at most `count`.
    pub(super) fn take(&self, count: usize) -> Vec<End> {
        let mut owed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = count.min(owed.len());
        owed.drain(..count).collect()
    }
}
