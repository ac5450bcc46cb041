use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

const ENV: &str = "11111111-2222-3333-4444-555555555555";
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Key 00 to 1f wrapped by the master key 20 to 3f, `mk1`, for `ENV` and id 1.
const WRAPPED: &str = "U0xESwEBAANtazEAAQIDBAUGBwgJCgtlL52atbYRHK25IfyoYC+hXQZC1YA8iEqz+2ekGV\
                       fgzL0/Ny0m8jV3d9PE/4uKSLc=";

fn master(id: &str) -> MasterKey {
    let hex: String = (0x20..0x40).map(|byte| format!("{byte:02x}")).collect();
    MasterKey::parse(id, &hex).unwrap()
}

fn problems(text: &str) -> Vec<String> {
    let error = Keyring::parse(text, &[master("mk1")]).expect_err(text);
    assert!(!error.to_string().contains("canary"), "{error}");
    error.problems().to_vec()
}

#[test]
fn a_ring_holds_its_keys_and_seals_with_the_highest() {
    let hex = "ff".repeat(32);
    let text = format!(
        "{{\n\t\"env_id\": \"{ENV}\",\n\t\"keys\": [\n\t\t{{\"id\": 4294967295, \"key\": \"{hex}\"}},\n\
         \t\t{{\"id\": 1, \"key\": \"{KEY}\"}},\n\t\t{{\"id\":7,\"key\":\"{KEY}\"}}\n\t]\n}}\n"
    );
    let ring = Keyring::parse(&text, &[]).unwrap();
    assert_eq!(ring.env_id(), ENV);
    assert_eq!(ring.ids().collect::<Vec<_>>(), [1, 7, u32::MAX]);
    assert_eq!(ring.sealing_key().0, u32::MAX);
    assert_eq!(ring.sealing_key().1.bytes(), &[0xff; 32]);
    assert_eq!(ring.key(1).unwrap().bytes()[31], 0x1f);
    assert!(ring.key(2).is_none());
    let printed = format!("{ring:?}");
    assert_eq!(
        printed,
        format!(
            r#"Keyring {{ env_id: "{ENV}", keys: [(1, "***"), (7, "***"), (4294967295, "***")] }}"#
        )
    );
}

#[test]
fn a_wrapped_key_opens_with_its_master_key_only() {
    let text = format!(r#"{{"env_id":"{ENV}","keys":[{{"id":1,"wrapped":"{WRAPPED}"}}]}}"#);
    let ring = Keyring::parse(&text, &[master("mk0"), master("mk1")]).unwrap();
    assert_eq!(ring.sealing_key().1.bytes()[..3], [0, 1, 2]);
    let error = Keyring::parse(&text, &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "key ring: keys[0].wrapped: wrapped by the master key \"mk1\", which is not given"
    );
    for changed in [text.replace(ENV, ""), text.replace("\"id\":1", "\"id\":2")] {
        assert!(Keyring::parse(&changed, &[master("mk1")]).is_err());
    }
}

#[test]
fn every_problem_of_a_ring_is_listed_without_its_keys() {
    let cases: [(&str, &[&str]); 13] = [
        ("", &["keys: is required"]),
        ("{\"keys\":", &[""]),
        (
            "[]",
            &["must be a mapping, not a list", "keys: is required"],
        ),
        ("{}", &["keys: is required"]),
        (r#"{"keys":null}"#, &["keys: is required"]),
        (r#"{"keys":[]}"#, &["keys: must have at least one key"]),
        (
            r#"{"keys":"canary","env_id":7}"#,
            &[
                "env_id: must be a string, not a number",
                "keys: must be a list, not a string",
            ],
        ),
        (
            r#"{"env_id":"x","env_id":"x","keys":[]}"#,
            &["a key is written twice in one mapping"],
        ),
        (
            r#"{"keys":[{"id":0,"key":"canary"},{"key":"canary","wrapped":"canary","note":1},7]}"#,
            &[
                "keys[0].id: must be 1 to 4294967295",
                "keys[0].key: must be base64 or hex of 32 bytes",
                "keys[1].id: is required",
                "keys[1].key: exactly one of `key` and `wrapped` is required",
                "keys[1].note: unknown key `note`",
                "keys[2]: must be a mapping, not a number",
                "keys[2].id: is required",
                "keys[2].key: exactly one of `key` and `wrapped` is required",
            ],
        ),
        (
            r#"{"keys":[{"id":4294967296,"key":"KEY"},{"id":"1","key":"KEY"},{"id":1}],"more":1}"#,
            &[
                "keys[0].id: must be 1 to 4294967295",
                "keys[1].id: must be a whole number, 0 or more, not a string",
                "keys[2].key: exactly one of `key` and `wrapped` is required",
                "more: unknown key `more`",
            ],
        ),
        (
            r#"{"keys":[{"id":1,"key":"KEY"},{"id":1,"key":"KEY"}]}"#,
            &["keys[1].id: 1 is written twice"],
        ),
        (
            r#"{"keys":[{"id":1,"wrapped":"canary!"},{"id":2,"wrapped":"Y2FuYXJ5"}]}"#,
            &[
                "keys[0].wrapped: must be base64",
                "keys[1].wrapped: is not a wrapped data key",
            ],
        ),
        (
            r#"{"keys":[{"id":1,"key":7}]}"#,
            &["keys[0].key: must be a string, not a number"],
        ),
    ];
    for (text, want) in cases {
        let found = problems(&text.replace("KEY", KEY));
        for want in want {
            assert!(
                found.iter().any(|problem| problem.contains(want)),
                "{text}: {want}: {found:?}"
            );
        }
        assert_eq!(found.len(), want.len(), "{text}: {found:?}");
    }
    let many: Vec<String> = (1..=KEYS_MAX + 1)
        .map(|id| format!(r#"{{"id":{id},"key":"{KEY}"}}"#))
        .collect();
    let found = problems(&format!(r#"{{"keys":[{}]}}"#, many.join(",")));
    assert_eq!(found, ["keys: must have at most 1024 keys"]);
}

#[test]
fn a_ring_survives_its_file_and_grows_by_the_next_id() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keyring.json");
    let mut ring = Keyring::generate(ENV, None).unwrap();
    for id in 2..4 {
        assert_eq!(ring.add_key(None).unwrap(), id);
        ring.write(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o400);
        let (read, warning) = Keyring::read(&path, &[]).unwrap();
        assert_eq!(warning, None);
        assert_eq!(read.env_id(), ENV);
        assert!(read.ids().eq(1..=id));
        for id in 1..=id {
            let (read, made) = (read.key(id).unwrap(), ring.key(id).unwrap());
            assert_eq!(read.bytes(), made.bytes());
        }
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let (_, warning) = Keyring::read(&path, &[]).unwrap();
    let warning = warning.unwrap();
    assert!(warning.contains("keyring.json: its mode 0644"), "{warning}");
}

#[test]
fn wrapped_keys_stay_wrapped_and_can_move_to_another_master_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keyring.json");
    let (first, second) = (master("mk1"), master("mk2"));
    let mut ring = Keyring::generate(ENV, Some(&first)).unwrap();
    assert!(
        ring.add_key(None).is_err(),
        "a plain key beside wrapped ones"
    );
    ring.add_key(Some(&second)).unwrap();
    ring.write(&path).unwrap();
    assert!(Keyring::read(&path, std::slice::from_ref(&first)).is_err());
    let masters = [first, second];
    let (mut read, _) = Keyring::read(&path, &masters).unwrap();
    read.wrap_all(&masters[1]).unwrap();
    read.write(&path).unwrap();
    let (read, _) = Keyring::read(&path, &masters[1..]).unwrap();
    for id in [1, 2] {
        let (read, made) = (read.key(id).unwrap(), ring.key(id).unwrap());
        assert_eq!(read.bytes(), made.bytes());
    }
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("\"key\""), "{text}");
    assert!(!text.contains(&STANDARD.encode(ring.key(1).unwrap().bytes())));
}

#[test]
fn a_full_ring_and_the_last_id_end_growth() {
    let text = format!(r#"{{"keys":[{{"id":4294967295,"key":"{KEY}"}}]}}"#);
    let mut ring = Keyring::parse(&text, &[]).unwrap();
    assert!(ring.add_key(None).is_err());
    let mut ring = Keyring::generate("", None).unwrap();
    for _ in 1..KEYS_MAX {
        ring.add_key(None).unwrap();
    }
    assert!(ring.add_key(None).is_err());
    let text = ring.to_json();
    assert!(
        Keyring::parse(&text, &[]).is_ok(),
        "a full ring is read back"
    );
}

#[test]
fn a_link_to_a_ring_stays_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let (real, link) = (directory.path().join("real"), directory.path().join("link"));
    let ring = Keyring::generate("staging", None).unwrap();
    ring.write(&real).unwrap();
    symlink(&real, &link).unwrap();
    ring.write(&link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(Keyring::read(&link, &[]).is_ok());
}

#[test]
fn what_cannot_be_read_is_an_error_with_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let large = directory.path().join("large");
    fs::write(&large, vec![b' '; FILE_BYTES_MAX as usize + 1]).unwrap();
    let binary = directory.path().join("binary");
    fs::write(&binary, [0xff, 0xfe]).unwrap();
    let canary = directory.path().join("plain");
    fs::write(&canary, r#"{"keys":[{"id":1,"key":"canary"}]}"#).unwrap();
    let missing = directory.path().join("missing");
    for path in [&large, &binary, &canary, &missing] {
        let error = Keyring::read(path, &[]).unwrap_err().to_string();
        assert!(error.contains(&*path.to_string_lossy()), "{error}");
        assert!(!error.contains("canary"), "{error}");
    }
}
