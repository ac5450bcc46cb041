//! `admin`: the operators' listener. [boot]

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use config_sync::tree::Fields;
use sha2::{Digest, Sha256};

use super::tls::{ListenerTls, listener};
use crate::settings::field::{Context, addr, flag, path};

/// Keys shorter than this are warned about.
const KEY_CHARS_MIN: usize = 16;
/// Marks an entry that holds a hash instead of the key.
const HASH_PREFIX: &str = "sha256:";

/// The admin listener.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    /// `addr`. Default `127.0.0.1:0`.
    pub addr: SocketAddr,
    /// `admin_keys`: who may do everything; at least one.
    pub keys: Vec<KeyDigest>,
    /// `read_only_keys`: who may only look. Default none.
    pub read_only_keys: Vec<KeyDigest>,
    /// `writes_enabled`. Default true.
    pub writes_enabled: bool,
    /// `playground_enabled`. Default true.
    pub playground_enabled: bool,
    /// `audit_log_file`. Default none.
    pub audit_log_file: Option<PathBuf>,
    /// `tls`. Default none, plain HTTP.
    pub tls: Option<ListenerTls>,
}

/// SHA-256 of an admin key: the key itself is not kept. Compare in constant time.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The hash of a key as presented.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// The hash, for a comparison in constant time.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Reads the block `admin`; `None` where it is absent, disabled, or not for this mode.
pub(super) fn admin(
    root: &Fields<'_>,
    managed: bool,
    context: &Context<'_>,
) -> Option<AdminSettings> {
    let present = root.take("admin").is_some();
    let block = root.take_block("admin");
    let bound = flag(&block, "enabled", true) && present && !managed;
    let mut settings = AdminSettings {
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        keys: Vec::new(),
        read_only_keys: Vec::new(),
        writes_enabled: flag(&block, "writes_enabled", true),
        playground_enabled: flag(&block, "playground_enabled", true),
        audit_log_file: path(&block, "audit_log_file"),
        tls: listener(&block, false, context),
    };
    if bound {
        settings.addr = addr(&block, "addr").unwrap_or(settings.addr);
        settings.keys = keys(&block, "admin_keys", context);
        if block
            .take_list("admin_keys")
            .is_none_or(|list| list.is_empty())
        {
            block.problem(
                "admin_keys",
                "needs at least one key (or set `admin.enabled: false`)",
            );
        }
        settings.read_only_keys = keys(&block, "read_only_keys", context);
        if settings.tls.is_none() && !settings.addr.ip().is_loopback() {
            context.warn(
                "admin.addr is not loopback and admin.tls is not set: \
                 keys cross the network in the clear",
            );
        }
    } else {
        for key in ["addr", "admin_keys", "read_only_keys"] {
            block.take(key);
        }
    }
    block.finish();
    bound.then_some(settings)
}

fn keys<'a>(block: &Fields<'a>, name: &'a str, context: &Context<'_>) -> Vec<KeyDigest> {
    let list = block.take_strings(name).unwrap_or_default();
    let mut short = false;
    let mut digests = Vec::new();
    for (index, key) in list.into_iter().enumerate() {
        let at = format!("{name}[{index}]");
        if key.trim().is_empty() {
            block.problem(&at, "must not be blank");
        } else if let Some(hex) = key.strip_prefix(HASH_PREFIX) {
            match digest(hex) {
                Some(digest) => digests.push(digest),
                None => block.problem(&at, "must have 64 hex digits after `sha256:`"),
            }
        } else {
            short |= key.chars().count() < KEY_CHARS_MIN;
            digests.push(KeyDigest::of(key));
        }
    }
    if short {
        let name = block.path_of(name);
        context.warn(format!(
            "{name} holds a key shorter than {KEY_CHARS_MIN} characters"
        ));
    }
    digests
}

fn digest(hex: &str) -> Option<KeyDigest> {
    let mut bytes = [0; 32];
    if hex.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().as_chunks::<2>().0) {
        let digit = |at: u8| {
            char::from(at)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        *byte = digit(digits[0])? << 4 | digit(digits[1])?;
    }
    Some(KeyDigest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::field::reading;
    use serde_json::{Value, json};

    fn read(block: &Value, managed: bool) -> (Option<AdminSettings>, Vec<String>, Vec<String>) {
        let doc = json!({ "admin": block });
        let read = reading::read(&doc, &[], |root, _, context| admin(root, managed, context));
        (read.got, read.problems, read.warnings)
    }

    const KEY: &str = "sk-admin-0123456789";

    #[test]
    fn keys_are_kept_as_hashes_only() {
        let hash = KeyDigest::of(KEY);
        let hex: String = hash
            .bytes()
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        let block = json!({"admin_keys": [KEY, format!("sha256:{hex}")], "read_only_keys": [KEY]});
        let (got, problems, warnings) = read(&block, false);
        assert!(
            problems.is_empty() && warnings.is_empty(),
            "{problems:?} {warnings:?}"
        );
        let got = got.expect("bound");
        assert_eq!(got.keys, [hash, hash]);
        assert_eq!(got.read_only_keys, [hash]);
        assert!(format!("{got:?}").contains("keys: [***, ***]"));
    }

    #[test]
    fn a_listener_that_is_not_bound_is_not_checked() {
        let broken = json!({"addr": "nowhere", "admin_keys": []});
        for (block, managed) in [
            (json!(null), false),
            (
                json!({"enabled": false, "addr": "nowhere", "admin_keys": [""]}),
                false,
            ),
            (broken.clone(), true),
        ] {
            let (got, problems, _) = read(&block, managed);
            assert!(got.is_none() && problems.is_empty(), "{problems:?}");
        }
        let (_, problems, _) = read(&broken, false);
        assert_eq!(
            problems,
            [
                "admin.addr: must be an address and a port, such as `127.0.0.1:3000`",
                "admin.admin_keys: needs at least one key (or set `admin.enabled: false`)",
            ]
        );
    }

    #[test]
    fn blank_and_malformed_keys_are_refused_and_short_ones_warned_about() {
        let block = json!({"admin_keys": [" ", "sha256:abc", format!("sha256:{}", "g".repeat(64)), "short"]});
        let (_, problems, warnings) = read(&block, false);
        assert_eq!(
            problems,
            [
                "admin.admin_keys[0]: must not be blank",
                "admin.admin_keys[1]: must have 64 hex digits after `sha256:`",
                "admin.admin_keys[2]: must have 64 hex digits after `sha256:`",
            ]
        );
        assert_eq!(
            warnings,
            ["admin.admin_keys holds a key shorter than 16 characters"]
        );
    }

    #[test]
    fn an_open_address_without_tls_is_warned_about() {
        let (_, _, warnings) = read(&json!({"addr": "0.0.0.0:3001", "admin_keys": [KEY]}), false);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let (_, _, warnings) = read(&json!({"addr": "[::1]:3001", "admin_keys": [KEY]}), false);
        assert_eq!(warnings.len(), 0, "{warnings:?}");
    }
}
