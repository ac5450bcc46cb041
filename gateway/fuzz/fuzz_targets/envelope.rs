//! Envelopes and key files: no panic, what was sealed opens, and nothing else does.
#![no_main]

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use config_sync::seal::data_key::{self, Use};
use config_sync::seal::envelope::{self, OpenError, PREFIX};
use config_sync::seal::{Keyring, MasterKey, Place, Scope};
use libfuzzer_sys::fuzz_target;

const PLACE: Place<'static> = Place {
    kind: "provider_keys",
    object: "id",
    pointer: "/api_key",
};
/// Version 1, AES-256-GCM, no flags, key 1.
const HEADER: [u8; 8] = [1, 1, 0, 0, 0, 0, 0, 1];

struct Keys {
    ring: Keyring,
    masters: [MasterKey; 1],
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let master = MasterKey::parse("main", &"5a".repeat(32)).expect("64 hex digits");
    Keys {
        ring: Keyring::generate("", Some(&master)).expect("the system gives random bytes"),
        masters: [master],
    }
});

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    assert!(open(&text).is_err(), "nobody can have sealed it");
    assert!(envelope::key_id(&text).is_ok() || open(&text) != Err(OpenError::Tag));
    let raw = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    assert!(open(&raw).is_err());
    // One byte more than the header, or its base64 is too short to tell.
    let forged = [&HEADER[..], bytes, b"x"].concat();
    let forged = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(forged));
    assert_eq!(envelope::key_id(&forged), Ok(1));
    assert!(matches!(
        open(&forged),
        Err(OpenError::Tag | OpenError::TooShort)
    ));
    seal(bytes, &text);
    let _ = Keyring::parse(&text, &KEYS.masters);
    let _ = MasterKey::parse("main", &text);
    let of = Use {
        scope: Scope::of_env_id(&text),
        key_id: 1,
        purpose: "field",
    };
    assert!(data_key::unwrap(&KEYS.masters, &of, bytes).is_err());
});

fn open(text: &str) -> Result<Vec<u8>, OpenError> {
    let opened = envelope::open(&KEYS.ring, &Scope::System, &PLACE, text);
    opened.map(|plain| plain.to_vec())
}

/// Seals `bytes`, opens it, and does not open it changed or elsewhere.
fn seal(bytes: &[u8], text: &str) {
    let (id, key) = KEYS.ring.sealing_key();
    let sealed = envelope::seal(id, key, &Scope::System, &PLACE, bytes);
    let sealed = sealed.expect("short bytes at a short place");
    assert_eq!(open(&sealed).as_deref(), Ok(bytes));
    assert_eq!(envelope::key_id(&sealed), Ok(id));

    // The last character may have bits that say nothing.
    let place = usize::from(bytes.first().copied().unwrap_or(0));
    let at = PREFIX.len() + place % (sealed.len() - PREFIX.len() - 1);
    let mut changed = sealed.clone().into_bytes();
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).expect("one ASCII character for another");
    assert!(open(&changed).is_err(), "character {at} of {sealed}");

    if text != PLACE.object {
        let elsewhere = Place {
            object: text,
            ..PLACE
        };
        let opened = envelope::open(&KEYS.ring, &Scope::System, &elsewhere, &sealed);
        assert!(opened.is_err(), "sealed for another document");
    }
}
