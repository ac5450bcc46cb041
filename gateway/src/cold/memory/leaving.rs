//! When callers have left, so that what they held is worth giving back. [pure]

/// Fewer open connections and requests than this leave little behind.
const LOAD_MIN: i64 = 64;

/// Watches how many connections and requests are open, look by look.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// The most there were since nearly all had left.
    peak: i64,
    /// As many as there were when it was last worth it, or more have come to be since.
    last: i64,
    /// Whether the look before found that some had left: what they held is freed bit by bit.
    again: bool,
}

impl Leaving {
    /// Takes note of `load` open ones. Tells whether it is worth it now: a quarter of them has left, or
    /// had by the look before.
    pub(super) fn look(&mut self, load: i64) -> bool {
        self.peak = self.peak.max(load);
        self.last = self.last.max(load);
        let have_left = self.peak >= LOAD_MIN && load <= self.last / 4 * 3;
        if have_left {
            self.last = load;
            if load <= self.peak / 4 {
                self.peak = load;
            }
        }
        std::mem::replace(&mut self.again, have_left) || have_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The looks, by number, that are worth it.
    fn worth(loads: &[i64]) -> Vec<usize> {
        let mut leaving = Leaving::default();
        let looks = loads.iter().enumerate();
        let worth = looks.filter(|(_, load)| leaving.look(**load));
        worth.map(|(number, _)| number).collect()
    }

    #[test]
    fn each_quarter_that_leaves_counts_and_so_does_the_look_after_it() {
        // The last ones are few, and of many.
        assert_eq!(worth(&[100, 70, 70, 70, 0, 0, 0]), [1, 2, 4, 5]);
        assert_eq!(worth(&[100, 50, 0, 0, 0]), [1, 2, 3]);
        assert_eq!(worth(&[100, 90, 80, 75, 74, 74, 74]), [3, 4]);
    }

    #[test]
    fn few_callers_and_steady_ones_leave_nothing() {
        assert!(worth(&[63, 0, 0, 63, 0]).is_empty());
        assert!(worth(&[1000; 9]).is_empty());
        assert!(worth(&[10, 200, 900, 1000, 800]).is_empty());
        // All have left, and others come.
        assert_eq!(worth(&[100, 10, 10, 40, 10, 10]), [1, 2]);
    }
}
