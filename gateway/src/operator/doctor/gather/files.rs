//! Modes and dates of the files that the settings name. [boot]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::super::facts::{Certificate, Holds, Mode, NamedFile};
use crate::settings::Identity;
use crate::tls::{facts, files};

/// Files of the settings, each once.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) files: Vec<NamedFile>,
    pub(super) certificates: Vec<Certificate>,
}

impl Named {
    pub(super) fn file(&mut self, setting: &str, path: &Path, holds: Holds) {
        if self.files.iter().any(|known| known.path == path) {
            return;
        }
        self.files.push(NamedFile {
            setting: setting.to_owned(),
            path: path.to_owned(),
            holds,
            found: mode(path),
        });
    }

    /// A certificate with its key; `keys` are their names below `block`.
    pub(super) fn pair(&mut self, block: &str, keys: [&str; 2], pair: &Identity) {
        let [cert, key] = keys.map(|key| format!("{block}.{key}"));
        self.file(&key, &pair.key_file, Holds::Secret);
        self.authority(&cert, &pair.cert_file);
    }

    /// Certificates.
    pub(super) fn authority(&mut self, setting: &str, path: &Path) {
        if self.certificates.iter().any(|known| known.path == path) {
            return;
        }
        self.file(setting, path, Holds::Public);
        self.certificates.push(Certificate {
            setting: setting.to_owned(),
            path: path.to_owned(),
            time: time(path),
        });
    }
}

fn mode(path: &Path) -> Result<Mode, String> {
    let meta = fs::metadata(path).map_err(|error| error.to_string())?;
    Ok(Mode {
        bits: meta.mode() & 0o777,
        owner: meta.uid(),
    })
}

/// When all certificates of the file are valid.
fn time(path: &Path) -> Result<(i64, i64), String> {
    let mut within = (i64::MIN, i64::MAX);
    for certificate in files::certificates(path)? {
        let facts = facts::facts(&certificate)
            .ok_or_else(|| format!("{} holds no valid certificate", path.display()))?;
        within = (
            within.0.max(facts.not_before),
            within.1.min(facts.not_after),
        );
    }
    Ok(within)
}
