//! What a bucket has counted, as one process tells it to the next. [bridge]
//!
//! The process that leaves goes on counting: its streams end, their tokens are settled, their slots
//! become free. So it tells what it has each time something changed, and the other one adds the
//! difference to what it counts itself.

use serde::{Deserialize, Serialize};

use super::bucket::Bucket;
use super::window::Field;

/// The words of a bucket's windows, by number of the field, and its slots taken.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Counts {
    windows: [u64; Field::ALL.len()],
    in_flight: u32,
}

impl Counts {
    /// What `bucket` holds.
    pub fn of(bucket: &Bucket) -> Self {
        Self {
            windows: Field::ALL.map(|field| bucket.window(field).word()),
            in_flight: bucket.slots_taken(),
        }
    }

    /// The same with no slot taken: what is left of a process that has ended.
    #[must_use]
    pub fn without_slots(self) -> Self {
        Self {
            in_flight: 0,
            ..self
        }
    }

    /// Adds to `bucket` what these counts have more than `before`, which was added to it, and takes
    /// off what they have less. Windows that are over are left alone.
    pub fn add_to(self, bucket: &Bucket, before: Self) {
        for (field, (now, before)) in Field::ALL
            .into_iter()
            .zip(self.windows.into_iter().zip(before.windows))
        {
            bucket.window(field).follow(field, now, before);
        }
        bucket.follow_slots(self.in_flight, before.in_flight);
    }
}

#[cfg(test)]
mod tests {
    use config_sync::model::rate_limit::RateLimit;

    use super::super::bucket::Charge;
    use super::super::terms::Terms;
    use super::*;

    const MINUTE_MS: u64 = 60_000;

    fn terms() -> Terms {
        Terms::from(&RateLimit {
            rpm: Some(10),
            tpd: Some(1_000),
            concurrency: Some(4),
            ..RateLimit::default()
        })
    }

    fn left(bucket: &Bucket, now_ms: u64) -> [u64; 3] {
        [
            bucket.room(Field::Rpm, 10, now_ms).remaining,
            bucket.room(Field::Tpd, 1_000, now_ms).remaining,
            bucket.slots(&terms()).unwrap().remaining,
        ]
    }

    #[test]
    fn what_one_process_counts_later_is_added_once_and_what_it_takes_back_is_taken_off() {
        let (old, new) = <(Bucket, Bucket)>::default();
        let charge = Charge {
            at_ms: 5,
            tokens: 100,
        };
        let receipt = old.take(&terms(), charge, |_, _| ()).unwrap();
        let first = Counts::of(&old);
        first.add_to(&new, Counts::default());
        assert_eq!(left(&new, 5), [9, 900, 3]);
        let _ = new.take(&terms(), charge, |_, _| ()).unwrap();
        first.add_to(&new, first);
        assert_eq!(left(&new, 5), [8, 800, 2]);

        old.settle(receipt, charge, 30, 6);
        old.release(receipt);
        Counts::of(&old).add_to(&new, first);
        assert_eq!(left(&new, 6), [8, 870, 3]);
    }

    #[test]
    fn a_window_that_has_turned_in_one_process_turns_in_the_other() {
        let (old, new) = <(Bucket, Bucket)>::default();
        let at = |at_ms| Charge { at_ms, tokens: 0 };
        let _ = old.take(&terms(), at(0), |_, _| ()).unwrap();
        let first = Counts::of(&old);
        first.add_to(&new, Counts::default());
        let _ = old.take(&terms(), at(MINUTE_MS), |_, _| ()).unwrap();
        let second = Counts::of(&old);
        second.add_to(&new, first);
        assert_eq!(left(&new, MINUTE_MS)[0], 9);
        // The other one is in a later minute already.
        let _ = new.take(&terms(), at(2 * MINUTE_MS), |_, _| ()).unwrap();
        let _ = old.take(&terms(), at(MINUTE_MS), |_, _| ()).unwrap();
        Counts::of(&old).add_to(&new, second);
        assert_eq!(left(&new, 2 * MINUTE_MS)[0], 9);
    }

    #[test]
    fn slots_of_a_process_that_has_ended_are_free() {
        let (old, new) = <(Bucket, Bucket)>::default();
        let _ = old.take(&terms(), Charge::default(), |_, _| ()).unwrap();
        let last = Counts::of(&old);
        last.add_to(&new, Counts::default());
        last.without_slots().add_to(&new, last);
        assert_eq!(left(&new, 0), [9, 1_000, 4]);
    }
}
