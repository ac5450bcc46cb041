//! The TLS of one listener while the process runs. [bridge]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use rustls::ServerConfig;

use super::handshakes::Handshakes;
use super::material::{Material, Shown};

/// What handshakes of one listener use, swapped as a whole: connections that are open keep theirs.
#[derive(Debug)]
pub struct TlsListener {
    /// Value of `listener` in metrics.
    pub name: &'static str,
    /// Those of the cold side; workers count in their shards.
    pub handshakes: Handshakes,
    current: ArcSwap<Material>,
    reloads: AtomicU64,
    refused: AtomicU64,
}

impl TlsListener {
    /// Presents `material`.
    pub(crate) fn new(name: &'static str, material: Material) -> Self {
        Self {
            name,
            handshakes: Handshakes::default(),
            current: ArcSwap::from_pointee(material),
            reloads: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// For a handshake that begins now.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// Presents `material` from here on.
    pub(crate) fn replace(&self, material: Material) {
        self.current.store(Arc::new(material));
        self.reloads.fetch_add(1, Relaxed);
    }

    /// Counts files that could not be used.
    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// The certificates presented.
    pub(crate) fn certificates(&self) -> Vec<Shown> {
        self.current.load().certificates.clone()
    }

    /// Changed files taken, and refused.
    pub(crate) fn reloads(&self) -> (u64, u64) {
        (self.reloads.load(Relaxed), self.refused.load(Relaxed))
    }
}
