//! What the C allocator keeps of freed memory. [ring]

/// Returns freed memory to the kernel, as far as whole pages of it lie together.
///
/// glibc keeps the heap at its highest mark as long as a small piece lives at its top: after a burst
/// of large bodies that is most of the process. Costs a fraction of a millisecond to a few.
pub(crate) fn return_freed() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `malloc_trim` takes no pointers, locks the arenas it walks, and frees nothing that is
    // in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
