//! The two hashes of a configuration: what the store holds, and what is served. [pure]

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::row::{Body, Row};

/// SHA-256 over rows in ascending key order, each `key`, 0x00, canonical JSON, 0x0A.
///
/// The two are equal exactly when nothing is rejected.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Hashes {
    /// Of every row of the store.
    pub source: [u8; 32],
    /// Of what is served: last good bytes for stale rows, nothing for rows that are not served.
    pub config: [u8; 32],
}

impl Hashes {
    /// Hashes `rows`, which come by ascending key. Costs one pass over their bytes, two where a row
    /// is rejected.
    pub(super) fn of<'r>(rows: impl Iterator<Item = (&'r Arc<str>, &'r Row)> + Clone) -> Self {
        let source = of_bodies(rows.clone().map(|(key, row)| (key, &row.newest)));
        let differs = |row: &Row| {
            row.hashed()
                .is_none_or(|body| !std::ptr::eq(body, &row.newest))
        };
        let config = if rows.clone().any(|(_, row)| differs(row)) {
            of_bodies(rows.filter_map(|(key, row)| Some((key, row.hashed()?))))
        } else {
            source
        };
        Self { source, config }
    }

    /// Lower-case hex of the store's hash.
    pub fn source_hex(&self) -> String {
        hex(&self.source)
    }

    /// Lower-case hex of the hash of what is served.
    pub fn config_hex(&self) -> String {
        hex(&self.config)
    }
}

impl fmt::Debug for Hashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hashes")
            .field("source", &self.source_hex())
            .field("config", &self.config_hex())
            .finish()
    }
}

fn of_bodies<'r>(bodies: impl Iterator<Item = (&'r Arc<str>, &'r Body)>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for (key, body) in bodies {
        hasher.update(key.as_bytes());
        hasher.update([0]);
        hasher.update(body.canonical());
        hasher.update(b"\n");
    }
    hasher.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    let digits = b"0123456789abcdef";
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles
        .map(|nibble| char::from(digits[usize::from(nibble)]))
        .collect()
}
