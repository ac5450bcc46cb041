//! How long the scheduler lets a thread run before it asks again. [ring]

use std::mem::size_of;

/// The least that the kernel takes, ns.
const SLICE_NS: u64 = 100_000;

/// Asks for the shortest slice of processor time for the calling thread: one that wakes then goes before a thread that has
/// a longer one, also in the middle of that one's slice. Its share of the processor stays what it was. Does nothing where
/// the kernel is older than 6.12, or where the thread is scheduled by another policy than the usual one.
///
/// # Source
///
/// `sched_setattr(2)`; `PREEMPT_SHORT` of the kernel's `kernel/sched/features.h`.
pub(crate) fn shorten_slice() {
    let Some(mut current) = scheduling() else {
        return;
    };
    if current.sched_policy != libc::SCHED_OTHER.unsigned_abs() {
        return;
    }
    current.sched_runtime = SLICE_NS;
    // SAFETY: the pointer is to a whole struct that outlives the call, and that the kernel filled in before.
    unsafe {
        libc::syscall(libc::SYS_sched_setattr, 0, &raw const current, 0);
    }
}

/// How the calling thread is scheduled.
fn scheduling() -> Option<libc::sched_attr> {
    // SAFETY: every field of the struct is an integer, for which zero is a value.
    let mut current: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::sched_attr>();
    // SAFETY: the pointer is to a whole, writable struct of that size, which outlives the call.
    let answer = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut current, size, 0) };
    (answer == 0).then_some(current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_slice_changes_nothing_else() {
        let before = scheduling().expect("a scheduler that tells");
        shorten_slice();
        let after = scheduling().expect("a scheduler that tells");
        assert_eq!(after.sched_policy, before.sched_policy);
        assert_eq!(after.sched_nice, before.sched_nice);
        // Older kernels know no slice of a thread, and say zero.
        let slices = [before.sched_runtime, after.sched_runtime];
        assert!(slices[1] == SLICE_NS || slices == [0, 0], "{slices:?}");
    }
}
