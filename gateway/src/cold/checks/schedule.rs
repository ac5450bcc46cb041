//! Which models are checked, and when. [pure]

use std::collections::BTreeMap;
use std::sync::Arc;

use config_sync::model::model::{BackgroundModelCheck, Model, ModelKind};
use config_sync::model::provider_key::ProviderKey;
use config_sync::snapshot::Snapshot;

use crate::bridge::health::{HealthTable, TargetHealth};

/// Most models that are checked, those with the lowest ids; as many as share their standing.
const CHECKED_MAX: usize = crate::bridge::health::TARGETS_MAX;
/// A check comes early or late by at most this share of its interval, in percent: so that those of many
/// models and gateways do not come at once.
const JITTER_PERCENT: u64 = 10;

/// A model that is checked, with all that a check takes.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) model: Arc<Model>,
    pub(super) key: Arc<ProviderKey>,
    pub(super) check: BackgroundModelCheck,
    pub(super) health: Arc<TargetHealth>,
}

/// The checks of one generation, by id of the model. Times are milliseconds of one clock.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    generation: Option<u64>,
    entries: BTreeMap<Arc<str>, Entry>,
}

#[derive(Debug)]
struct Entry {
    due_ms: u64,
    probe: Arc<Probe>,
}

impl Schedule {
    /// Whether it is not of this generation.
    pub(super) fn is_older_than(&self, generation: u64) -> bool {
        self.generation != Some(generation)
    }

    /// Takes in what `snapshot` says. A model that stays as it is keeps its time; one that is new or was
    /// changed is checked within a tenth of its interval. What a check found of a model that is checked
    /// no more is forgotten.
    pub(super) fn renew(
        &mut self,
        snapshot: &Snapshot,
        health: &HealthTable,
        now_ms: u64,
        random: impl Fn() -> u64,
    ) {
        self.generation = Some(snapshot.generation());
        let mut before = std::mem::take(&mut self.entries);
        let mut checked: Vec<_> = snapshot
            .models()
            .filter_map(|model| wanted(snapshot, model))
            .collect();
        checked.sort_unstable_by(|(a, ..), (b, ..)| a.id.cmp(&b.id));
        for (model, key, check) in checked.into_iter().take(CHECKED_MAX) {
            let known = before.remove(&model.id);
            let same = |entry: &Entry| {
                Arc::ptr_eq(&entry.probe.model, model) && Arc::ptr_eq(&entry.probe.key, key)
            };
            let entry = match known.filter(same) {
                Some(entry) => entry,
                None => Entry {
                    due_ms: now_ms + random() % (spread_ms(check) + 1),
                    probe: Arc::new(Probe {
                        health: health.hold(&model.id),
                        model: Arc::clone(model),
                        key: Arc::clone(key),
                        check: check.clone(),
                    }),
                },
            };
            self.entries.insert(Arc::clone(&model.id), entry);
        }
        for gone in before.into_values() {
            gone.probe.health.unchecked();
        }
    }

    /// The check that has been due for the longest time; its next one is an interval from now, but not
    /// before this one has ended.
    pub(super) fn take_due(&mut self, now_ms: u64, random: impl Fn() -> u64) -> Option<Arc<Probe>> {
        let due = self
            .entries
            .values_mut()
            .filter(|entry| entry.due_ms <= now_ms);
        let entry = due.min_by_key(|entry| entry.due_ms)?;
        let check = &entry.probe.check;
        let spread_ms = spread_ms(check);
        let early_ms = interval_ms(check) - spread_ms;
        let wait_ms = early_ms + random() % (2 * spread_ms + 1);
        // Its deadline and a moment for its end to be heard of.
        let ended_ms = check
            .timeout_seconds
            .saturating_mul(1_000)
            .saturating_add(1_000);
        entry.due_ms = now_ms.saturating_add(wait_ms.max(ended_ms));
        Some(Arc::clone(&entry.probe))
    }

    /// Time until the next check is due; `None` where there is none.
    pub(super) fn due_in(&self, now_ms: u64) -> Option<u64> {
        let due_ms = self.entries.values().map(|entry| entry.due_ms).min()?;
        Some(due_ms.saturating_sub(now_ms))
    }

    /// Whether `probe` is still what is checked.
    pub(super) fn has(&self, probe: &Arc<Probe>) -> bool {
        let entry = self.entries.get(&probe.model.id);
        entry.is_some_and(|entry| Arc::ptr_eq(&entry.probe, probe))
    }
}

type Wanted<'s> = (
    &'s Arc<Model>,
    &'s Arc<ProviderKey>,
    &'s BackgroundModelCheck,
);

/// `model`, where it is to be checked: the upstream's name of a pattern is nobody's.
fn wanted<'s>(snapshot: &'s Snapshot, model: &'s Arc<Model>) -> Option<Wanted<'s>> {
    let check = model.background_model_check.as_ref()?;
    if !check.enabled || model.kind != ModelKind::Direct || model.model_name.contains('*') {
        return None;
    }
    Some((model, snapshot.provider_key(&model.provider_key_id)?, check))
}

fn interval_ms(check: &BackgroundModelCheck) -> u64 {
    // A hundred years are as good as ever, and leave room for sums.
    check.interval_seconds.min(3_153_600_000) * 1_000
}

fn spread_ms(check: &BackgroundModelCheck) -> u64 {
    interval_ms(check) / 100 * JITTER_PERCENT
}

#[cfg(test)]
mod tests;
