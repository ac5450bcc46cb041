//! What a store of rows tells: everything at one revision, then what changed. [pure]

use std::fmt;

use zeroize::Zeroizing;

/// One row of a store. The value may hold credentials: it is wiped when dropped, and not printed.
#[derive(Clone, Eq, PartialEq)]
pub struct StoredRow {
    /// The whole key, prefix included.
    pub key: Box<str>,
    /// The bytes stored there.
    pub value: Zeroizing<Vec<u8>>,
    /// The store's revision when the key came into being.
    pub create_revision: i64,
    /// The store's revision of this value.
    pub mod_revision: i64,
}

/// The last good value of a row whose newest one was rejected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StaleRow {
    /// The row as it was.
    pub row: StoredRow,
    /// Unix seconds of the first rejection.
    pub since_unix_secs: u64,
}

/// Every row below the prefix, at one revision.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The store's revision that the rows were read at.
    pub revision: i64,
    /// The rows, by key.
    pub rows: Vec<StoredRow>,
}

/// One change of a row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// The row is new or has a new value.
    Put(StoredRow),
    /// The row is gone.
    Delete {
        /// The whole key.
        key: Box<str>,
    },
}

/// Changes that took effect together and become visible together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The store's revision after them.
    pub revision: i64,
    /// The changes in the store's order.
    pub changes: Vec<Change>,
}

impl fmt::Debug for StoredRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredRow")
            .field("key", &self.key)
            .field("bytes", &self.value.len())
            .field("create_revision", &self.create_revision)
            .field("mod_revision", &self.mod_revision)
            .finish()
    }
}

/// Takes what a source tells, in order. Runs on the sync thread.
pub trait Sink {
    /// Everything was read: replaces what was known.
    fn listing(&mut self, listing: Listing);
    /// Something changed since the last listing or batch.
    fn batch(&mut self, batch: Batch);
    /// The source confirmed that nothing below the prefix changed up to `revision`.
    fn confirmed(&mut self, revision: i64);
    /// The source was lost; it is tried again. The text holds no credential.
    fn lost(&mut self, why: &str);
}
