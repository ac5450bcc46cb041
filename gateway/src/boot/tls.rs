//! TLS of the listeners: loaded before anything is served, and again when the files change. [boot]

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use config_sync::publish::SnapshotCell;

use super::{BootError, because};
use crate::settings::{ListenerTls, Settings};
use crate::tls::listener::TlsListener;
use crate::tls::material::{self, Protocols, Tickets};
use crate::tls::rows::{Around, Rows};

/// The listener of callers.
const PROXY: &str = "proxy";
/// Time between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Every listener that speaks TLS.
pub(super) struct Listeners {
    pub(super) proxy: Option<Arc<TlsListener>>,
    pub(super) metrics: Option<Arc<TlsListener>>,
    followed: Vec<Followed>,
    tickets: Tickets,
    looked_at: Instant,
    rows: Rows,
}

/// A listener with the files that it was made from.
struct Followed {
    listener: Arc<TlsListener>,
    settings: ListenerTls,
    protocols: Protocols,
    /// The files as they were when they were last read, for better or worse.
    seen: Vec<Seen>,
}

/// What tells one version of a file from the next; `None` where there is no file.
pub(super) type Seen = Option<(u64, u64, Option<SystemTime>)>;

impl Listeners {
    /// Reads the files of every listener.
    ///
    /// # Errors
    ///
    /// A file that cannot be used: nothing is served then.
    pub(super) fn load(settings: &Settings) -> Result<Self, BootError> {
        let tickets = Tickets::new().map_err(|error| because("session tickets", error))?;
        let mut followed = Vec::new();
        let mut follow = |name, block: &str, tls: &Option<ListenerTls>, protocols| {
            let Some(tls) = tls else { return Ok(None) };
            let seen = look(tls);
            let loaded = material::load(tls, protocols, &tickets);
            let loaded = loaded.map_err(|error| because(block, error))?;
            let listener = Arc::new(TlsListener::new(name, loaded));
            followed.push(Followed {
                listener: Arc::clone(&listener),
                settings: tls.clone(),
                protocols,
                seen,
            });
            Ok::<_, BootError>(Some(listener))
        };
        let spoken = match settings.proxy.http2_streams_max {
            Some(_) => material::HTTP2,
            None => material::HTTP1,
        };
        let proxy = follow(PROXY, "proxy.tls", &settings.proxy.tls, spoken)?;
        let metrics = &settings.observability.prometheus.tls;
        let block = "observability.metrics.prometheus.tls";
        let metrics = follow("metrics", block, metrics, material::HTTP1)?;
        Ok(Self {
            proxy,
            metrics,
            followed,
            tickets,
            looked_at: now(),
            rows: Rows::default(),
        })
    }

    /// Every listener, for the metrics.
    pub(super) fn all(&self) -> Vec<Arc<TlsListener>> {
        let listeners = self.followed.iter();
        listeners
            .map(|followed| Arc::clone(&followed.listener))
            .collect()
    }

    /// Has the proxy listener present what the rows of the current snapshot say. What cannot be used
    /// changes nothing, and is said.
    pub(super) fn follow_rows(&mut self, cell: &SnapshotCell) {
        let proxy = self.followed.iter().find(|one| one.listener.name == PROXY);
        let Some(Followed {
            listener,
            settings,
            protocols,
            ..
        }) = proxy
        else {
            return;
        };
        let around = Around {
            settings,
            protocols,
            tickets: &self.tickets,
        };
        let Some((named, faults)) = self.rows.follow(&cell.current(), &around) else {
            return;
        };
        for fault in faults {
            listener.refuse();
            tracing::error!(listener = listener.name, %fault, "a certificate cannot be used");
        }
        listener.name(named);
    }

    /// Called a few times per second: files that have changed are read, every [`LOOK_EVERY`]. Tells
    /// whether it was time for that.
    pub(super) fn look(&mut self) -> bool {
        let now = now();
        let is_time = now.saturating_duration_since(self.looked_at) >= LOOK_EVERY;
        if is_time {
            self.looked_at = now;
            self.reload(false);
        }
        is_time
    }

    /// Reads the files again: all of them, or those that have changed. What cannot be used changes
    /// nothing; it is said once for each version of the files.
    pub(super) fn reload(&mut self, all: bool) {
        for followed in &mut self.followed {
            let seen = look(&followed.settings);
            if !all && seen == followed.seen {
                continue;
            }
            followed.seen = seen;
            let listener = &followed.listener;
            match material::load(&followed.settings, followed.protocols, &self.tickets) {
                Ok(loaded) => {
                    listener.replace(loaded);
                    // Rows without roots of their own have the listener's.
                    self.rows.forget();
                    tracing::info!(listener = listener.name, "certificates reloaded");
                }
                Err(error) => {
                    listener.refuse();
                    tracing::error!(
                        listener = listener.name,
                        %error,
                        "certificates cannot be reloaded; the former ones stay in use"
                    );
                }
            }
        }
    }
}

fn look(settings: &ListenerTls) -> Vec<Seen> {
    let pairs = settings.pairs.iter();
    let files = pairs.flat_map(|pair| [&pair.cert_file, &pair.key_file]);
    let client_ca = settings.client_ca.iter().map(|client_ca| &client_ca.file);
    files.chain(client_ca).map(|file| look_at(file)).collect()
}

pub(super) fn look_at(file: &Path) -> Seen {
    let meta = std::fs::metadata(file).ok()?;
    Some((meta.ino(), meta.len(), meta.modified().ok()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the main thread has no worker's clock"
)]
fn now() -> Instant {
    Instant::now()
}
