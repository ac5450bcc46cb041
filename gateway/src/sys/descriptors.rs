//! A thread with a table of descriptors of its own. [boot]
//!
//! The threads of a process share one table. Each system call on a descriptor then counts a user of the file up and down again,
//! in memory that is cold where there are many connections; opening and closing take a lock that all threads take, and
//! making the table larger waits until every processor has passed a quiet state. A table of one thread has none of that, and a
//! limit (`RLIMIT_NOFILE`) of its own.

use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The first descriptor that is not one of the three standard ones.
const FIRST: u32 = 3;

/// Descriptors that a thread took along into a table of its own: their numbers in the table that it left.
#[derive(Debug)]
pub(crate) struct LeftBehind(Vec<RawFd>);

/// Gives the calling thread a table of its own. It holds the standard descriptors and `kept`, under the numbers that they have;
/// what others have open, and open later, is not in it.
///
/// The owners of `kept` must belong to this thread from now on: elsewhere their numbers mean what [`LeftBehind`] says.
///
/// # Errors
///
/// A kernel before 5.9, or a sandbox that does not know `close_range`: the table is the shared one as before.
///
/// # Source
///
/// `close_range(2)`; `__fget_light` and `expand_fdtable` of the kernel's `fs/file.c` for what a shared table costs.
pub(crate) fn own_descriptors<'a>(
    kept: impl Iterator<Item = BorrowedFd<'a>>,
) -> io::Result<LeftBehind> {
    let mut kept: Vec<RawFd> = kept.map(|fd| fd.as_raw_fd()).collect();
    kept.sort_unstable();
    let mut others = others(&kept);
    // The one without an end comes first: what is closed as the table is made need not be copied.
    if let Some(rest) = others.pop() {
        close_range(&rest, libc::CLOSE_RANGE_UNSHARE)?;
    }
    for gap in others {
        close_range(&gap, 0)?;
    }
    Ok(LeftBehind(kept))
}

impl LeftBehind {
    /// Closes them. Meant for a thread that still has the table that was left.
    pub(crate) fn close(self) {
        for fd in self.0 {
            // SAFETY: whoever owned the number went to a table of its own with it, so nobody owns it in this one.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
}

/// The ranges of numbers that are neither standard ones nor in `kept`, which is sorted; the last one has no end.
fn others(kept: &[RawFd]) -> Vec<RangeInclusive<u32>> {
    let mut first = FIRST;
    let mut ranges = Vec::with_capacity(kept.len() + 1);
    for fd in kept.iter().map(|fd| fd.unsigned_abs()) {
        if first < fd {
            ranges.push(first..=fd - 1);
        }
        first = first.max(fd + 1);
    }
    ranges.push(first..=u32::MAX);
    ranges
}

fn close_range(range: &RangeInclusive<u32>, flags: u32) -> io::Result<()> {
    let (first, last) = (*range.start(), *range.end());
    // SAFETY: the call takes numbers alone. What it closes in a table of several threads is nothing: it makes one of this
    // thread first, in which no object of the program owns anything but what is kept.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    match answer {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn is_open(fd: RawFd) -> bool {
        // SAFETY: only passed to the kernel, which answers EBADF where it is not open.
        rustix::io::fcntl_getfd(unsafe { BorrowedFd::borrow_raw(fd) }).is_ok()
    }

    #[test]
    fn ranges_leave_out_what_is_kept() {
        assert_eq!(others(&[]), [3..=u32::MAX]);
        assert_eq!(others(&[0, 2, 3, 4]), [5..=u32::MAX]);
        assert_eq!(others(&[3, 5, 5, 9]), [4..=4, 6..=8, 10..=u32::MAX]);
    }

    #[test]
    fn a_thread_keeps_what_it_is_given_and_nothing_else() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let (other, _peer) = UnixStream::pair().unwrap();
        let numbers = [theirs.as_raw_fd(), other.as_raw_fd()];
        let thread = std::thread::spawn(move || {
            let mut theirs = theirs;
            let left = own_descriptors([theirs.as_fd()].into_iter()).unwrap();
            let open = numbers.map(is_open);
            theirs.write_all(b"here").unwrap();
            (left, open)
        });
        let (left, open) = thread.join().unwrap();
        assert_eq!(open, [true, false]);
        assert_eq!(numbers.map(is_open), [true, true]);
        left.close();
        assert!(is_open(other.as_raw_fd()));
        let mut said = String::new();
        // The end comes: nobody has the other end any more.
        ours.read_to_string(&mut said).unwrap();
        assert_eq!(said, "here");
    }
}
