//! What the store tells, taken into service. [cold]

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::Opener;
use super::cache::CacheFile;
use crate::decode::RejectionKind;
use crate::disk::{self, CachedView};
use crate::publish::Publisher;
use crate::source::store::{Batch, Listing, Sink};
use crate::state::{Changed, Hashes, Rejected, State};
use crate::status::{ConfigStatus, Origin, Update};

/// Least time between two hashings after single changes.
const HASH_PAUSE_MIN: Duration = Duration::from_secs(1);
/// The pause is at least so many times what hashing took: at most 0.5 % of a core.
const HASH_PAUSE_FACTOR: u32 = 200;

/// The one writer of the configuration.
pub(super) struct Loader {
    prefix: Box<str>,
    state: State,
    publisher: Publisher,
    status: ConfigStatus,
    cache: Option<CacheFile>,
    /// The cache on disk is out of date.
    unstored: bool,
    /// The hashes told are out of date.
    unhashed: bool,
    /// Nothing is hashed before.
    hash_not_before: Instant,
}

impl Loader {
    pub(super) fn new(
        prefix: &str,
        opener: Opener,
        publisher: Publisher,
        status: ConfigStatus,
    ) -> Self {
        Self {
            prefix: prefix.into(),
            state: State::new(prefix, opener),
            publisher,
            status,
            cache: None,
            unstored: false,
            unhashed: false,
            hash_not_before: Instant::now(),
        }
    }

    /// Takes over what the cache at `path` holds, if anything, and keeps it up to date from now on.
    pub(super) fn restore(&mut self, path: PathBuf) -> io::Result<()> {
        match disk::load(&path, &self.prefix) {
            Ok(cached) => {
                let (rows, revision) = (cached.rows.len(), cached.revision);
                let start = Instant::now();
                let changed = self
                    .state
                    .restore(cached.rows, cached.stale, revision, now());
                tracing::info!(
                    path = %path.display(),
                    rows,
                    revision,
                    "serving the configuration of the snapshot cache until the store answers"
                );
                self.take(&changed, Origin::Cache, start);
                // It is on disk already.
                self.unstored = false;
            }
            Err(miss) if miss.is_absent() => {}
            Err(miss) => {
                tracing::warn!(path = %path.display(), %miss, "the snapshot cache is not used");
            }
        }
        self.cache = CacheFile::open(path)?;
        Ok(())
    }

    /// Opens sealed values with `opener` from now on.
    pub(super) fn reopen(&mut self, opener: Opener) {
        let start = Instant::now();
        let changed = self.state.reopen(opener, now());
        // Before anything was read there is nothing to serve, and the gateway is not ready.
        if self.is_loaded() {
            self.take(&changed, Origin::Keys, start);
        }
    }

    /// Whether anything was published.
    fn is_loaded(&self) -> bool {
        self.publisher.next_generation() > 1
    }

    /// Does what can wait a little: hashing, storing, freeing.
    pub(super) fn tick(&mut self) {
        self.publisher.collect();
        if self.unhashed && Instant::now() >= self.hash_not_before {
            let hashes = self.hash();
            self.status.hashed(&hashes);
        }
        if self.unstored
            && let Some(cache) = &mut self.cache
        {
            let state = &self.state;
            self.unstored = !cache.offer(|| view(state));
        }
    }

    /// Brings the cache on disk up to date; the last thing that is done.
    pub(super) fn flush(&mut self) {
        if let Some(cache) = self.cache.take() {
            let last = self.unstored.then(|| view(&self.state));
            cache.close(last.as_ref());
        }
    }

    /// Publishes what changed, and tells of it; `arrived` is when the source told it.
    fn take(&mut self, changed: &Changed, origin: Origin, arrived: Instant) {
        // The first one is published even if it is empty: the gateway is ready then.
        let first = !self.is_loaded();
        let snapshot = (changed.snapshot || first).then(|| {
            let generation = self.publisher.next_generation();
            self.publisher.publish(self.state.snapshot(generation));
            self.publisher.current()
        });
        self.unstored |= changed.stored || origin == Origin::Listing;
        self.unhashed = true;
        let at_once = matches!(origin, Origin::Cache | Origin::Listing);
        let hashes = at_once.then(|| self.hash());
        let update = Update {
            origin,
            revision: self.state.revision(),
            config_changed: changed.config,
            hashes,
            report: changed.report.then(|| self.state.report()),
            snapshot,
        };
        self.status.updated(update, now());
        if origin == Origin::Batch {
            self.status.propagated(arrived.elapsed());
        }
        changed.rejected.iter().for_each(say_rejected);
        for warning in &changed.warnings {
            tracing::warn!("{warning}");
        }
    }

    fn hash(&mut self) -> Hashes {
        let start = Instant::now();
        let hashes = self.state.hashes();
        let end = Instant::now();
        let pause = end.saturating_duration_since(start) * HASH_PAUSE_FACTOR;
        self.hash_not_before = end + pause.max(HASH_PAUSE_MIN);
        self.unhashed = false;
        hashes
    }
}

/// The loader as the source knows it; its tick shares it on the same thread.
pub(super) struct Shared(pub(super) Rc<RefCell<Loader>>);

impl Sink for Shared {
    fn listing(&mut self, listing: Listing) {
        let (rows, revision) = (listing.rows.len(), listing.revision);
        let arrived = Instant::now();
        let mut loader = self.0.borrow_mut();
        let changed = loader.state.replace(listing, now());
        loader.take(&changed, Origin::Listing, arrived);
        tracing::info!(rows, revision, "configuration read from the store");
    }

    fn batch(&mut self, batch: Batch) {
        let arrived = Instant::now();
        let mut loader = self.0.borrow_mut();
        let changes = batch.changes.len();
        let changed = loader.state.apply(batch, now());
        loader.take(&changed, Origin::Batch, arrived);
        tracing::debug!(
            changes,
            revision = loader.state.revision(),
            "configuration changed"
        );
    }

    fn confirmed(&mut self, revision: i64) {
        let mut loader = self.0.borrow_mut();
        loader.state.confirm(revision);
        loader.status.confirmed(revision, now());
    }

    fn lost(&mut self, why: &str) {
        self.0.borrow().status.lost(now());
        tracing::warn!(
            why,
            "the configuration store is lost; serving on, and trying again"
        );
    }
}

fn say_rejected(row: &Rejected) {
    let (kind, id) = (&*row.resource_kind, &*row.resource_id);
    let (reason, message) = (row.why.kind.label(), &*row.why.message);
    let stale = row.stale_since.is_some();
    if row.why.kind == RejectionKind::UnknownKind {
        tracing::debug!(kind, id, reason, message, "a row is not served");
    } else {
        tracing::error!(
            kind,
            id,
            reason,
            message,
            serving_stale = stale,
            "a row is rejected"
        );
    }
}

fn view(state: &State) -> CachedView<'_> {
    CachedView {
        revision: state.revision(),
        rows: state.rows().collect(),
        stale: state.stale().collect(),
    }
}

/// Unix seconds.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}
