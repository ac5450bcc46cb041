//! A whole chat completion in canonical form. [pure]

use config_sync::model::provider_key::ProviderKey;

use crate::canonical::Reply;
use crate::rejection::Rejection;

/// Reads the body of an answer with status success.
///
/// # Errors
///
/// As [`crate::provider::Adapter::reply`].
pub(super) fn read<'d>(_key: &ProviderKey, _body: &'d [u8]) -> Result<Reply<'d>, Rejection> {
    Err(Rejection::NotImplemented)
}
