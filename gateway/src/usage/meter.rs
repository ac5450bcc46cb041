//! The token meter of one call: reports merged, gaps estimated. [pure]

use super::estimate::tokens_of;
use crate::bridge::record::{Usage, UsageSource};

/// What one usage report of an upstream says. Numbers it leaves out are 0.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Tokens read, cached ones included.
    pub prompt: u64,
    /// Tokens written, reasoning included.
    pub completion: u64,
    pub total: u64,
    /// Part of `prompt`.
    pub cached_prompt: u64,
    /// Part of `completion`.
    pub reasoning: u64,
    /// Tokens written to the provider's cache, beside `prompt`.
    pub cache_creation: u64,
    /// Tokens read from the provider's cache, beside `prompt`.
    pub cache_read: u64,
}

impl Counts {
    /// Two reports of one call together: the larger number wins.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            prompt: self.prompt.max(other.prompt),
            completion: self.completion.max(other.completion),
            total: self.total.max(other.total),
            cached_prompt: self.cached_prompt.max(other.cached_prompt),
            reasoning: self.reasoning.max(other.reasoning),
            cache_creation: self.cache_creation.max(other.cache_creation),
            cache_read: self.cache_read.max(other.cache_read),
        }
    }
}

/// Collects what is learned about the tokens of one call.
#[derive(Clone, Debug)]
pub struct Meter {
    reported: Option<Counts>,
    prompt_bytes: u64,
    completion_bytes: u64,
}

impl Meter {
    /// The meter of a call whose prompt has `prompt_bytes` bytes of text.
    pub fn new(prompt_bytes: u64) -> Self {
        Self {
            reported: None,
            prompt_bytes,
            completion_bytes: 0,
        }
    }

    /// Takes a report. Several are merged field by field, the larger number wins: streams repeat
    /// running totals, and some name the prompt only at the start.
    pub fn report(&mut self, counts: Counts) {
        self.reported = Some(self.reported.unwrap_or_default().max(counts));
    }

    /// Adds text the model wrote, for the estimate.
    pub fn wrote(&mut self, bytes: u64) {
        self.completion_bytes = self.completion_bytes.saturating_add(bytes);
    }

    /// The tokens so far. A number the upstream left at 0 although there was text is estimated, and
    /// one estimate makes the whole usage an estimated one.
    pub fn usage(&self) -> Usage {
        let counts = self.reported.unwrap_or_default();
        let beside = counts.cache_creation.saturating_add(counts.cache_read);
        // A prompt that lies in the provider's cache altogether has no tokens beside it.
        let prompt = match beside {
            0 => or_estimate(counts.prompt, self.prompt_bytes),
            _ => counts.prompt,
        };
        let completion = or_estimate(counts.completion, self.completion_bytes);
        let estimated =
            self.reported.is_none() || prompt != counts.prompt || completion != counts.completion;
        let source = if estimated {
            UsageSource::Estimated
        } else {
            UsageSource::Reported
        };
        let sum = prompt.saturating_add(completion).saturating_add(beside);
        Usage {
            source,
            prompt,
            completion,
            total: counts.total.max(sum),
            cached_prompt: counts.cached_prompt,
            reasoning: counts.reasoning,
            cache_creation: counts.cache_creation,
            cache_read: counts.cache_read,
        }
    }
}

fn or_estimate(reported: u64, bytes: u64) -> u64 {
    match reported {
        0 => tokens_of(bytes),
        reported => reported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(prompt: u64, completion: u64, total: u64) -> Counts {
        Counts {
            prompt,
            completion,
            total,
            ..Counts::default()
        }
    }

    #[test]
    fn reports_merge_by_maximum_and_gaps_are_estimated() {
        use UsageSource::{Estimated, Reported};
        // Prompt bytes, completion bytes, reports; source, prompt, completion, total.
        type Case<'c> = (u64, u64, &'c [Counts], UsageSource, u64, u64, u64);
        let cases: [Case<'_>; 8] = [
            (0, 0, &[], Estimated, 0, 0, 0),
            (9, 5, &[], Estimated, 3, 2, 5),
            (9, 5, &[counts(7, 6, 13)], Reported, 7, 6, 13),
            (
                9,
                5,
                &[counts(7, 0, 7), counts(0, 6, 6)],
                Reported,
                7,
                6,
                13,
            ),
            (
                9,
                5,
                &[counts(7, 9, 16), counts(7, 4, 11)],
                Reported,
                7,
                9,
                16,
            ),
            (9, 5, &[counts(7, 0, 7)], Estimated, 7, 2, 9),
            (9, 0, &[counts(7, 0, 7)], Reported, 7, 0, 7),
            (9, 0, &[counts(0, 0, 0)], Estimated, 3, 0, 3),
        ];
        for (prompt_bytes, completion_bytes, reports, source, prompt, completion, total) in cases {
            let mut meter = Meter::new(prompt_bytes);
            meter.wrote(completion_bytes);
            reports.iter().for_each(|report| meter.report(*report));
            let want = Usage {
                source,
                prompt,
                completion,
                total,
                ..Usage::default()
            };
            assert_eq!(meter.usage(), want);
        }
    }

    #[test]
    fn a_prompt_that_is_cached_altogether_is_not_estimated() {
        let mut meter = Meter::new(40);
        meter.report(Counts {
            cache_read: 9,
            ..counts(0, 4, 13)
        });
        let usage = meter.usage();
        assert_eq!(usage.source, UsageSource::Reported);
        assert_eq!((usage.prompt, usage.completion, usage.total), (0, 4, 13));
    }

    #[test]
    fn details_are_kept() {
        let mut meter = Meter::new(0);
        meter.report(Counts {
            cached_prompt: 5,
            ..counts(9, 4, 13)
        });
        meter.report(Counts {
            reasoning: 3,
            ..counts(9, 4, 13)
        });
        let usage = meter.usage();
        assert_eq!((usage.cached_prompt, usage.reasoning), (5, 3));
        assert_eq!(usage.source, UsageSource::Reported);
    }
}
