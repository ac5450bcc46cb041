//! A resources file that is watched, and one with sealed credentials.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::command::{sluice, sluice_with};
use crate::support::gateway::{UPSTREAM_KEY, chat};
use crate::support::store::{Steady, pause};
use crate::support::{Engine, Gateway, Setup, mock, upstream_requests, wait_for};

const CHAT: &str = "/v1/chat/completions";
const RELOADED: &str = "resources file reloaded";
const FAILED: &str = "resources file reload failed";
const HEADER: &str = "x-tenant-canary-4d4d";

fn status(gateway: &Gateway, model: &str) -> u16 {
    gateway.post(CHAT, &chat(model, false)).status
}

fn times(gateway: &Gateway, said: &str) -> usize {
    gateway.stderr().matches(said).count()
}

/// Waits until the gateway has said `said` so many times.
fn said(gateway: &Gateway, said: &str, count: usize) {
    wait_for(said, || (times(gateway, said) >= count).then_some(()));
}

on_both_engines! {
    fn a_watched_file_is_loaded_when_it_changes_and_refused_when_it_is_bad(engine) {
        let setup = Setup::new(engine, mock()).with("resources_file_watch", true);
        let mut resources = setup.resources.clone();
        let gateway = setup.start();
        let client = Steady::start(&gateway, true, Duration::from_millis(20));
        resources["models"][1]["display_name"] = "new".into();
        resources["api_keys"][0]["allowed_models"] = json!(["m", "new"]);
        gateway.write_resources(&resources.to_string());
        said(&gateway, RELOADED, 1);
        assert_eq!((status(&gateway, "new"), status(&gateway, "other")), (200, 404));
        let good = gateway.config();
        gateway.write_resources("{");
        said(&gateway, FAILED, 1);
        let config = gateway.config();
        assert_eq!(config["state"], "out_of_sync", "{config}");
        assert_eq!(config["applied"], good["applied"], "{config}");
        client.goes_on();
        assert_eq!(status(&gateway, "new"), 200);
        // A file that is gone is none that has changed.
        let path = gateway.dir.path().join("resources.yaml");
        std::fs::remove_file(&path).unwrap();
        pause(Duration::from_secs(1));
        // One that is put in its place whole, as editors and orchestrators do.
        resources["models"][1]["display_name"] = "newer".into();
        resources["api_keys"][0]["allowed_models"] = json!(["m", "newer"]);
        let beside = gateway.dir.path().join("beside.yaml");
        std::fs::write(&beside, resources.to_string()).unwrap();
        std::fs::rename(&beside, &path).unwrap();
        said(&gateway, RELOADED, 2);
        assert_eq!((status(&gateway, "newer"), status(&gateway, "new")), (200, 404));
        assert_eq!(gateway.config()["state"], "synced");
        // At rest, nothing is loaded again; nor is anything lost if somebody asks for it.
        pause(Duration::from_secs(1));
        assert_eq!((times(&gateway, RELOADED), times(&gateway, FAILED)), (2, 1));
        gateway.signal(Signal::HUP);
        said(&gateway, RELOADED, 3);
        client.goes_on();
        client.end();
    }
}

#[test]
fn a_file_that_nobody_watches_waits_for_the_signal() {
    let setup = Setup::new(Engine::Epoll, mock());
    let mut resources = setup.resources.clone();
    let gateway = setup.start();
    resources["models"][1]["display_name"] = "new".into();
    resources["api_keys"][0]["allowed_models"] = json!(["new"]);
    gateway.write_resources(&resources.to_string());
    pause(Duration::from_secs(1));
    assert_eq!(times(&gateway, RELOADED), 0);
    assert_eq!(status(&gateway, "new"), 404);
    gateway.signal(Signal::HUP);
    said(&gateway, RELOADED, 1);
    assert_eq!(status(&gateway, "new"), 200);
}

/// The id that a file's entry gets: config.md gives the namespace.
fn derived(entry: &str) -> String {
    let namespace = uuid::uuid!("63e50ab2-677a-54d3-8d1e-c0cb29ceae94");
    uuid::Uuid::new_v5(&namespace, entry.as_bytes()).to_string()
}

/// `value` sealed for a field of the file's credential.
fn sealed(ring: &str, field: &str, value: &str) -> String {
    let row = format!("provider_keys/{}", derived("provider_keys/up"));
    let args = [
        "seal",
        "--keyring-file",
        ring,
        "--row",
        &row,
        "--field",
        field,
    ];
    sluice_with(&args, &[], value)
        .well()
        .stdout
        .trim_end()
        .to_owned()
}

fn new_ring(path: &Path) {
    let path = path.to_str().unwrap();
    sluice(&["rotate", "--new-key", "--keyring-file", path]).well();
}

#[test]
fn sealed_credentials_of_a_file_are_opened_with_the_ring_and_refused_without() {
    assert_eq!(
        derived("models/fast-chat"),
        "a35ce62a-7e17-51a6-a8a5-5d9c0c32855c"
    );
    let mock = mock();
    let dir = tempfile::tempdir().unwrap();
    let ring = dir.path().join("ring.json");
    new_ring(&ring);
    let at = ring.to_str().unwrap();
    let seal = |resources: &mut Value| {
        let up = &mut resources["provider_keys"][0];
        up["api_key"] = sealed(at, "/api_key", UPSTREAM_KEY).into();
        let header = sealed(at, "/request/default_headers/x-tenant", HEADER);
        up["request"] = json!({"default_headers": {"x-tenant": header}});
    };
    let setup = || Setup::new(Engine::IoUring, mock).resources(seal);
    let gateway = setup().with("secrets.keyring_file", at).start();
    assert_eq!(status(&gateway, "m"), 200);
    let request = upstream_requests(mock).remove(0).to_string();
    assert!(
        request.contains(UPSTREAM_KEY) && request.contains(HEADER),
        "{request}"
    );
    assert!(!request.contains("$enc:"), "{request}");
    assert!(!gateway.stderr().contains("canary"), "{}", gateway.stderr());

    // A ring of other keys refuses the file; the right one again loads it.
    let right = std::fs::read(&ring).unwrap();
    let other = dir.path().join("other.json");
    new_ring(&other);
    std::fs::copy(&other, &ring).unwrap();
    gateway.signal(Signal::HUP);
    said(&gateway, FAILED, 1);
    assert_eq!(status(&gateway, "m"), 200);
    std::fs::write(&ring, &right).unwrap();
    gateway.signal(Signal::HUP);
    said(&gateway, RELOADED, 1);
    assert_eq!(status(&gateway, "m"), 200);

    let missing = dir.path().join("none.json");
    for (what, setup, named) in [
        ("no ring", setup(), "provider_keys[0] (\"up\"): "),
        (
            "another ring",
            setup().with("secrets.keyring_file", other.to_str().unwrap()),
            "/api_key: ",
        ),
        (
            "a ring that is not there",
            setup().with("secrets.keyring_file", missing.to_str().unwrap()),
            "none.json",
        ),
    ] {
        let mut gateway = setup.spawn();
        assert_eq!(gateway.ended().code(), Some(1), "{what}");
        wait_for("the reason", || {
            gateway.stderr().contains("Error: ").then_some(())
        });
        assert!(
            gateway.stderr().contains(named),
            "{what}: {}",
            gateway.stderr()
        );
        assert!(
            !gateway.stderr().contains("canary"),
            "{what}: {}",
            gateway.stderr()
        );
    }
}
