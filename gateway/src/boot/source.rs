//! The one source of resources, running: a file, or a store that is followed. [boot]

use config_sync::publish::{Publisher, SnapshotCell};
use config_sync::seal::OpenSecrets;
use config_sync::snapshot::Snapshot;
use config_sync::source::etcd;
use config_sync::status::ConfigStatus;
use config_sync::thread::{Opener, SyncOptions, SyncThread};

use super::resources::ResourcesFile;
use super::{BootError, because};
use crate::settings::{SecretsSettings, Settings, SourceSettings, store};

/// Where resources come from.
pub(super) enum Source {
    /// A file, loaded on this thread.
    File {
        file: ResourcesFile,
        publisher: Publisher,
        secrets: SecretsSettings,
        env_id: Box<str>,
    },
    /// A store, followed by a thread of its own.
    Store {
        thread: SyncThread,
        secrets: SecretsSettings,
        env_id: Box<str>,
    },
}

impl Source {
    /// Loads the file, or takes over what the store's cache kept and starts to follow the store.
    ///
    /// # Errors
    ///
    /// A file with any problem; files named by the settings that cannot be read. A store that cannot
    /// be reached is none: the gateway serves what it has, and keeps trying.
    pub(super) fn start(
        settings: &Settings,
        status: &ConfigStatus,
    ) -> Result<(Self, SnapshotCell), BootError> {
        match &settings.source {
            SourceSettings::File(path) => {
                let (mut publisher, cell) = Publisher::new(Snapshot::empty());
                let sealer = opener(&settings.secrets, &settings.env_id).map_err(BootError)?;
                let file = ResourcesFile::new(path.clone(), settings.resources_file_watch, sealer);
                file.load(&mut publisher, status)
                    .map_err(|error| BootError(error.to_string()))?;
                let source = Self::File {
                    file,
                    publisher,
                    secrets: settings.secrets.clone(),
                    env_id: settings.env_id.clone(),
                };
                Ok((source, cell))
            }
            SourceSettings::Etcd(etcd) => {
                let options = SyncOptions {
                    etcd: store::etcd_options(etcd),
                    opener: opener(&settings.secrets, &settings.env_id).map_err(BootError)?,
                    cache: settings.snapshot_cache.clone(),
                };
                etcd::check(&options.etcd).map_err(|error| BootError(error.to_string()))?;
                let (thread, cell) = SyncThread::start(options, status.clone())
                    .map_err(|error| because("sync thread", error))?;
                let source = Self::Store {
                    thread,
                    secrets: settings.secrets.clone(),
                    env_id: settings.env_id.clone(),
                };
                Ok((source, cell))
            }
            SourceSettings::Managed(_) => Err(BootError(
                "this version reads its resources from a file or from etcd".to_owned(),
            )),
        }
    }

    /// The name in status answers.
    pub(super) fn kind(settings: &Settings) -> &'static str {
        match settings.source {
            SourceSettings::File(_) => "file",
            SourceSettings::Etcd(_) | SourceSettings::Managed(_) => "etcd",
        }
    }

    /// SIGHUP: the file again, or the store from the start; key rings and TLS files are read anew.
    pub(super) fn reload(&mut self, status: &ConfigStatus) {
        let (Self::File {
            secrets, env_id, ..
        }
        | Self::Store {
            secrets, env_id, ..
        }) = &*self;
        let opener = match opener(secrets, env_id) {
            Ok(opener) => opener,
            Err(error) => {
                tracing::warn!("the key ring cannot be read; nothing is reloaded: {error}");
                return;
            }
        };
        match self {
            Self::File {
                file, publisher, ..
            } => {
                file.reopen(opener);
                file.reload(publisher, status);
            }
            Self::Store { thread, .. } => {
                tracing::info!("reading the configuration store again from the start");
                thread.resync(opener);
            }
        }
    }

    /// Called a few times per second: a watched file is loaded when it has changed.
    pub(super) fn look(&mut self, status: &ConfigStatus) {
        if let Self::File {
            file, publisher, ..
        } = self
        {
            file.reload_if_changed(publisher, status);
        }
    }

    /// Whether the thread that follows the store is still there.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::File { .. } => true,
            Self::Store { thread, .. } => !thread.is_dead(),
        }
    }

    /// Ends following; the cache on disk is brought up to date.
    pub(super) fn stop(self) {
        if let Self::Store { thread, .. } = self {
            thread.stop();
        }
    }
}

fn opener(secrets: &SecretsSettings, env_id: &str) -> Result<Opener, String> {
    let sealer = store::sealer(secrets, env_id, &mut |warning| tracing::warn!("{warning}"))?;
    Ok(sealer.map(|sealer| Box::new(sealer) as Box<dyn OpenSecrets + Send>))
}
