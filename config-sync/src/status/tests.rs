use super::*;
use crate::source::store::{Batch, Change, Listing, StoredRow};
use crate::state::{Changed, State};
use zeroize::Zeroizing;

fn loaded(hash: &str, models: usize) -> Loaded {
    let row = |id: usize| ModelRow {
        id: id.to_string().into(),
        display_name: "m".into(),
        kind: "direct",
    };
    Loaded {
        hash: hash.into(),
        counts: vec![("models", models), ("api_keys", 0)],
        models: (0..models).rev().map(row).collect(),
    }
}

#[test]
fn the_state_of_a_file_follows_loads_and_failures() {
    let status = ConfigStatus::new("file");
    assert_eq!(status.view().state(), "never_loaded");
    status.failed(FailureKind::Fetch, "gone", None, 1);
    assert_eq!(
        status.view().state(),
        "never_loaded",
        "an unreadable file changes nothing"
    );
    status.loaded(loaded("a", 0), 2);
    assert_eq!(status.view().state(), "empty");
    status.loaded(loaded("b", 2), 3);
    assert_eq!(status.view().state(), "synced");
    status.failed(FailureKind::SchemaFailed, "bad", Some("c".into()), 4);
    let view = status.view();
    assert_eq!(view.state(), "out_of_sync");
    assert_eq!(view.observed, Some(("c".into(), 4)));
    assert_eq!(view.age_s(10), Some(7), "the refused file confirms nothing");
    assert_eq!(view.applied.unwrap().config_hash, "b", "still served");
    assert_eq!(view.reloads, 4);
    assert_eq!(
        view.failures,
        BTreeMap::from([("fetch", 1), ("validate", 1)])
    );
    assert_eq!(
        (view.last_reload, view.last_success),
        (Some((false, 4)), Some(3))
    );
    assert_eq!((view.connected, view.observed_revision), (None, None));
}

#[test]
fn only_another_hash_advances_the_sequence() {
    let status = ConfigStatus::new("file");
    let seq = |status: &ConfigStatus| {
        let applied = status.view().applied.unwrap();
        (applied.apply_seq, applied.applied_at)
    };
    status.loaded(loaded("a", 1), 10);
    status.loaded(loaded("a", 1), 20);
    assert_eq!(seq(&status), (1, 10));
    status.loaded(loaded("b", 1), 30);
    assert_eq!(seq(&status), (2, 30));
}

#[test]
fn empty_collections_are_left_out_and_models_are_sorted() {
    let status = ConfigStatus::new("file");
    status.loaded(loaded("a", 3), 1);
    let view = status.view();
    assert_eq!(
        view.applied.as_ref().unwrap().resource_counts,
        BTreeMap::from([("models", 3)])
    );
    let rows = view.model_rows();
    let ids: Vec<_> = rows.iter().map(|row| &*row.id).collect();
    assert_eq!(ids, ["0", "1", "2"]);
}

/// A store, its state and what is told of both.
struct Told {
    state: State,
    status: ConfigStatus,
    revision: i64,
}

impl Told {
    fn new() -> Self {
        Self {
            state: State::new("/p", None),
            status: ConfigStatus::new("etcd"),
            revision: 0,
        }
    }

    fn row(&mut self, key: &str, value: &str) -> StoredRow {
        self.revision += 1;
        StoredRow {
            key: format!("/p/{key}").into(),
            value: Zeroizing::new(value.into()),
            create_revision: 1,
            mod_revision: self.revision,
        }
    }

    fn listing(&mut self, rows: &[(&str, &str)], origin: Origin, now: i64) {
        let rows: Vec<StoredRow> = rows
            .iter()
            .map(|(key, value)| self.row(key, value))
            .collect();
        let revision = self.revision;
        let changed = match origin {
            Origin::Cache => self.state.restore(rows, Vec::new(), revision, now),
            _ => self.state.replace(Listing { revision, rows }, now),
        };
        self.update(&changed, origin, now);
    }

    fn put(&mut self, key: &str, value: &str, now: i64) {
        let changes = vec![Change::Put(self.row(key, value))];
        let revision = self.revision;
        let changed = self.state.apply(Batch { revision, changes }, now);
        self.update(&changed, Origin::Batch, now);
    }

    fn update(&mut self, changed: &Changed, origin: Origin, now: i64) {
        let update = Update {
            origin,
            revision: self.state.revision(),
            config_changed: changed.config,
            hashes: Some(self.state.hashes()),
            report: changed.report.then(|| self.state.report()),
            snapshot: changed.snapshot.then(|| Arc::new(self.state.snapshot(1))),
        };
        self.status.updated(update, now);
    }

    fn seq(&self) -> (u64, i64) {
        let applied = self.status.view().applied.unwrap();
        (applied.apply_seq, applied.applied_at)
    }
}

const MODEL: &str = r#"{"display_name":"m","provider":"p","model_name":"x","provider_key_id":"k"}"#;

#[test]
fn the_state_of_a_store_follows_what_is_served_and_rejected() {
    let mut told = Told::new();
    assert_eq!(told.status.view().state(), "never_loaded");
    told.status.lost(1);
    let view = told.status.view();
    assert_eq!(
        (view.state(), view.connected),
        ("never_loaded", Some(false))
    );
    let failure = view.last_failure.unwrap();
    assert_eq!(failure.error, "configuration source unreachable");
    assert_eq!(view.watch_losses, 0, "it never answered");

    told.listing(&[], Origin::Listing, 2);
    assert_eq!(told.status.view().state(), "empty");
    told.put("models/b", "{", 3);
    assert_eq!(
        told.status.view().state(),
        "out_of_sync",
        "nothing is served"
    );
    told.put("models/a", MODEL, 4);
    assert_eq!(told.status.view().state(), "degraded");
    told.put("models/b", &MODEL.replace("\"m\"", "\"n\""), 5);
    let view = told.status.view();
    assert_eq!((view.state(), view.connected), ("synced", Some(true)));
    assert_eq!(view.last_reload, Some((true, 5)));
    assert_eq!(view.last_success, Some(5));
    assert_eq!(view.rows.rejected_by_kind["models"], 0);
    assert_eq!(view.applied.unwrap().resource_counts["models"], 2);
    let failure = view.last_failure.unwrap();
    assert_eq!(
        (failure.at, failure.kind),
        (3, FailureKind::NonJson),
        "it stays"
    );
}

#[test]
fn hashes_and_revisions_are_told_and_the_sequence_follows_what_is_served() {
    let mut told = Told::new();
    told.listing(
        &[("models/a", MODEL), ("models/b", "{}")],
        Origin::Listing,
        10,
    );
    let view = told.status.view();
    let applied = view.applied.unwrap();
    assert_eq!(applied.applied_revision, Some(2));
    assert_eq!(view.observed_revision, Some(2));
    let (source_hash, at) = view.observed.unwrap();
    assert!(source_hash != applied.config_hash && source_hash.len() == 64 && at == 10);
    assert_eq!(told.seq(), (1, 10));
    told.put("models/b", "[]", 20);
    assert_eq!(
        told.seq(),
        (1, 10),
        "another rejected value changes nothing served"
    );
    assert_eq!(told.status.view().rows.rejected[0].last_seen, 20);
    told.put("models/b", &MODEL.replace("\"m\"", "\"n\""), 30);
    assert_eq!(told.seq(), (2, 30));
    let view = told.status.view();
    assert_eq!(view.observed.unwrap().0, view.applied.unwrap().config_hash);
    told.status.confirmed(90, 50);
    told.status.confirmed(80, 51);
    let view = told.status.view();
    assert_eq!(
        (view.observed_revision, view.age_s(60)),
        (Some(90), Some(9))
    );
    assert_eq!(view.applied.as_ref().unwrap().applied_revision, Some(90));
    assert_eq!(told.seq(), (2, 30), "nothing else is served");
    let rows = view.snapshot.as_ref().map(|_| view.model_rows()).unwrap();
    let ids: Vec<&str> = rows.iter().map(|row| &*row.id).collect();
    assert_eq!(ids, ["a", "b"]);
}

#[test]
fn what_comes_from_the_cache_is_applied_but_not_observed() {
    let mut told = Told::new();
    told.listing(&[("models/a", MODEL)], Origin::Cache, 1);
    let view = told.status.view();
    assert_eq!((view.state(), view.restored_from_cache), ("synced", true));
    assert_eq!((view.connected, view.age_s(9)), (Some(false), None));
    assert!(view.observed.is_none() && view.observed_revision.is_none());
    assert!(view.last_reload.is_none() && view.reloads == 0);
    told.listing(&[("models/a", MODEL)], Origin::Listing, 2);
    let view = told.status.view();
    assert!(!view.restored_from_cache && view.connected == Some(true));
    assert_eq!(told.seq(), (1, 1), "the same configuration as before");
}

#[test]
fn other_keys_tell_nothing_of_the_store() {
    let mut told = Told::new();
    told.listing(&[("models/a", MODEL)], Origin::Cache, 1);
    told.status.lost(2);
    let changed = told.state.reopen(None, 3);
    told.update(&changed, Origin::Keys, 3);
    let view = told.status.view();
    assert_eq!(
        (view.connected, view.restored_from_cache),
        (Some(false), true)
    );
    assert!(view.observed_revision.is_none() && view.confirmed_at.is_none());
    assert_eq!(view.last_reload, Some((false, 2)));
    assert_eq!(told.seq(), (1, 1), "the same configuration as before");
}

#[test]
fn reloads_count_listings_and_failures_count_once_per_reason() {
    let mut told = Told::new();
    let rows = [("models/a", "{"), ("models/b", "{"), ("models/c", "{}")];
    told.listing(&rows, Origin::Listing, 1);
    told.put("models/d", "{", 2);
    told.status.lost(3);
    told.status.lost(4);
    told.listing(&rows, Origin::Listing, 5);
    let view = told.status.view();
    assert_eq!((view.reloads, view.resyncs, view.watch_losses), (4, 1, 1));
    let want = BTreeMap::from([("fetch", 2), ("parse", 2), ("validate", 2)]);
    assert_eq!(view.failures, want);
    told.status.propagated(Duration::from_millis(3));
    assert_eq!(told.status.view().propagation.count(), 1);
}
