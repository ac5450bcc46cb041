//! Certificates that come with the configuration, by the name that a client asks for.

use rustix::process::Signal;
use rustls::AlertDescription;
use serde_json::{Value, json};

use super::{NAME, Scene, until_failed};
use crate::on_both_engines;
use crate::support::gateway::{get, named};
use crate::support::store::{Etcd, Rows};
use crate::support::tls::{Authority, Leaf};
use crate::support::tls_client::{Caller, VERSIONS};
use crate::support::{Engine, Gateway, Raw, Setup, mock, wait_for};

const API: &str = "api.test";

fn row(name: &str, snis: &[&str], leaf: &Leaf) -> Value {
    json!({"name": name, "snis": snis, "cert": leaf.cert, "key": leaf.key})
}

/// Hands shaken with the server called `name`, and one request answered.
fn visit(gateway: &Gateway, caller: &Caller, name: &str, id: &str) -> Option<Raw> {
    let mut raw = Raw::secure(gateway.addr, &caller.config(), name).ok()?;
    raw.try_send(&named(id, &get("/v1/models"))).ok()?;
    if !raw.is_answered() {
        return None;
    }
    assert_eq!(raw.response().status, 200);
    Some(raw)
}

/// The alert that refuses a client which asks for `name`.
fn refusal(gateway: &Gateway, caller: &Caller, name: &str) -> AlertDescription {
    let session = Raw::secure(gateway.addr, &caller.config(), name);
    let error = session.map(drop).expect_err("no session");
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        other => panic!("{other:?}: {error}"),
    }
}

/// TLS by nothing but rows: the listener has no pair of its own.
fn dynamic(engine: Engine, rows: Value) -> Setup {
    let setup = Setup::new(engine, mock()).with("proxy.tls.dynamic", true);
    setup.resources(|file| file["ssls"] = rows)
}

on_both_engines! {
    fn a_name_of_a_row_gets_its_certificate_and_all_others_the_listeners(engine) {
        let (scene, theirs) = (Scene::new(), Authority::new());
        let rows = json!([
            row("api", &[API], &theirs.server(API)),
            row("many", &["*.ai.test"], &theirs.server("*.ai.test")),
        ]);
        let gateway = scene.setup(engine, mock()).resources(|file| file["ssls"] = rows).start();
        let (own, rows) = (scene.caller(), Caller::trusting(&theirs.pem));
        for version in VERSIONS {
            let is_let_in = |caller: &Caller, name: &str| {
                visit(&gateway, &caller.clone().only(version), name, "x").is_some()
            };
            for (name, is_row) in [(API, true), ("one.ai.test", true), (NAME, false)] {
                assert_eq!(is_let_in(&rows, name), is_row, "{name} {version:?}");
                assert_eq!(is_let_in(&own, name), !is_row, "{name} {version:?}");
            }
        }
        let expiry = |sni: &str| {
            let sni = format!("sni=\"{sni}\"");
            gateway.metric("sluice_tls_certificate_not_after_seconds", &[&sni])
        };
        assert!([API, "*.ai.test", NAME].iter().all(|name| expiry(name) > 1e9));
        assert!(!gateway.stderr().contains("not enforced"), "{}", gateway.stderr());
    }

    fn a_row_may_ask_for_certificates_and_a_listener_that_does_is_not_opened_by_one(engine) {
        let (scene, theirs) = (Scene::new(), Authority::new());
        let mut asking = row("api", &[API], &scene.servers.server(API));
        asking["client_ca"] = json!(theirs.pem);
        let plain = row("plain", &["plain.test"], &scene.servers.server("plain.test"));
        let rows = json!([asking, plain]);
        let gateway = scene
            .asking(engine, mock(), "require")
            .resources(|file| file["ssls"] = rows)
            .start();
        let (partner, staff) = (theirs.client_named("partner"), scene.clients.client_named("staff"));
        let visit = |leaf: Option<&Leaf>, name: &str, id: &str| {
            visit(&gateway, &scene.caller().showing(leaf), name, id).is_some()
        };
        assert!(visit(Some(&partner), API, "partner"));
        assert_eq!(gateway.access_line("partner")["client_identity"], "partner");
        for name in ["plain.test", NAME] {
            assert!(visit(Some(&staff), name, name));
            assert_eq!(gateway.access_line(name)["client_identity"], "staff");
            assert!(!visit(Some(&partner), name, "no"));
        }
        assert!(!visit(Some(&staff), API, "no"));
        for name in [API, "plain.test", NAME] {
            assert!(!visit(None, name, "no"), "{name}");
        }
        until_failed(&gateway, "no_certificate", 3.0);
    }

    fn without_a_pair_of_its_own_the_listener_knows_the_names_of_rows_alone(engine) {
        let theirs = Authority::new();
        let gateway = dynamic(engine, json!([row("api", &[API], &theirs.server(API))])).start();
        let caller = Caller::trusting(&theirs.pem);
        assert!(visit(&gateway, &caller, API, "x").is_some());
        let alpn = Caller::trusting(&theirs.pem).offering(&["h2"]);
        let raw = Raw::secure(gateway.addr, &alpn.config(), API).unwrap();
        assert_eq!(raw.session().alpn_protocol(), Some(&b"h2"[..]));
        let unknown = refusal(&gateway, &caller, "other.test");
        assert_eq!(unknown, AlertDescription::UnrecognisedName);
        // An address is no name.
        let unnamed = refusal(&gateway, &caller, "127.0.0.1");
        assert_eq!(unnamed, AlertDescription::UnrecognisedName);
        until_failed(&gateway, "unknown_name", 2.0);
        let mut plain = gateway.connect();
        plain.send(&get("/v1/models"));
        assert_eq!(plain.response().status, 400);
        let mut odd = gateway.connect();
        odd.send(&[0x16, 3, 1, 0, 4, 1, 0, 0, 0]);
        assert!(!odd.rest().is_empty(), "an alert");
        until_failed(&gateway, "malformed", 1.0);
    }

    fn rows_change_while_they_are_served_and_open_connections_stay(engine) {
        let (etcd, mock, old, new) = (Etcd::start(), mock(), Authority::new(), Authority::new());
        let mut rows = Rows::new(etcd.addr());
        rows.seed(mock);
        rows.put("ssls/api", &row("api", &[API], &old.server(API)));
        let setup = Setup::new(engine, mock).with("proxy.tls.dynamic", true);
        let gateway = setup.following(etcd.addr()).start();
        let callers = [&old, &new].map(|authority| Caller::trusting(&authority.pem));
        let is_served = |at: usize| visit(&gateway, &callers[at], API, "x");
        let mut open = wait_for("the first certificate", || is_served(0));
        rows.put("ssls/api", &row("api", &[API], &new.server(API)));
        wait_for("the new certificate", || is_served(1));
        assert!(is_served(0).is_none());
        open.send(&get("/v1/models"));
        assert_eq!(open.response().status, 200);
        // What does not belong together is rejected, and the last good row stays.
        let (one, other) = (new.server(API), new.server(API));
        let wrong = Leaf { cert: one.cert, key: other.key };
        rows.put("ssls/api", &row("api", &[API], &wrong));
        gateway.config_until("the rejection", |config| {
            config["rejected"].as_array().is_some_and(|all| !all.is_empty())
        });
        assert!(is_served(1).is_some());
        let mut off = row("api", &[API], &new.server(API));
        off["enabled"] = json!(false);
        rows.put("ssls/api", &off);
        wait_for("nobody", || is_served(1).is_none().then_some(()));
        gateway.signal(Signal::HUP);
        rows.put("ssls/api", &row("api", &[API], &old.server(API)));
        wait_for("the old one again", || is_served(0));
        assert!(!gateway.stderr().contains("PRIVATE KEY"));
    }
}
