//! Descriptors that the process was started with. [boot]

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// The first descriptor that is not one of the three standard ones.
const FIRST: RawFd = 3;

/// Takes the inherited descriptor `fd` over, and closes it in programs that are started from here.
///
/// Meant for the very beginning of a process, once for each number: what this process opens itself
/// has owners already.
///
/// # Errors
///
/// A standard descriptor, or none that is open.
pub(crate) fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < FIRST {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: only passed to the kernel, which answers EBADF where it is not open.
    let seen = unsafe { BorrowedFd::borrow_raw(fd) };
    fcntl_getfd(seen)?;
    fcntl_setfd(seen, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, as was just seen, and came with the process: at its beginning nothing of it
    // owns a descriptor beyond the standard ones.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_and_closed_descriptors_are_refused() {
        for fd in [-1, 0, 2, 1_000_000] {
            assert!(inherited(fd).is_err(), "{fd}");
        }
    }
}
