//! What a long day leaves in memory. Run by `make soak`.

use std::time::Duration;

use serde_json::json;

use crate::on_both_engines;
use crate::support::gateway::{chat, post};
use crate::support::{Gateway, Setup, mock, unix_ms, wait_for};

const CHAT: &str = "/v1/chat/completions";
/// Requests at once.
const ABREAST: usize = 50;
/// How long memory may take to come back.
const SETTLE: Duration = Duration::from_secs(30);

/// Waits until the gateway has at most 1.3 times the memory of before.
fn memory_comes_back(gateway: &Gateway, before_kib: u64) {
    let allowed = before_kib * 13 / 10;
    let until = unix_ms() + SETTLE.as_millis() as u64;
    let after = wait_longer_for(until, || {
        let rss = gateway.rss_kib();
        (rss <= allowed).then_some(rss)
    });
    println!("{before_kib} KiB before, {after:?} KiB after");
    let rss = gateway.rss_kib();
    assert!(after.is_some(), "{rss} KiB, {before_kib} KiB before");
}

#[expect(clippy::disallowed_methods, reason = "waits on the wall clock")]
fn wait_longer_for<T>(until_unix_ms: u64, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    loop {
        match probe() {
            None if unix_ms() < until_unix_ms => std::thread::sleep(Duration::from_millis(100)),
            found => return found,
        }
    }
}

/// What a gateway that has served a while has: every worker's buffers, the log, the metrics.
fn warmed_up(gateway: &Gateway) -> u64 {
    for _ in 0..ABREAST {
        assert_eq!(gateway.post(CHAT, &chat("m", false)).status, 200);
        assert_eq!(gateway.post(CHAT, &chat("m", true)).status, 200);
    }
    gateway.status_page("/metrics");
    gateway.rss_kib()
}

fn nothing_in_flight(gateway: &Gateway) {
    wait_for("no request in flight", || {
        (gateway.in_flight() == 0.0).then_some(())
    });
}

on_both_engines! {
    #[ignore = "soak: 2,000 aborted streams"]
    fn aborted_streams_give_their_memory_back(engine) {
        let gateway = Setup::new(engine, mock()).start();
        let before = warmed_up(&gateway);
        let request = post(CHAT, &chat("script/events=1000,gap_ms=20,size=200", true));
        for _ in 0..2000 / ABREAST {
            let mut streams: Vec<_> = (0..ABREAST).map(|_| gateway.connect()).collect();
            for raw in &mut streams {
                raw.send(&request);
            }
            for mut raw in streams {
                raw.until(b"\"e0 ");
            }
        }
        nothing_in_flight(&gateway);
        gateway.access_lines(2000 + 2 * ABREAST);
        memory_comes_back(&gateway, before);
    }

    #[ignore = "soak: a burst of 120 KiB bodies"]
    fn a_burst_of_large_bodies_gives_its_memory_back(engine) {
        let gateway = Setup::new(engine, mock()).start();
        let before = warmed_up(&gateway);
        let content = "x".repeat(120 * 1024);
        let body = json!({"model": "script/head_ms=200",
            "messages": [{"role": "user", "content": content}]});
        let request = post(CHAT, &body);
        for _ in 0..4 {
            let mut burst: Vec<_> = (0..4 * ABREAST).map(|_| gateway.connect()).collect();
            for raw in &mut burst {
                raw.send(&request);
            }
            for raw in &mut burst {
                assert_eq!(raw.response().status, 200);
            }
        }
        nothing_in_flight(&gateway);
        memory_comes_back(&gateway, before);
    }
}
