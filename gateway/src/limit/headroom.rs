//! What is left of the limits that a request met. [pure]

use crate::bridge::limits::{Bucket, Dimension, Room, Terms};

/// Of each dimension the tightest limit that applies: the one with the smallest share left, and of
/// equals the one that is reset last. `None`: not limited.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Headroom {
    /// Requests in a window.
    pub requests: Option<Room>,
    /// Tokens in a window.
    pub tokens: Option<Room>,
    /// Requests in flight; resets in 0 s.
    pub concurrent: Option<Room>,
}

impl Headroom {
    /// What `bucket` has left of `terms`.
    pub(super) fn of(bucket: &Bucket, terms: &Terms, now_ms: u64) -> Self {
        let mut left = Self {
            concurrent: bucket.slots(terms),
            ..Self::default()
        };
        for &(field, limit) in terms.windows() {
            left.note(field.counts(), bucket.room(field, limit, now_ms));
        }
        left
    }

    /// Takes `room` of one more limit into account.
    pub(super) fn note(&mut self, of: Dimension, room: Room) {
        let place = match of {
            Dimension::Requests => &mut self.requests,
            Dimension::Tokens => &mut self.tokens,
            Dimension::Concurrency => &mut self.concurrent,
        };
        *place = tighter(*place, Some(room));
    }

    /// The tighter of the two in each dimension: for a request with a permit for its caller and one
    /// for its target.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            requests: tighter(self.requests, other.requests),
            tokens: tighter(self.tokens, other.tokens),
            concurrent: tighter(self.concurrent, other.concurrent),
        }
    }
}

pub(super) fn tighter(one: Option<Room>, other: Option<Room>) -> Option<Room> {
    let (Some(a), Some(b)) = (one, other) else {
        return one.or(other);
    };
    // Shares as fractions with the denominators multiplied out.
    let share = |of: Room, by: Room| u128::from(of.remaining) * u128::from(by.limit.max(1));
    let order = share(a, b).cmp(&share(b, a));
    let is_tighter = order.then(b.reset_secs.cmp(&a.reset_secs)).is_le();
    Some(if is_tighter { a } else { b })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room((limit, remaining, reset_secs): (u64, u64, u32)) -> Option<Room> {
        Some(Room {
            limit,
            remaining,
            reset_secs,
        })
    }

    #[test]
    fn the_tightest_has_the_smallest_share_left_and_of_equals_resets_last() {
        for (tight, wide) in [
            ((100, 10, 5), (10, 5, 5)),
            ((10, 1, 5), (1_000, 101, 5)),
            ((10, 0, 60), (5, 0, 1)),
            ((0, 0, 60), (10, 1, 60)),
            ((0, 0, 60), (0, 0, 1)),
            ((10, 0, 60), (0, 0, 1)),
            ((u64::MAX, 1, 1), (u64::MAX, 2, 1)),
            ((10, 5, 60), (20, 10, 1)),
        ] {
            let (tight, wide) = (room(tight), room(wide));
            assert_eq!(tighter(tight, wide), tight);
            assert_eq!(tighter(wide, tight), tight);
        }
        assert_eq!(tighter(None, room((1, 1, 1))), room((1, 1, 1)));
        assert_eq!(tighter(room((1, 1, 1)), None), room((1, 1, 1)));
        assert_eq!(tighter(None, None), None);
    }

    #[test]
    fn each_dimension_has_its_own_tightest_limit() {
        let [one, two] = [(10, 1), (10, 9)].map(|(limit, left)| room((limit, left, 1)));
        let a = Headroom {
            requests: one,
            tokens: two,
            concurrent: None,
        };
        let b = Headroom {
            requests: two,
            tokens: one,
            concurrent: two,
        };
        let want = Headroom {
            requests: one,
            tokens: one,
            concurrent: two,
        };
        assert_eq!((a.and(b), b.and(a)), (want, want));
    }
}
