//! One secret value sealed as a `$enc:` text. [pure]
//!
//! ```text
//! offset size
//! 0      1    version 1
//! 1      1    algorithm 1, AES-256-GCM
//! 2      1    flags 0
//! 3      1    reserved 0
//! 4      4    key id, big-endian
//! 8      12   nonce, random
//! 20     n    ciphertext
//! 20+n   16   tag
//! ```
//! Bytes 0 to 7, the scope and the place are authenticated along, so that an envelope opens only where
//! it was sealed for.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::aes::{self, NONCE_BYTES, NoRandom, TAG_BYTES};
use super::data_key::DataKey;
use super::keyring::Keyring;
use super::scope::{Scope, push_prefixed};

/// What every envelope begins with. No secret value may begin so.
pub const PREFIX: &str = "$enc:";

const VERSION: u8 = 1;
const AES_256_GCM: u8 = 1;
/// Version to key id: what is authenticated of the header, and what is read without a key.
const HEADER_BYTES: usize = 8;
const DATA_AT: usize = HEADER_BYTES + NONCE_BYTES;
/// The shortest envelope: of an empty value.
const BYTES_MIN: usize = DATA_AT + TAG_BYTES;
/// Base64 of 9 bytes, the fewest whole groups that hold the header.
const HEADER_CHARS: usize = 12;
const DOMAIN: &[u8] = b"sluice.field.v1\0";

/// Where a value stands. An envelope opens only at the place it was sealed for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place<'a> {
    /// The collection of the document; a table in the system scope.
    pub kind: &'a str,
    /// The document's id.
    pub object: &'a str,
    /// JSON pointer into the document; a column in the system scope.
    pub pointer: &'a str,
}

impl Place<'_> {
    /// `None` if a part of the place is longer than its length field can say.
    fn associated_data(&self, header: &[u8], scope: &Scope) -> Option<Vec<u8>> {
        let mut aad = Vec::with_capacity(192);
        aad.extend_from_slice(header);
        aad.extend_from_slice(DOMAIN);
        aad.extend_from_slice(&scope.bytes());
        for part in [self.kind, self.object, self.pointer] {
            push_prefixed(&mut aad, part)?;
        }
        Some(aad)
    }
}

/// Why a value cannot be sealed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SealError {
    /// A part of the place is longer than 65,535 bytes.
    PlaceTooLong,
    /// The value is longer than the cipher can take, 64 GiB.
    ValueTooLong,
    /// The operating system gave no random bytes.
    NoRandom,
}

impl From<NoRandom> for SealError {
    fn from(NoRandom: NoRandom) -> Self {
        Self::NoRandom
    }
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PlaceTooLong => "its id or path is longer than 65,535 bytes",
            Self::ValueTooLong => "longer than 64 GiB",
            Self::NoRandom => "the operating system gave no random bytes",
        })
    }
}

impl std::error::Error for SealError {}

/// Why an envelope does not open. Holds nothing of its content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OpenError {
    /// The text does not begin with `$enc:`.
    NotSealed,
    /// What follows is not base64url without padding.
    NotBase64Url,
    /// Shorter than the envelope of an empty value.
    TooShort,
    /// Of a version that is not known here.
    Version(u8),
    /// Of an algorithm that is not known here.
    Algorithm(u8),
    /// A flag or the reserved byte is set.
    Flags,
    /// The key ring has no key of this id.
    UnknownKey(u32),
    /// A part of the place is longer than 65,535 bytes, so nothing can have been sealed for it.
    PlaceTooLong,
    /// Changed, sealed for another place or scope, or sealed with another key of this id.
    Tag,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSealed => f.write_str("is not sealed"),
            Self::NotBase64Url => f.write_str("sealed, but not base64url"),
            Self::TooShort => f.write_str("sealed, but cut off"),
            Self::Version(version) => write!(f, "sealed in the unknown version {version}"),
            Self::Algorithm(algorithm) => {
                write!(f, "sealed with the unknown algorithm {algorithm}")
            }
            Self::Flags => f.write_str("sealed with unknown flags"),
            Self::UnknownKey(id) => write!(f, "sealed with key {id}, which the key ring lacks"),
            Self::PlaceTooLong => f.write_str("its id or path is longer than 65,535 bytes"),
            Self::Tag => f.write_str(
                "sealed, but changed, moved from another place or sealed with another key",
            ),
        }
    }
}

impl std::error::Error for OpenError {}

/// Whether `text` claims to be an envelope.
pub fn is_sealed(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Seals `plaintext` for `place` with a fresh random nonce.
///
/// One key may seal 2^32 values: past that, nonces may repeat.
///
/// # Errors
///
/// [`SealError`].
pub fn seal(
    key_id: u32,
    key: &DataKey,
    scope: &Scope,
    place: &Place<'_>,
    plaintext: &[u8],
) -> Result<String, SealError> {
    let nonce = aes::random()?;
    seal_with_nonce(key_id, key, scope, place, plaintext, &nonce)
}

/// `nonce` must not have been used with `key` before.
fn seal_with_nonce(
    key_id: u32,
    key: &DataKey,
    scope: &Scope,
    place: &Place<'_>,
    plaintext: &[u8],
    nonce: &[u8; NONCE_BYTES],
) -> Result<String, SealError> {
    // Room for all, so that growing leaves no copy of the plaintext behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES_MIN + plaintext.len()));
    bytes.extend_from_slice(&[VERSION, AES_256_GCM, 0, 0]);
    bytes.extend_from_slice(&key_id.to_be_bytes());
    let aad = place.associated_data(&bytes, scope);
    let aad = aad.ok_or(SealError::PlaceTooLong)?;
    bytes.extend_from_slice(nonce);
    bytes.extend_from_slice(plaintext);
    let tag = aes::encrypt(key.bytes(), nonce, &aad, &mut bytes[DATA_AT..]);
    bytes.extend_from_slice(&tag.ok_or(SealError::ValueTooLong)?);
    let mut text = String::with_capacity(PREFIX.len() + bytes.len().div_ceil(3) * 4);
    text.push_str(PREFIX);
    URL_SAFE_NO_PAD.encode_string(&bytes, &mut text);
    Ok(text)
}

/// Opens what was sealed for `place`.
///
/// # Errors
///
/// [`OpenError`]; nothing of the content is given out unless all of it is authentic.
pub fn open(
    keyring: &Keyring,
    scope: &Scope,
    place: &Place<'_>,
    text: &str,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    open_with(|id| keyring.key(id), scope, place, text)
}

/// As [`open`], with whatever knows a key by its id.
pub(crate) fn open_with<'k>(
    key: impl Fn(u32) -> Option<&'k DataKey>,
    scope: &Scope,
    place: &Place<'_>,
    text: &str,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let body = text.strip_prefix(PREFIX).ok_or(OpenError::NotSealed)?;
    let bytes = URL_SAFE_NO_PAD.decode(body);
    let mut bytes = Zeroizing::new(bytes.map_err(|_| OpenError::NotBase64Url)?);
    let id = header_key_id(&bytes)?;
    if bytes.len() < BYTES_MIN {
        return Err(OpenError::TooShort);
    }
    let key = key(id).ok_or(OpenError::UnknownKey(id))?;
    let (head, data) = bytes.split_at_mut(DATA_AT);
    let (header, nonce) = head.split_at(HEADER_BYTES);
    let aad = place.associated_data(header, scope);
    let aad = aad.ok_or(OpenError::PlaceTooLong)?;
    let (nonce, (data, tag)) = (
        nonce.first_chunk(),
        data.split_at_mut(data.len() - TAG_BYTES),
    );
    let authentic = match (nonce, tag.first_chunk()) {
        (Some(nonce), Some(tag)) => aes::decrypt(key.bytes(), nonce, &aad, data, tag),
        _ => false,
    };
    if !authentic {
        return Err(OpenError::Tag);
    }
    let length = data.len();
    bytes.copy_within(DATA_AT..DATA_AT + length, 0);
    bytes.truncate(length);
    Ok(bytes)
}

/// The id of the key that `text` was sealed with, read without a key and thus not authentic.
///
/// # Errors
///
/// [`OpenError`] if the header is not of this version. What follows the header is not looked at.
pub fn key_id(text: &str) -> Result<u32, OpenError> {
    let body = text.strip_prefix(PREFIX).ok_or(OpenError::NotSealed)?;
    let header = body
        .as_bytes()
        .get(..HEADER_CHARS)
        .ok_or(OpenError::TooShort)?;
    let header = URL_SAFE_NO_PAD.decode(header);
    header_key_id(&header.map_err(|_| OpenError::NotBase64Url)?)
}

fn header_key_id(bytes: &[u8]) -> Result<u32, OpenError> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(OpenError::TooShort)?;
    match *header {
        [VERSION, AES_256_GCM, 0, 0, a, b, c, d] => Ok(u32::from_be_bytes([a, b, c, d])),
        [VERSION, AES_256_GCM, ..] => Err(OpenError::Flags),
        [VERSION, algorithm, ..] => Err(OpenError::Algorithm(algorithm)),
        [version, ..] => Err(OpenError::Version(version)),
    }
}

#[cfg(test)]
mod tests;
