//! The rows of the store on disk, so that a restart serves before the store answers. [cold]
//!
//! The file holds credentials: it is one envelope of [`crate::seal`], under a key in a file beside it.
//! The same JSON as inside, in the open as other gateways write it, is read too.

mod format;

use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::seal::envelope::{self, is_sealed};
use crate::seal::master_key::parse_key;
use crate::seal::private_file;
use crate::seal::{DataKey, OpenError, Place, Scope, SealError};
use crate::source::store::{StaleRow, StoredRow};

/// Largest cache file, in bytes. It is held in memory about three times while it is read.
pub const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Largest key file, in bytes: 64 hex digits, with room for blanks.
const KEY_BYTES_MAX: u64 = 1024;
/// Name of the key's file, in the directory of the cache.
const KEY_FILE: &str = "snapshot.key";
/// Id of the one key there is.
const KEY_ID: u32 = 1;
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

const SCOPE: Scope = Scope::System;
const PLACE: Place<'static> = Place {
    kind: "snapshot",
    object: "",
    pointer: "",
};

/// What a cache file holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Cached {
    /// The store's revision that the rows are of.
    pub revision: i64,
    /// What the store held, rows that were refused among them.
    pub rows: Vec<StoredRow>,
    /// Earlier values that serve in the place of refused ones.
    pub stale: Vec<StaleRow>,
}

/// What is to be stored, borrowed from whoever holds it.
#[derive(Clone, Debug, Default)]
pub struct CachedView<'r> {
    /// As [`Cached::revision`].
    pub revision: i64,
    /// As [`Cached::rows`].
    pub rows: Vec<&'r StoredRow>,
    /// As [`Cached::stale`]: each row with its `since_unix_secs`.
    pub stale: Vec<(&'r StoredRow, u64)>,
}

impl Cached {
    /// The same, borrowed.
    pub fn view(&self) -> CachedView<'_> {
        let stale = self.stale.iter();
        CachedView {
            revision: self.revision,
            rows: self.rows.iter().collect(),
            stale: stale
                .map(|stale| (&stale.row, stale.since_unix_secs))
                .collect(),
        }
    }
}

/// Why nothing was restored. Never a reason to stop; holds nothing of the file.
#[derive(Debug)]
pub enum Miss {
    /// There is no file yet.
    Absent,
    /// The file cannot be read, or is larger than 512 MiB.
    Unreadable(io::Error),
    /// The file is sealed, and its key file cannot be read or holds no key.
    Key(String),
    /// The file is sealed, and does not open.
    Sealed(OpenError),
    /// Not of the shape of a cache file.
    Malformed {
        /// Where, in lines and columns from 1; columns are bytes.
        line: usize,
        /// See `line`.
        column: usize,
    },
    /// Of a version that is not known here.
    Version,
}

impl Miss {
    /// Whether there is just no file, as before the first start.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there is no file"),
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Self::Key(message) => f.write_str(message),
            Self::Sealed(error) => error.fmt(f),
            Self::Malformed { line, column } => {
                write!(f, "not a snapshot cache (line {line}, column {column})")
            }
            Self::Version => f.write_str("of a version that is not known here"),
        }
    }
}

impl std::error::Error for Miss {}

/// Why the cache was not stored; what was stored before is still there. Holds nothing of its content.
#[derive(Debug)]
pub enum StoreError {
    /// A file or directory cannot be written.
    Io(io::Error),
    /// The key file is there, but cannot be read or holds no key. It is never replaced.
    Key(String),
    /// The content cannot be sealed.
    Seal(SealError),
    /// The file would be larger than what is read back, 512 MiB.
    TooLarge,
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<SealError> for StoreError {
    fn from(error: SealError) -> Self {
        Self::Seal(error)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot be written: {error}"),
            Self::Key(message) => f.write_str(message),
            Self::Seal(error) => write!(f, "cannot be sealed: {error}"),
            Self::TooLarge => write!(f, "would be larger than {FILE_BYTES_MAX} bytes"),
        }
    }
}

impl std::error::Error for StoreError {}

/// The key of the cache files in one directory. Wiped when dropped; prints as `***`.
#[derive(Clone, Debug)]
pub struct SnapshotKey {
    key: DataKey,
    warning: Option<String>,
}

impl SnapshotKey {
    /// The key beside the cache at `path`. Where there is none, it is made, and the directory too.
    ///
    /// # Errors
    ///
    /// The key cannot be made, or the one that is there cannot be read.
    pub fn beside(path: &Path) -> Result<Self, StoreError> {
        if let Some(key) = Self::read(path).map_err(StoreError::Key)? {
            return Ok(key);
        }
        make_directory(path)?;
        let key = DataKey::generate()?;
        let text = hex(&key);
        if private_file::create(&key_path(path), text.as_bytes(), FILE_MODE)? {
            return Ok(Self { key, warning: None });
        }
        // Another process made one meanwhile.
        let made = Self::read(path).map_err(StoreError::Key)?;
        made.ok_or_else(|| StoreError::Key("the key file comes and goes".to_owned()))
    }

    /// Set if the mode of the key file lets others read it.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// `None` if there is no key file.
    fn read(path: &Path) -> Result<Option<Self>, String> {
        let path = key_path(path);
        let named = |what: &dyn fmt::Display| format!("its key file {}: {what}", path.display());
        let file = match private_file::read(&path, KEY_BYTES_MAX) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(named(&error)),
        };
        let key = std::str::from_utf8(&file.bytes).ok().and_then(parse_key);
        let key = key.ok_or_else(|| named(&"does not hold 32 bytes as hex"))?;
        let (key, warning) = (
            DataKey::from(key),
            file.warning.map(|warning| named(&warning)),
        );
        Ok(Some(Self { key, warning }))
    }
}

/// Makes the directory that `path` is in, and those above it, where there is none.
fn make_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(DIRECTORY_MODE);
    builder.create(private_file::directory(path))
}

fn key_path(cache: &Path) -> PathBuf {
    private_file::directory(cache).join(KEY_FILE)
}

fn hex(key: &DataKey) -> Zeroizing<String> {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    let mut text = Zeroizing::new(String::with_capacity(2 * key.bytes().len() + 1));
    for byte in key.bytes() {
        text.extend([digit(byte >> 4), digit(byte & 15)]);
    }
    text.push('\n');
    text
}

/// The content of a cache file: one envelope, which holds no plaintext.
///
/// Takes time and memory in proportion to the rows; needs no file, so that only this part has to borrow
/// them.
///
/// # Errors
///
/// [`StoreError::Seal`] and [`StoreError::TooLarge`].
pub fn seal(view: &CachedView<'_>, key: &SnapshotKey) -> Result<String, StoreError> {
    let text = envelope::seal(KEY_ID, &key.key, &SCOPE, &PLACE, &format::encode(view))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(StoreError::TooLarge);
    }
    Ok(text)
}

/// Puts what [`seal`] made at `path`, whole or not at all, on disk once this returns. Blocks on the disk.
///
/// The file has mode 0600; a directory that has to be made has 0700.
///
/// # Errors
///
/// [`StoreError::Io`].
pub fn write(path: &Path, sealed: &str) -> Result<(), StoreError> {
    make_directory(path)?;
    Ok(private_file::replace(path, sealed.as_bytes(), FILE_MODE)?)
}

/// [`seal`], then [`write()`].
///
/// # Errors
///
/// [`StoreError`].
pub fn store(path: &Path, view: &CachedView<'_>, key: &SnapshotKey) -> Result<(), StoreError> {
    write(path, &seal(view, key)?)
}

/// Reads the cache at `path`, sealed or in the open. Rows outside `<prefix>/` are left out.
///
/// # Errors
///
/// [`Miss`]: none of these is a failure of the gateway, which then waits for the store.
pub fn load(path: &Path, prefix: &str) -> Result<Cached, Miss> {
    let file = match private_file::read(path, FILE_BYTES_MAX) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Miss::Absent),
        Err(error) => return Err(Miss::Unreadable(error)),
    };
    match std::str::from_utf8(&file.bytes) {
        Ok(text) if is_sealed(text) => {
            let key = SnapshotKey::read(path).map_err(Miss::Key)?;
            let key =
                key.ok_or_else(|| Miss::Key(format!("its key file {KEY_FILE} is missing")))?;
            let key = |id| (id == KEY_ID).then_some(&key.key);
            let plain = envelope::open_with(key, &SCOPE, &PLACE, text.trim_ascii_end());
            drop(file);
            format::decode(&plain.map_err(Miss::Sealed)?, prefix)
        }
        _ => format::decode(&file.bytes, prefix),
    }
}

#[cfg(test)]
mod tests;
