//! Whether something keeps the clock in step. [ring]

/// What the kernel believes; `None` where it may not be asked.
///
/// # Source
///
/// `adjtimex(2)`: without modes it only reads; `STA_UNSYNC` is the state without a time service.
pub(crate) fn is_clock_in_step() -> Option<bool> {
    // SAFETY: every field of the struct is an integer, for which zero is a value.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a whole, writable struct that outlives the call.
    let answer = unsafe { libc::adjtimex(&raw mut state) };
    (answer >= 0).then_some(state.status & libc::STA_UNSYNC == 0)
}
