//! Files that hold keys or credentials: read with a bound, written whole and for their owner. [cold]

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// What a group or others must not have: the group may read, and nothing else.
const TOO_WIDE: u32 = 0o037;

/// The content of a file.
pub(crate) struct PrivateFile {
    /// Wiped when dropped.
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    /// Set if more than the owner may write it, or more than the group may read it.
    pub(crate) warning: Option<String>,
}

/// Reads the regular file at `path`, following links.
///
/// # Errors
///
/// Cannot be read, is not a regular file, or is larger than `bytes_max`.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<PrivateFile> {
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        let message = "is not a regular file";
        return Err(io::Error::new(ErrorKind::InvalidInput, message));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let size = metadata.len().min(bytes_max);
    // Room for all, so that growing leaves no copy of a credential behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1));
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let message = format!("is larger than {bytes_max} bytes");
        return Err(io::Error::new(ErrorKind::FileTooLarge, message));
    }
    let mode = metadata.permissions().mode() & 0o777;
    let warning = (mode & TOO_WIDE != 0)
        .then(|| format!("its mode {mode:04o} lets others at it (0440 or 0600 at most)"));
    Ok(PrivateFile { bytes, warning })
}

/// Puts a file of `mode` with `content` at `path`, whole or not at all, on disk once this returns.
///
/// What an earlier, broken off write left at `<path>.tmp` is overwritten.
///
/// # Errors
///
/// Cannot be written; `path` is as it was, unless only the last flush of its directory failed.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let temporary = write_temporary(path, content, mode)?;
    if let Err(error) = fs::rename(&temporary, path) {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    flush_directory(path)
}

/// As [`replace`], but never in the place of a file. `false` if there is one.
///
/// # Errors
///
/// Cannot be written.
pub(crate) fn create(path: &Path, content: &[u8], mode: u32) -> io::Result<bool> {
    let temporary = write_temporary(path, content, mode)?;
    // A link is refused where a rename would replace what another process has just put there.
    let created = match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        // The file system may not know links.
        Err(_) if !path.exists() => fs::rename(&temporary, path).map(|()| true),
        linked => linked.map(|()| true),
    };
    let _ = fs::remove_file(&temporary);
    flush_directory(path).and(created)
}

/// The file `<path>.tmp`, on disk with its content.
fn write_temporary(path: &Path, content: &[u8], mode: u32) -> io::Result<PathBuf> {
    let mut name = OsString::from(path);
    name.push(".tmp");
    let temporary = PathBuf::from(name);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // A new file has its mode from the start, and no link is followed to it.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)?;
    let written = file
        .write_all(content)
        // The umask may have taken the owner's own rights.
        .and_then(|()| file.set_permissions(Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    Ok(temporary)
}

/// Makes the entry of `path` last.
fn flush_directory(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}

/// The directory that `path` is in.
pub(crate) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        fs::write(directory.path().join("keys.tmp"), "left behind").unwrap();
        for (content, mode) in [("first", 0o600), ("second, longer", 0o400), ("3", 0o600)] {
            replace(&path, content.as_bytes(), mode).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            let found = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(found, mode);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_left_at_the_temporary_name_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (
            directory.path().join("keys"),
            directory.path().join("other"),
        );
        fs::write(&other, "untouched").unwrap();
        std::os::unix::fs::symlink(&other, directory.path().join("keys.tmp")).unwrap();
        replace(&path, b"secret", 0o600).unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "untouched");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
    }

    #[test]
    fn an_existing_file_is_not_created_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        assert!(create(&path, b"first", 0o600).unwrap());
        assert!(!create(&path, b"second", 0o600).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        fs::create_dir_all(path.join("not-empty")).unwrap();
        assert!(replace(&path, b"secret", 0o600).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(read(&path, 10).is_err(), "a directory is no file");
    }
}
