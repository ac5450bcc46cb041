//! The data keys of one environment, and the file they are kept in. [cold]

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use zeroize::Zeroizing;

use super::data_key::{self, DataKey, Use};
use super::envelope::SealError;
use super::master_key::{KEY_EXPECTED, MasterKey, parse_key};
use super::private_file;
use super::scope::Scope;
use crate::document::parse_yaml;
use crate::tree::{Fields, Problem, Problems, Unknown, Value};

/// Largest key ring file, in bytes: room for `KEYS_MAX` keys several times over.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Most keys of a ring. One is added per rotation, which is yearly unless forced.
pub const KEYS_MAX: usize = 1024;
/// Readable by the owner alone, who replaces the file rather than writing into it.
const FILE_MODE: u32 = 0o400;
/// What the keys of a ring are for.
const PURPOSE: &str = "field";

/// The data keys of one environment by their ids; there is at least one. Prints ids only.
#[derive(Clone)]
pub struct Keyring {
    env_id: Box<str>,
    keys: BTreeMap<u32, Entry>,
}

#[derive(Clone)]
struct Entry {
    key: DataKey,
    /// The key as the file has it, where a master key protects it.
    wrapped: Option<Box<[u8]>>,
}

/// Everything wrong with a key ring. Its text holds no key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyringError {
    problems: Vec<String>,
}

impl KeyringError {
    /// Each problem, in the order of the file.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl From<String> for KeyringError {
    fn from(problem: String) -> Self {
        Self {
            problems: vec![problem],
        }
    }
}

impl From<SealError> for KeyringError {
    fn from(error: SealError) -> Self {
        Self::from(error.to_string())
    }
}

impl fmt::Display for KeyringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key ring: {}", self.problems.join("; "))
    }
}

impl std::error::Error for KeyringError {}

impl Keyring {
    /// Reads the file at `path`, following links. The second value warns of a mode that lets others
    /// read it. `masters` open the keys that are wrapped.
    ///
    /// # Errors
    ///
    /// Every problem of the file; nothing of a file with a problem is used.
    pub fn read(
        path: &Path,
        masters: &[MasterKey],
    ) -> Result<(Self, Option<String>), KeyringError> {
        let named = |what: &dyn fmt::Display| format!("{}: {what}", path.display());
        let file = private_file::read(path, FILE_BYTES_MAX).map_err(|error| named(&error))?;
        let text = std::str::from_utf8(&file.bytes).map_err(|_| named(&"is not UTF-8"))?;
        let ring = Self::parse(text, masters).map_err(|mut error| {
            for problem in &mut error.problems {
                *problem = named(problem);
            }
            error
        })?;
        Ok((ring, file.warning.map(|warning| named(&warning))))
    }

    /// Reads `{"env_id":"…","keys":[{"id":1,"key":"…"}]}`.
    ///
    /// `env_id` is the environment's id, or empty or absent; `id` is 1 to 2^32 - 1; `key` is base64,
    /// base64url or hex of 32 bytes. Instead of `key`, an entry may have `wrapped`: base64 of the key
    /// wrapped by one of `masters`.
    ///
    /// # Errors
    ///
    /// Every problem of the text, unknown members and duplicate ids among them.
    pub fn parse(text: &str, masters: &[MasterKey]) -> Result<Self, KeyringError> {
        // JSON is YAML; this parser also refuses a member that is written twice.
        let document = parse_yaml(text).map_err(|error| error.to_string())?;
        let problems = Problems::default();
        let ring = read_ring(document.value(), masters, &problems);
        let problems: Vec<String> = problems.into_vec().iter().map(Problem::to_string).collect();
        if problems.is_empty() {
            Ok(ring)
        } else {
            Err(KeyringError { problems })
        }
    }

    /// A ring for `env_id` (empty for none) with one fresh key, of id 1.
    ///
    /// With `master`, the key is wrapped by it.
    ///
    /// # Errors
    ///
    /// The operating system gave no random bytes.
    pub fn generate(env_id: &str, master: Option<&MasterKey>) -> Result<Self, KeyringError> {
        let mut ring = Self {
            env_id: env_id.into(),
            keys: BTreeMap::new(),
        };
        ring.add_key(master)?;
        Ok(ring)
    }

    /// Adds a fresh key, which seals from now on; returns its id, one past the highest.
    ///
    /// With `master`, the key is wrapped by it.
    ///
    /// # Errors
    ///
    /// The ring is full, its other keys are wrapped and `master` is not given, or there are no random
    /// bytes.
    pub fn add_key(&mut self, master: Option<&MasterKey>) -> Result<u32, KeyringError> {
        let highest = self.keys.last_key_value();
        if master.is_none() && highest.is_some_and(|(_, entry)| entry.wrapped.is_some()) {
            let problem = "its keys are wrapped, and no master key is given to wrap another";
            return Err(KeyringError::from(problem.to_owned()));
        }
        let id = highest.map_or(Some(1), |(id, _)| id.checked_add(1));
        let id = id.filter(|_| self.keys.len() < KEYS_MAX);
        let id = id.ok_or_else(|| format!("has no room for a further key ({KEYS_MAX} at most)"))?;
        let key = DataKey::generate()?;
        let wrapped = match master {
            Some(master) => Some(self.wrapped(id, &key, master)?),
            None => None,
        };
        self.keys.insert(id, Entry { key, wrapped });
        Ok(id)
    }

    /// Wraps every key by `master`, whatever protected it before.
    ///
    /// # Errors
    ///
    /// There are no random bytes; the ring is then as it was.
    pub fn wrap_all(&mut self, master: &MasterKey) -> Result<(), KeyringError> {
        let mut keys = self.keys.clone();
        for (id, entry) in &mut keys {
            entry.wrapped = Some(self.wrapped(*id, &entry.key, master)?);
        }
        self.keys = keys;
        Ok(())
    }

    fn wrapped(&self, id: u32, key: &DataKey, by: &MasterKey) -> Result<Box<[u8]>, SealError> {
        let blob = data_key::wrap(by, &key_use(&self.env_id, id), key)?;
        Ok(blob.into())
    }

    /// Writes the ring to `path` with mode 0400, whole or not at all. A link stays, and what it points
    /// to is replaced.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), KeyringError> {
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let text = self.to_json();
        private_file::replace(&target, text.as_bytes(), FILE_MODE)
            .map_err(|error| KeyringError::from(format!("{}: {error}", path.display())))
    }

    /// The text of the file: unwrapped keys as base64.
    fn to_json(&self) -> Zeroizing<String> {
        // About 60 bytes around a key, 250 if it is wrapped.
        let room = 64 + self.env_id.len() * 6 + self.keys.len() * 512;
        let mut text = Zeroizing::new(String::with_capacity(room));
        text.push_str("{\"env_id\":");
        text.push_str(&json!(self.env_id).to_string());
        text.push_str(",\"keys\":[");
        for (at, (id, entry)) in self.keys.iter().enumerate() {
            let (member, bytes): (_, &[u8]) = match &entry.wrapped {
                Some(blob) => ("wrapped", blob),
                None => ("key", entry.key.bytes()),
            };
            text.push_str(if at == 0 { "\n" } else { ",\n" });
            text.push_str(&format!("{{\"id\":{id},\"{member}\":\""));
            STANDARD.encode_string(bytes, &mut text);
            text.push_str("\"}");
        }
        text.push_str("\n]}\n");
        text
    }

    /// The environment's id, as the file has it; empty for none.
    pub fn env_id(&self) -> &str {
        &self.env_id
    }

    /// The key of this id.
    pub fn key(&self, id: u32) -> Option<&DataKey> {
        self.keys.get(&id).map(|entry| &entry.key)
    }

    /// The ids, ascending.
    pub fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.keys.keys().copied()
    }

    /// The key that seals, with its id: the highest.
    pub fn sealing_key(&self) -> (u32, &DataKey) {
        let (id, entry) = self
            .keys
            .last_key_value()
            .expect("a ring is made with a key, and none is ever taken out");
        (*id, &entry.key)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys.keys().map(|id| (id, "***"));
        f.debug_struct("Keyring")
            .field("env_id", &self.env_id)
            .field("keys", &keys.collect::<Vec<_>>())
            .finish()
    }
}

fn key_use(env_id: &str, key_id: u32) -> Use<'static> {
    Use {
        scope: Scope::of_env_id(env_id),
        key_id,
        purpose: PURPOSE,
    }
}

/// The ring is usable only if no problem was noted.
fn read_ring(value: &Value, masters: &[MasterKey], problems: &Problems) -> Keyring {
    let root = Fields::new(value, "", problems, Unknown::Refused);
    let env_id = root.take_str("env_id").unwrap_or_default();
    let mut keys = BTreeMap::new();
    let list = root.take_list("keys").unwrap_or_default();
    if root.take("keys").is_none() {
        root.problem("keys", "is required");
    } else if root
        .take("keys")
        .and_then(Value::as_array)
        .is_some_and(Vec::is_empty)
    {
        root.problem("keys", "must have at least one key");
    } else if list.len() > KEYS_MAX {
        root.problem("keys", format!("must have at most {KEYS_MAX} keys"));
    }
    for (path, item) in list.into_iter().take(KEYS_MAX) {
        let fields = Fields::new(item, &path, problems, Unknown::Refused);
        if let Some((id, entry)) = read_entry(&fields, env_id, masters)
            && keys.insert(id, entry).is_some()
        {
            fields.problem("id", format!("{id} is written twice"));
        }
        fields.finish();
    }
    root.finish();
    Keyring {
        env_id: env_id.into(),
        keys,
    }
}

fn read_entry(fields: &Fields<'_>, env_id: &str, masters: &[MasterKey]) -> Option<(u32, Entry)> {
    if fields.take("id").is_none() {
        fields.problem("id", "is required");
    }
    let id = fields.take_u32_in("id", 1, u32::MAX);
    let (plain, wrapped) = (fields.take_str("key"), fields.take_str("wrapped"));
    if fields.take("key").is_some() == fields.take("wrapped").is_some() {
        fields.problem("key", "exactly one of `key` and `wrapped` is required");
        return None;
    }
    if let Some(text) = plain {
        let key = parse_key(text);
        if key.is_none() {
            fields.problem("key", KEY_EXPECTED);
        }
        let (key, wrapped) = (DataKey::from(key?), None);
        return Some((id?, Entry { key, wrapped }));
    }
    let Ok(blob) = STANDARD.decode(wrapped?.trim_ascii()) else {
        fields.problem("wrapped", "must be base64");
        return None;
    };
    match data_key::unwrap(masters, &key_use(env_id, id?), &blob) {
        Ok(key) => {
            let wrapped = Some(blob.into());
            Some((id?, Entry { key, wrapped }))
        }
        Err(error) => {
            fields.problem("wrapped", error.to_string());
            None
        }
    }
}

#[cfg(test)]
mod tests;
