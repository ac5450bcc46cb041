//! Random stores against a model that judges everything anew at each step. [pure]
//!
//! A failure prints its seed: run the test with `SIM_SEED=<seed>` to see that one alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::*;
use crate::collection::Collection;
use crate::decode::{Decoded, RejectionKind, json};
use crate::resource::Resource;
use crate::snapshot::SnapshotParts;
use zeroize::Zeroizing;

const PREFIX: &str = "/p";
const STEPS: u64 = 100;
/// Schedules of a usual run; `SIM_SEEDS` asks for more.
const SEEDS: u64 = 5;

/// Xorshift64*.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }

    fn any<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.roll(from.len() as u64)).unwrap()]
    }

    fn key(&mut self) -> String {
        let collection = self.any(&[
            "api_keys",
            "api_keys",
            "api_keys",
            "models",
            "models",
            "provider_keys",
            "gadgets",
        ]);
        match self.roll(40) {
            0 => format!("{PREFIX}/{collection}"),
            1 => format!("{PREFIX}//x"),
            _ => format!(
                "{PREFIX}/{collection}/{}",
                self.any(&["a", "b", "c", "d/e", "f"])
            ),
        }
    }

    /// A value that its collection accepts, most of the time.
    fn value(&mut self, key: &str) -> String {
        match self.roll(12) {
            0 => return "{not json".to_owned(),
            1 => return "{}".to_owned(),
            2 => return r#"{"display_name":"x","display_name":"y"}"#.to_owned(),
            _ => {}
        }
        let extra = self.any(&["", "", r#","new":1"#, r#","newer":{"x":1},"new":2"#, " "]);
        if key.contains("/api_keys") {
            let hash = self.any(&["00", "11", "22", "33"]).repeat(32);
            let jwt = self.any(&[
                "",
                "",
                r#","jwt_provider":"o","jwt_subject":"s""#,
                r#","jwt_provider":"o","jwt_subject":"t""#,
            ]);
            let disabled = self.any(&["true", "false"]);
            return format!(
                r#"{{"key_hash":"{hash}","allowed_models":[],"disabled":{disabled}{jwt}{extra}}}"#
            );
        }
        if key.contains("/models") {
            let name = self.any(&["m", "n", "o", "w*", "w*x", "*"]);
            let provider_key = self.any(&["a", "b", "c"]);
            return format!(
                r#"{{"display_name":"{name}","provider":"p","model_name":"*","provider_key_id":"{provider_key}"{extra}}}"#
            );
        }
        let (name, secret) = (self.any(&["x", "y"]), self.any(&["1", "2"]));
        format!(
            r#"{{"display_name":"{name}","adapter":"openai","api_base":"http://h/","api_key":"{secret}"{extra}}}"#
        )
    }
}

/// What a store holds.
#[derive(Clone, Default)]
struct Store {
    revision: i64,
    rows: BTreeMap<String, StoredRow>,
}

impl Store {
    fn put(&mut self, key: &str, value: &str) -> Change {
        self.revision += 1;
        let created = self.rows.get(key).map(|row| row.create_revision);
        let row = StoredRow {
            key: key.into(),
            value: Zeroizing::new(value.into()),
            create_revision: created.unwrap_or(self.revision),
            mod_revision: self.revision,
        };
        self.rows.insert(key.to_owned(), row.clone());
        Change::Put(row)
    }

    fn delete(&mut self, key: &str) -> Change {
        self.revision += 1;
        self.rows.remove(key);
        Change::Delete { key: key.into() }
    }

    fn random_change(&mut self, dice: &mut Dice) -> Change {
        let key = dice.key();
        if dice.roll(4) == 0 {
            return self.delete(&key);
        }
        let value = match self.rows.get(&key) {
            // The same bytes again.
            Some(row) if dice.roll(6) == 0 => String::from_utf8(row.value.to_vec()).unwrap(),
            _ => dice.value(&key),
        };
        self.put(&key, &value)
    }

    fn listing(&self) -> Listing {
        Listing {
            revision: self.revision,
            rows: self.rows.values().cloned().collect(),
        }
    }
}

/// What must be served, judged from scratch but for pins.
#[derive(Default)]
struct Naive {
    rows: BTreeMap<String, StoredRow>,
    /// Bytes served, by key.
    served: BTreeMap<String, StoredRow>,
    pins: BTreeMap<String, (StoredRow, i64)>,
    rejected: BTreeMap<String, RejectionKind>,
    appeared: BTreeMap<String, i64>,
}

fn decoded(row: &StoredRow) -> Result<Decoded, RejectionKind> {
    decode::decode(PREFIX, &row.key, &row.value, None).map_err(|rejection| rejection.kind)
}

fn claims(decoded: &Decoded) -> Vec<String> {
    match &*decoded.resource {
        Resource::ApiKey(key) => {
            let hash = format!("{:?}", key.key_hash);
            let token = key.jwt.as_ref().map(|jwt| format!("{jwt:?}"));
            [Some(hash), token].into_iter().flatten().collect()
        }
        _ => Vec::new(),
    }
}

impl Naive {
    fn step(&mut self, rows: &BTreeMap<String, StoredRow>, left: &BTreeSet<String>, now: i64) {
        let stays = |key: &String| rows.contains_key(key) && !left.contains(key);
        self.served.retain(|key, _| stays(key));
        self.pins.retain(|key, _| stays(key));
        self.appeared.retain(|key, _| stays(key));
        for key in rows.keys() {
            self.appeared.entry(key.clone()).or_insert(now);
        }
        self.rows = rows.clone();
        self.rejected.clear();
        let mut ordered: Vec<&StoredRow> = rows.values().collect();
        ordered.sort_by_key(|row| (row.create_revision, row.key.clone()));
        let mut taken: BTreeSet<String> = BTreeSet::new();
        let before = std::mem::take(&mut self.served);
        for row in ordered {
            let key = row.key.to_string();
            let free = |decoded: &Decoded| !claims(decoded).iter().any(|it| taken.contains(it));
            let (mut serve, mut why) = (None, None);
            match decoded(row) {
                Ok(decoded) if free(&decoded) => serve = Some((row.clone(), decoded)),
                Ok(_) => why = Some(RejectionKind::SchemaFailed),
                Err(kind) => why = Some(kind),
            }
            if why == Some(RejectionKind::UnknownKind) {
                self.pins.remove(&key);
                continue;
            }
            if let Some(why) = why {
                self.rejected.insert(key.clone(), why);
                if let Some(good) = before.get(&key) {
                    let pin = (good.clone(), now);
                    self.pins.entry(key.clone()).or_insert(pin);
                }
                let pin = self.pins.get(&key).map(|(row, _)| row.clone());
                serve = pin.and_then(|row| Some((row.clone(), decoded(&row).ok()?)));
                serve = serve.filter(|(_, decoded)| free(decoded));
            } else {
                self.pins.remove(&key);
            }
            if let Some((row, decoded)) = serve {
                taken.extend(claims(&decoded));
                self.served.insert(key, row);
            }
        }
    }

    fn snapshot(&self) -> Snapshot {
        let mut rows: Vec<&StoredRow> = self.served.values().collect();
        rows.sort_by_key(|row| (self.rows[&*row.key].create_revision, row.key.clone()));
        let mut parts = SnapshotParts::default();
        for row in rows {
            let id: Arc<str> = decode::split_key(PREFIX, &row.key).unwrap().id.into();
            let resource = decoded(row).unwrap().resource;
            if let Resource::ProviderKey(key) = &*resource {
                let key = (**key).clone().into_key(id);
                parts.provider_keys.push(Arc::new(key));
            } else if let Resource::Model(model) = &*resource {
                let created = self.appeared[&*row.key];
                let model = model.clone().into_model(id, created);
                parts.models.push(Arc::new(model));
            } else if let Resource::ApiKey(key) = &*resource {
                let row = Arc::new((**key).clone().into_key(id));
                parts.api_keys.push((key.key_hash, row));
            }
        }
        Snapshot::build(parts)
    }

    fn hashes(&self) -> (String, String) {
        let hash = |rows: &mut dyn Iterator<Item = &StoredRow>| -> String {
            let mut text = Vec::new();
            for row in rows {
                text.extend_from_slice(row.key.as_bytes());
                text.push(0);
                match json::parse(&row.value) {
                    Ok(document) => text.extend_from_slice(&json::canonical(document.value())),
                    Err(_) => text.extend_from_slice(&row.value),
                }
                text.push(b'\n');
            }
            let digest = Sha256::digest(&text);
            digest.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let mut config = self.rows.iter().filter_map(|(key, row)| {
            let unknown = decoded(row).err() == Some(RejectionKind::UnknownKind);
            self.served.get(key).or(unknown.then_some(row))
        });
        (hash(&mut self.rows.values()), hash(&mut config))
    }

    /// Rows that go by another one's name, as collection and count.
    fn duplicates(&self) -> BTreeMap<String, usize> {
        let mut names: BTreeMap<(String, Arc<str>), usize> = BTreeMap::new();
        for row in self.served.values() {
            let collection = decode::split_key(PREFIX, &row.key).unwrap().collection;
            if let Some(name) = decoded(row).unwrap().name {
                *names.entry((collection.to_owned(), name)).or_default() += 1;
            }
        }
        let mut found = BTreeMap::new();
        for ((collection, _), rows) in names.into_iter().filter(|(_, rows)| *rows > 1) {
            *found.entry(collection).or_default() += rows - 1;
        }
        found
    }
}

fn check_served(served: &Snapshot, naive: &Naive) {
    let want = naive.snapshot();
    assert_eq!(served.api_keys().count(), want.api_keys().count());
    for byte in [0x00, 0x11, 0x22, 0x33] {
        assert_eq!(served.api_key(&[byte; 32]), want.api_key(&[byte; 32]));
    }
    assert_eq!(served.models().count(), want.models().count());
    for model in want.models() {
        assert_eq!(served.model(&model.id), Some(model));
    }
    assert_eq!(served.provider_keys().count(), want.provider_keys().count());
    for key in want.provider_keys() {
        assert_eq!(served.provider_key(&key.id), Some(key));
    }
    for name in ["m", "n", "o", "w1", "wxx", "q", "w*"] {
        let (got, want) = (served.resolve(name), want.resolve(name));
        let plain = |found: Option<crate::snapshot::Resolved<'_>>| {
            found.map(|found| (Arc::clone(found.model), found.capture.map(str::to_owned)))
        };
        assert_eq!(plain(got), plain(want), "{name}");
    }
    let names = |snapshot: &Snapshot| -> Vec<Arc<crate::model::Model>> {
        snapshot.model_names().cloned().collect()
    };
    assert_eq!(names(served), names(&want));
}

fn check_told(state: &mut State, naive: &Naive) {
    let rows: Vec<StoredRow> = state.rows().cloned().collect();
    assert_eq!(rows, naive.rows.values().cloned().collect::<Vec<_>>());
    // The same bytes may have been put again since: only revisions differ then.
    let pin = |row: &StoredRow, since: u64| (row.key.clone(), row.value.clone(), since);
    let pins: Vec<_> = state.stale().map(|(row, since)| pin(row, since)).collect();
    let want = naive
        .pins
        .values()
        .map(|(row, since)| pin(row, u64::try_from(*since).unwrap()));
    assert_eq!(pins, want.collect::<Vec<_>>());
    let hashes = state.hashes();
    assert_eq!((hashes.source_hex(), hashes.config_hex()), naive.hashes());
    let report = state.report();
    assert_eq!(report.rejected_count(), naive.rejected.len());
    assert_eq!(report.served_count(), naive.served.len());
    let equal = hashes.source == hashes.config;
    assert_eq!(
        equal,
        naive.rejected.is_empty(),
        "equal iff nothing is rejected"
    );
    for rejected in report
        .rejected
        .iter()
        .filter(|rejected| !rejected.resource_id.is_empty())
    {
        let key = format!(
            "{PREFIX}/{}/{}",
            rejected.resource_kind, rejected.resource_id
        );
        assert_eq!(Some(&rejected.why.kind), naive.rejected.get(&key));
        let pin = naive
            .pins
            .get(&key)
            .filter(|_| naive.served.contains_key(&key));
        assert_eq!(rejected.stale_since, pin.map(|(_, since)| *since), "{key}");
    }
    let stale: usize = report.stale_by_kind.values().sum();
    let served_pins = naive
        .pins
        .keys()
        .filter(|key| naive.served.contains_key(*key));
    assert_eq!(stale, served_pins.count());
    check_partial(&report, naive);
}

fn check_partial(report: &Report, naive: &Naive) {
    let mut want: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (collection, rows) in naive.duplicates() {
        want.insert((collection, "duplicate:name".to_owned()), rows);
    }
    for row in naive.served.values() {
        let collection = decode::split_key(PREFIX, &row.key).unwrap().collection;
        for field in decoded(row).unwrap().ignored {
            *want.entry((collection.to_owned(), field)).or_default() += 1;
        }
    }
    let known = |key: &&String| {
        let parts = decode::split_key(PREFIX, key);
        parts.is_ok_and(|parts| Collection::from_name(parts.collection).is_none())
    };
    let gadgets = naive.rows.keys().filter(known).count();
    if gadgets > 0 {
        want.insert(("gadgets".to_owned(), "*".to_owned()), gadgets);
    }
    let got: BTreeMap<(String, String), usize> = report
        .partially_compatible
        .iter()
        .map(|row| {
            (
                (row.resource_kind.to_string(), row.field.to_string()),
                row.count,
            )
        })
        .collect();
    assert_eq!(got, want);
}

/// One schedule: a store, what is told of it, and the model.
struct Run {
    dice: Dice,
    store: Store,
    backup: Store,
    state: State,
    naive: Naive,
    served: Snapshot,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            store: Store::default(),
            backup: Store::default(),
            state: State::new(PREFIX, None),
            naive: Naive::default(),
            served: Snapshot::empty(),
        }
    }

    fn step(&mut self, now: i64) {
        let config_before = self.naive.hashes().1;
        let revision_before = self.state.revision();
        let (changed, listed) = match self.dice.roll(20) {
            0 => (self.restart(now), true),
            1 | 2 => (self.relist(now), true),
            3 => (self.restored_store(now), true),
            4 => (self.late_batch(now), false),
            _ => (self.batch(now), false),
        };
        assert!(listed || self.state.revision() >= revision_before);
        if self.dice.roll(4) == 0 {
            self.state.confirm(self.store.revision);
        }
        if changed.snapshot {
            self.served = self.state.snapshot(0);
        }
        let config_now = self.naive.hashes().1;
        assert_eq!(changed.config, config_before != config_now, "config hash");
        check_served(&self.served, &self.naive);
        check_told(&mut self.state, &self.naive);
    }

    fn batch(&mut self, now: i64) -> Changed {
        let mut changes = Vec::new();
        let mut left = BTreeSet::new();
        for _ in 0..=self.dice.roll(4) {
            let change = self.store.random_change(&mut self.dice);
            if let Change::Delete { key } = &change {
                left.insert(key.to_string());
            }
            changes.push(change);
        }
        let revision = self.store.revision;
        self.naive.step(&self.store.rows, &left, now);
        self.state.apply(Batch { revision, changes }, now)
    }

    /// A batch that a listing has overtaken.
    fn late_batch(&mut self, now: i64) -> Changed {
        let mut past = self.store.clone();
        let changes = vec![past.random_change(&mut self.dice)];
        let batch = Batch {
            revision: self.store.revision - 1,
            changes,
        };
        self.state.apply(batch, now)
    }

    fn relist(&mut self, now: i64) -> Changed {
        for _ in 0..self.dice.roll(6) {
            self.store.random_change(&mut self.dice);
        }
        self.naive.step(&self.store.rows, &BTreeSet::new(), now);
        self.state.replace(self.store.listing(), now)
    }

    /// The store goes back to an older state, or makes the present one its next backup.
    fn restored_store(&mut self, now: i64) -> Changed {
        let before = std::mem::replace(&mut self.backup, self.store.clone());
        if self.dice.roll(2) == 0 {
            self.store = before;
        }
        self.relist(now)
    }

    fn restart(&mut self, now: i64) -> Changed {
        let rows = self.state.rows().cloned().collect();
        let stale = self.state.stale().map(|(row, since_unix_secs)| StaleRow {
            row: row.clone(),
            since_unix_secs,
        });
        let (stale, revision) = (stale.collect(), self.state.revision());
        self.state = State::new("/p/", None);
        self.served = Snapshot::empty();
        let mut changed = self.state.restore(rows, stale, revision, now);
        assert_eq!(self.state.revision(), revision);
        self.naive.served.clear();
        self.naive.appeared.clear();
        let rows = self.naive.rows.clone();
        self.naive.step(&rows, &BTreeSet::new(), now);
        // A process starts without a configuration; the model kept the one before.
        changed.config = false;
        changed
    }
}

#[test]
fn what_is_served_equals_a_rebuild_from_scratch_plus_pins() {
    let one = std::env::var("SIM_SEED").ok();
    let one: Option<u64> = one.map(|seed| seed.parse().unwrap());
    let all = std::env::var("SIM_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    for seed in one.map_or(0..all, |seed| seed..seed + 1) {
        let mut run = Run::new(seed);
        for step in 0..STEPS {
            // Shown if the test fails.
            println!("SIM_SEED={seed} step {step}");
            run.step(1000 + i64::try_from(step).unwrap());
        }
    }
}
