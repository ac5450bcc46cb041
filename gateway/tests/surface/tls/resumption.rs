//! Sessions that are taken up again.

use std::sync::Arc;

use rustls::{ClientConfig, HandshakeKind};

use super::{Scene, connect, reload, until_failed};
use crate::on_both_engines;
use crate::support::gateway::{get, named};
use crate::support::tls_client::VERSIONS;
use crate::support::{Gateway, mock};

const WORKERS: usize = 4;
/// Connections after which more than one worker was met, but for one time in 4^31.
const CONNECTIONS: usize = 32;

/// One request over a fresh connection, so that its tickets arrive; how hands were shaken.
fn visit(gateway: &Gateway, config: &Arc<ClientConfig>, id: &str) -> Option<HandshakeKind> {
    let mut raw = connect(gateway, config);
    raw.send(&named(id, &get("/v1/models")));
    assert_eq!(raw.response().status, 200);
    raw.session().handshake_kind()
}

fn workers_met(gateway: &Gateway) -> usize {
    let met = (0..WORKERS).filter(|worker| {
        let core = format!(r#"core="{worker}""#);
        let name = "sluice_runtime_core_connections_opened_total";
        gateway.metric(name, &[&core, "downstream"]) > 0.0
    });
    met.count()
}

on_both_engines! {
    fn a_session_is_resumed_by_every_worker(engine) {
        let scene = Scene::new();
        let gateway = scene.setup(engine, mock()).with("proxy.workers", WORKERS).start();
        for version in VERSIONS {
            let config = scene.caller().only(version).config();
            assert_eq!(visit(&gateway, &config, "x"), Some(HandshakeKind::Full));
            for number in 1..CONNECTIONS {
                let kind = visit(&gateway, &config, "x");
                assert_eq!(kind, Some(HandshakeKind::Resumed), "{version:?} {number}");
            }
        }
        assert!(workers_met(&gateway) > 1);
        for version in ["1.2", "1.3"] {
            let version = format!(r#"version="{version}""#);
            let count = |resumed: &str| {
                let parts = [version.as_str(), resumed];
                gateway.metric("sluice_tls_handshakes_total", &parts)
            };
            assert_eq!(count(r#"resumed="false""#), 1.0);
            assert_eq!(count(r#"resumed="true""#), (CONNECTIONS - 1) as f64);
        }
    }

    fn a_resumed_session_keeps_its_client_and_ends_with_a_change_of_trust(engine) {
        let scene = Scene::new();
        let gateway = scene.asking(engine, mock(), "require").start();
        let ann = scene.clients.client_named("ann.test");
        for version in VERSIONS {
            let config = scene.caller().only(version).showing(Some(&ann)).config();
            let first = format!("first-{:?}", version.version);
            let again = format!("again-{:?}", version.version);
            assert_eq!(visit(&gateway, &config, &first), Some(HandshakeKind::Full));
            assert_eq!(visit(&gateway, &config, &again), Some(HandshakeKind::Resumed));
            assert_eq!(gateway.access_line(&again)["client_identity"], "ann.test");
        }
        // Whom nobody trusts any more does not come back on an old ticket.
        let config = scene.caller().showing(Some(&ann)).config();
        visit(&gateway, &config, "x");
        scene.write("clients.pem", &crate::support::tls::Authority::new().pem);
        reload::hang_up(&gateway, 1.0);
        let mut raw = connect(&gateway, &config);
        let sent = raw.try_send(&get("/v1/models"));
        assert!(sent.is_err() || !raw.is_answered());
        until_failed(&gateway, "bad_certificate", 1.0);
    }
}
