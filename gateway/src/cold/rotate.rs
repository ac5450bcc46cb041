//! An append-only file that is set aside when it is full. [cold]

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

/// How a log file is kept.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// The file being written; older ones get `.1`, `.2`, … appended.
    pub path: PathBuf,
    /// A file larger than this is set aside. Default 256 MiB; 0 never.
    pub bytes_max: u64,
    /// Older files kept. Default 5; 0 keeps none.
    pub keep: u32,
}

impl FileOptions {
    /// The defaults, for `path`.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            bytes_max: 256 << 20,
            keep: 5,
        }
    }

    fn aside(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

/// The file.
#[derive(Debug)]
pub struct RotatingFile {
    options: FileOptions,
    file: File,
    bytes: u64,
}

impl RotatingFile {
    /// Opens it for appending, made if need be.
    ///
    /// # Errors
    ///
    /// When it cannot be opened: at boot this is the operator's to correct.
    pub fn open(options: FileOptions) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&options.path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            options,
            file,
            bytes,
        })
    }

    /// Appends whole lines; sets the file aside first if they would not fit.
    ///
    /// # Errors
    ///
    /// When writing fails. A failed rotation is no error: the file grows on.
    pub fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let after = self.bytes.saturating_add(lines.len() as u64);
        if self.options.bytes_max > 0 && self.bytes > 0 && after > self.options.bytes_max {
            let _ = self.rotate();
        }
        self.file.write_all(lines)?;
        self.bytes = self.bytes.saturating_add(lines.len() as u64);
        Ok(())
    }

    /// Opens the path anew, for programs that move the file away and then send SIGHUP.
    ///
    /// # Errors
    ///
    /// When it cannot be opened: the old file stays in use.
    pub fn reopen(&mut self) -> io::Result<()> {
        *self = Self::open(self.options.clone())?;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.options.keep == 0 {
            self.file.set_len(0)?;
            self.bytes = 0;
            return Ok(());
        }
        for number in (1..self.options.keep).rev() {
            let older = self.options.aside(number);
            if older.exists() {
                std::fs::rename(older, self.options.aside(number + 1))?;
            }
        }
        std::fs::rename(&self.options.path, self.options.aside(1))?;
        self.reopen()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &tempfile::TempDir, keep: u32) -> RotatingFile {
        let path = dir.path().join("log");
        RotatingFile::open(FileOptions {
            path,
            bytes_max: 4,
            keep,
        })
        .unwrap()
    }

    fn read(dir: &tempfile::TempDir, name: &str) -> Option<String> {
        std::fs::read_to_string(dir.path().join(name)).ok()
    }

    #[test]
    fn full_files_move_up_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = open(&dir, 2);
        for line in ["aaa\n", "bbb\n", "ccc\n", "ddd\n"] {
            file.write(line.as_bytes()).unwrap();
        }
        let names = ["log", "log.1", "log.2", "log.3"];
        let want = [Some("ddd\n"), Some("ccc\n"), Some("bbb\n"), None];
        assert_eq!(
            names.map(|name| read(&dir, name)),
            want.map(|text| text.map(str::to_owned))
        );
    }

    #[test]
    fn nothing_is_kept_when_nothing_shall_be() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = open(&dir, 0);
        file.write(b"aaa\n").unwrap();
        file.write(b"bbb\n").unwrap();
        assert_eq!(
            (read(&dir, "log"), read(&dir, "log.1")),
            (Some("bbb\n".into()), None)
        );
    }

    #[test]
    fn the_size_of_an_existing_file_counts_and_a_long_line_is_written_whole() {
        let dir = tempfile::tempdir().unwrap();
        open(&dir, 1).write(b"aaa\n").unwrap();
        let mut file = open(&dir, 1);
        file.write(b"longer than the limit\n").unwrap();
        assert_eq!(read(&dir, "log.1").unwrap(), "aaa\n");
        assert_eq!(read(&dir, "log").unwrap(), "longer than the limit\n");
    }

    #[test]
    fn a_directory_is_refused_at_boot() {
        let dir = tempfile::tempdir().unwrap();
        assert!(RotatingFile::open(FileOptions::new(dir.path().into())).is_err());
    }
}
