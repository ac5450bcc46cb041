//! Seals and opens the secrets of whole documents. [pure]

use std::fmt::Display;
use std::io;

use zeroize::{Zeroize, Zeroizing};

use super::envelope::{self, Place, is_sealed};
use super::keyring::Keyring;
use super::paths::{SecretPlace, secrets_in};
use super::scope::Scope;
use crate::collection::Collection;
use crate::document::Document;
use crate::model::labels::printable;
use crate::tree::Value;

/// Longest pointer shown in an error, in bytes.
const POINTER_BYTES_MAX: usize = 256;

/// Opens the sealed secrets of a stored document.
pub trait OpenSecrets {
    /// Replaces every sealed secret of `document` by its plaintext.
    ///
    /// # Errors
    ///
    /// Why a value cannot be opened, without any part of it. The document must not be used.
    fn open_document(
        &self,
        collection: Collection,
        id: &str,
        document: &mut Value,
    ) -> Result<(), String>;
}

/// Seals and opens the secrets of documents of one environment.
#[derive(Debug)]
pub struct Sealer {
    keyring: Keyring,
    scope: Scope,
}

impl Sealer {
    /// For the rows below `env_id`, which is `etcd.env_id`: the scope is that environment if it is a
    /// UUID, else system.
    ///
    /// # Errors
    ///
    /// The ring is that of another environment.
    pub fn new(keyring: Keyring, env_id: &str) -> Result<Self, String> {
        let of_ring = keyring.env_id();
        if !of_ring.is_empty() && !of_ring.eq_ignore_ascii_case(env_id) {
            let (of_ring, env_id) = (printable(of_ring, 128), printable(env_id, 128));
            return Err(format!(
                "the key ring is of the environment `{of_ring}`, not of `{env_id}` (etcd.env_id)"
            ));
        }
        Ok(Self {
            scope: Scope::of_env_id(env_id),
            keyring,
        })
    }

    /// The keys.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// What envelopes are bound to.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Puts the plaintext in the place of every sealed secret; returns how many there were.
    ///
    /// Plaintext secrets stay as they are, and so does a `$enc:` text where no secret belongs.
    ///
    /// # Errors
    ///
    /// The JSON pointer of the first value that does not open, with the cause. The document may be
    /// opened in part and must not be used.
    pub fn unseal_document(
        &self,
        collection: Collection,
        id: &str,
        document: &mut Value,
    ) -> Result<usize, String> {
        self.each(collection, document, |place, value| {
            let Some(text) = value.as_str().filter(|text| is_sealed(text)) else {
                return Ok(false);
            };
            let at = located(collection, id, place);
            let opened = envelope::open(&self.keyring, &self.scope, &at, text);
            *value = restored(opened.map_err(text_of)?, place.whole)?;
            Ok(true)
        })
    }

    /// Seals every secret with the newest key; returns how many values changed.
    ///
    /// What is sealed with the newest key stays, unopened; what is sealed with an older one is sealed
    /// anew. A secret that is not a string, where only strings are secrets, stays: its reader refuses it.
    ///
    /// # Errors
    ///
    /// The JSON pointer of the first value that can be neither opened nor sealed, with the cause. The
    /// document may be sealed in part.
    pub fn seal_document(
        &self,
        collection: Collection,
        id: &str,
        document: &mut Value,
    ) -> Result<usize, String> {
        let (newest, key) = self.keyring.sealing_key();
        self.each(collection, document, |place, value| {
            let at = located(collection, id, place);
            let plain = match value.as_str().filter(|text| is_sealed(text)) {
                Some(text) if envelope::key_id(text).map_err(text_of)? == newest => {
                    return Ok(false);
                }
                Some(text) => {
                    envelope::open(&self.keyring, &self.scope, &at, text).map_err(text_of)?
                }
                None if place.whole || (place.parts && value.is_object()) => json_text(value)?,
                None => match value {
                    Value::String(text) => Zeroizing::new(text.as_bytes().to_vec()),
                    _ => return Ok(false),
                },
            };
            let sealed = envelope::seal(newest, key, &self.scope, &at, &plain).map_err(text_of)?;
            drop(Document::from(std::mem::replace(value, sealed.into())));
            Ok(true)
        })
    }

    /// Runs `change` on each secret of the document; counts how many it changed.
    fn each(
        &self,
        collection: Collection,
        document: &mut Value,
        mut change: impl FnMut(&SecretPlace, &mut Value) -> Result<bool, String>,
    ) -> Result<usize, String> {
        let mut changed = 0;
        for place in secrets_in(collection, document) {
            if let Some(value) = document.pointer_mut(&place.pointer) {
                let done = change(&place, value);
                changed += usize::from(done.map_err(|cause| at(&place.pointer, &cause))?);
            }
        }
        Ok(changed)
    }
}

impl OpenSecrets for Sealer {
    fn open_document(
        &self,
        collection: Collection,
        id: &str,
        document: &mut Value,
    ) -> Result<(), String> {
        self.unseal_document(collection, id, document).map(drop)
    }
}

/// Opens the secrets of a stored document, with or without a key ring.
///
/// # Errors
///
/// As [`OpenSecrets::open_document`], or [`refuse_sealed`] where there is no `opener`.
pub fn open_document(
    opener: Option<&dyn OpenSecrets>,
    collection: Collection,
    id: &str,
    document: &mut Value,
) -> Result<(), String> {
    match opener {
        Some(opener) => opener.open_document(collection, id, document),
        None => refuse_sealed(collection, document),
    }
}

/// For documents that are read without a key ring: a sealed secret must not be used as raw text.
///
/// # Errors
///
/// The JSON pointer of the first sealed secret.
pub fn refuse_sealed(collection: Collection, document: &Value) -> Result<(), String> {
    let places = secrets_in(collection, document);
    let sealed = places.iter().find(|place| {
        let value = document.pointer(&place.pointer).and_then(Value::as_str);
        value.is_some_and(is_sealed)
    });
    match sealed {
        Some(place) => Err(at(&place.pointer, "sealed, and no key ring is configured")),
        None => Ok(()),
    }
}

fn located<'p>(collection: Collection, id: &'p str, place: &'p SecretPlace) -> Place<'p> {
    Place {
        kind: collection.name(),
        object: id,
        pointer: place.bound_pointer(),
    }
}

/// Member names are the writer's: only what can be printed is shown of them.
fn at(pointer: &str, cause: &str) -> String {
    format!("{}: {cause}", printable(pointer, POINTER_BYTES_MAX))
}

fn text_of(error: impl Display) -> String {
    error.to_string()
}

/// The value that was sealed.
fn restored(mut plain: Zeroizing<Vec<u8>>, whole: bool) -> Result<Value, String> {
    if whole {
        return serde_json::from_slice(&plain).map_err(|_| "the sealed text is not JSON".into());
    }
    match String::from_utf8(std::mem::take(&mut *plain)) {
        Ok(text) => Ok(Value::String(text)),
        Err(error) => {
            error.into_bytes().zeroize();
            Err("the sealed text is not UTF-8".into())
        }
    }
}

/// The JSON text of `value`, in a buffer that never grows and so leaves no copy behind.
fn json_text(value: &Value) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut length = Counter(0);
    serde_json::to_writer(&mut length, value).map_err(|_| NO_TEXT)?;
    let mut text = Zeroizing::new(Vec::with_capacity(length.0));
    serde_json::to_writer(&mut *text, value).map_err(|_| NO_TEXT)?;
    Ok(text)
}

const NO_TEXT: &str = "cannot be written as JSON";

/// Counts what is written to it.
struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
