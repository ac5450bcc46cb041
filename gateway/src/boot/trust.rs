//! Trust in upstreams: loaded before anything is served, and again when the files change. [boot]

use std::path::Path;
use std::sync::Arc;

use config_sync::publish::SnapshotCell;

use super::BootError;
use super::tls::{Seen, look_at};
use crate::settings::TrustSettings;
use crate::tls::upstream::UpstreamTrust;
use crate::upstream::trust::Trust;

/// The files of `upstream.tls` with what was made of them.
pub(super) struct FollowedTrust {
    pub(super) trust: Arc<Trust>,
    /// What operators are shown of it.
    pub(super) shown: Arc<UpstreamTrust>,
    settings: TrustSettings,
    /// The files as they were when they were last read, for better or worse.
    seen: Vec<Seen>,
}

impl FollowedTrust {
    /// Reads the files. `seen` is what [`files`] said before.
    ///
    /// # Errors
    ///
    /// A file that cannot be used: nothing is served then.
    pub(super) fn load(settings: &TrustSettings) -> Result<(Arc<Trust>, Vec<Seen>), BootError> {
        let seen = files(settings);
        let trust = Trust::load(settings).map_err(BootError)?;
        Ok((Arc::new(trust), seen))
    }

    /// Follows the files that `trust` was made from, as they were `seen`.
    pub(super) fn new(
        (trust, seen): (Arc<Trust>, Vec<Seen>),
        settings: &TrustSettings,
        cell: &SnapshotCell,
    ) -> Self {
        Self {
            shown: Arc::new(UpstreamTrust::new(trust.verifies(), cell.clone())),
            trust,
            settings: settings.clone(),
            seen,
        }
    }

    /// Reads the files again: at any rate, or where they have changed. What cannot be used changes
    /// nothing; it is said once for each version of the files.
    pub(super) fn reload(&mut self, at_any_rate: bool) {
        let seen = files(&self.settings);
        if at_any_rate && !self.trust.verifies() {
            tracing::warn!(
                "upstream.tls.verify is false: certificates are not verified, \
                 anybody in between can read and change the traffic"
            );
        }
        // Without files there is nothing that could have changed.
        if seen.is_empty() || (!at_any_rate && seen == self.seen) {
            return;
        }
        self.seen = seen;
        match self.trust.reload(&self.settings) {
            Ok(()) => {
                self.shown.replaced();
                tracing::info!("trust in upstreams reloaded");
            }
            Err(error) => {
                self.shown.refuse();
                tracing::error!(
                    %error,
                    "trust in upstreams cannot be reloaded; the former one stays in use"
                );
            }
        }
    }
}

fn files(settings: &TrustSettings) -> Vec<Seen> {
    let identity = settings.identity.iter();
    let identity = identity.flat_map(|pair| [&pair.cert_file, &pair.key_file]);
    let files = settings.ca_file.iter().chain(identity);
    files.map(|file| look_at(Path::new(file))).collect()
}
