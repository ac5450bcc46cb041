//! The rows on disk: a gateway that starts without its store serves what it last had.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::on_both_engines;
use crate::support::gateway::{CALLER_KEY, UPSTREAM_KEY, chat};
use crate::support::store::{self, Etcd, PREFIX, Rows, base64, caller, model};
use crate::support::{Engine, Gateway, Setup, mock, wait_for};

const CHAT: &str = "/v1/chat/completions";
const RESTORED: &str = "serving the configuration of the snapshot cache until the store answers";
const UNUSED: &str = "the snapshot cache is not used";
/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:1";

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn chat_status(gateway: &Gateway, model: &str) -> u16 {
    gateway.post(CHAT, &chat(model, false)).status
}

/// A setup with its cache at `path`.
fn cached(setup: Setup, path: &Path) -> Setup {
    setup.with("managed.snapshot_cache_path", path.to_str().unwrap())
}

/// A directory, and the place of a cache below it that is not there yet.
fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state/sluice/cache.json");
    (dir, path)
}

on_both_engines! {
    fn a_restart_without_the_store_serves_at_once_what_was_there_last(engine) {
        let (mut etcd, mock) = (Etcd::start(), mock());
        let mut rows = Rows::new(etcd.addr());
        rows.seed(mock);
        let (_dir, path) = place();
        let setup = cached(Setup::new(engine, mock).following(etcd.addr()), &path);
        let gateway = setup.clone().start_ready();
        assert!(gateway.logged(RESTORED).is_none());
        wait_for("the cache", || path.exists().then_some(()));
        let first = std::fs::read(&path).unwrap();
        let revision = rows.put("api_keys/caller", &caller(CALLER_KEY, &["m", "other"]));
        wait_for("the newer cache", || (std::fs::read(&path).unwrap() != first).then_some(()));
        let before = gateway.config();
        assert!(before["source"].get("restored_from_cache").is_none(), "{before}");
        // Neither has time to tidy up.
        drop(gateway);
        etcd.kill();
        let gateway = setup.start();
        assert_eq!(gateway.get("/readyz").status, 200);
        assert_eq!(gateway.status_page("/status/ready").status, 200);
        assert_eq!(chat_status(&gateway, "other"), 200, "allowed by the last change only");
        let line = gateway.logged(RESTORED).expect("it says so");
        assert_eq!(line["level"], "INFO", "{line}");
        assert_eq!(line["revision"], revision, "{line}");
        assert_eq!(line["rows"], 6, "{line}");
        let config = gateway.config_until("a failed attempt", |config| !config["last_failure"].is_null());
        assert_eq!(config["source"]["restored_from_cache"], true, "{config}");
        assert_eq!(config["source"]["connected"], false, "{config}");
        assert_eq!(config["state"], "synced", "{config}");
        assert_eq!(config["applied"]["config_hash"], rows.hash(), "{config}");
        assert_eq!(config["applied"]["applied_revision"], revision, "{config}");
        assert!(config["source"].get("source_hash").is_none(), "nothing observed: {config}");
        for (place, want) in [
            (path.clone(), 0o600),
            (path.with_file_name("snapshot.key"), 0o600),
            (path.parent().unwrap().to_owned(), 0o700),
            (path.ancestors().nth(2).unwrap().to_owned(), 0o700),
        ] {
            assert_eq!(mode(&place), want, "{}", place.display());
        }
        let names = std::fs::read_dir(path.parent().unwrap()).unwrap();
        assert_eq!(names.count(), 2, "no temporary file is left");
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for secret in [UPSTREAM_KEY, &base64(UPSTREAM_KEY.as_bytes())[..16], "gpt-up"] {
            assert!(!text.contains(secret), "{secret}");
        }
        etcd.restart();
        let config = rows.agree_with(&gateway);
        assert!(config["source"].get("restored_from_cache").is_none(), "{config}");
        assert_eq!(config["applied"]["apply_seq"], 1, "the same as before: {config}");
    }
}

#[test]
fn what_is_no_cache_is_passed_over_with_a_warning() {
    let (etcd, mock) = (Etcd::start(), mock());
    let mut rows = Rows::new(etcd.addr());
    rows.seed(mock);
    let (_dir, path) = place();
    let setup = || Setup::new(Engine::Epoll, mock);
    let following = cached(setup().following(etcd.addr()), &path);
    drop_gracefully(following.clone().start_ready());
    let good = std::fs::read(&path).unwrap();
    let key_file = path.with_file_name("snapshot.key");
    let key = std::fs::read(&key_file).unwrap();
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] = if flipped[middle] == b'A' { b'B' } else { b'A' };
    let other_key = "0".repeat(64).into_bytes();
    let deep = "[".repeat(100_000).into_bytes();
    // What it is, the cache, its key's file; none where that is empty.
    let cases: [(&str, &[u8], &[u8]); 10] = [
        ("empty", b"", &key),
        ("no JSON", b"{\"version\":1", &key),
        ("no text", &[0xff, 0, 0xfe], &key),
        ("too deep", &deep, &key),
        (
            "another version",
            b"{\"version\":2,\"revision\":1,\"entries\":[]}",
            &key,
        ),
        ("half of it", &good[..good.len() / 2], &key),
        ("a flipped bit", &flipped, &key),
        ("another key", &good, &other_key),
        ("no key at all", &good, b""),
        ("a key that is none", &good, b"secret-canary"),
    ];
    let nowhere = NOWHERE.parse().unwrap();
    for (what, cache, key) in cases {
        std::fs::write(&path, cache).unwrap();
        match key {
            b"" => std::fs::remove_file(&key_file).unwrap(),
            _ => std::fs::write(&key_file, key).unwrap(),
        }
        let gateway = cached(setup().following(nowhere), &path).start();
        assert_eq!(gateway.get("/readyz").status, 503, "{what}");
        let line = gateway
            .logged(UNUSED)
            .unwrap_or_else(|| panic!("{what}: {}", gateway.stderr()));
        assert_eq!(line["level"], "WARN", "{what}: {line}");
        assert!(
            !gateway.stderr().contains("canary"),
            "{what}: {}",
            gateway.stderr()
        );
        assert_eq!(gateway.config()["state"], "never_loaded", "{what}");
    }
    // Such a file is in nobody's way.
    std::fs::write(&path, "{").unwrap();
    std::fs::write(&key_file, &key).unwrap();
    drop_gracefully(following.start_ready());
    let gateway = cached(setup().following(nowhere), &path).start();
    assert_eq!(chat_status(&gateway, "m"), 200);
}

/// Ends the gateway as an operator does: what is left to write is written.
fn drop_gracefully(mut gateway: Gateway) {
    gateway.signal(rustix::process::Signal::TERM);
    assert_eq!(gateway.ended().code(), Some(0), "{}", gateway.stderr());
}

#[test]
fn a_cache_in_the_open_is_read_without_the_rows_of_others() {
    let mock = mock();
    let (_dir, path) = place();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let entry = |key: &str, document: &serde_json::Value| json!({"key": key, "value_b64": base64(document.to_string().as_bytes()), "revision": 5});
    let mut entries: Vec<_> = store::seed(mock)
        .iter()
        .map(|(row, document)| entry(&format!("{PREFIX}/{row}"), document))
        .collect();
    entries.push(entry("/sluice-staging/models/x", &model("embed", "x")));
    let cache = json!({"version": 1, "revision": 4711, "entries": entries});
    std::fs::write(&path, cache.to_string()).unwrap();
    let setup = Setup::new(Engine::IoUring, mock).following(NOWHERE.parse().unwrap());
    let gateway = cached(setup, &path).start();
    assert_eq!(chat_status(&gateway, "m"), 200);
    let config = gateway.config();
    assert_eq!(config["applied"]["applied_revision"], 4711, "{config}");
    assert_eq!(
        config["applied"]["resource_counts"]["models"], 4,
        "{config}"
    );
    assert_eq!(config["rejected"], json!([]), "{config}");
}

#[test]
fn without_a_path_nothing_is_kept() {
    let (etcd, mock) = (Etcd::start(), mock());
    Rows::new(etcd.addr()).seed(mock);
    let setup = Setup::new(Engine::Epoll, mock).following(etcd.addr());
    for setup in [setup.clone(), setup.with("managed.snapshot_cache_path", "")] {
        let mut gateway = setup.start_ready();
        gateway.signal(rustix::process::Signal::TERM);
        gateway.ended();
        let names: Vec<_> = std::fs::read_dir(gateway.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(
            !names.iter().any(|name| name == "snapshot.key"),
            "{names:?}"
        );
        assert!(
            !gateway.stderr().contains("snapshot cache"),
            "{}",
            gateway.stderr()
        );
    }
}
