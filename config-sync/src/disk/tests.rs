use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

const CANARY: &str = "canary-5c1d";

fn row(key: &str, value: &[u8], created: i64, modified: i64) -> StoredRow {
    StoredRow {
        key: key.into(),
        value: Zeroizing::new(value.to_vec()),
        create_revision: created,
        mod_revision: modified,
    }
}

fn cached() -> Cached {
    let json = format!(r#"{{"api_key":"{CANARY}"}}"#);
    Cached {
        revision: 4711,
        rows: vec![
            row("/sluice/provider_keys/a", json.as_bytes(), 7, 4700),
            row(
                "/sluice/models/\"quoted\"\n\u{1}é",
                b"\xff\x00not json",
                4711,
                4711,
            ),
            row("/sluice/models/empty", b"", 1, 2),
        ],
        stale: vec![StaleRow {
            row: row("/sluice/models/b", CANARY.as_bytes(), 5, 4650),
            since_unix_secs: 1_767_225_600,
        }],
    }
}

/// A directory, and the path of a cache in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state/sluice/config_cache.json");
    (directory, path)
}

fn stored() -> (tempfile::TempDir, PathBuf) {
    let (directory, path) = place();
    let key = SnapshotKey::beside(&path).unwrap();
    store(&path, &cached().view(), &key).unwrap();
    (directory, path)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_is_stored_is_restored() {
    let (_directory, path) = stored();
    assert_eq!(load(&path, "/sluice").unwrap(), cached());
    assert_eq!(load(&path, "/sluice/").unwrap(), cached());
    let key = SnapshotKey::beside(&path).unwrap();
    store(&path, &CachedView::default(), &key).unwrap();
    assert_eq!(load(&path, "/sluice").unwrap(), Cached::default());
}

#[test]
fn neither_the_files_nor_any_text_hold_a_secret() {
    let (_directory, path) = stored();
    let key = fs::read_to_string(key_path(&path)).unwrap();
    let sealed = fs::read_to_string(&path).unwrap();
    let bytes = STANDARD.encode(CANARY);
    for secret in [
        CANARY,
        &bytes[..12],
        "/sluice/models",
        "provider_keys",
        key.trim(),
    ] {
        assert!(!sealed.contains(secret), "{secret}");
    }
    let key = SnapshotKey::beside(&path).unwrap();
    for printed in [
        format!("{:?}", cached()),
        format!("{:?}", cached().view()),
        format!("{key:?}"),
    ] {
        assert!(!printed.contains(CANARY), "{printed}");
    }
}

#[test]
fn files_are_for_their_owner_even_under_a_permissive_umask() {
    const CHILD: &str = "SLUICE_TEST_UNDER_UMASK";
    if std::env::var_os(CHILD).is_none() {
        let name = "disk::tests::files_are_for_their_owner_even_under_a_permissive_umask";
        for umask in ["000", "077"] {
            let status = Command::new("sh")
                .args(["-c", "umask $1 && exec \"$0\" --exact \"$2\""])
                .arg(std::env::current_exe().unwrap())
                .args([umask, name])
                .env(CHILD, umask)
                .status();
            assert!(status.unwrap().success(), "umask {umask}");
        }
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let path = state.join("config_cache.json");
    let key = SnapshotKey::beside(&path).unwrap();
    store(&path, &cached().view(), &key).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&key_path(&path)), 0o600);
    assert_eq!(mode(&state), 0o700);
}

#[test]
fn directories_that_have_to_be_made_are_private() {
    let (directory, path) = stored();
    assert_eq!(mode(&directory.path().join("state")), 0o700);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
}

#[test]
fn what_a_crash_left_behind_is_overwritten() {
    let (_directory, path) = stored();
    let left = path.with_extension("json.tmp");
    fs::write(&left, "half a fi").unwrap();
    fs::set_permissions(&left, fs::Permissions::from_mode(0o444)).unwrap();
    assert_eq!(load(&path, "/sluice").unwrap(), cached());
    let newer = Cached {
        revision: 4712,
        ..cached()
    };
    store(&path, &newer.view(), &SnapshotKey::beside(&path).unwrap()).unwrap();
    assert_eq!(load(&path, "/sluice").unwrap(), newer);
    assert!(!left.exists());
}

#[test]
fn the_plain_form_is_read_and_other_prefixes_are_left_out() {
    let (_directory, path) = stored();
    let plain = r#"{"version":1,"revision":9,"comment":{"by":"another"},
        "entries":[{"key":"/sluice/models/a","value_b64":"e30=","revision":8,"extra":1},
            {"key":"/sluice-staging/models/a","value_b64":"e30=","revision":8},
            {"key":"/sluice","value_b64":"e30=","revision":8},
            {"key":"/other/models/a","value_b64":"e30=","revision":8}],
        "stale":[{"key":"/sluice/models/b","value_b64":"","revision":3,"create_revision":2,"since_unix_secs":5},
            {"key":"models/b","value_b64":"","revision":3,"since_unix_secs":5}]}"#;
    fs::write(&path, plain).unwrap();
    fs::remove_file(key_path(&path)).unwrap();
    let want = Cached {
        revision: 9,
        rows: vec![row("/sluice/models/a", b"{}", 8, 8)],
        stale: vec![StaleRow {
            row: row("/sluice/models/b", b"", 2, 3),
            since_unix_secs: 5,
        }],
    };
    assert_eq!(load(&path, "/sluice").unwrap(), want);
    for without in [
        r#"{"version":1,"revision":9,"entries":[]}"#,
        r#"{"version":1,"revision":9,"entries":[],"stale":null}"#,
    ] {
        fs::write(&path, without).unwrap();
        let none = Cached {
            revision: 9,
            ..Cached::default()
        };
        assert_eq!(load(&path, "/sluice").unwrap(), none);
    }
    assert!(!key_path(&path).exists(), "reading makes no key");
}

#[test]
fn a_file_of_another_shape_is_a_miss_that_quotes_nothing() {
    let (_directory, path) = place();
    assert!(load(&path, "/sluice").unwrap_err().is_absent());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let cases = [
        ("", "not a snapshot cache"),
        ("canary", "not a snapshot cache"),
        (
            "{\"version\":1,\n\"revision\":\"canary\"}",
            "not a snapshot cache (line 2, column 19)",
        ),
        ("[]", "not a snapshot cache"),
        ("{}", "not a snapshot cache"),
        (&deep, "not a snapshot cache"),
        (r#"{"version":1,"revision":9}"#, "not a snapshot cache"),
        (
            r#"{"version":1,"revision":-9,"entries":[]}"#,
            "not a snapshot cache",
        ),
        (
            r#"{"version":1,"revision":9,"entries":[{"key":"a","value_b64":"canary!","revision":1}]}"#,
            "not a snapshot cache",
        ),
        (
            r#"{"version":1,"revision":9,"entries":[{"key":"a","value_b64":7,"revision":1}]}"#,
            "not a snapshot cache",
        ),
        (
            r#"{"version":1,"revision":9,"entries":[],"stale":[{"key":"a","value_b64":"","revision":1}]}"#,
            "not a snapshot cache",
        ),
        (
            r#"{"version":2,"revision":9,"entries":[]}"#,
            "version that is not known",
        ),
        (
            r#"{"version":2,"rows":"canary"}"#,
            "version that is not known",
        ),
    ];
    for (text, want) in cases {
        fs::write(&path, text).unwrap();
        let miss = load(&path, "/sluice").unwrap_err();
        assert!(miss.to_string().contains(want), "{text}: {miss}");
        assert!(!format!("{miss} {miss:?}").contains("canary"), "{miss}");
    }
    fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
    assert!(load(&path, "/sluice").is_err());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let miss = load(&path, "/sluice").unwrap_err().to_string();
    assert_eq!(miss, "cannot be read: is not a regular file");
}

#[test]
fn a_file_cut_or_changed_anywhere_is_a_miss() {
    let (_directory, path) = stored();
    let sealed = fs::read(&path).unwrap();
    for at in 0..sealed.len() {
        fs::write(&path, &sealed[..at]).unwrap();
        assert!(load(&path, "/sluice").is_err(), "cut at {at}");
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        fs::write(&path, changed).unwrap();
        assert!(load(&path, "/sluice").is_err(), "changed at {at}");
    }
    fs::write(&path, [&sealed[..], b"\n"].concat()).unwrap();
    assert!(load(&path, "/sluice").is_ok(), "an editor's line end");
}

#[test]
fn a_key_file_that_is_lost_or_broken_is_a_miss_and_never_replaced() {
    let (_directory, path) = stored();
    let key = key_path(&path);
    let good = fs::read_to_string(&key).unwrap();
    for broken in ["", "canary", &good[1..], &"0".repeat(2000)] {
        fs::write(&key, broken).unwrap();
        let miss = load(&path, "/sluice").unwrap_err();
        assert!(matches!(miss, Miss::Key(_)), "{miss}");
        assert!(!miss.to_string().contains("canary"), "{miss}");
        assert!(SnapshotKey::beside(&path).is_err());
        assert_eq!(fs::read_to_string(&key).unwrap(), broken);
    }
    fs::remove_file(&key).unwrap();
    let miss = load(&path, "/sluice").unwrap_err().to_string();
    assert_eq!(miss, "its key file snapshot.key is missing");
    SnapshotKey::beside(&path).unwrap();
    let miss = load(&path, "/sluice").unwrap_err();
    assert!(matches!(miss, Miss::Sealed(OpenError::Tag)), "{miss}");
    assert_eq!(SnapshotKey::beside(&path).unwrap().warning(), None);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let warning = SnapshotKey::beside(&path).unwrap();
    assert!(warning.warning().unwrap().contains("0644"));
    fs::write(&key, good.to_uppercase()).unwrap();
    assert_eq!(load(&path, "/sluice").unwrap(), cached());
}

#[test]
fn what_cannot_be_stored_is_an_error_and_leaves_the_former_file() {
    let (_directory, path) = stored();
    let key = SnapshotKey::beside(&path).unwrap();
    let below = path.join("config_cache.json");
    assert!(matches!(
        store(&below, &cached().view(), &key),
        Err(StoreError::Io(_))
    ));
    assert!(SnapshotKey::beside(&below).is_err());
    assert_eq!(load(&path, "/sluice").unwrap(), cached());
}

#[test]
fn two_megabytes_survive() {
    let (_directory, path) = place();
    let value = vec![b'x'; 512];
    let rows = (0..2_000).map(|at| row(&format!("/sluice/models/{at}"), &value, 1, at));
    let large = Cached {
        revision: 1,
        rows: rows.collect(),
        stale: Vec::new(),
    };
    let key = SnapshotKey::beside(&path).unwrap();
    store(&path, &large.view(), &key).unwrap();
    let restored = load(&path, "/sluice").unwrap();
    assert!(restored == large);
}

#[test]
fn the_plaintext_fits_the_room_that_is_made_for_it() {
    let cached = cached();
    let long = i64::MAX;
    let rows = [
        row("\u{1}", b"", long, long - 1),
        row("", b"x", -long, long),
    ];
    let mut view = cached.view();
    view.revision = long;
    view.rows.extend(&rows);
    view.stale.extend(rows.iter().map(|row| (row, u64::MAX)));
    let room = format::encode(&view);
    let exact = room.len();
    assert!(
        room.capacity() >= exact && room.capacity() < exact + 160 * 10,
        "{exact}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_row_survives(
        key in ".{0,30}",
        value in proptest::collection::vec(any::<u8>(), 0..60),
        revisions in (0..=i64::MAX, 0..=i64::MAX),
        since_unix_secs in any::<u64>(),
    ) {
        let row = row(&format!("/p/{key}"), &value, revisions.0, revisions.1);
        let stale = vec![StaleRow { row: row.clone(), since_unix_secs }];
        let cached = Cached { revision: revisions.1, rows: vec![row], stale };
        prop_assert_eq!(format::decode(&format::encode(&cached.view()), "/p").unwrap(), cached);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(format::decode(&bytes, "/p").is_err());
    }
}
