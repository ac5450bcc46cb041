//! The program's own code in memory. [boot]

use std::ffi::c_void;
use std::ops::Range;

/// Lets go of the pages of the program's own code: those that serve come back as they run, from the page cache, and those
/// that only the start needed, most of them, do not. Does nothing where the kernel does not tell where they are.
pub(crate) fn forget_code() {
    let (Ok(maps), Ok(program)) = (
        std::fs::read_to_string("/proc/self/maps"),
        std::env::current_exe(),
    ) else {
        return;
    };
    let program = program.to_string_lossy();
    for pages in maps.lines().filter_map(|line| code(line, &program)) {
        let at = std::ptr::with_exposed_provenance_mut::<c_void>(pages.start);
        // SAFETY: a mapping of the file that may be executed and not written holds nothing but the file's bytes, and reads
        // as before; the kernel checks that there is one.
        unsafe {
            libc::madvise(at, pages.len(), libc::MADV_DONTNEED);
        }
    }
}

/// The addresses of a line of `/proc/self/maps` that tells of `program`'s code.
///
/// # Source
///
/// `proc_pid_maps(5)`.
fn code(line: &str, program: &str) -> Option<Range<usize>> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let is_code = words.next()? == "r-xp";
    let is_ours = words.nth(3)? == program && words.next().is_none();
    let address = |digits| usize::from_str_radix(digits, 16).ok();
    (is_code && is_ours).then_some(address(start)?..address(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_executed_and_never_written_of_the_program_itself_is_code() {
        let line =
            |permissions, path| format!("55d0a000-55d0c000 {permissions} 00001000 fe:00 7 {path}");
        let found = code(&line("r-xp", "/usr/bin/sluice"), "/usr/bin/sluice");
        assert_eq!(found, Some(0x55d0_a000..0x55d0_c000));
        for (permissions, path) in [
            ("r--p", "/usr/bin/sluice"),
            ("rwxp", "/usr/bin/sluice"),
            ("r-xs", "/usr/bin/sluice"),
            ("r-xp", "/usr/lib/libc.so.6"),
            ("r-xp", "/usr/bin/sluice (deleted)"),
            ("r-xp", ""),
        ] {
            let found = code(&line(permissions, path), "/usr/bin/sluice");
            assert_eq!(found, None, "{permissions} {path}");
        }
    }

    #[test]
    fn code_that_was_let_go_of_runs_as_before() {
        forget_code();
        assert_eq!(code("nonsense", "x"), None);
    }
}
