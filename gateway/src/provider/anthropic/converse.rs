//! A conversation as a Messages request. [pure]

use crate::canonical::Conversation;
use crate::provider::Outbound;
use crate::rejection::Rejection;

/// Appends the complete request to `out`. Where it fails, `out` is as before.
///
/// # Errors
///
/// As [`crate::provider::Adapter::converse`].
pub(super) fn write(
    _outbound: &Outbound<'_>,
    _conversation: &Conversation<'_>,
    _out: &mut Vec<u8>,
) -> Result<(), Rejection> {
    Err(Rejection::NotImplemented)
}
