//! Changes of a store: no panic, and a state told of them one by one is the one restored from its rows.
//!
//! One command per line: `+<key> <value>` puts a row, `-<key>` deletes it, `=` ends a batch, `!` lists
//! everything, `~` reads all rows again. Keys that do not begin with `/` stand below the prefix.
#![no_main]

use std::collections::BTreeMap;

use config_sync::snapshot::Snapshot;
use config_sync::source::store::{Batch, Change, Listing, StoredRow};
use config_sync::state::{Changed, REJECTED_MAX, StaleRow, State};
use libfuzzer_sys::fuzz_target;

const PREFIX: &str = "/p";
const LINES_MAX: usize = 64;

/// The store that the state is told of.
struct Store {
    state: State,
    rows: BTreeMap<Box<str>, StoredRow>,
    changes: Vec<Change>,
    revision: i64,
}

impl Store {
    fn command(&mut self, line: &str) {
        let mut rest = line.chars();
        let changed = match rest.next() {
            Some('+') => return self.put(rest.as_str()),
            Some('-') => return self.delete(rest.as_str()),
            Some('=') => self.flush(),
            Some('!') => {
                self.flush();
                let listing = Listing {
                    revision: self.revision,
                    rows: self.rows.values().cloned().collect(),
                };
                self.state.replace(listing, self.revision)
            }
            Some('~') => {
                self.flush();
                self.state.reopen(None, self.revision)
            }
            _ => return,
        };
        assert!(changed.rejected.len() <= REJECTED_MAX);
    }

    fn put(&mut self, rest: &str) {
        let (key, value) = rest.split_once(' ').unwrap_or((rest, ""));
        let key = absolute(key);
        self.revision += 1;
        let held = self.rows.get(&key);
        let row = StoredRow {
            key: key.clone(),
            value: value.as_bytes().to_vec().into(),
            create_revision: held.map_or(self.revision, |row| row.create_revision),
            mod_revision: self.revision,
        };
        self.rows.insert(key, row.clone());
        self.changes.push(Change::Put(row));
    }

    fn delete(&mut self, key: &str) {
        let key = absolute(key);
        self.revision += 1;
        self.rows.remove(&key);
        self.changes.push(Change::Delete { key });
    }

    fn flush(&mut self) -> Changed {
        let batch = Batch {
            revision: self.revision,
            changes: std::mem::take(&mut self.changes),
        };
        self.state.apply(batch, self.revision)
    }
}

fn absolute(key: &str) -> Box<str> {
    if key.starts_with('/') {
        return key.into();
    }
    format!("{PREFIX}/{key}").into()
}

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let mut store = Store {
        state: State::new(PREFIX, None),
        rows: BTreeMap::new(),
        changes: Vec::new(),
        revision: 0,
    };
    for line in text.lines().take(LINES_MAX) {
        store.command(line);
    }
    store.flush();
    let Store {
        mut state, rows, ..
    } = store;
    assert!(state.rows().eq(rows.values()));
    // Rows outside the prefix are not restored.
    let below = |row: &StoredRow| row.key.starts_with("/p/");
    if rows.values().all(below) {
        assert_same_when_restored(&mut state);
    }
});

/// What is kept on disk of `state` serves the same after a restart.
fn assert_same_when_restored(state: &mut State) {
    let rows = state.rows().cloned().collect();
    let stale = state.stale().map(|(row, since_unix_secs)| StaleRow {
        row: row.clone(),
        since_unix_secs,
    });
    let stale = stale.collect();
    let mut restored = State::new(PREFIX, None);
    restored.restore(rows, stale, state.revision(), 0);
    assert_eq!(restored.hashes(), state.hashes());
    assert_eq!(shown(&restored.snapshot(1)), shown(&state.snapshot(1)));
}

/// What a snapshot serves, in one order.
fn shown(snapshot: &Snapshot) -> Vec<String> {
    let mut shown = Vec::new();
    for model in snapshot.models() {
        let key = model.provider_key.as_ref();
        let key = key.map(|key| key.id.to_string());
        shown.push(format!(
            "model {}: {:?}",
            model.id,
            (key, &model.model_name)
        ));
    }
    for model in snapshot.model_names() {
        let owner = snapshot.resolve(&model.display_name);
        let owner = owner.expect("a listed name resolves").model;
        assert_eq!(owner.id, model.id);
        shown.push(format!("name {} {}", model.display_name, model.id));
    }
    for key in snapshot.api_keys() {
        shown.push(format!("key {}", key.id));
    }
    for key in snapshot.provider_keys() {
        shown.push(format!("provider key {}", key.id));
    }
    shown.sort();
    shown
}
