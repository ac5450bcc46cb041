//! What is asked of, and answered by, the counters that gateways share. [bridge]

use std::sync::Arc;

use config_sync::model::rate_limit::RateLimit;

use super::limits::{Field, Full, Room};

/// A limit that applies to a request, and the bucket it is counted in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LayerAsk {
    /// Name of the bucket.
    pub key: Box<str>,
    /// Its limits. Those of no field count nothing.
    pub limits: RateLimit,
}

/// A request before its admission: by all layers, or by none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ask {
    /// In the order in which they answer.
    pub layers: Vec<LayerAsk>,
    /// Tokens reserved until the true number is known.
    pub tokens: u64,
}

/// What is left of the limits of one layer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LayerRoom {
    /// By number of the field; `None`: not limited.
    pub windows: [Option<Room>; Field::ALL.len()],
    /// Of requests in flight.
    pub slots: Option<Room>,
}

/// The answer to an [`Ask`].
#[derive(Debug)]
pub enum Outcome {
    /// Counted in all buckets.
    Admitted(Admitted),
    /// Counted in none.
    Refused(Refused),
}

/// A request that was counted.
#[derive(Debug)]
pub struct Admitted {
    /// What was counted; to be ended once.
    pub receipt: Receipt,
    /// What is left, this request counted, layer by layer.
    pub rooms: Vec<LayerRoom>,
}

/// A request that was not counted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// Place of the layer that refused.
    pub layer: usize,
    /// Which of its limits, and for how long.
    pub full: Full,
    /// What is left, layer by layer.
    pub rooms: Vec<LayerRoom>,
}

/// The shared counters cannot be asked now: count here, admit or refuse, as the settings say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RedisDown;

/// What becomes of a request's counts. All of them free its slots; the request stays counted in all
/// but the last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// These tokens take the place of what was reserved.
    Settled(u64),
    /// What was reserved stays charged.
    Kept,
    /// What was reserved is taken back.
    Refunded,
    /// Everything is taken back, as if the request had not been.
    GivenBack,
}

/// What a request has counted. Whoever loses it instead of ending it keeps its slots until the next
/// refresh, which finds nobody at its other end.
#[derive(Debug)]
#[must_use = "a slot that is not released is kept for a while"]
pub struct Receipt(Arc<Taken>);

impl Receipt {
    /// For `taken`, of which the counters may keep a clone.
    pub fn new(taken: Arc<Taken>) -> Self {
        Self(taken)
    }

    /// What was counted.
    pub fn taken(&self) -> &Arc<Taken> {
        &self.0
    }
}

/// What one request has counted in all its buckets.
#[derive(Debug)]
pub struct Taken {
    /// Names the request among all that hold a slot.
    pub member: Box<str>,
    /// Tokens reserved.
    pub tokens: u64,
    /// Bucket by bucket.
    pub layers: Box<[TakenLayer]>,
}

/// What one request has counted in one bucket.
#[derive(Clone, Debug)]
pub struct TakenLayer {
    /// Name of the bucket.
    pub key: Box<str>,
    /// The limits it was counted for; only those were counted.
    pub limits: RateLimit,
    /// When, in Unix ms of the counters' clock.
    pub at_ms: u64,
}

impl Taken {
    /// Whether it holds a slot somewhere.
    pub fn has_slot(&self) -> bool {
        let mut layers = self.layers.iter();
        layers.any(|layer| layer.limits.concurrency.is_some())
    }
}
