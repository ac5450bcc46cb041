//! A group, prepared. [pure]

use std::cmp::Reverse;
use std::sync::Arc;

use config_sync::model::model::{Model, ModelKind};
use config_sync::model::routing::{HashSource, Routing, Strategy, Target, WhenAllUnavailable};

use super::ring::Ring;

/// Most targets of a group; further ones are never tried. Bounds what a consistent hash keeps:
/// 1.8 MB per group at the limit, at most 210 KB with up to 64 targets, usually 100 KB or less.
pub const TARGETS_MAX: usize = 1_024;

// Positions are 16 bits wide.
const _: () = assert!(TARGETS_MAX <= u16::MAX as usize);

/// What selection needs to know of a target's model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Offer {
    /// Price in USD of 1000 prompt and 1000 completion tokens together, where known.
    pub price: Option<f64>,
}

impl Offer {
    /// That of `model`; `None` for a model without an upstream of its own, which cannot be a target.
    pub fn of(model: &Model) -> Option<Self> {
        let price = model
            .cost
            .map(|cost| cost.input_per_1k + cost.output_per_1k);
        (model.kind == ModelKind::Direct).then_some(Self { price })
    }
}

/// A group prepared for requests. Holds nothing of a request, so workers may share it.
///
/// Belongs to one generation: offers change with the models that targets name.
#[derive(Debug)]
pub struct Plan {
    pub(super) group: Arc<str>,
    pub(super) strategy: Strategy,
    pub(super) when_all_unavailable: WhenAllUnavailable,
    /// Most targets of one request.
    pub(super) tried_max: usize,
    hash_on: Box<[HashSource]>,
    /// As configured.
    targets: Box<[Planned]>,
    /// Positions of all targets: the highest tier first, in it as configured, or the cheapest first.
    pub(super) sequence: Box<[u16]>,
    /// The highest first.
    pub(super) tiers: Arc<[Tier]>,
    /// One per tier where keys are hashed.
    pub(super) rings: Box<[Ring]>,
    /// Whether any target has tags.
    pub(super) has_tags: bool,
}

/// One target of a plan.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) model: Arc<str>,
    pub(super) weight: u32,
    pub(super) tags: Box<[Arc<str>]>,
    pub(super) resolves: bool,
    /// Its tier, from the highest.
    pub(super) tier: usize,
    /// Its place among the members of its tier.
    pub(super) slot: usize,
}

/// Targets of one priority.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Tier {
    pub(super) priority: i32,
    /// Model and weight of each target, as configured.
    pub(super) members: Vec<(Arc<str>, u32)>,
}

impl Plan {
    /// Prepares the group called `group`. `offer` says what stands behind a target's name: `None`
    /// where that is no direct model.
    ///
    /// Costs about a millisecond per tier where keys are hashed, else microseconds.
    pub fn new(group: &Arc<str>, routing: &Routing, offer: impl Fn(&str) -> Option<Offer>) -> Self {
        let configured = &routing.targets[..routing.targets.len().min(TARGETS_MAX)];
        let offers: Vec<_> = configured
            .iter()
            .map(|target| offer(&target.model))
            .collect();
        let hashes = routing.strategy == Strategy::ConsistentHash;
        let (tiers, targets) = into_tiers(configured, &offers);
        let rings = (0..tiers.len()).filter(|_| hashes);
        let fallbacks = routing.max_fallbacks.map(|max| max as usize);
        Self {
            group: Arc::clone(group),
            strategy: routing.strategy,
            when_all_unavailable: routing.when_all_unavailable,
            tried_max: fallbacks.unwrap_or(TARGETS_MAX).saturating_add(1),
            hash_on: routing.hash_on.iter().filter(|_| hashes).cloned().collect(),
            sequence: sequence(routing.strategy, &targets, &offers),
            rings: rings.map(|tier| ring(tier, &targets)).collect(),
            has_tags: targets.iter().any(|target| !target.tags.is_empty()),
            targets: targets.into(),
            tiers: tiers.into(),
        }
    }

    /// The name the group goes by.
    pub fn group(&self) -> &Arc<str> {
        &self.group
    }

    /// Where the key to hash comes from; empty where none is hashed.
    pub fn hash_on(&self) -> &[HashSource] {
        &self.hash_on
    }

    pub(super) fn target(&self, at: u16) -> &Planned {
        &self.targets[usize::from(at)]
    }
}

/// The tiers, and the targets as configured, each with its place in them.
fn into_tiers(configured: &[Target], offers: &[Option<Offer>]) -> (Vec<Tier>, Vec<Planned>) {
    let mut priorities: Vec<i32> = configured.iter().map(|target| target.priority).collect();
    priorities.sort_unstable_by_key(|priority| Reverse(*priority));
    priorities.dedup();
    let tier = |priority| Tier {
        priority,
        members: Vec::new(),
    };
    let mut tiers: Vec<Tier> = priorities.into_iter().map(tier).collect();
    let place = |(target, offer): (&Target, &Option<Offer>)| {
        let tier = tiers.partition_point(|tier| tier.priority > target.priority);
        let members = &mut tiers[tier].members;
        let weight = target.weight.max(1);
        members.push((Arc::clone(&target.model), weight));
        Planned {
            model: Arc::clone(&target.model),
            weight,
            tags: target.tags.clone().into(),
            resolves: offer.is_some(),
            tier,
            slot: members.len() - 1,
        }
    };
    let targets = configured.iter().zip(offers).map(place).collect();
    (tiers, targets)
}

/// All positions by tier, and by price where that is asked for; unpriced ones last.
fn sequence(strategy: Strategy, targets: &[Planned], offers: &[Option<Offer>]) -> Box<[u16]> {
    let price = |at: u16| {
        let offer = offers[usize::from(at)].unwrap_or_default();
        offer.price.unwrap_or(f64::INFINITY)
    };
    let mut sequence: Vec<u16> = (0..targets.len() as u16).collect();
    if strategy == Strategy::LeastCost {
        sequence.sort_by(|a, b| price(*a).total_cmp(&price(*b)));
    }
    sequence.sort_by_key(|at| targets[usize::from(*at)].tier);
    sequence.into()
}

fn ring(tier: usize, targets: &[Planned]) -> Ring {
    let members = targets.iter().enumerate();
    let members = members.filter(|(_, target)| target.tier == tier);
    let members: Vec<_> = members
        .map(|(at, target)| (at as u16, &*target.model, target.weight))
        .collect();
    Ring::new(&members)
}
