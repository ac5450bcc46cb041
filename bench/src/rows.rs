//! A store's rows, as many as wanted, each like those of the documentation. [pure]

use config_sync::collection::Collection;
use config_sync::source::store::{Batch, Change, Listing, StoredRow};
use config_sync::state::{Changed, State};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Where the rows are.
pub const PREFIX: &str = "/sluice";
/// Unix seconds of every change.
pub const NOW: i64 = 1_767_225_600;

/// How many rows there are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// Upstream credentials; at least one where there are models.
    pub provider_keys: usize,
    /// Models without a `*` in their name.
    pub models: usize,
    /// Models with one.
    pub wildcards: usize,
    /// Caller keys.
    pub api_keys: usize,
}

impl Size {
    /// What the benches of changes start from: 100 models per provider key.
    pub const STORE: Self = Self {
        provider_keys: 10,
        models: 1_000,
        wildcards: 0,
        api_keys: 10_000,
    };

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.provider_keys + self.models + self.wildcards + self.api_keys
    }
}

/// The rows of one size. Row `n` of a collection is the same at every size.
#[derive(Clone, Copy, Debug)]
pub struct Rows(pub Size);

impl Rows {
    /// All rows, each created at a revision of its own.
    pub fn listing(self) -> Listing {
        let Self(size) = self;
        let keys = (0..size.provider_keys).map(|n| self.provider_key(n, 0));
        let models = (0..size.models).map(|n| self.model(n, 0));
        let wildcards = (0..size.wildcards).map(|n| self.wildcard(n));
        let callers = (0..size.api_keys).map(|n| self.api_key(n, 0));
        let rows = keys.chain(models).chain(wildcards).chain(callers);
        let mut rows: Vec<StoredRow> = rows.collect();
        for (revision, row) in (1..).zip(&mut rows) {
            row.create_revision = revision;
            row.mod_revision = revision;
        }
        rows.sort_by(|one, other| one.key.cmp(&other.key));
        Listing {
            revision: self.revision(),
            rows,
        }
    }

    /// The revision of [`Rows::listing`].
    pub fn revision(self) -> i64 {
        i64::try_from(self.0.rows()).expect("as many rows as fit into memory")
    }

    /// A state that holds all rows and rejects none.
    pub fn state(self) -> State {
        let mut state = State::new(PREFIX, None);
        let changed = state.replace(self.listing(), NOW);
        assert!(changed.rejected.is_empty(), "{:?}", changed.rejected);
        state
    }

    /// The upstream credential `n`; `version` changes its secret.
    pub fn provider_key(self, n: usize, version: u8) -> StoredRow {
        let document = json!({
            "display_name": format!("upstream-{n:06}"),
            "provider": "openai",
            "adapter": "openai",
            "api_key": format!("sk-up-{n:06}-{version}-0123456789abcdef0123456789"),
            "api_base": format!("https://upstream-{n:06}.example.net/v1"),
        });
        row(Collection::ProviderKeys, n, &document)
    }

    /// The model `n`, of one of the provider keys in turn; `version` changes its price.
    pub fn model(self, n: usize, version: u8) -> StoredRow {
        let document = json!({
            "display_name": model_name(n),
            "provider": "openai",
            "model_name": "gpt-4o-mini",
            "provider_key_id": id(n % self.0.provider_keys.max(1)),
            "cost": {"input_per_1k": f64::from(version), "output_per_1k": 0.0006},
        });
        row(Collection::Models, n, &document)
    }

    /// The wildcard model `n`: covers `family-<n>/` and whatever follows.
    pub fn wildcard(self, n: usize) -> StoredRow {
        let document = json!({
            "display_name": format!("family-{n:06}/*"),
            "provider": "openai",
            "model_name": "*",
            "provider_key_id": id(n % self.0.provider_keys.max(1)),
        });
        row(Collection::Models, self.0.models + n, &document)
    }

    /// The caller key `n`; `version` changes its limit.
    pub fn api_key(self, n: usize, version: u8) -> StoredRow {
        let hash = key_hash(n);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let document = json!({
            "key_hash": hex,
            "display_name": format!("caller-{n:06}"),
            "allowed_models": ["model-*", "family-*"],
            "team_id": format!("team-{}", n % 100),
            "rate_limit": {"rpm": 60 + u64::from(version)},
            "expires_at": "2040-01-01T00:00:00Z",
        });
        row(Collection::ApiKeys, n, &document)
    }
}

/// A state that is told of one change after the other.
pub struct Store {
    /// What it knows.
    pub state: State,
    revision: i64,
}

impl Store {
    /// Holds `rows`.
    pub fn new(rows: Rows) -> Self {
        Self {
            state: rows.state(),
            revision: rows.revision(),
        }
    }

    /// Puts `row`, in a batch of its own, at the next revision.
    pub fn put(&mut self, row: &StoredRow) -> Changed {
        self.revision += 1;
        let mut row = row.clone();
        row.mod_revision = self.revision;
        let batch = Batch {
            revision: self.revision,
            changes: vec![Change::Put(row)],
        };
        self.state.apply(batch, NOW)
    }
}

/// What callers call the model `n`.
pub fn model_name(n: usize) -> String {
    format!("model-{n:06}")
}

/// A name that the wildcard model `n` covers.
pub fn covered_name(n: usize) -> String {
    format!("family-{n:06}/some-model")
}

/// What the caller key `n` is looked up by.
pub fn key_hash(n: usize) -> [u8; 32] {
    Sha256::digest(format!("sk-caller-{n}")).into()
}

/// The numbers below `count`, each once, neighbours far apart.
pub fn scattered(count: usize) -> impl Iterator<Item = usize> {
    // Prime, so that the steps meet every number of a count that it does not divide.
    const STEP: usize = 7_919;
    (0..count).map(move |at| at * STEP % count)
}

/// The row `n` of a collection, with this document.
pub fn row(collection: Collection, n: usize, document: &Value) -> StoredRow {
    StoredRow {
        key: format!("{PREFIX}/{collection}/{}", id(n)).into(),
        value: Zeroizing::new(document.to_string().into_bytes()),
        create_revision: 1,
        mod_revision: 1,
    }
}

/// As long as the ids of real rows.
fn id(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_is_served_and_found() {
        let size = Size {
            provider_keys: 2,
            models: 7,
            wildcards: 3,
            api_keys: 5,
        };
        let state = Rows(size).state();
        let snapshot = state.snapshot(1);
        assert_eq!(state.rows().count(), size.rows());
        assert!((0..7).all(|n| snapshot.resolve(&model_name(n)).is_some()));
        assert!((0..3).all(|n| snapshot.resolve(&covered_name(n)).is_some()));
        assert!((0..5).all(|n| snapshot.api_key(&key_hash(n)).is_some()));
        let mut models = snapshot.models();
        assert!(models.all(|model| snapshot.provider_key(&model.provider_key_id).is_some()));
    }

    #[test]
    fn each_version_of_a_row_is_another_configuration() {
        let rows = Rows(Size {
            provider_keys: 1,
            models: 1,
            wildcards: 0,
            api_keys: 1,
        });
        let mut store = Store::new(rows);
        for row in [
            rows.provider_key(0, 1),
            rows.model(0, 1),
            rows.api_key(0, 1),
        ] {
            assert!(store.put(&row).snapshot, "{row:?}");
            assert!(!store.put(&row).snapshot, "{row:?} again");
        }
    }

    #[test]
    fn scattered_numbers_are_all_numbers() {
        for count in [1, 10, 1_000, 100_000] {
            let met: BTreeSet<usize> = scattered(count).collect();
            assert_eq!(met.len(), count);
        }
    }
}
