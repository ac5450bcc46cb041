//! A store that is away, broken or older than it was: nobody who calls the gateway notices.

use std::time::Duration;

use rustix::process::Signal;

use crate::on_both_engines;
use crate::support::gateway::{CALLER_KEY, chat};
use crate::support::store::{
    Etcd, Fault, FaultProxy, Rows, Steady, caller, model, wait_longer_for,
};
use crate::support::{Engine, Gateway, Setup, mock, wait_for};

const CHAT: &str = "/v1/chat/completions";
const CONNECTED: &str = "sluice_config_source_connected";
const LOSSES: &str = "sluice_config_watch_losses_total";
const EVERY: Duration = Duration::from_millis(20);
/// A ping every 10 s, as long to answer it, and the same again for a slow machine.
const SILENCE: Duration = Duration::from_secs(40);

fn chat_status(gateway: &Gateway, model: &str) -> u16 {
    gateway.post(CHAT, &chat(model, false)).status
}

on_both_engines! {
    fn a_gateway_started_before_its_store_serves_once_that_is_there(engine) {
        let (mut etcd, mock) = (Etcd::start(), mock());
        let mut rows = Rows::new(etcd.addr());
        rows.seed(mock);
        etcd.kill();
        let gateway = Setup::new(engine, mock).following(etcd.addr()).start();
        let away = "the configuration store is lost; serving on, and trying again";
        let line = wait_for("a warning", || gateway.logged(away));
        assert_eq!(line["level"], "WARN", "{line}");
        assert!(line["why"].as_str().unwrap().contains(&etcd.addr().to_string()), "{line}");
        for (path, status, text) in [
            ("/readyz?verbose", 503, "[-]config failed: not ready"),
            ("/readyz", 503, ""),
            ("/livez", 200, "ok"),
        ] {
            let answer = gateway.get(path);
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
            assert!(answer.text().contains(text), "{path}: {}", answer.text());
        }
        let ready = gateway.status_page("/status/ready");
        assert_eq!((ready.status, ready.text()), (503, "no configuration available"));
        assert_ne!(chat_status(&gateway, "m"), 200);
        let config = gateway.config();
        assert_eq!(config["state"], "never_loaded", "{config}");
        assert_eq!(config["source"]["connected"], false, "{config}");
        assert_eq!(config["last_failure"]["last_error_kind"], "fetch", "{config}");
        assert_eq!(config["last_failure"]["last_error"], "configuration source unreachable");
        assert_eq!(gateway.metric(CONNECTED, &[]), 0.0);
        // Reading everything again is reading nothing.
        gateway.signal(Signal::HUP);
        wait_for("another attempt", || {
            (gateway.stderr().matches(away).count() >= 2).then_some(())
        });
        assert_eq!(gateway.get("/readyz").status, 503);
        let config = gateway.config();
        assert_eq!(config["state"], "never_loaded", "{config}");
        assert_eq!(config["source"]["connected"], false, "{config}");
        etcd.restart();
        gateway.until_ready();
        assert_eq!(gateway.status_page("/status/ready").text(), "ok");
        let verbose = gateway.get("/readyz?verbose");
        assert_eq!(verbose.status, 200, "{}", verbose.text());
        assert!(verbose.text().contains("[+]config ok"), "{}", verbose.text());
        assert_eq!(chat_status(&gateway, "m"), 200);
        let config = rows.agree_with(&gateway);
        assert_eq!(config["state"], "synced", "{config}");
        assert_eq!(gateway.metric(CONNECTED, &[]), 1.0);
        // Nothing was lost that had been there.
        assert_eq!(gateway.metric(LOSSES, &[]), 0.0);
    }

    fn a_store_that_dies_or_is_restored_from_a_backup_is_followed_again(engine) {
        let (mut etcd, mock) = (Etcd::start(), mock());
        let mut rows = Rows::new(etcd.addr());
        rows.seed(mock);
        rows.put("api_keys/caller", &caller(CALLER_KEY, &["*"]));
        let gateway = Setup::new(engine, mock).following(etcd.addr()).start_ready();
        let old_hash = rows.hash();
        let old = rows.agree_with(&gateway);
        let backup = etcd.save();
        let client = Steady::start(&gateway, false, EVERY);
        etcd.kill();
        let config = gateway.config_until("the loss", |config| config["source"]["connected"] == false);
        client.goes_on();
        assert_eq!(config["applied"], old["applied"], "{config}");
        assert_eq!(config["last_failure"]["last_error_kind"], "fetch", "{config}");
        assert_eq!(gateway.metric(CONNECTED, &[]), 0.0);
        assert_eq!(gateway.metric(LOSSES, &[]), 1.0);
        assert!(gateway.metric("sluice_config_reload_failures_total", &["\"fetch\""]) >= 1.0);
        assert_eq!(gateway.get("/readyz").status, 200, "age makes nobody unready");
        let failures = gateway.metric("sluice_config_reload_failures_total", &[]);
        gateway.signal(Signal::HUP);
        wait_for("another attempt", || {
            (gateway.metric("sluice_config_reload_failures_total", &[]) > failures).then_some(())
        });
        assert_eq!(gateway.config()["source"]["connected"], false);
        assert_eq!(gateway.metric(LOSSES, &[]), 1.0, "it was lost once");
        etcd.restart();
        rows.reconnect(etcd.addr());
        for number in 0..30 {
            rows.put(&format!("models/late-{number}"), &model(&format!("late-{number}"), "x"));
        }
        rows.delete("models/other");
        let late = rows.agree_with(&gateway);
        assert_eq!(late["applied"]["config_hash"], rows.hash(), "{late}");
        assert_eq!(chat_status(&gateway, "late-29"), 200);
        assert_eq!(chat_status(&gateway, "other"), 404);
        etcd.restore(&backup);
        let back = gateway.config_until("the backup", |config| {
            config["source"]["connected"] == true && config["source"]["source_hash"] == *old_hash
        });
        let revision = |config: &serde_json::Value| config["applied"]["applied_revision"].as_i64();
        assert!(revision(&back) < revision(&late), "{back} after {late}");
        assert_eq!(chat_status(&gateway, "late-29"), 404);
        assert_eq!(chat_status(&gateway, "other"), 200);
        // And what comes after it counts, at revisions that were seen before.
        let mut rows = Rows::new(etcd.addr());
        rows.put("models/after", &model("after", "x"));
        wait_for("the new row", || (chat_status(&gateway, "after") == 200).then_some(()));
        client.goes_on();
        client.end();
    }

    fn a_connection_that_is_cut_is_made_again(engine) {
        let (etcd, mock) = (Etcd::start(), mock());
        let proxy = FaultProxy::start(etcd.addr());
        let mut rows = Rows::new(etcd.addr());
        rows.seed(mock);
        let gateway = Setup::new(engine, mock).following(proxy.addr()).start_ready();
        let client = Steady::start(&gateway, true, EVERY);
        for round in 0..3 {
            proxy.set(Fault::Cut);
            gateway.config_until("the loss", |config| config["source"]["connected"] == false);
            rows.put("models/other", &model(&format!("other-{round}"), "x"));
            rows.put(&format!("models/new-{round}"), &model(&format!("new-{round}"), "x"));
            rows.delete("models/embed");
            client.goes_on();
            assert_eq!(gateway.get("/v1/models/embed").status == 200, round == 0);
            proxy.set(Fault::None);
            let config = rows.agree_with(&gateway);
            assert_eq!(config["applied"]["config_hash"], rows.hash(), "{config}");
        }
        assert_eq!(gateway.metric(LOSSES, &[]), 3.0);
        assert_eq!(gateway.metric("sluice_config_resyncs_total", &[]), 3.0);
        client.end();
    }
}

#[test]
fn a_connection_that_swallows_everything_is_found_out_and_replaced() {
    let (etcd, mock) = (Etcd::start(), mock());
    let proxy = FaultProxy::start(etcd.addr());
    let mut rows = Rows::new(etcd.addr());
    rows.seed(mock);
    let setup = Setup::new(Engine::IoUring, mock).following(proxy.addr());
    // An attempt made while nothing comes back ends before it is out of patience.
    let setup = setup.with("etcd.dial_timeout_ms", 5000);
    let gateway = setup.with("etcd.request_timeout_ms", 5000).start_ready();
    let client = Steady::start(&gateway, true, EVERY);
    rows.put("models/other", &model("other", "watched"));
    rows.agree_with(&gateway);
    proxy.set(Fault::HalfOpen);
    rows.put("models/new", &model("new", "x"));
    wait_longer_for("the loss", SILENCE, || {
        (gateway.metric(LOSSES, &[]) == 1.0).then_some(())
    });
    assert_eq!(gateway.config()["source"]["connected"], false);
    assert_eq!(gateway.get("/v1/models/new").status, 404);
    client.goes_on();
    proxy.set(Fault::None);
    rows.agree_with(&gateway);
    client.end();
}
