//! Who is let in, and what is said and counted of those who are not.

use rustix::process::Signal;

use super::{NAME, Scene, connect, failed, until_failed};
use crate::on_both_engines;
use crate::support::gateway::{get, named};
use crate::support::tls_client::VERSIONS;
use crate::support::{Gateway, Raw, Response, mock, wait_for};

const MODELS: &str = "/v1/models";

/// One request over a fresh connection; `None` where the handshake failed, be it after the client
/// was done with it.
fn ask(
    gateway: &Gateway,
    config: &std::sync::Arc<rustls::ClientConfig>,
    id: &str,
) -> Option<Response> {
    let mut raw = Raw::secure(gateway.addr, config, NAME).ok()?;
    raw.try_send(&named(id, &get(MODELS))).ok()?;
    raw.is_answered().then(|| raw.response())
}

on_both_engines! {
    fn clients_are_let_in_by_their_certificates(engine) {
        let scene = Scene::new();
        let good = scene.clients.client_named("batch.test");
        let foreign = crate::support::tls::Authority::new().client();
        let expired = scene.clients.expired("old.test");
        let shown = [
            ("nothing", None, "no_certificate"),
            ("good", Some(&good), ""),
            ("foreign", Some(&foreign), "bad_certificate"),
            ("expired", Some(&expired), "bad_certificate"),
        ];
        for verify in ["none", "optional", "require"] {
            let gateway = scene.asking(engine, mock(), verify).start();
            for version in VERSIONS {
                for (what, leaf, refused) in shown {
                    let is_refused = match verify {
                        "none" => false,
                        "optional" => refused == "bad_certificate",
                        _ => !refused.is_empty(),
                    };
                    let case = format!("{verify} {version:?} {what}");
                    let id = format!("{verify}-{:?}-{what}", version.version);
                    let before = if is_refused { failed(&gateway, refused) } else { 0.0 };
                    let config = scene.caller().only(version).showing(leaf).config();
                    let answer = ask(&gateway, &config, &id);
                    assert_eq!(answer.is_none(), is_refused, "{case}");
                    if is_refused {
                        until_failed(&gateway, refused, before + 1.0);
                        continue;
                    }
                    assert_eq!(answer.unwrap().status, 200, "{case}");
                    let line = gateway.access_line(&id);
                    let want = match (verify, what) {
                        ("optional" | "require", "good") => "batch.test".into(),
                        _ => serde_json::Value::Null,
                    };
                    assert_eq!(line["client_identity"], want, "{case}: {line}");
                }
            }
            let warning = "a client was refused for its certificate";
            match verify {
                "none" => assert!(gateway.logged(warning).is_none()),
                _ => {
                    wait_for("a warning", || gateway.logged(warning));
                }
            }
        }
    }

    fn versions_are_those_of_the_settings(engine) {
        let scene = Scene::new();
        let cases = [
            ("1.2", "1.3", [true, true]),
            ("1.3", "1.3", [false, true]),
            ("1.2", "1.2", [true, false]),
        ];
        for (min, max, want) in cases {
            let gateway = scene
                .setup(engine, mock())
                .with("proxy.tls.min_version", min)
                .with("proxy.tls.max_version", max)
                .start();
            let got = VERSIONS.map(|version| {
                let config = scene.caller().only(version).config();
                ask(&gateway, &config, "x").is_some()
            });
            assert_eq!(got, want, "{min} to {max}");
            let refused = want.iter().filter(|is_let_in| !**is_let_in).count();
            until_failed(&gateway, "version", refused as f64);
        }
    }

    fn the_certificate_is_that_of_the_name_asked_for(engine) {
        let scene = Scene::new();
        let pair = |stem: &str, name: &str| {
            let leaf = scene.servers.server(name);
            let (cert, key) = scene.write_pair(stem, &leaf);
            serde_json::json!({"cert_file": cert, "key_file": key})
        };
        let more = vec![pair("wild", "*.ai.test"), pair("one", "one.ai.test")];
        let gateway = scene.setup(engine, mock()).with("proxy.tls.certificates", more).start();
        let config = scene.config();
        let names = [NAME, "one.ai.test", "two.ai.test"];
        let leaves = names.map(|name| {
            let raw = Raw::secure(gateway.addr, &config, name).expect(name);
            raw.session().peer_certificates().unwrap()[0].to_vec()
        });
        assert!(leaves[0] != leaves[1] && leaves[1] != leaves[2] && leaves[0] != leaves[2]);
        // Another name is answered with the first certificate, which this client does not take.
        let error = Raw::secure(gateway.addr, &config, "elsewhere.test").unwrap_err();
        assert!(error.to_string().contains("not valid for name"), "{error}");
        until_failed(&gateway, "alert", 1.0);
        for name in [NAME, "*.ai.test", "one.ai.test"] {
            let sni = format!(r#"sni="{name}""#);
            let at = gateway.metric("sluice_tls_certificate_not_after_seconds", &[&sni]);
            assert!(at > 1e9, "{name}: {at}");
        }
    }

    fn http_is_the_protocol_agreed_on(engine) {
        let scene = Scene::new();
        let gateway = scene.setup(engine, mock()).start();
        let agreed = |offer: &[&'static str]| {
            let config = scene.caller().offering(offer).config();
            let raw = Raw::secure(gateway.addr, &config, NAME).ok()?;
            Some(raw.session().alpn_protocol().map(<[u8]>::to_vec))
        };
        assert_eq!(agreed(&[]), Some(None));
        assert_eq!(agreed(&["http/1.1"]), Some(Some(b"http/1.1".to_vec())));
        assert_eq!(agreed(&["gopher"]), None);
        until_failed(&gateway, "nothing_in_common", 1.0);
    }

    fn http_in_the_clear_is_told_so(engine) {
        let scene = Scene::new();
        let gateway = scene.setup(engine, mock()).start();
        let mut raw = gateway.connect();
        raw.send(&get(MODELS));
        let answer = raw.response();
        assert_eq!(answer.status, 400);
        let message = answer.error()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("speaks TLS") && message.contains("https://"), "{message}");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(raw.closes());
        assert_eq!(failed(&gateway, "plain_http"), 1.0);
    }

    fn bytes_that_are_no_tls_end_the_connection(engine) {
        let scene = Scene::new();
        let gateway = scene.setup(engine, mock()).start();
        let junk: [&[u8]; 3] = [
            &[0; 64],
            // A record of the handshake, with a message that does not exist.
            &[0x16, 3, 1, 0, 4, 0xff, 0, 0, 0],
            // A record of application data before any handshake.
            &[0x17, 3, 3, 0, 2, 1, 1],
        ];
        for bytes in junk {
            let mut raw = gateway.connect();
            raw.send(bytes);
            // An alert may come first.
            raw.rest();
        }
        until_failed(&gateway, "malformed", 3.0);
        let leaving = gateway.connect();
        leaving.shutdown_write();
        until_failed(&gateway, "closed", 1.0);
        assert_eq!(connect_and_ask(&scene, &gateway), 200);
    }

    fn a_handshake_that_takes_too_long_is_cut(engine) {
        let scene = Scene::new();
        let gateway = scene.setup(engine, mock()).start();
        let mut silent = gateway.connect();
        let mut slow = gateway.connect();
        slow.send(&[0x16, 3, 1]);
        assert!(silent.closes() && slow.closes());
        until_failed(&gateway, "timeout", 2.0);
        assert_eq!(failed(&gateway, "closed"), 0.0);
    }

    fn a_drain_ends_handshakes_and_says_goodbye_to_idle_connections(engine) {
        let scene = Scene::new();
        let mut gateway = scene.setup(engine, mock()).start();
        let mut shaking = gateway.connect();
        shaking.send(&[0x16, 3, 1]);
        let mut idle = scene.connect(&gateway);
        idle.send(&get(MODELS));
        assert_eq!(idle.response().status, 200);
        gateway.signal(Signal::TERM);
        assert!(shaking.closes());
        // An end without a closing alert would be an error here.
        assert!(idle.closes());
        assert_eq!(gateway.ended().code(), Some(0));
    }

    fn beyond_the_limit_of_connections_there_is_an_answer_over_tls(engine) {
        let scene = Scene::new();
        let gateway = scene
            .setup(engine, mock())
            .with("proxy.max_connections_per_worker", 1)
            .start();
        let held = scene.connect(&gateway);
        let mut beyond = scene.connect(&gateway);
        assert_eq!(beyond.response().status, 503);
        assert!(beyond.closes());
        drop(held);
        wait_for("room", || (ask(&gateway, &scene.config(), "x")?.status == 200).then_some(()));
    }
}

fn connect_and_ask(scene: &Scene, gateway: &Gateway) -> u16 {
    let mut raw = connect(gateway, &scene.config());
    raw.send(&get(MODELS));
    raw.response().status
}
