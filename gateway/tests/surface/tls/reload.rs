//! New certificates without a restart.

use rustix::process::Signal;

use super::{NAME, Scene, connect};
use crate::on_both_engines;
use crate::support::gateway::get;
use crate::support::{Gateway, Raw, mock, wait_for};

/// Tells the gateway to read its files again, and waits until it has taken them `count` times.
pub(super) fn hang_up(gateway: &Gateway, count: f64) {
    gateway.signal(Signal::HUP);
    until_reloaded(gateway, "taken", count);
}

fn until_reloaded(gateway: &Gateway, result: &str, count: f64) {
    let result = format!(r#"result="{result}""#);
    wait_for("the reload", || {
        let name = "sluice_tls_certificate_reloads_total";
        (gateway.metric(name, &[r#"listener="proxy""#, &result]) >= count).then_some(())
    });
}

/// The leaf that a fresh connection is shown.
fn shown(scene: &Scene, gateway: &Gateway) -> Vec<u8> {
    // A configuration of its own: no session is resumed.
    let raw = connect(gateway, &scene.config());
    raw.session().peer_certificates().unwrap()[0].to_vec()
}

fn not_after(gateway: &Gateway) -> f64 {
    gateway.metric("sluice_tls_certificate_not_after_seconds", &[NAME])
}

on_both_engines! {
    fn a_new_pair_serves_new_connections_at_once_and_open_ones_stay(engine) {
        let scene = Scene::new();
        let gateway = scene.setup(engine, mock()).start();
        let (before, expiry) = (shown(&scene, &gateway), not_after(&gateway));
        let mut open = scene.connect(&gateway);
        scene.write_pair("server", &scene.servers.server_until(NAME, 2031));
        hang_up(&gateway, 1.0);
        assert_ne!(shown(&scene, &gateway), before);
        assert_eq!(not_after(&gateway), 1_924_992_000.0);
        assert_ne!(expiry, 1_924_992_000.0);
        open.send(&get("/v1/models"));
        assert_eq!(open.response().status, 200);
        assert!(gateway.logged("certificates reloaded").is_some());
    }

    fn changed_files_are_noticed_without_a_signal(engine) {
        let scene = Scene::new();
        let gateway = scene.setup(engine, mock()).start();
        let before = shown(&scene, &gateway);
        scene.write_pair("server", &scene.servers.server(NAME));
        wait_for("the new certificate", || {
            (shown(&scene, &gateway) != before).then_some(())
        });
    }

    fn a_bad_pair_is_refused_and_the_former_one_serves_on(engine) {
        let scene = Scene::new();
        let gateway = scene.setup(engine, mock()).start();
        let before = shown(&scene, &gateway);
        let (one, other) = (scene.servers.server(NAME), scene.servers.server(NAME));
        scene.write("server.crt", &one.cert);
        scene.write("server.key", &other.key);
        gateway.signal(Signal::HUP);
        until_reloaded(&gateway, "refused", 1.0);
        assert_eq!(shown(&scene, &gateway), before);
        let said = "certificates cannot be reloaded; the former ones stay in use";
        let line = wait_for("the complaint", || gateway.logged(said));
        assert_eq!((&line["level"], &line["listener"]), (&"ERROR".into(), &"proxy".into()));
        let error = line["error"].as_str().unwrap();
        assert!(error.contains("server.key is not the key of the certificate in"), "{error}");
        // Once it is right, it is taken.
        scene.write("server.key", &one.key);
        hang_up(&gateway, 1.0);
        assert_ne!(shown(&scene, &gateway), before);
        assert!(!gateway.stderr().contains("PRIVATE KEY"));
    }

    fn a_change_of_whom_to_trust_holds_for_new_connections(engine) {
        let scene = Scene::new();
        let gateway = scene.asking(engine, mock(), "require").start();
        let later = crate::support::tls::Authority::new();
        let (old, new) = (scene.clients.client(), later.client());
        let is_let_in = |leaf| {
            let config = scene.caller().showing(Some(leaf)).config();
            let Ok(mut raw) = Raw::secure(gateway.addr, &config, NAME) else {
                return false;
            };
            raw.try_send(&get("/v1/models")).is_ok() && raw.is_answered()
        };
        assert_eq!((is_let_in(&old), is_let_in(&new)), (true, false));
        scene.write("clients.pem", &later.pem);
        hang_up(&gateway, 1.0);
        assert_eq!((is_let_in(&old), is_let_in(&new)), (false, true));
    }
}
