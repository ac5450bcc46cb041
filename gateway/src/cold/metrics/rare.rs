//! The families of limits and fallbacks. [cold]

use std::collections::BTreeMap;

use super::families as f;
use super::groups::render as labels;
use super::requests::target_labels;
use super::text::{header, sample, signed};
use crate::bridge::WorkerView;
use crate::bridge::health::{Grade, HealthState, HealthTable};
use crate::bridge::rare::HedgeEvent;
use crate::cold::watchdog::unix_ms;

/// Appends them.
pub(super) fn render(workers: &[WorkerView], out: &mut Vec<u8>) {
    let (mut limited, mut fallbacks) = (BTreeMap::new(), BTreeMap::new());
    let mut rescued = BTreeMap::new();
    let mut hedges: BTreeMap<_, [u64; 3]> = BTreeMap::new();
    for worker in workers {
        let counts = worker.counters.rare.read();
        for (key, count) in &counts.limited {
            *limited.entry(key.clone()).or_insert(0) += count;
        }
        for (key, [served, failed]) in &counts.fallbacks {
            let sum: &mut [u64; 2] = fallbacks.entry(key.clone()).or_default();
            sum[0] += served;
            sum[1] += failed;
        }
        for (key, count) in &counts.rescued {
            *rescued.entry(key.clone()).or_insert(0) += count;
        }
        for (group, events) in &counts.hedges {
            let sums = hedges.entry(group.clone()).or_default();
            for (sum, count) in sums.iter_mut().zip(events) {
                *sum += count;
            }
        }
    }
    header(out, &f::LIMITED);
    for ((scope, layer, policy_id), count) in &limited {
        let labels = labels([
            ("scope", *scope),
            ("layer", layer),
            ("policy_id", policy_id),
        ]);
        sample(out, &f::LIMITED, &labels, signed(*count));
    }
    for (place, family) in [&f::FALLBACKS_SERVED, &f::FALLBACKS_FAILED]
        .into_iter()
        .enumerate()
    {
        header(out, family);
        for ((model, target), counts) in fallbacks.iter().filter(|(_, counts)| counts[place] > 0) {
            let labels = labels([("model", &**model), ("fallback_model", target)]);
            sample(out, family, &labels, signed(counts[place]));
        }
    }
    header(out, &f::RESCUED);
    for ((model, failed), count) in &rescued {
        let labels = labels([("model", &**model), ("failed_model", failed)]);
        sample(out, &f::RESCUED, &labels, signed(*count));
    }
    for event in HedgeEvent::ALL {
        let family = match event {
            HedgeEvent::Started => &f::HEDGES_STARTED,
            HedgeEvent::Won => &f::HEDGES_WON,
            HedgeEvent::Refused => &f::HEDGES_REFUSED,
        };
        header(out, family);
        for (group, events) in &hedges {
            let labels = labels([("model", &**group)]);
            sample(out, family, &labels, signed(events[event as usize]));
        }
    }
}

/// Appends the state of every target that was asked: 0 healthy, 1 degraded, 2 down.
pub(super) fn render_states(workers: &[WorkerView], health: &HealthTable, out: &mut Vec<u8>) {
    let now_ms = unix_ms();
    let mut states = BTreeMap::new();
    for worker in workers {
        for series in worker.counters.targets().iter() {
            if let Some(target) = &series.target
                && let Some(view) = health.view(&target.model_id, now_ms)
            {
                let state = match view.state {
                    HealthState::Unhealthy => Grade::Down,
                    HealthState::Healthy | HealthState::Cooling => view.grade,
                };
                states.insert(target_labels(Some(series)), state.code());
            }
        }
    }
    header(out, &f::DEPLOYMENT_STATE);
    for (labels, state) in &states {
        sample(out, &f::DEPLOYMENT_STATE, labels, i64::from(*state));
    }
}
