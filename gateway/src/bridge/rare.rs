//! What happens to few requests, counted by labels of its own. [bridge]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::record::{End, LimitHit, RequestRecord};
use super::series::OTHER;
use super::tried::Tried;

/// Most label sets of one family; those beyond share one, `other`.
pub const LABELS_MAX: usize = 4_096;

/// Counts of one worker. Behind a lock that only the scrape contends for: what a request without a
/// limit in its way and without a fallback does takes none.
#[derive(Debug, Default)]
pub struct Rare(Mutex<RareCounts>);

/// The counts themselves.
#[derive(Clone, Debug, Default)]
pub struct RareCounts {
    /// Requests refused, by `scope`, `layer` and `policy_id`.
    pub limited: BTreeMap<(&'static str, &'static str, Arc<str>), u64>,
    /// Requests served, and failed, on a target other than the first: by group and target.
    pub fallbacks: BTreeMap<(Arc<str>, Arc<str>), [u64; 2]>,
    /// Streams served after another target's had failed with content that was held back: by group and
    /// the target that failed.
    pub rescued: BTreeMap<(Arc<str>, Arc<str>), u64>,
    /// What came of streams that were slow, by group and [`HedgeEvent`].
    pub hedges: BTreeMap<Arc<str>, [u64; HedgeEvent::ALL.len()]>,
    /// Attempts that others followed, each a usage event without tokens: by endpoint, protocol, status
    /// class and target; `None` for those beyond [`LABELS_MAX`].
    pub superseded: BTreeMap<Superseded, u64>,
}

/// What happens where the first target of a stream is slow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HedgeEvent {
    /// A second target was asked.
    Started,
    /// It was the first to say something.
    Won,
    /// No second one was asked, for the group's share of hedges is used up.
    Refused,
}

impl HedgeEvent {
    /// In the order of their discriminants.
    pub const ALL: [Self; 3] = [Self::Started, Self::Won, Self::Refused];
}

/// The labels of an attempt that others followed.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Superseded {
    /// Route template.
    pub endpoint: &'static str,
    /// Protocol spoken by the caller.
    pub inbound_protocol: &'static str,
    /// Its status, rounded down to hundreds.
    pub status: u16,
    /// Name of the model, id and name of its provider key; `None`: one of many.
    pub target: Option<[Arc<str>; 3]>,
}

impl Rare {
    /// Counts what is rare about `record`.
    #[inline]
    pub(super) fn count(&self, record: &RequestRecord) {
        if record.fallbacks > 0 || record.limit.is_some() || record.tried.len() > 1 {
            self.count_rare(record);
        }
    }

    #[cold]
    fn count_rare(&self, record: &RequestRecord) {
        let mut counts = self.read();
        if let Some(limit) = &record.limit {
            let LimitHit {
                dimension,
                layer,
                policy_id,
            } = &**limit;
            let mut key = (dimension.label(), layer.label(), Arc::from(&**policy_id));
            if counts.limited.len() >= LABELS_MAX && !counts.limited.contains_key(&key) {
                key.2 = OTHER.into();
            }
            *counts.limited.entry(key).or_default() += 1;
        }
        if let (Some(group), Some(target), 1..) = (&record.group, &record.target, record.fallbacks)
        {
            let failed = record.end != End::Completed;
            let pair = (Arc::clone(group), Arc::clone(&target.model));
            by_pair(&mut counts.fallbacks, pair)[usize::from(failed)] += 1;
        }
        let discarded = |tried: &&Tried| tried.discarded_tokens.is_some();
        if let (Some(group), End::Completed, Some(failed)) = (
            &record.group,
            record.end,
            record.tried.iter().find(discarded),
        ) {
            let pair = (Arc::clone(group), Arc::clone(&failed.target.model));
            *by_pair(&mut counts.rescued, pair) += 1;
        }
        let superseded = record
            .tried
            .split_last()
            .map_or(&[][..], |(_, before)| before);
        for tried in superseded {
            counts.superseded(record, tried);
        }
    }

    /// Counts what happened to a stream of `group`.
    #[cold]
    pub(super) fn hedge(&self, group: &Arc<str>, event: HedgeEvent) {
        let mut counts = self.read();
        let mut group = Arc::clone(group);
        if counts.hedges.len() >= LABELS_MAX && !counts.hedges.contains_key(&group) {
            group = OTHER.into();
        }
        counts.hedges.entry(group).or_default()[event as usize] += 1;
    }

    /// The counts so far.
    pub fn read(&self) -> MutexGuard<'_, RareCounts> {
        // Whole after every step: poison says nothing here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The count of a group and one of its targets; beyond [`LABELS_MAX`] of them that of all others.
fn by_pair<C: Default>(
    counts: &mut BTreeMap<(Arc<str>, Arc<str>), C>,
    mut pair: (Arc<str>, Arc<str>),
) -> &mut C {
    if counts.len() >= LABELS_MAX && !counts.contains_key(&pair) {
        pair = (OTHER.into(), OTHER.into());
    }
    counts.entry(pair).or_default()
}

impl RareCounts {
    fn superseded(&mut self, record: &RequestRecord, tried: &Tried) {
        let t = &tried.target;
        let names = [&t.model, &t.provider_key_id, &t.provider_key_name].map(Arc::clone);
        let mut key = Superseded {
            endpoint: record.endpoint,
            inbound_protocol: record.inbound_protocol,
            status: tried.status / 100 * 100,
            target: Some(names),
        };
        if self.superseded.len() >= LABELS_MAX && !self.superseded.contains_key(&key) {
            key.target = None;
        }
        *self.superseded.entry(key).or_default() += 1;
    }
}
