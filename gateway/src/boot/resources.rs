//! The resources file: loaded at boot, again at SIGHUP, served only whole. [boot]

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use config_sync::publish::Publisher;
use config_sync::source::{LoadContext, LoadError, LoadErrorKind, file};
use config_sync::thread::Opener;

use config_sync::status::{ConfigStatus, FailureKind, Loaded, ModelRow};

/// Where the resources come from.
pub(super) struct ResourcesFile {
    path: PathBuf,
    /// What opens sealed values.
    opener: Opener,
    /// Where the file is watched: how it looked when it was last read, and at the last look.
    watched: Option<(Looks, Looks)>,
}

/// Tells one state of a file from another: inode, length, and time of the last change.
type Looks = Option<(u64, u64, i64, i64)>;

impl ResourcesFile {
    /// The file at `path`; its sealed values are opened by `opener`.
    pub(super) fn new(path: PathBuf, watch: bool, opener: Opener) -> Self {
        let looks = looks(&path);
        Self {
            path,
            opener,
            watched: watch.then_some((looks, looks)),
        }
    }

    /// Opens sealed values with `opener` from now on.
    pub(super) fn reopen(&mut self, opener: Opener) {
        self.opener = opener;
    }

    /// Loads the file again if it is watched, has changed, and has come to rest since the last look.
    pub(super) fn reload_if_changed(&mut self, publisher: &mut Publisher, status: &ConfigStatus) {
        let Some((read, last)) = &mut self.watched else {
            return;
        };
        let now = looks(&self.path);
        let at_rest = std::mem::replace(last, now) == now;
        if at_rest && *read != now && now.is_some() {
            *read = now;
            self.reload(publisher, status);
        }
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
            opener: self.opener.as_deref().map(|opener| opener as _),
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
            kind: model.kind.name(),
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

/// `None` where there is no file.
fn looks(path: &Path) -> Looks {
    use std::os::unix::fs::MetadataExt;
    let data = std::fs::metadata(path).ok()?;
    Some((data.ino(), data.len(), data.mtime(), data.mtime_nsec()))
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
