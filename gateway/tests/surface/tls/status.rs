//! TLS of the metrics and status listener.

use serde_json::Value;

use super::{NAME, Scene};
use crate::on_both_engines;
use crate::support::tls_client::{Caller, VERSIONS};
use crate::support::{Gateway, Raw, Setup, mock};

const TLS: &str = "observability.metrics.prometheus.tls";

fn setup(scene: &Scene, engine: crate::support::Engine, more: &[(&str, Value)]) -> Setup {
    let path = |name: &str| scene.path(name).to_str().unwrap().to_owned();
    let setup = Setup::new(engine, mock())
        .with(&format!("{TLS}.cert_file"), path("server.crt"))
        .with(&format!("{TLS}.key_file"), path("server.key"));
    more.iter().fold(setup, |setup, (key, value)| {
        setup.with(&format!("{TLS}.{key}"), value.clone())
    })
}

/// A page of the status listener; `None` where hands are not shaken.
fn page(gateway: &Gateway, caller: &Caller, path: &str) -> Option<String> {
    let mut raw = Raw::secure(gateway.status_addr, &caller.config(), NAME).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: s\r\nconnection: close\r\n\r\n");
    raw.try_send(request.as_bytes()).ok()?;
    let answer = raw.is_answered().then(|| raw.response())?;
    assert_eq!(answer.status, 200, "{path}");
    Some(answer.text().to_owned())
}

on_both_engines! {
    fn pages_come_over_tls_and_what_is_not_tls_is_told_so(engine) {
        let scene = Scene::new();
        let gateway = setup(&scene, engine, &[]).start();
        for version in VERSIONS {
            let caller = scene.caller().only(version);
            assert!(page(&gateway, &caller, "/status/ready").is_some());
        }
        let mut raw = Raw::connect(gateway.status_addr);
        raw.send(b"GET /metrics HTTP/1.1\r\nhost: s\r\n\r\n");
        let answer = raw.response();
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains("speaks TLS"), "{}", answer.text());
        let mut junk = Raw::connect(gateway.status_addr);
        junk.send(&[0x17, 3, 3, 0, 2, 1, 1]);
        junk.rest();
        let metrics = page(&gateway, &scene.caller(), "/metrics").unwrap();
        for line in [
            r#"sluice_tls_handshakes_total{listener="metrics",version="1.2",resumed="false"} 1"#,
            r#"sluice_tls_handshakes_total{listener="metrics",version="1.3",resumed="false"} 2"#,
            r#"sluice_tls_handshake_failures_total{listener="metrics",reason="plain_http"} 1"#,
            r#"sluice_tls_handshake_failures_total{listener="metrics",reason="malformed"} 1"#,
        ] {
            assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
        }
        // Callers' listener speaks plain HTTP here.
        assert_eq!(gateway.get("/v1/models").status, 200);
    }

    fn scrapers_are_let_in_by_their_certificates(engine) {
        let scene = Scene::new();
        let roots = scene.path("clients.pem").to_str().unwrap().into();
        let gateway = setup(&scene, engine, &[("client_ca_file", roots)]).start();
        let scraper = scene.clients.client();
        let foreign = crate::support::tls::Authority::new().client();
        for version in VERSIONS {
            let ask = |leaf| {
                let caller = scene.caller().only(version).showing(leaf);
                page(&gateway, &caller, "/status/ready")
            };
            assert!(ask(Some(&scraper)).is_some(), "{version:?}");
            assert!(ask(Some(&foreign)).is_none() && ask(None).is_none(), "{version:?}");
        }
        let caller = scene.caller().showing(Some(&scraper));
        let metrics = page(&gateway, &caller, "/metrics").unwrap();
        for reason in ["bad_certificate", "no_certificate"] {
            let start = "sluice_tls_handshake_failures_total";
            let line = format!(r#"{start}{{listener="metrics",reason="{reason}"}} 2"#);
            assert!(metrics.contains(&line), "{line} in\n{metrics}");
        }
    }

    fn silence_and_slowness_are_cut(engine) {
        let scene = Scene::new();
        let gateway = setup(&scene, engine, &[]).start();
        let mut silent = Raw::connect(gateway.status_addr);
        let mut slow = Raw::connect(gateway.status_addr);
        slow.send(&[0x16, 3, 1]);
        assert!(silent.closes() && slow.closes());
        let metrics = page(&gateway, &scene.caller(), "/metrics").unwrap();
        let line = r#"sluice_tls_handshake_failures_total{listener="metrics",reason="timeout"} 2"#;
        assert!(metrics.contains(line), "{metrics}");
    }
}
