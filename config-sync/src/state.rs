//! What a store tells, folded into rows, their last good values, and the next snapshot. [pure]
//!
//! Every row is judged alone ([`crate::decode`]), then in the order of creation against what only
//! one row may have. A row whose newest value is rejected is served from its last good one, until
//! it loads or leaves the store.
//!
//! The work of a change is proportional to the rows it touches: they are decoded once, and the
//! parts of the indexes that hold them are copied. Runs on the sync thread.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use self::claims::{Claims, Queue};
pub use self::hashes::Hashes;
pub use self::report::{ByKind, PARTIAL_MAX, PartiallyCompatible, REJECTED_MAX, Rejected, Report};
use self::report::{Reports, WHOLE, count, label};
use self::row::{Row, Standing};
pub use self::serving::SERVED;
use self::serving::Serving;
use crate::decode::{self, OpenSecrets};
use crate::snapshot::Snapshot;
pub use crate::source::store::StaleRow;
use crate::source::store::{Batch, Change, Listing, StoredRow};

mod claims;
mod hashes;
mod judge;
mod names;
mod report;
mod row;
mod serving;
mod warn;

/// What a change did.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// The next snapshot differs from the last: it is worth publishing.
    pub snapshot: bool,
    /// [`Hashes::config`] differs: another configuration is served.
    pub config: bool,
    /// What [`State::rows`] and [`State::stale`] give differs: the cache on disk is out of date.
    pub stored: bool,
    /// What [`State::report`] gives differs.
    pub report: bool,
    /// Rows rejected for a reason not told before, for the log; at most [`REJECTED_MAX`].
    pub rejected: Vec<Rejected>,
    /// Sentences for the log, each said once per process.
    pub warnings: Vec<String>,
}

/// What all changes so far cost.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Work {
    /// Documents decoded.
    pub decoded: u64,
    /// Entries of indexes copied because a snapshot shares them.
    pub copied: u64,
}

/// Everything known of a store, and what is served of it.
pub struct State {
    /// Without a `/` at its end.
    prefix: Box<str>,
    opener: Option<Box<dyn OpenSecrets + Send>>,
    rows: BTreeMap<Arc<str>, Row>,
    /// Of the last listing or batch.
    folded: i64,
    /// Of the last listing, batch or confirmation.
    revision: i64,
    claims: Claims,
    serving: Serving,
    reports: Reports,
    hashes: Option<Hashes>,
    decoded: u64,
    config_changed: bool,
    stored_changed: bool,
}

/// What a batch does to one key in the end.
struct Final {
    /// The row left the store in between: nothing of it is kept.
    left: bool,
    row: Option<StoredRow>,
}

impl State {
    /// Knows nothing yet of the rows below `prefix`. Sealed values are opened by `opener`.
    pub fn new(prefix: &str, opener: Option<Box<dyn OpenSecrets + Send>>) -> Self {
        Self {
            prefix: prefix.trim_end_matches('/').into(),
            opener,
            rows: BTreeMap::new(),
            folded: 0,
            revision: 0,
            claims: Claims::default(),
            serving: Serving::default(),
            reports: Reports::default(),
            hashes: None,
            decoded: 0,
            config_changed: false,
            stored_changed: false,
        }
    }

    /// Takes over what a cache kept, rows outside the prefix aside.
    ///
    /// A stale value counts for as long as its row is there and rejected, and the value still loads.
    pub fn restore(
        &mut self,
        rows: Vec<StoredRow>,
        stale: Vec<StaleRow>,
        revision: i64,
        now_unix_s: i64,
    ) -> Changed {
        let inside = |row: &StoredRow| {
            let rest = row.key.strip_prefix(&*self.prefix);
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        let stale: HashMap<Box<str>, StaleRow> = stale
            .into_iter()
            .filter(|stale| inside(&stale.row))
            .map(|stale| (stale.row.key.clone(), stale))
            .collect();
        let rows = rows.into_iter().filter(inside).collect();
        let listing = Listing { revision, rows };
        self.take_listing(listing, stale, now_unix_s)
    }

    /// Takes everything there is. Only rows whose bytes differ from those held are decoded.
    ///
    /// The revision may be lower than before: the store was restored from a backup.
    pub fn replace(&mut self, listing: Listing, now_unix_s: i64) -> Changed {
        self.take_listing(listing, HashMap::new(), now_unix_s)
    }

    /// Takes changes, all at once: a value that is replaced in the same batch never serves.
    ///
    /// A batch from before the last one or the listing changes nothing, nor does a value older than
    /// the one held. A batch that a confirmation has overtaken counts: stores may confirm too early.
    pub fn apply(&mut self, batch: Batch, now_unix_s: i64) -> Changed {
        if batch.revision < self.folded {
            return Changed::default();
        }
        self.folded = batch.revision;
        self.confirm(batch.revision);
        let mut finals: BTreeMap<Box<str>, Final> = BTreeMap::new();
        for change in batch.changes {
            match change {
                Change::Put(row) if self.is_outdated(&row) => {}
                Change::Put(row) => {
                    let entry = finals.entry(row.key.clone());
                    let slot = entry.or_insert(Final {
                        left: false,
                        row: None,
                    });
                    slot.row = Some(row);
                }
                Change::Delete { key } => {
                    finals.insert(
                        key,
                        Final {
                            left: true,
                            row: None,
                        },
                    );
                }
            }
        }
        let mut queue = Queue::new();
        for (key, last) in finals {
            let before = if last.left {
                self.forget(&key, &mut queue)
            } else {
                None
            };
            if let Some(row) = last.row {
                self.take(row, None, now_unix_s, &mut queue);
            }
            match self.rows.get_mut(&*key) {
                Some(row) if last.left => row.served = before,
                Some(_) => {}
                None => self.config_changed |= before.is_some(),
            }
        }
        self.settle(queue, now_unix_s)
    }

    /// The store confirmed that nothing below the prefix changed up to `revision`.
    pub fn confirm(&mut self, revision: i64) {
        self.revision = self.revision.max(revision);
    }

    /// Opens sealed values with `opener` from now on, and reads every row again.
    ///
    /// Last good values stay as they were read: they are served whatever the new opener can open.
    pub fn reopen(
        &mut self,
        opener: Option<Box<dyn OpenSecrets + Send>>,
        now_unix_s: i64,
    ) -> Changed {
        self.opener = opener;
        let mut queue = Queue::new();
        let held: Vec<(Arc<str>, StoredRow)> = self
            .rows
            .iter()
            .map(|(key, row)| (Arc::clone(key), row.newest.stored.clone()))
            .collect();
        for (key, stored) in held {
            self.enter(&key, stored, None, now_unix_s, &mut queue);
        }
        self.settle(queue, now_unix_s)
    }

    /// A snapshot of what is served. Costs a few pointers: it shares the indexes.
    pub fn snapshot(&self, generation: u64) -> Snapshot {
        self.serving.snapshot(generation)
    }

    /// The store's revision of all this.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Every row of the store by ascending key, rejected ones too.
    pub fn rows(&self) -> impl Iterator<Item = &StoredRow> {
        self.rows.values().map(|row| &row.newest.stored)
    }

    /// The last good value of each row whose newest one is rejected, by ascending key, with the Unix
    /// second of the first rejection.
    pub fn stale(&self) -> impl Iterator<Item = (&StoredRow, u64)> {
        let pins = self.rows.values().filter_map(|row| row.pin.as_ref());
        pins.filter_map(|pin| Some((&pin.body.stored, pin.since?.try_into().unwrap_or(0))))
    }

    /// The hashes of the store and of what is served: one pass over all bytes after a change, else
    /// as computed before.
    pub fn hashes(&mut self) -> Hashes {
        *self
            .hashes
            .get_or_insert_with(|| Hashes::of(self.rows.iter()))
    }

    /// What the status pages show of rows.
    pub fn report(&self) -> Report {
        self.reports.report()
    }

    /// What all changes so far cost.
    pub fn work(&self) -> Work {
        Work {
            decoded: self.decoded,
            copied: self.serving.copied(),
        }
    }

    fn take_listing(
        &mut self,
        listing: Listing,
        mut stale: HashMap<Box<str>, StaleRow>,
        now_unix_s: i64,
    ) -> Changed {
        self.folded = listing.revision;
        self.revision = listing.revision;
        let mut listed: BTreeMap<Box<str>, StoredRow> = BTreeMap::new();
        for row in listing.rows {
            listed.insert(row.key.clone(), row);
        }
        let gone: Vec<Arc<str>> = self
            .rows
            .keys()
            .filter(|key| !listed.contains_key(&***key))
            .cloned()
            .collect();
        let mut queue = Queue::new();
        for key in gone {
            let served = self.forget(&key, &mut queue);
            self.config_changed |= served.is_some();
        }
        for (key, row) in listed {
            self.take(row, stale.remove(&key), now_unix_s, &mut queue);
        }
        self.settle(queue, now_unix_s)
    }

    fn is_outdated(&self, row: &StoredRow) -> bool {
        let held = self.rows.get(&*row.key);
        held.is_some_and(|held| row.mod_revision < held.newest.stored.mod_revision)
    }

    /// Takes the value of a row; `stale`: a last good one that a cache kept.
    fn take(
        &mut self,
        stored: StoredRow,
        stale: Option<StaleRow>,
        now_unix_s: i64,
        queue: &mut Queue,
    ) {
        let Some((key, held)) = self.rows.get_key_value(&*stored.key) else {
            let key: Arc<str> = (&*stored.key).into();
            return self.enter(&key, stored, stale, now_unix_s, queue);
        };
        let key = Arc::clone(key);
        if held.newest.stored.value != stored.value {
            return self.enter(&key, stored, stale, now_unix_s, queue);
        }
        let moved = held.newest.stored.create_revision != stored.create_revision;
        let rejected = matches!(held.standing, Standing::Unserved | Standing::Pinned);
        if held.newest.stored.mod_revision != stored.mod_revision || moved {
            self.move_to(&key, &stored, queue);
        }
        // A rejected row is seen again; one created anew may gain or lose what it claims.
        if moved || rejected {
            queue.extend(self.rows.get(&key).map(|row| row.order(&key)));
        }
    }

    /// The same bytes at other revisions.
    fn move_to(&mut self, key: &Arc<str>, stored: &StoredRow, queue: &mut Queue) {
        let Some(row) = self.rows.get_mut(key) else {
            return;
        };
        let (before, created) = (row.order(key), stored.create_revision);
        row.newest.stored.mod_revision = stored.mod_revision;
        row.newest.stored.create_revision = created;
        self.stored_changed = true;
        if before.created != created {
            let sought = [row.claims(), row.pinned_claims()].concat();
            self.claims.leave(&sought, &before, queue);
            row.held.clear();
            self.claims.seek(sought, &row.order(key));
        }
    }

    /// A row with bytes that are not held yet.
    fn enter(
        &mut self,
        key: &Arc<str>,
        stored: StoredRow,
        stale: Option<StaleRow>,
        now_unix_s: i64,
        queue: &mut Queue,
    ) {
        let opener = self
            .opener
            .as_deref()
            .map(|opener| opener as &dyn OpenSecrets);
        let mut row = Row::new(stored, &self.prefix, opener, now_unix_s);
        self.decoded += u64::from(row.place.is_some());
        if let Some(old) = self.rows.remove(key) {
            let sought = [old.claims(), old.pinned_claims()].concat();
            self.claims.leave(&sought, &old.order(key), queue);
            row.succeed(old);
        }
        if let (Some(stale), Some(place)) = (stale, &row.place) {
            let since = stale.since_unix_secs.try_into().unwrap_or(i64::MAX);
            row.pin = row::restored_pin(stale.row, since, place, opener);
            self.decoded += 1;
        }
        let order = row.order(key);
        self.claims.seek(row.claims(), &order);
        self.claims.seek(row.pinned_claims(), &order);
        queue.insert(order);
        self.rows.insert(Arc::clone(key), row);
        self.stored_changed = true;
    }

    /// The row at `key` left the store. Gives the digest of what was served of it.
    fn forget(&mut self, key: &str, queue: &mut Queue) -> Option<[u8; 32]> {
        let (key, row) = self.rows.remove_entry(key)?;
        let sought = [row.claims(), row.pinned_claims()].concat();
        self.claims.leave(&sought, &row.order(&key), queue);
        self.clear(&key, &row);
        self.stored_changed = true;
        row.served
    }

    /// Takes back everything that indexes and reports hold of a row.
    fn clear(&mut self, key: &Arc<str>, row: &Row) {
        self.reports.lift(key);
        if let (Some(place), Some(shown)) = (&row.place, &row.shown) {
            self.serving.remove(place, shown, &mut self.reports);
        }
        let Ok(parts) = decode::split_key(&self.prefix, key) else {
            return;
        };
        match row.reported {
            Standing::Pinned => {
                count(
                    &mut self.reports.stale_by_kind,
                    label(parts.collection),
                    false,
                );
                self.reports.touch();
            }
            Standing::PassedOver => {
                self.reports
                    .forget(parts.collection, &parts.id.into(), WHOLE);
            }
            Standing::Newest | Standing::Unserved => {}
        }
    }
}

/// Counts only: rows hold credentials.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("prefix", &self.prefix)
            .field("revision", &self.revision)
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
