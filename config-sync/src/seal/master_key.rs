//! Master keys: 32 bytes from outside that wrap data keys. [cold]

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD_INDIFFERENT, URL_SAFE_NO_PAD_INDIFFERENT};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::aes::KEY_BYTES;
use super::private_file;
use crate::interpolate::{Env, VariableName};

/// Largest key file, in bytes: room for any spelling of 32 bytes with blanks around it.
const FILE_BYTES_MAX: u64 = 1024;
/// Longest id of a master key, in bytes.
const ID_BYTES_MAX: usize = 128;
const WRAP_INFO: &[u8] = b"sluice/wrap/v1";

/// A key that wraps data keys. Wiped when dropped; prints its id only.
///
/// Several may be given: what is wrapped names the id of its master key, so that a new one can take
/// over while the former still opens.
#[derive(Clone)]
pub struct MasterKey {
    id: Box<str>,
    key: Box<Zeroizing<[u8; KEY_BYTES]>>,
}

impl MasterKey {
    /// Reads a key from `text`: base64, base64url or hex of 32 bytes, blanks around it allowed.
    ///
    /// `id` is 1 to 128 of `A-Z a-z 0-9 . _ -`.
    ///
    /// # Errors
    ///
    /// What is wrong, without the text.
    pub fn parse(id: &str, text: &str) -> Result<Self, String> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(legal) {
            return Err(format!(
                "the id of a master key must be 1 to {ID_BYTES_MAX} letters, digits, `.`, `_` or `-`"
            ));
        }
        let key = parse_key(text).ok_or_else(|| format!("master key {id}: {KEY_EXPECTED}"))?;
        Ok(Self {
            id: id.into(),
            key: Box::new(key),
        })
    }

    /// Reads a key from the environment variable `name`.
    ///
    /// # Errors
    ///
    /// The variable is unset, or as [`MasterKey::parse`].
    pub fn from_env(id: &str, name: &str, env: Env<'_>) -> Result<Self, String> {
        let text = env(name).map(Zeroizing::new);
        let text = text.ok_or_else(|| {
            let name = VariableName::new(name);
            format!("master key {id}: {name} is not set")
        })?;
        Self::parse(id, &text)
    }

    /// Reads a key from the file at `path`. The second value warns of a mode that lets others read it.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is larger than 1 KiB, or as [`MasterKey::parse`].
    pub fn from_file(id: &str, path: &Path) -> Result<(Self, Option<String>), String> {
        let named = |what: &dyn fmt::Display| {
            let path = path.display();
            format!("master key {id}: {path}: {what}")
        };
        let file = private_file::read(path, FILE_BYTES_MAX).map_err(|error| named(&error))?;
        let text = std::str::from_utf8(&file.bytes).map_err(|_| named(&KEY_EXPECTED))?;
        let key = Self::parse(id, text)?;
        Ok((key, file.warning.map(|warning| named(&warning))))
    }

    /// The id that wrapped keys name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key-encryption key: HKDF-SHA-256 of this key, without salt.
    pub(super) fn wrapping_key(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        Hkdf::<Sha256>::new(None, &**self.key)
            .expand(WRAP_INFO, &mut *key)
            .expect("HKDF gives up to 8,160 bytes, and 32 are asked for");
        key
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey")
            .field("id", &self.id)
            .field("key", &"***")
            .finish()
    }
}

/// What [`parse_key`] wants, for an error text.
pub(super) const KEY_EXPECTED: &str = "must be base64 or hex of 32 bytes";

/// 32 bytes from base64, base64url (padded or not) or hex, blanks around it allowed.
///
/// 64 hex digits are no base64 of 32 bytes, so no text has two readings.
pub(crate) fn parse_key(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let text = text.trim_ascii();
    if text.len() == 2 * KEY_BYTES {
        return parse_hex(text);
    }
    let engine = if text.contains(['+', '/']) {
        STANDARD_NO_PAD_INDIFFERENT
    } else {
        URL_SAFE_NO_PAD_INDIFFERENT
    };
    let bytes = Zeroizing::new(engine.decode(text).ok()?);
    let bytes: &[u8; KEY_BYTES] = bytes.as_slice().try_into().ok()?;
    Some(Zeroizing::new(*bytes))
}

fn parse_hex(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        let value = digit(0)? * 16 + digit(1)?;
        *byte = u8::try_from(value).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const HEX: &str = "fbff0405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1ffbff";
    const BASE64: &str = "+/8EBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f+/8=";

    #[test]
    fn base64_base64url_and_hex_are_the_same_key() {
        let url = BASE64.replace('+', "-").replace('/', "_");
        let want = parse_key(HEX).unwrap();
        for text in [
            BASE64,
            &url,
            BASE64.trim_end_matches('='),
            url.trim_end_matches('='),
            &HEX.to_uppercase(),
            &format!(" {HEX}\n"),
            &format!("{BASE64}\r\n"),
        ] {
            assert_eq!(parse_key(text).as_deref(), Some(&*want), "{text}");
        }
    }

    #[test]
    fn what_is_not_32_bytes_is_refused_without_being_quoted() {
        for text in [
            "",
            "canary",
            &HEX[2..],
            &format!("{HEX}00"),
            &HEX.replace("fb", "cz"),
            &HEX.replace("fb", "+1"),
            &BASE64[4..],
            &BASE64.replace('+', "-"),
            &format!("{BASE64}canary"),
        ] {
            let error = MasterKey::parse("mk1", text).unwrap_err();
            assert_eq!(error, "master key mk1: must be base64 or hex of 32 bytes");
        }
        for id in ["", "a b", "a/b", &"x".repeat(129)] {
            assert!(MasterKey::parse(id, HEX).is_err(), "{id}");
        }
    }

    #[test]
    fn a_key_comes_from_a_variable_or_a_file_and_is_not_printed() {
        let env = |name: &str| (name == "MASTER_KEY").then(|| HEX.to_owned());
        let key = MasterKey::from_env("mk1", "MASTER_KEY", &env).unwrap();
        assert_eq!(format!("{key:?}"), r#"MasterKey { id: "mk1", key: "***" }"#);
        let error = MasterKey::from_env("mk1", "OTHER", &env).unwrap_err();
        assert_eq!(
            error,
            "master key mk1: environment variable OTHER is not set"
        );

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        fs::write(&path, format!("{BASE64}\n")).unwrap();
        for (mode, warns) in [
            (0o400, false),
            (0o440, false),
            (0o600, false),
            (0o644, true),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let (from_file, warning) = MasterKey::from_file("mk1", &path).unwrap();
            assert_eq!(*from_file.wrapping_key(), *key.wrapping_key());
            assert_eq!(warning.is_some(), warns, "{mode:o}: {warning:?}");
        }
        let missing = directory.path().join("none");
        assert!(MasterKey::from_file("mk1", &missing).is_err());
        let large = directory.path().join("large");
        fs::write(&large, " ".repeat(2000)).unwrap();
        let error = MasterKey::from_file("mk1", &large).unwrap_err();
        assert!(error.ends_with("is larger than 1024 bytes"), "{error}");
    }
}
