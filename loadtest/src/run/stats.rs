//! What was seen of one target in one round. [pure]

use std::collections::BTreeMap;

use crate::histogram::Histogram;
use crate::run::client::Failure;

/// Event numbers remembered as missing, per stream; beyond it a late event counts as duplicated.
const MISSING_MAX: usize = 4096;

/// Counts and distributions. Times are in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Stats {
    /// Whether figures of the measured window are recorded; losses and errors always are.
    pub(super) measuring: bool,
    /// Good exchanges that ended in the window.
    pub(super) requests: u64,
    pub(super) errors: BTreeMap<String, u64>,
    /// Of whole exchanges, from the intended begin.
    pub(super) latency: Histogram,
    /// From the intended begin to the first event.
    pub(super) ttft: Histogram,
    /// Between events of a stream.
    pub(super) gap: Histogram,
    /// From the mock's stamp to the receipt of an event.
    pub(super) added: Histogram,
    /// Content events in the window.
    pub(super) events: u64,
    /// Content events in and out of the window.
    pub(super) events_all: u64,
    pub(super) lost: u64,
    pub(super) reordered: u64,
    pub(super) duplicated: u64,
    /// Streams that are open now.
    pub(super) open: u64,
}

impl Stats {
    pub(super) fn failed(&mut self, failure: Failure) {
        *self.errors.entry(failure.name()).or_default() += 1;
    }

    pub(super) fn errors_total(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Counts what `sequence` found at the end of its stream.
    pub(super) fn sequence(&mut self, sequence: &Sequence) {
        self.lost += sequence.missing.len() as u64 + sequence.forgotten;
        self.reordered += sequence.reordered;
        self.duplicated += sequence.duplicated;
    }
}

/// Follows the event numbers of one stream.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    next: u32,
    missing: Vec<u32>,
    /// Missing numbers beyond [`MISSING_MAX`].
    forgotten: u64,
    reordered: u64,
    duplicated: u64,
}

impl Sequence {
    pub(super) fn see(&mut self, seq: u32) {
        if seq == self.next {
            self.next += 1;
        } else if seq > self.next {
            self.skip_to(seq);
            self.next = seq + 1;
        } else if let Some(at) = self.missing.iter().position(|missing| *missing == seq) {
            self.missing.swap_remove(at);
            self.reordered += 1;
        } else {
            self.duplicated += 1;
        }
    }

    /// The stream is over and should have had `events`.
    pub(super) fn ended(&mut self, events: u32) {
        if self.next < events {
            self.skip_to(events);
            self.next = events;
        }
    }

    fn skip_to(&mut self, seq: u32) {
        let room = MISSING_MAX - self.missing.len().min(MISSING_MAX);
        let kept = u32::try_from(room).unwrap_or(u32::MAX).min(seq - self.next);
        self.missing.extend(self.next..self.next + kept);
        self.forgotten += u64::from(seq - self.next - kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(seen: &[u32], events: u32) -> (u64, u64, u64) {
        let (mut sequence, mut stats) = (Sequence::default(), Stats::default());
        seen.iter().for_each(|seq| sequence.see(*seq));
        sequence.ended(events);
        stats.sequence(&sequence);
        (stats.lost, stats.reordered, stats.duplicated)
    }

    #[test]
    fn losses_swaps_and_repeats_are_told_apart() {
        let cases = [
            (&[0, 1, 2, 3][..], (0, 0, 0)),
            (&[0, 1, 3], (1, 0, 0)),
            (&[0, 1, 2], (1, 0, 0)),
            (&[], (4, 0, 0)),
            (&[0, 2, 1, 3], (0, 1, 0)),
            (&[0, 1, 1, 2, 3], (0, 0, 1)),
            (&[3, 2, 1, 0, 0], (0, 3, 1)),
        ];
        for (seen, want) in cases {
            assert_eq!(counts(seen, 4), want, "{seen:?}");
        }
    }

    #[test]
    fn a_huge_jump_is_counted_but_not_remembered() {
        assert_eq!(counts(&[1_000_000], 1_000_001).0, 1_000_000);
    }
}
