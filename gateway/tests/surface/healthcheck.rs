//! `sluice healthcheck` and `sluice entrypoint` against the running gateway.

use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::json;

use crate::on_both_engines;
use crate::support::command::{Ended, sluice, sluice_with};
use crate::support::tls::Authority;
use crate::support::{Engine, Gateway, Setup, mock, wait_for};

/// Asks with the gateway's startup file and the ports that the kernel chose.
fn asked(gateway: &Gateway, more: &[&str]) -> Ended {
    let config = gateway.dir.path().join("config.json");
    let args = [&["healthcheck", "--config", config.to_str().unwrap()], more].concat();
    let (proxy, status) = (gateway.addr.to_string(), gateway.status_addr.to_string());
    let env = [
        ("SLUICE_PROXY__ADDR", &*proxy),
        ("SLUICE_OBSERVABILITY__METRICS__PROMETHEUS__ADDR", &*status),
    ];
    sluice_with(&args, &env, "")
}

fn with_tls(engine: Engine, client_ca: bool) -> (tempfile::TempDir, Setup) {
    let authority = Authority::new();
    let leaf = authority.server("localhost");
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut tls =
        json!({"cert_file": file("cert", &leaf.cert), "key_file": file("key", &leaf.key)});
    if client_ca {
        tls["client_ca_file"] = json!(file("ca", &authority.pem));
    }
    (dir, Setup::new(engine, mock()).with("proxy.tls", tls))
}

on_both_engines! {
    fn a_gateway_that_lives_is_found_alive(engine) {
        let gateway = Setup::new(engine, mock()).start_ready();
        for more in [&[][..], &["--ready"]] {
            let ended = asked(&gateway, more).well();
            let path = if more.is_empty() { "/livez" } else { "/readyz" };
            assert_eq!(ended.stdout, format!("OK: {}{path} 200\n", gateway.addr));
        }
    }

    fn tls_is_spoken_where_the_listener_does(engine) {
        let (_dir, setup) = with_tls(engine, false);
        let gateway = setup.start_ready();
        let ended = asked(&gateway, &[]).well();
        assert_eq!(ended.stdout, format!("OK: {}/livez 200\n", gateway.addr));
    }

    fn where_callers_need_certificates_the_status_listener_is_asked(engine) {
        let (_dir, setup) = with_tls(engine, true);
        let gateway = setup.start_ready();
        let ended = asked(&gateway, &["--ready"]).well();
        assert_eq!(ended.stdout, format!("OK: {}/status/ready 200\n", gateway.status_addr));
    }

    fn a_draining_gateway_is_alive_only_if_it_says_so(engine) {
        for (livez_during_drain, want) in [(false, 1), (true, 0)] {
            let gateway = Setup::new(engine, mock())
                .with("shutdown.min_drain_secs", 60)
                .with("shutdown.livez_during_drain", livez_during_drain)
                .start_ready();
            gateway.signal(Signal::TERM);
            let unready = wait_for("the drain", || {
                let ended = asked(&gateway, &["--ready"]);
                (ended.code == 1).then_some(ended)
            });
            assert_eq!(unready.stderr, format!("Error: {}/readyz: 503\n", gateway.addr));
            assert_eq!(asked(&gateway, &[]).code, want);
        }
    }
}

#[test]
fn nobody_there_and_no_file_are_failures() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.yaml");
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let text = format!("proxy: {{addr: '{free}'}}\nresources_file: r.yaml\n");
    std::fs::write(&config, text).unwrap();
    let ended = sluice(&["healthcheck", "--config", config.to_str().unwrap()]);
    assert_eq!(ended.code, 1);
    let want = format!("Error: {free}/livez: Connection refused");
    assert!(ended.stderr.starts_with(&want), "{}", ended.stderr);
    std::fs::write(
        &config,
        "proxy: {addr: '127.0.0.1:0'}\nresources_file: r.yaml\n",
    )
    .unwrap();
    let ended = sluice(&["healthcheck", "--config", config.to_str().unwrap()]);
    assert!(
        ended.stderr.contains("proxy.addr: port 0"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.code, 1);
    let ended = sluice(&["healthcheck", "--config", "/not/there.yaml"]);
    assert_eq!(ended.code, 1);
}

#[test]
fn an_image_without_its_startup_file_ends_with_64() {
    let ended = sluice_with(
        &["entrypoint"],
        &[("SLUICE_CONFIG_PATH", "/not/there.yaml")],
        "",
    );
    assert_eq!((ended.code, &*ended.stdout), (64, ""));
    assert!(
        ended
            .stderr
            .starts_with("Error: no startup file at /not/there.yaml"),
        "{}",
        ended.stderr
    );
}
