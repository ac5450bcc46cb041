//! What an admitted request holds. [pure]

use super::buckets::Hold;
use super::few::Few;
use super::headroom::Headroom;
use crate::bridge::limits::{Charge, Full, Receipt, Terms};

/// Leave to serve one request, or to try one target. To be held until the answer, a stream
/// included, has ended: dropping it frees the slots it took.
///
/// Requests stay counted whatever becomes of them, unless the permit is given back. Reserved tokens
/// are taken back when it is dropped without [`Permit::settle`], as of an attempt that failed,
/// unless [`Permit::keep_reservation`] was called.
#[derive(Debug)]
#[must_use = "a permit that is dropped frees its slots at once"]
pub struct Permit {
    taken: Few<Taken>,
    charge: Charge,
    headroom: Headroom,
    is_settled: bool,
    keeps_reservation: bool,
}

/// What was counted in one bucket.
#[derive(Debug)]
struct Taken {
    bucket: Hold,
    receipt: Receipt,
}

impl Permit {
    /// Nothing counted yet.
    pub(super) fn new(charge: Charge) -> Self {
        Self {
            taken: Few::default(),
            charge,
            headroom: Headroom::default(),
            is_settled: false,
            keeps_reservation: false,
        }
    }

    /// Counts the request in `bucket` too. On an error nothing was counted there.
    pub(super) fn take(&mut self, bucket: &Hold, terms: &Terms) -> Result<(), Full> {
        let headroom = &mut self.headroom;
        let left = |of, room| headroom.note(of, room);
        let receipt = bucket.take(terms, self.charge, left)?;
        self.taken.push(Taken {
            bucket: Hold::clone(bucket),
            receipt,
        });
        Ok(())
    }

    /// What was left of the limits once the request was counted.
    pub fn headroom(&self) -> Headroom {
        self.headroom
    }

    /// Charges `tokens`, prompt and completion with what was written to and read from a cache, in
    /// the place of what was reserved. The first call counts, later ones do nothing. What was left
    /// uncounted when a reserved window ended is charged to the one at `now_ms`.
    pub fn settle(&mut self, tokens: u64, now_ms: u64) {
        if std::mem::replace(&mut self.is_settled, true) {
            return;
        }
        for Taken { bucket, receipt } in self.taken.iter() {
            bucket.settle(*receipt, self.charge, tokens, now_ms);
        }
    }

    /// What was reserved stays charged if the permit is dropped before the tokens are known: for a
    /// request that was sent and may have been answered. It may still be settled.
    pub fn keep_reservation(&mut self) {
        self.keeps_reservation = true;
    }

    /// Takes back everything that was counted, as if the request had not been: for one that a
    /// guardrail refuses. Not after [`Permit::settle`].
    pub fn give_back(mut self) {
        debug_assert!(!self.is_settled, "what was settled is spent");
        for Taken { bucket, receipt } in self.taken.iter() {
            bucket.undo(*receipt, self.charge);
        }
        self.taken.clear();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let refunds = !self.is_settled && !self.keeps_reservation;
        for Taken { bucket, receipt } in self.taken.iter() {
            bucket.release(*receipt);
            if refunds {
                bucket.refund(*receipt, self.charge);
            }
        }
    }
}
