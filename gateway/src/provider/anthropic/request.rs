//! The upstream request where the caller speaks Messages too: its body, edited. [pure]

use crate::provider::Outbound;
use crate::rejection::Rejection;

/// Appends the complete request to `out`. Where it fails, `out` is as before.
///
/// # Errors
///
/// As [`crate::provider::Adapter::forward`].
pub(super) fn write(
    _outbound: &Outbound<'_>,
    _body: &[u8],
    _out: &mut Vec<u8>,
) -> Result<(), Rejection> {
    Err(Rejection::NotImplemented)
}
