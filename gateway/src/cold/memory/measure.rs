//! How much memory there is, and how much is used: of the control group, else of the host. [cold]
//!
//! In a control group counts what the kernel can only take back by ending a process: all that is
//! charged but the pages of files, which are dropped when memory is wanted. The access log alone
//! would otherwise fill any group. Without a limited group it is the process's resident memory,
//! against that of the host.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::param::page_size;

/// Levels of control groups that are looked at, from the process's own upwards.
const LEVELS_MAX: usize = 32;
/// What the first version of control groups says where there is no limit: the largest number of
/// whole pages, or near it.
const UNLIMITED: u64 = 1 << 62;

/// Where memory is measured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Measure {
    /// The group whose limit is met first.
    Group {
        /// Its directory.
        path: PathBuf,
        /// How its files are called.
        version: Version,
    },
    /// The process itself.
    Process,
}

/// A measure whose file stays open: it is read many times a second.
#[derive(Debug)]
pub struct Meter {
    measure: Measure,
    /// Opened by the reading; of a group that is gone it has to be opened anew.
    file: Option<File>,
}

/// What is read of the file: a few numbers.
const TEXT_BYTES_MAX: usize = 256;

impl Meter {
    /// Reads what `measure` says.
    pub fn new(measure: Measure) -> Self {
        Self {
            measure,
            file: None,
        }
    }

    /// As [`Measure::used`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn used(&mut self, mark: u64) -> io::Result<u64> {
        let mut text = [0; TEXT_BYTES_MAX];
        let read = self.read(&mut text);
        if read.is_err() {
            self.file = None;
        }
        let text = str::from_utf8(&text[..read?]);
        self.measure.told(text.unwrap_or_default(), mark)
    }

    fn read(&mut self, text: &mut [u8]) -> io::Result<usize> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(File::open(self.measure.file())?),
        };
        // The kernel writes the text anew where it is read from its beginning.
        file.read_at(text, 0)
    }
}

/// A version of control groups.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// One hierarchy per controller.
    V1,
    /// One hierarchy.
    V2,
}

impl Version {
    fn limit_file(self) -> &'static str {
        match self {
            Self::V1 => "memory.limit_in_bytes",
            Self::V2 => "memory.max",
        }
    }

    fn usage_file(self) -> &'static str {
        match self {
            Self::V1 => "memory.usage_in_bytes",
            Self::V2 => "memory.current",
        }
    }

    /// Lines of `memory.stat` with pages of files, bytes. Those of shared memory are not among them.
    fn file_pages(self) -> [&'static str; 2] {
        match self {
            Self::V1 => ["total_inactive_file ", "total_active_file "],
            Self::V2 => ["inactive_file ", "active_file "],
        }
    }
}

impl Measure {
    /// What bounds this process, and how much that is: the smallest limit of its control groups,
    /// else the memory of the host.
    ///
    /// # Errors
    ///
    /// `/proc` does not say how much memory the host has.
    pub fn find() -> io::Result<(Self, u64)> {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        if let Some(found) = in_groups(&groups, Path::new("/sys/fs/cgroup")) {
            return Ok(found);
        }
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        let total = host_bytes(&meminfo).ok_or(io::ErrorKind::InvalidData)?;
        Ok((Self::Process, total))
    }

    /// Bytes in use. What lies below `mark` may be told too high: pages of files are only looked at
    /// where they decide.
    ///
    /// # Errors
    ///
    /// The kernel's file cannot be read, or says no number.
    pub fn used(&self, mark: u64) -> io::Result<u64> {
        self.told(&fs::read_to_string(self.file())?, mark)
    }

    /// The file that says it.
    fn file(&self) -> PathBuf {
        match self {
            Self::Group { path, version } => path.join(version.usage_file()),
            Self::Process => "/proc/self/statm".into(),
        }
    }

    /// What `text`, read of [`Measure::file`], says.
    fn told(&self, text: &str, mark: u64) -> io::Result<u64> {
        let number = |word: Option<&str>| {
            let number = word.and_then(|word| word.parse::<u64>().ok());
            number.ok_or(io::ErrorKind::InvalidData)
        };
        let mut words = text.split_ascii_whitespace();
        let Self::Group { path, version } = self else {
            let pages = number(words.nth(1))?;
            return Ok(pages.saturating_mul(page_size() as u64));
        };
        let charged = number(words.next())?;
        if charged < mark / 2 {
            return Ok(charged);
        }
        let stat = fs::read_to_string(path.join("memory.stat"))?;
        Ok(charged.saturating_sub(file_bytes(&stat, *version)))
    }

    /// What it is, for the log.
    pub fn source(&self) -> &'static str {
        match self {
            Self::Group { .. } => "control group",
            Self::Process => "host",
        }
    }
}

/// The group with the smallest limit among those that `groups`, a `/proc/self/cgroup`, names and
/// those above them; `root` is where they are mounted.
fn in_groups(groups: &str, root: &Path) -> Option<(Measure, u64)> {
    let mut smallest: Option<(Measure, u64)> = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (root, version) = match controllers {
            "" => (root.to_owned(), Version::V2),
            names if names.split(',').any(|name| name == "memory") => {
                (root.join("memory"), Version::V1)
            }
            _ => continue,
        };
        // In a container the path may be the host's, of which only the mount is seen.
        let own = root.join(path.trim_start_matches('/'));
        let mut at = Some(if own.is_dir() { own } else { root.clone() });
        for _ in 0..LEVELS_MAX {
            let Some(group) = at.filter(|group| group.starts_with(&root)) else {
                break;
            };
            at = group.parent().map(Path::to_owned);
            let limit = number(&group.join(version.limit_file()));
            let Some(limit) = limit.filter(|limit| *limit < UNLIMITED) else {
                continue;
            };
            if smallest.as_ref().is_none_or(|(_, known)| limit < *known) {
                let path = group;
                smallest = Some((Measure::Group { path, version }, limit));
            }
        }
    }
    smallest
}

/// The number in a file; `None` where there is no file, or a word: `max`.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn file_bytes(stat: &str, version: Version) -> u64 {
    let names = version.file_pages();
    let lines = stat.lines();
    let found = lines.filter_map(|line| names.iter().find_map(|name| line.strip_prefix(name)));
    found.filter_map(|bytes| bytes.parse::<u64>().ok()).sum()
}

/// `MemTotal` of `/proc/meminfo`, bytes.
fn host_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directories below a root, each with files.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_counts_with_its_own_usage() {
        let root = tree(&[
            ("a/memory.max", "300\n"),
            ("a/memory.current", "250\n"),
            (
                "a/memory.stat",
                "anon 90\nfile 130\ninactive_file 100\nactive_file 20\nshmem 10\n",
            ),
            ("a/b/memory.max", "max\n"),
            ("a/b/memory.current", "1\n"),
        ]);
        let (measure, limit) = in_groups("0::/a/b\n", root.path()).unwrap();
        let path = root.path().join("a");
        let version = Version::V2;
        assert_eq!((&measure, limit), (&Measure::Group { path, version }, 300));
        // Far below the mark nobody asks what it is made of.
        assert_eq!(measure.used(502).unwrap(), 250);
        assert_eq!(measure.used(300).unwrap(), 130);
        let mut meter = Meter::new(measure);
        for (charged, used) in [("250\n", 130), ("260\n", 140)] {
            fs::write(root.path().join("a/memory.current"), charged).unwrap();
            assert_eq!(meter.used(300).unwrap(), used);
        }
    }

    #[test]
    fn the_first_version_is_read_too() {
        let root = tree(&[
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/x/memory.limit_in_bytes", "400\n"),
            ("memory/x/memory.usage_in_bytes", "390\n"),
            (
                "memory/x/memory.stat",
                "inactive_file 7\ntotal_inactive_file 50\ntotal_active_file 40\n",
            ),
        ]);
        let groups = "9:name=systemd:/\n4:cpu,memory:/x\n0::/\n";
        let (measure, limit) = in_groups(groups, root.path()).unwrap();
        assert_eq!((measure.used(340).unwrap(), limit), (300, 400));
        // A path of the host's, of which only the mount is there.
        let root = tree(&[("memory/memory.limit_in_bytes", "77\n")]);
        let (_, limit) = in_groups("4:memory:/docker/0123\n", root.path()).unwrap();
        assert_eq!(limit, 77);
    }

    #[test]
    fn without_a_limit_there_is_no_group() {
        let root = tree(&[
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.max", "max\n"),
        ]);
        let cases = ["4:memory:/\n0::/\n", "", "nonsense\n0:\n", "1:cpu:/a\n"];
        for groups in cases {
            assert_eq!(in_groups(groups, root.path()), None, "{groups:?}");
        }
    }

    #[test]
    fn this_process_is_measured() {
        let (_, limit) = Measure::find().unwrap();
        let used = Measure::Process.used(1).unwrap();
        assert!(used > 64 * 1024 && used < limit, "{used} of {limit}");
        assert_eq!(
            host_bytes("MemFree: 1 kB\nMemTotal:       24105 kB\n"),
            Some(24105 * 1024)
        );
        assert_eq!(host_bytes("MemTotal: much\n"), None);
        let gone = Measure::Group {
            path: "/nowhere".into(),
            version: Version::V2,
        };
        assert!(gone.used(1).is_err());
        assert!(Meter::new(gone).used(1).is_err());
        let mut meter = Meter::new(Measure::Process);
        let _before = meter.used(1).unwrap();
        let touched = vec![1_u8; 64 << 20];
        let meanwhile = meter.used(1).unwrap();
        assert!(meanwhile > touched.len() as u64, "{meanwhile}");
    }
}
