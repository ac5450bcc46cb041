//! AES-256-GCM in place, with random bytes of the operating system. [pure]

use aes_gcm::aead::Generate;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use zeroize::Zeroizing;

/// Length of a key.
pub(crate) const KEY_BYTES: usize = 32;
/// Length of a nonce.
pub(crate) const NONCE_BYTES: usize = 12;
/// Length of an authentication tag.
pub(crate) const TAG_BYTES: usize = 16;

/// The operating system gave no random bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct NoRandom;

/// Fresh random bytes.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, NoRandom> {
    <[u8; N]>::try_generate()
        .map(Zeroizing::new)
        .map_err(|_| NoRandom)
}

/// Encrypts `data` where it stands. `None` past the cipher's limit of 64 GiB; `data` is then as it was.
///
/// `nonce` must not have been used with `key` before.
pub(crate) fn encrypt(
    key: &[u8; KEY_BYTES],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    data: &mut [u8],
) -> Option<[u8; TAG_BYTES]> {
    Aes256Gcm::new(key.into())
        .encrypt_inout_detached(nonce.into(), aad, data.into())
        .ok()
        .map(Into::into)
}

/// Decrypts `data` where it stands. `false` if anything of it is not as it was sealed; `data` is then
/// still encrypted.
pub(crate) fn decrypt(
    key: &[u8; KEY_BYTES],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    data: &mut [u8],
    tag: &[u8; TAG_BYTES],
) -> bool {
    Aes256Gcm::new(key.into())
        .decrypt_inout_detached(nonce.into(), aad, data.into(), tag.into())
        .is_ok()
}
