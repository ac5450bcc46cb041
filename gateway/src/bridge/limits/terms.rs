//! The limits of one row as requests go through them: those that are set, in the order in which they answer. [bridge]

use arrayvec::ArrayVec;

use config_sync::model::rate_limit::RateLimit;

use super::window::Field;

/// Made once per row and generation, since each request goes through it several times.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Terms {
    slots: Option<u32>,
    windows: ArrayVec<(Field, u64), { Field::ALL.len() }>,
}

impl Terms {
    /// How many requests may be in flight, if that is limited.
    pub fn slots(&self) -> Option<u32> {
        self.slots
    }

    /// The windows that are limited, with their limits: tokens first, then requests, the smallest first.
    pub fn windows(&self) -> &[(Field, u64)] {
        &self.windows
    }
}

impl From<&RateLimit> for Terms {
    fn from(limits: &RateLimit) -> Self {
        let order = Field::TOKENS.into_iter().chain(Field::REQUESTS);
        Self {
            slots: limits.concurrency,
            windows: order
                .filter_map(|field| Some((field, field.of(limits)?)))
                .collect(),
        }
    }
}
