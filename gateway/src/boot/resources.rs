//! The resources file: loaded at boot, again at SIGHUP, served only whole. [boot]

use std::path::PathBuf;
use std::time::SystemTime;

use config_sync::publish::Publisher;
use config_sync::source::{LoadContext, LoadError, LoadErrorKind, file};

use crate::bridge::config_status::{ConfigStatus, FailureKind, Loaded, ModelRow};

/// Where the resources come from.
#[derive(Debug)]
pub(super) struct ResourcesFile {
    path: PathBuf,
}

impl ResourcesFile {
    /// The file at `path`.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Loads the file and swaps its snapshot in.
    ///
    /// # Errors
    ///
    /// Anything wrong with the file: then what was served before is served on.
    pub(super) fn load(
        &self,
        publisher: &mut Publisher,
        status: &ConfigStatus,
    ) -> Result<(), LoadError> {
        let now = SystemTime::now();
        let now_unix_s = unix_seconds(now);
        let previous = publisher.current();
        let context = LoadContext {
            env: &|name| std::env::var(name).ok(),
            generation: publisher.next_generation(),
            loaded_at: now,
            previous: Some(&previous),
        };
        let loaded = match file::load(&self.path, &context) {
            Ok(loaded) => loaded,
            Err(error) => {
                status.failed(
                    failure_kind(error.kind),
                    &error.to_string(),
                    None,
                    now_unix_s,
                );
                return Err(error);
            }
        };
        for warning in loaded.snapshot.warnings() {
            tracing::warn!("{warning}");
        }
        let models = loaded.snapshot.models().map(|model| ModelRow {
            id: model.id.clone(),
            display_name: model.display_name.clone(),
        });
        let applied = Loaded {
            hash: hex(&loaded.file_sha256),
            counts: loaded.counts.clone(),
            models: models.collect(),
        };
        publisher.publish(loaded.snapshot);
        status.loaded(applied, now_unix_s);
        Ok(())
    }

    /// Loads the file again and says how it went.
    pub(super) fn reload(&self, publisher: &mut Publisher, status: &ConfigStatus) {
        match self.load(publisher, status) {
            Ok(()) => tracing::info!(
                path = %self.path.display(),
                generation = publisher.current().generation(),
                "resources file reloaded"
            ),
            Err(error) => tracing::warn!("resources file reload failed; serving on: {error}"),
        }
    }
}

fn failure_kind(kind: LoadErrorKind) -> FailureKind {
    match kind {
        LoadErrorKind::Fetch => FailureKind::Fetch,
        LoadErrorKind::NonJson => FailureKind::NonJson,
        LoadErrorKind::ParseFailed => FailureKind::ParseFailed,
        LoadErrorKind::SchemaFailed => FailureKind::SchemaFailed,
    }
}

fn unix_seconds(at: SystemTime) -> i64 {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
