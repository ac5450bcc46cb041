//! A data key, and its form wrapped by a master key. [pure]
//!
//! ```text
//! 0      4    "SLDK"
//! 4      1    version 1
//! 5      1    wrap 1, AES-256-GCM under the master key's KEK
//! 6      2    L, length of the master key's id, big-endian
//! 8      L    the master key's id
//! 8+L    12   nonce, random
//! 20+L   32   the data key, encrypted
//! 52+L   16   tag
//! ```
//! What stands before the nonce, the scope, the data key's id and its purpose are authenticated along.

use std::fmt;

use zeroize::Zeroizing;

use super::aes::{self, KEY_BYTES, NONCE_BYTES, TAG_BYTES};
use super::envelope::SealError;
use super::master_key::MasterKey;
use super::scope::{Scope, push_prefixed};

const MAGIC: &[u8; 4] = b"SLDK";
const VERSION: u8 = 1;
const AES_256_GCM: u8 = 1;
const ID_AT: usize = 8;
const DOMAIN: &[u8] = b"sluice.datakey.v1\0";

/// 32 random bytes that seal values. Wiped when dropped; prints as `***`.
#[derive(Clone)]
pub struct DataKey(Box<Zeroizing<[u8; KEY_BYTES]>>);

impl DataKey {
    /// A fresh key of the operating system's random bytes.
    ///
    /// # Errors
    ///
    /// [`SealError::NoRandom`].
    pub fn generate() -> Result<Self, SealError> {
        Ok(Self(Box::new(aes::random()?)))
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl From<Zeroizing<[u8; KEY_BYTES]>> for DataKey {
    fn from(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self(Box::new(bytes))
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(***)")
    }
}

/// What a data key is for. A wrapped key opens only for what it was wrapped for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Use<'a> {
    /// Whom the key belongs to.
    pub scope: Scope,
    /// The key's id within its scope.
    pub key_id: u32,
    /// `field` for the keys of a key ring.
    pub purpose: &'a str,
}

impl Use<'_> {
    fn associated_data(&self, header: &[u8]) -> Option<Vec<u8>> {
        let mut aad = header.to_vec();
        aad.extend_from_slice(DOMAIN);
        aad.extend_from_slice(&self.scope.bytes());
        aad.extend_from_slice(&self.key_id.to_be_bytes());
        push_prefixed(&mut aad, self.purpose)?;
        Some(aad)
    }
}

/// Why a wrapped data key does not open. Holds nothing of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum UnwrapError {
    /// Does not begin with `SLDK`, or its length is wrong.
    Malformed,
    /// Of a version that is not known here.
    Version(u8),
    /// Wrapped in a way that is not known here.
    Wrap(u8),
    /// No master key of this id is given.
    UnknownMaster(Box<str>),
    /// Changed, wrapped for another use, or by another master key of this id.
    Tag,
}

impl fmt::Display for UnwrapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("is not a wrapped data key"),
            Self::Version(version) => write!(f, "wrapped in the unknown version {version}"),
            Self::Wrap(wrap) => write!(f, "wrapped in the unknown way {wrap}"),
            Self::UnknownMaster(id) => {
                write!(f, "wrapped by the master key {id:?}, which is not given")
            }
            Self::Tag => f.write_str(
                "wrapped, but changed, wrapped for another use or by another master key of this id",
            ),
        }
    }
}

impl std::error::Error for UnwrapError {}

/// Wraps `key` with a fresh random nonce.
///
/// # Errors
///
/// [`SealError`].
pub fn wrap(master: &MasterKey, of: &Use<'_>, key: &DataKey) -> Result<Vec<u8>, SealError> {
    let nonce = aes::random()?;
    wrap_with_nonce(master, of, key, &nonce)
}

/// `nonce` must not have been used with `master` before.
fn wrap_with_nonce(
    master: &MasterKey,
    of: &Use<'_>,
    key: &DataKey,
    nonce: &[u8; NONCE_BYTES],
) -> Result<Vec<u8>, SealError> {
    let mut blob = MAGIC.to_vec();
    blob.extend_from_slice(&[VERSION, AES_256_GCM]);
    push_prefixed(&mut blob, master.id()).ok_or(SealError::PlaceTooLong)?;
    let aad = of.associated_data(&blob).ok_or(SealError::PlaceTooLong)?;
    let mut data = Zeroizing::new(*key.bytes());
    let tag = aes::encrypt(&master.wrapping_key(), nonce, &aad, &mut *data);
    blob.extend_from_slice(nonce);
    blob.extend_from_slice(&*data);
    blob.extend_from_slice(&tag.ok_or(SealError::ValueTooLong)?);
    Ok(blob)
}

/// Unwraps `blob` with whichever of `masters` it names.
///
/// # Errors
///
/// [`UnwrapError`].
pub fn unwrap(masters: &[MasterKey], of: &Use<'_>, blob: &[u8]) -> Result<DataKey, UnwrapError> {
    let (header, body) = split(blob)?;
    let id = &header[ID_AT..];
    let master = masters.iter().find(|master| master.id().as_bytes() == id);
    let master = master.ok_or_else(|| {
        // Ids come from outside: a short excerpt is enough to know one by.
        let id = String::from_utf8_lossy(id);
        UnwrapError::UnknownMaster(id.chars().take(64).collect())
    })?;
    let aad = of.associated_data(header).ok_or(UnwrapError::Tag)?;
    let (nonce, rest) = body.split_first_chunk().ok_or(UnwrapError::Malformed)?;
    let (data, rest) = rest.split_first_chunk().ok_or(UnwrapError::Malformed)?;
    let tag: &[u8; TAG_BYTES] = rest.try_into().map_err(|_| UnwrapError::Malformed)?;
    let mut key = Box::new(Zeroizing::new(*data));
    if aes::decrypt(&master.wrapping_key(), nonce, &aad, &mut **key, tag) {
        Ok(DataKey(key))
    } else {
        Err(UnwrapError::Tag)
    }
}

/// What stands before the nonce, and the rest.
fn split(blob: &[u8]) -> Result<(&[u8], &[u8]), UnwrapError> {
    let head: &[u8; ID_AT] = blob.first_chunk().ok_or(UnwrapError::Malformed)?;
    let [b'S', b'L', b'D', b'K', version, wrap, high, low] = *head else {
        return Err(UnwrapError::Malformed);
    };
    if version != VERSION {
        return Err(UnwrapError::Version(version));
    }
    if wrap != AES_256_GCM {
        return Err(UnwrapError::Wrap(wrap));
    }
    let length = ID_AT + usize::from(u16::from_be_bytes([high, low]));
    blob.split_at_checked(length).ok_or(UnwrapError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTOR: &str = "534c444b010100036d6b31000102030405060708090a0b652f9d9ab5b6111cadb921fc\
                          a8602fa15d0642d5803c884ab3fb67a41957e0ccbd3f372d26f2357777d3c4ff8b8a48b7";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn counting<const N: usize>(from: u8) -> [u8; N] {
        std::array::from_fn(|at| from + at as u8)
    }

    fn master(id: &str) -> MasterKey {
        MasterKey::parse(id, &hex(&counting::<32>(0x20))).unwrap()
    }

    fn field_key() -> Use<'static> {
        Use {
            scope: Scope::of_env_id("11111111-2222-3333-4444-555555555555"),
            key_id: 1,
            purpose: "field",
        }
    }

    #[test]
    fn the_published_vector_is_met_both_ways() {
        let key = DataKey::from(Zeroizing::new(counting::<32>(0)));
        let blob = wrap_with_nonce(&master("mk1"), &field_key(), &key, &counting(0)).unwrap();
        assert_eq!(hex(&blob), VECTOR);
        let masters = [master("mk0"), master("mk1")];
        let opened = unwrap(&masters, &field_key(), &blob).unwrap();
        assert_eq!(opened.bytes(), key.bytes());
    }

    #[test]
    fn no_byte_of_a_wrapped_key_can_be_changed_or_cut() {
        let key = DataKey::generate().unwrap();
        let masters = [master("mk1")];
        let blob = wrap(&masters[0], &field_key(), &key).unwrap();
        for at in 0..blob.len() {
            let mut changed = blob.clone();
            changed[at] ^= 1;
            assert!(unwrap(&masters, &field_key(), &changed).is_err(), "at {at}");
            assert!(
                unwrap(&masters, &field_key(), &blob[..at]).is_err(),
                "cut {at}"
            );
        }
        let longer = [blob.as_slice(), &[0]].concat();
        assert_eq!(
            unwrap(&masters, &field_key(), &longer).unwrap_err(),
            UnwrapError::Malformed
        );
    }

    #[test]
    fn a_wrapped_key_opens_only_for_its_use_and_master() {
        let key = DataKey::generate().unwrap();
        let blob = wrap(&master("mk1"), &field_key(), &key).unwrap();
        let (scope, key_id, purpose) = (Scope::System, 2, "audit");
        for other in [
            Use {
                scope,
                ..field_key()
            },
            Use {
                key_id,
                ..field_key()
            },
            Use {
                purpose,
                ..field_key()
            },
        ] {
            let error = unwrap(&[master("mk1")], &other, &blob).unwrap_err();
            assert_eq!(error, UnwrapError::Tag, "{other:?}");
        }
        let same_id = MasterKey::parse("mk1", &"00".repeat(32)).unwrap();
        let error = unwrap(&[same_id], &field_key(), &blob).unwrap_err();
        assert_eq!(error, UnwrapError::Tag);
        let error = unwrap(&[master("mk2")], &field_key(), &blob).unwrap_err();
        assert_eq!(error, UnwrapError::UnknownMaster("mk1".into()));
        let mut later = blob.clone();
        later[4] = 2;
        let error = unwrap(&[master("mk1")], &field_key(), &later).unwrap_err();
        assert_eq!(error, UnwrapError::Version(2));
        let mut kms = blob;
        kms[5] = 2;
        let error = unwrap(&[master("mk1")], &field_key(), &kms).unwrap_err();
        assert_eq!(error, UnwrapError::Wrap(2));
    }

    #[test]
    fn keys_are_random_and_not_printed() {
        let (one, other) = (DataKey::generate().unwrap(), DataKey::generate().unwrap());
        assert_ne!(one.bytes(), other.bytes());
        assert_eq!(format!("{one:?}"), "DataKey(***)");
    }
}
