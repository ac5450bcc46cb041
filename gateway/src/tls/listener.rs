//! The TLS of one listener while the process runs. [bridge]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use rustls::ServerConfig;

use super::handshakes::Handshakes;
use super::material::{Material, Shown};
use super::rows::Named;

/// What handshakes of one listener use, swapped as a whole: connections that are open keep theirs.
#[derive(Debug)]
pub struct TlsListener {
    /// Value of `listener` in metrics.
    pub name: &'static str,
    /// Those of the cold side; workers count in their shards.
    pub handshakes: Handshakes,
    current: ArcSwap<Material>,
    named: ArcSwap<Named>,
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
            named: ArcSwap::default(),
            reloads: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// For a handshake that begins now.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// Whether it takes the name that a client asks for to begin a handshake.
    pub(crate) fn depends_on_name(&self) -> bool {
        !self.named.load().is_empty() || !self.current.load().has_own()
    }

    /// For a handshake with a client that asks for `name`: that of a row, else the listener's own;
    /// `None` where it has none.
    pub(crate) fn config_for(&self, name: Option<&str>) -> Option<Arc<ServerConfig>> {
        let named = self.named.load();
        if let Some(config) = name.and_then(|name| named.config(name)) {
            return Some(Arc::clone(config));
        }
        let current = self.current.load();
        current.has_own().then(|| Arc::clone(&current.config))
    }

    /// Presents what `named` has for its names from here on.
    pub(crate) fn name(&self, named: Named) {
        self.named.store(Arc::new(named));
        self.reloads.fetch_add(1, Relaxed);
    }

    /// Presents `material` from here on.
    pub(crate) fn replace(&self, material: Material) {
        self.current.store(Arc::new(material));
        self.reloads.fetch_add(1, Relaxed);
    }

    /// Counts a change that could not be used.
    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// The certificates presented.
    pub(crate) fn certificates(&self) -> Vec<Shown> {
        let mut all = self.current.load().certificates.clone();
        all.extend_from_slice(&self.named.load().shown);
        all
    }

    /// Changes taken, and refused.
    pub(crate) fn reloads(&self) -> (u64, u64) {
        (self.reloads.load(Relaxed), self.refused.load(Relaxed))
    }
}
