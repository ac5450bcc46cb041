//! Certificates, users and passwords on the way to a store.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::json;

use crate::support::gateway::chat;
use crate::support::store::authority::Authority;
use crate::support::store::etcd::ServerTls;
use crate::support::store::{self, Etcd, Rows};
use crate::support::{Engine, Gateway, Setup, mock, wait_for};

const CHAT: &str = "/v1/chat/completions";
const LOST: &str = "the configuration store is lost; serving on, and trying again";
const PASSWORD: &str = "store-password-canary-6e6e";

fn status(gateway: &Gateway, model: &str) -> u16 {
    gateway.post(CHAT, &chat(model, false)).status
}

/// Why the gateway lost its store, last time.
fn last_loss(gateway: &Gateway) -> Option<String> {
    let text = gateway.stderr();
    let lines = text.lines().rev();
    let mut lines = lines.filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let line = lines.find(|line| line["message"] == LOST)?;
    Some(line["why"].as_str().expect("a reason").to_owned())
}

/// Waits until the gateway lost its store for a reason that contains `why`.
fn lost_because(gateway: &Gateway, why: &str) {
    wait_for(why, || last_loss(gateway).filter(|said| said.contains(why)));
}

/// A store behind TLS with the seed's rows; `mutual`: clients show a certificate of `ca`.
fn tls_store(ca: &Authority, mock: std::net::SocketAddr, mutual: bool) -> Etcd {
    let etcd = Etcd::start_tls(&ServerTls {
        cert: ca.server(&["127.0.0.1"]),
        client_authority: mutual.then(|| ca.root()),
    });
    for (row, document) in store::seed(mock) {
        etcd.put(&format!("/sluice/{row}"), &document.to_string());
    }
    etcd
}

fn secure(engine: Engine, mock: std::net::SocketAddr, etcd: &Etcd, root: &Path) -> Setup {
    Setup::new(engine, mock)
        .with(
            "etcd.endpoints",
            json!([format!("https://{}", etcd.addr())]),
        )
        .with("etcd.tls.ca_cert_file", root.to_str().unwrap())
}

fn showing(setup: Setup, (cert, key): &(PathBuf, PathBuf)) -> Setup {
    setup
        .with("etcd.tls.client_cert_file", cert.to_str().unwrap())
        .with("etcd.tls.client_key_file", key.to_str().unwrap())
}

#[test]
fn a_server_that_cannot_prove_its_name_is_not_followed_until_the_files_are_right() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, other) = (
        Authority::new(dir.path(), "ours"),
        Authority::new(dir.path(), "other"),
    );
    let mock = mock();
    let etcd = tls_store(&ca, mock, false);
    let root = dir.path().join("root.pem");
    std::fs::copy(other.root(), &root).unwrap();
    let gateway = secure(Engine::IoUring, mock, &etcd, &root).start();
    lost_because(&gateway, "certificate");
    assert_eq!(gateway.get("/readyz").status, 503);
    assert_eq!(gateway.get("/livez").status, 200);
    assert_eq!(gateway.config()["source"]["connected"], false);
    std::fs::copy(ca.root(), &root).unwrap();
    gateway.signal(Signal::HUP);
    gateway.until_ready();
    assert_eq!(status(&gateway, "m"), 200);
    // Files that go bad later end no connection; the next one needs them.
    std::fs::write(&root, "").unwrap();
    gateway.signal(Signal::HUP);
    lost_because(&gateway, "etcd.tls.ca_cert_file");
    assert_eq!(status(&gateway, "m"), 200);
    assert_eq!(gateway.get("/readyz").status, 200);
    std::fs::copy(ca.root(), &root).unwrap();
    gateway.signal(Signal::HUP);
    gateway.config_until("the connection", |config| {
        config["source"]["connected"] == true
    });
    etcd.put("/sluice/models/new", &store::model("m2", "x").to_string());
    wait_for("the new row", || {
        (status(&gateway, "m2") == 403).then_some(())
    });
}

#[test]
fn a_client_shows_the_certificate_that_its_files_hold_now() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, other) = (
        Authority::new(dir.path(), "ours"),
        Authority::new(dir.path(), "other"),
    );
    let mock = mock();
    let etcd = tls_store(&ca, mock, true);
    let setup = secure(Engine::Epoll, mock, &etcd, &ca.root());
    let gateway = showing(setup.clone(), &ca.client()).start_ready();
    assert_eq!(status(&gateway, "m"), 200);
    drop(gateway);
    let gateway = setup.clone().start();
    wait_for("a refusal", || last_loss(&gateway));
    assert_eq!(gateway.get("/readyz").status, 503);
    drop(gateway);
    let pair = (dir.path().join("client.pem"), dir.path().join("client.key"));
    let install = |(cert, key): (PathBuf, PathBuf)| {
        std::fs::copy(cert, &pair.0).unwrap();
        std::fs::copy(key, &pair.1).unwrap();
    };
    install(other.client());
    let gateway = showing(setup, &pair).start();
    wait_for("a refusal", || last_loss(&gateway));
    install(ca.client());
    gateway.signal(Signal::HUP);
    gateway.until_ready();
    assert_eq!(status(&gateway, "m"), 200);
    let stderr = gateway.stderr();
    assert!(!stderr.contains("PRIVATE KEY"), "{stderr}");
}

#[test]
fn tls_files_that_are_not_there_at_boot_are_an_error_of_the_settings() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ours");
    let etcd = Etcd::start();
    let pair = (ca.client().0, dir.path().join("none.key"));
    let none = dir.path().join("none.pem");
    let setup = |root: &Path| secure(Engine::Epoll, "127.0.0.1:1".parse().unwrap(), &etcd, root);
    for (setup, named) in [
        (setup(&none), ["etcd.tls.ca_cert_file", "none.pem"]),
        (
            showing(setup(&ca.root()), &pair),
            ["etcd.tls.client_key_file", "none.key"],
        ),
    ] {
        let mut gateway = setup.spawn();
        assert_eq!(gateway.ended().code(), Some(1));
        wait_for("the reason", || {
            gateway.stderr().contains("Error: ").then_some(())
        });
        for part in named {
            assert!(gateway.stderr().contains(part), "{}", gateway.stderr());
        }
    }
}

#[test]
fn a_user_is_let_in_by_a_password_that_nobody_is_told() {
    let (mut etcd, mock) = (Etcd::start(), mock());
    Rows::new(etcd.addr()).seed(mock);
    let user = |name: &str| format!("{name}:{PASSWORD}");
    for step in [
        &["user", "add", &user("root")][..],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "reader"],
        &[
            "role",
            "grant-permission",
            "reader",
            "--prefix=true",
            "read",
            "/sluice/",
        ],
        &["user", "add", &user("gateway")],
        &["user", "grant-role", "gateway", "reader"],
        &["user", "add", &user("stranger")],
        &["auth", "enable"],
    ] {
        etcd.ctl(step);
    }
    let login = |name: &str, password: &str| {
        let mut setup = Setup::new(Engine::IoUring, mock)
            .following(etcd.addr())
            .with("observability.log_level", "trace")
            .with("etcd.user", name)
            .with("etcd.password_env", "STORE_PASSWORD");
        setup.env.push(("STORE_PASSWORD".into(), password.into()));
        setup
    };
    let quiet = |gateway: &Gateway| {
        for (place, text) in crate::canary::operators_see(gateway) {
            for secret in [PASSWORD, "wrong-canary"] {
                assert!(!text.contains(secret), "{secret} in {place}");
            }
        }
    };
    let anonymous = Setup::new(Engine::Epoll, mock).following(etcd.addr());
    for (setup, why) in [
        (login("gateway", "wrong-canary"), "authentication failed"),
        (login("nobody", PASSWORD), "authentication failed"),
        (login("stranger", PASSWORD), "permission denied"),
        (anonymous, "user name is empty"),
    ] {
        let gateway = setup.start();
        lost_because(&gateway, why);
        assert_eq!(gateway.get("/readyz").status, 503, "{why}");
        std::fs::write(gateway.access_log(), "none\n").unwrap();
        quiet(&gateway);
    }
    let mut unset = login("gateway", "");
    unset.env.clear();
    let mut unset = unset.spawn();
    assert_eq!(unset.ended().code(), Some(1));
    wait_for("the reason", || {
        unset.stderr().contains("etcd.password_env").then_some(())
    });

    let gateway = login("gateway", PASSWORD).start_ready();
    assert_eq!(status(&gateway, "m"), 200);
    // A member forgets its tokens when it restarts.
    etcd.restart();
    let (key, row) = ("/sluice/models/new", store::model("new", "x").to_string());
    etcd.ctl(&[&format!("--user=root:{PASSWORD}"), "put", key, &row]);
    wait_for("the new row", || {
        (status(&gateway, "new") == 403).then_some(())
    });
    quiet(&gateway);
}
