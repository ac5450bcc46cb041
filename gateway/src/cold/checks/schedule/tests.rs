//! When models are checked.

use serde_json::{Value, json};

use config_sync::snapshot::SnapshotParts;

use super::*;
use crate::bridge::health::{CheckOutcome, HealthState};
use crate::route::fixture;

fn check(interval: u64, extra: &Value) -> Value {
    let mut check = json!({"enabled": true, "interval_seconds": interval, "timeout_seconds": 1,
        "prompt": "p", "max_tokens": 1, "stale_after_seconds": 60});
    check
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    json!({"background_model_check": check})
}

fn snapshot(generation: u64, models: &[&Arc<Model>], key: &Arc<ProviderKey>) -> Snapshot {
    Snapshot::build(SnapshotParts {
        generation,
        models: models.iter().map(|model| Arc::clone(model)).collect(),
        provider_keys: vec![Arc::clone(key)],
        ..SnapshotParts::default()
    })
}

/// Names of the models whose checks begin at `now_ms`.
fn begun(schedule: &mut Schedule, now_ms: u64, random: u64) -> Vec<String> {
    let next = || schedule.take_due(now_ms, || random);
    let probes = std::iter::from_fn(next);
    probes
        .map(|probe| probe.model.display_name.to_string())
        .collect()
}

#[test]
fn each_model_is_checked_at_its_own_interval_give_or_take_a_tenth() {
    let key = fixture::provider_key(json!({}));
    let often = fixture::model("often", check(10, &json!({})));
    let seldom = fixture::model("seldom", check(100, &json!({})));
    let mut schedule = Schedule::default();
    let health = HealthTable::default();
    assert_eq!(schedule.due_in(0), None);
    schedule.renew(&snapshot(1, &[&often, &seldom], &key), &health, 500, || 0);
    assert_eq!(begun(&mut schedule, 499, 0), [""; 0]);
    assert_eq!(begun(&mut schedule, 500, 0), ["often", "seldom"]);
    // The smallest number is the earliest time, 9 and 90 s.
    assert_eq!(schedule.due_in(500), Some(9_000));
    assert_eq!(begun(&mut schedule, 9_499, 2_000), [""; 0]);
    // The greatest one the latest, 11 s.
    assert_eq!(begun(&mut schedule, 9_500, 2_000), ["often"]);
    assert_eq!(schedule.due_in(9_500), Some(11_000));
    assert_eq!(begun(&mut schedule, 90_500, 1_000), ["often", "seldom"]);
    assert_eq!(schedule.due_in(90_500), Some(10_000));
}

#[test]
fn a_check_that_takes_longer_than_its_interval_does_not_meet_itself() {
    let key = fixture::provider_key(json!({}));
    let slow = fixture::model("slow", check(5, &json!({"timeout_seconds": 30})));
    let mut schedule = Schedule::default();
    schedule.renew(
        &snapshot(1, &[&slow], &key),
        &HealthTable::default(),
        0,
        || 0,
    );
    assert_eq!(begun(&mut schedule, 0, 0), ["slow"]);
    assert_eq!(schedule.due_in(0), Some(31_000));
    let endless = fixture::model(
        "endless",
        check(u64::MAX, &json!({"timeout_seconds": u64::MAX})),
    );
    schedule.renew(
        &snapshot(2, &[&endless], &key),
        &HealthTable::default(),
        7,
        || 0,
    );
    assert_eq!(begun(&mut schedule, 7, 0), ["endless"]);
    assert_eq!(schedule.due_in(u64::MAX), Some(0));
}

#[test]
fn what_changes_is_checked_anew_and_what_is_checked_no_more_is_forgotten() {
    let key = fixture::provider_key(json!({}));
    let model = |extra| fixture::model("m", check(10, &extra));
    let health = HealthTable::default();
    let mut schedule = Schedule::default();
    let first = model(json!({}));
    schedule.renew(&snapshot(1, &[&first], &key), &health, 0, || 0);
    assert!(!schedule.is_older_than(1) && schedule.is_older_than(2));
    let probe = schedule.take_due(0, || 0).unwrap();
    // Nothing changed: the time stays.
    schedule.renew(&snapshot(2, &[&first], &key), &health, 1_000, || 0);
    assert_eq!(schedule.due_in(1_000), Some(8_000));
    assert!(schedule.has(&probe));
    let changed = model(json!({"prompt": "q"}));
    schedule.renew(&snapshot(3, &[&changed], &key), &health, 2_000, || 7);
    assert_eq!(schedule.due_in(2_000), Some(7));
    assert!(!schedule.has(&probe), "what it finds is about another row");
    let other_key = fixture::provider_key(json!({"api_key": "sk-other"}));
    let probe = schedule.take_due(2_007, || 0).unwrap();
    schedule.renew(&snapshot(4, &[&changed], &other_key), &health, 3_000, || 0);
    assert!(!schedule.has(&probe) && schedule.due_in(3_000) == Some(0));

    probe
        .health
        .checked(CheckOutcome::Failed, Some(503), 60, 5_000);
    assert_eq!(probe.health.state(5_000), HealthState::Unhealthy);
    let unchecked = fixture::model("m", json!({}));
    schedule.renew(
        &snapshot(5, &[&unchecked], &other_key),
        &health,
        5_000,
        || 0,
    );
    assert_eq!(schedule.due_in(5_000), None);
    assert_eq!(probe.health.state(5_000), HealthState::Healthy);
    assert_eq!(probe.health.view(5_000).last_checked_at_ms, None);
}

#[test]
fn only_direct_models_with_a_name_and_a_key_of_their_own_are_checked() {
    let key = fixture::provider_key(json!({}));
    let pattern = fixture::model("p*", check(10, &json!({})));
    let named = {
        let mut all = check(10, &json!({}));
        all["model_name"] = json!("gpt-*");
        fixture::model("w*", all)
    };
    let off = fixture::model("off", check(10, &json!({"enabled": false})));
    let keyless = {
        let mut all = check(10, &json!({}));
        all["provider_key_id"] = json!("nobody");
        fixture::model("keyless", all)
    };
    let mut schedule = Schedule::default();
    let all = snapshot(1, &[&pattern, &named, &off, &keyless], &key);
    schedule.renew(&all, &HealthTable::default(), 0, || 0);
    // A pattern that always means the same upstream model can be checked.
    assert_eq!(begun(&mut schedule, 0, 0), ["p*"]);
}
