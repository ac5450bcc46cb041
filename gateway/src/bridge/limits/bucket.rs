//! Everything that is counted for one subject. [bridge]

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::terms::Terms;
use super::window::{Field, Reading, Window};

/// The counts of one subject, on a cache line of their own. Limits are no part of it: they come with
/// each request, so that a changed limit applies to what was counted before.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Bucket {
    windows: [Window; Field::ALL.len()],
    in_flight: AtomicU32,
}

const _: () = assert!(size_of::<Bucket>() == 64);
// A receipt has a bit for each field.
const _: () = assert!(Field::ALL.len() <= 8);

/// What a limit is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dimension {
    /// Requests in a window.
    Requests,
    /// Tokens in a window.
    Tokens,
    /// Requests in flight.
    Concurrency,
}

impl Dimension {
    /// Value of the label `scope`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Concurrency => "concurrency",
        }
    }
}

/// Why a bucket does not admit a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Full {
    /// What there is too much of.
    pub dimension: Dimension,
    /// Seconds to the end of the violated window, at least 1. Of [`Dimension::Concurrency`]: 1.
    pub retry_after_secs: u32,
}

const NO_SLOT: Full = Full {
    dimension: Dimension::Concurrency,
    retry_after_secs: 1,
};

/// A limit and what is left of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Room {
    /// The limit.
    pub limit: u64,
    /// What is left, 0 when more was counted than the limit.
    pub remaining: u64,
    /// Seconds until all of it is left again, at least 1; 0 where it depends on other requests.
    pub reset_secs: u32,
}

/// When a request was admitted and what it is taken to cost until its tokens are known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Charge {
    /// Unix ms of the admission.
    pub at_ms: u64,
    /// Tokens reserved; 0: tokens are charged when they are known, and then only.
    pub tokens: u64,
}

/// What one request has counted in one bucket, to be given back to that bucket.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[must_use = "a slot that is not released is never free again"]
pub struct Receipt {
    /// Windows counted in; bits are by number of the field.
    counted: u8,
    /// Those of them that were one ahead of the request's clock.
    ahead: u8,
    /// Whether a slot is taken.
    slot: bool,
}

impl Receipt {
    fn note(&mut self, field: Field, window: u64, at_ms: u64) {
        let bit = 1 << field as u8;
        self.counted |= bit;
        if window > field.window_at(at_ms) {
            self.ahead |= bit;
        }
    }

    /// The window of `field` that was counted in, if any.
    fn window(self, field: Field, at_ms: u64) -> Option<u64> {
        let bit = 1 << field as u8;
        let ahead = u64::from(self.ahead & bit != 0);
        (self.counted & bit != 0).then(|| field.window_at(at_ms) + ahead)
    }
}

impl Bucket {
    /// Whether a request would be admitted now: concurrency first, then tokens, then requests, the
    /// smallest window first. Reads only, so that callers over their limit cost the others nothing.
    ///
    /// # Errors
    ///
    /// The first limit that is reached. A limit of 0 always is.
    pub fn check(&self, terms: &Terms, now_ms: u64) -> Result<(), Full> {
        if let Some(slots) = terms.slots()
            && self.in_flight.load(Relaxed) >= slots
        {
            return Err(NO_SLOT);
        }
        for &(field, limit) in terms.windows() {
            let seen = self.window(field).read(field, now_ms);
            if seen.count >= limit.min(field.count_max()) {
                return Err(full(field, seen.window, now_ms));
            }
        }
        Ok(())
    }

    /// Counts a request, in the order of [`Bucket::check`]: takes a slot, adds `charge.tokens` to
    /// the tokens and one to each window of requests. All or nothing: what was counted before a
    /// limit was found reached is taken back. Meanwhile another request may find it counted and be
    /// refused, so that in a race fewer may be admitted than fit, and never more.
    ///
    /// `left` hears what is left of each limit, as it was counted.
    ///
    /// # Errors
    ///
    /// The first limit that is reached; nothing is counted then.
    pub fn take(
        &self,
        terms: &Terms,
        charge: Charge,
        mut left: impl FnMut(Dimension, Room),
    ) -> Result<Receipt, Full> {
        let mut receipt = Receipt::default();
        if let Some(slots) = terms.slots() {
            left(Dimension::Concurrency, self.take_slot(slots)?);
            receipt.slot = true;
        }
        for &(field, limit) in terms.windows() {
            let amount = match field.counts() {
                Dimension::Tokens => charge.tokens,
                Dimension::Requests | Dimension::Concurrency => 1,
            };
            let window = self.window(field);
            match window.admit(field, limit, amount, charge.at_ms) {
                Ok(now) => {
                    receipt.note(field, now.window, charge.at_ms);
                    left(field.counts(), room(field, limit, now, charge.at_ms));
                }
                Err(seen) => {
                    self.undo(receipt, charge);
                    return Err(full(field, seen.window, charge.at_ms));
                }
            }
        }
        Ok(receipt)
    }

    fn take_slot(&self, slots: u32) -> Result<Room, Full> {
        let taken = self
            .in_flight
            .fetch_update(Relaxed, Relaxed, |taken| (taken < slots).then(|| taken + 1));
        let before = taken.map_err(|_| NO_SLOT)?;
        Ok(slots_room(slots, before + 1))
    }

    /// Takes back everything that [`Bucket::take`] counted, as far as its windows are not over.
    pub fn undo(&self, receipt: Receipt, charge: Charge) {
        self.take_off(&Field::REQUESTS, receipt, charge.at_ms, 1);
        self.refund(receipt, charge);
        self.release(receipt);
    }

    /// Takes back the reserved tokens, as far as their windows are not over.
    pub fn refund(&self, receipt: Receipt, charge: Charge) {
        if charge.tokens > 0 {
            self.take_off(&Field::TOKENS, receipt, charge.at_ms, charge.tokens);
        }
    }

    /// Frees the slot. Once per receipt.
    pub fn release(&self, receipt: Receipt) {
        if receipt.slot {
            let before = self.in_flight.fetch_sub(1, Relaxed);
            debug_assert!(before > 0, "a slot is freed once");
        }
    }

    /// Puts `tokens` in the place of what was reserved. Once per receipt.
    ///
    /// In a window that is not over the reservation is replaced. Where another window has begun
    /// since, only what `tokens` has more than was reserved is charged, to that one; without a
    /// reservation that is all of `tokens`.
    pub fn settle(&self, receipt: Receipt, charge: Charge, tokens: u64, now_ms: u64) {
        if tokens == charge.tokens {
            return;
        }
        for field in Field::TOKENS {
            if let Some(window) = receipt.window(field, charge.at_ms) {
                let counts = self.window(field);
                counts.settle(field, window, charge.tokens, tokens, now_ms);
            }
        }
    }

    /// What is left of `limit` in the window of `field`.
    pub fn room(&self, field: Field, limit: u64, now_ms: u64) -> Room {
        let seen = self.window(field).read(field, now_ms);
        room(field, limit, seen, now_ms)
    }

    /// How many more requests may be in flight, if that is limited.
    pub fn slots(&self, terms: &Terms) -> Option<Room> {
        let slots = terms.slots()?;
        Some(slots_room(slots, self.in_flight.load(Relaxed)))
    }

    /// Whether it holds nothing that matters at `now_ms` or after: no slot, no count of a window
    /// that is not over.
    pub fn is_idle(&self, now_ms: u64) -> bool {
        let is_past = |field: Field| self.window(field).is_past(field, now_ms);
        !self.is_occupied() && Field::ALL.into_iter().all(is_past)
    }

    /// Slots taken.
    pub(super) fn slots_taken(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Takes or frees as many slots as another process has taken since it had `before`.
    pub(super) fn follow_slots(&self, now: u32, before: u32) {
        let follow = |taken: u32| Some(taken.saturating_add(now).saturating_sub(before));
        // Always Ok: the closure has an answer to everything.
        let _ = self.in_flight.fetch_update(Relaxed, Relaxed, follow);
    }

    /// Whether a slot is taken.
    pub(super) fn is_occupied(&self) -> bool {
        self.in_flight.load(Relaxed) > 0
    }

    fn take_off(&self, fields: &[Field], receipt: Receipt, at_ms: u64, amount: u64) {
        for field in fields {
            if let Some(window) = receipt.window(*field, at_ms) {
                self.window(*field).take_off(*field, window, amount);
            }
        }
    }

    pub(super) fn window(&self, field: Field) -> &Window {
        let [rps, rpm, rph, rpd, tpm, tpd] = &self.windows;
        match field {
            Field::Rps => rps,
            Field::Rpm => rpm,
            Field::Rph => rph,
            Field::Rpd => rpd,
            Field::Tpm => tpm,
            Field::Tpd => tpd,
        }
    }
}

fn room(field: Field, limit: u64, seen: Reading, now_ms: u64) -> Room {
    Room {
        limit,
        remaining: limit.saturating_sub(seen.count),
        reset_secs: field.ends_in_secs(seen.window, now_ms),
    }
}

fn slots_room(slots: u32, taken: u32) -> Room {
    Room {
        limit: u64::from(slots),
        remaining: u64::from(slots.saturating_sub(taken)),
        reset_secs: 0,
    }
}

fn full(field: Field, window: u64, now_ms: u64) -> Full {
    Full {
        dimension: field.counts(),
        retry_after_secs: field.ends_in_secs(window, now_ms),
    }
}

#[cfg(test)]
mod tests;
