//! Resident memory of an idle process, of an idle connection and of an open stream, held to what was measured.
//!
//! Taken from `smaps_rollup`, which walks the pages: `VmRSS` of recent kernels is a sum over processors that may be
//! off by a quarter of a MiB. It is anonymous memory: pages of the program come and go with what runs. Numbers are of the
//! profile `ci`, one worker.

use crate::http2;
use crate::on_both_engines;
use crate::support::gateway::{chat, post};
use crate::support::{Gateway, Raw, Setup, mock, wait_for};

const CHAT: &str = "/v1/chat/completions";

/// Anonymous memory of a process that has served one request, KiB. The rest of what is resident is text, which is
/// larger in this profile than in what is shipped.
const IDLE_KIB: u64 = 3_090;
/// Bytes of a connection that has made one request and waits.
const PER_CONNECTION: u64 = 1_400;
/// Bytes of a stream that waits for its next event, the connection to its upstream included.
const PER_STREAM: u64 = 6_200;
/// The same of a stream over HTTP/2, its part of a connection of 100 included.
const PER_HTTP2_STREAM: u64 = 6_900;
/// Hundredths that may be more: the heap grows by more than one connection, and a run finds up to 8 more.
const SLACK: u64 = 15;

/// Connections that come and go before, each with so many requests: what is kept from then on is not counted.
const BEFORE: (usize, usize) = (50, 20);
const CONNECTIONS: usize = 3_000;
const STREAMS: usize = 500;

/// Holds `found` to what was `measured`.
fn hold(what: &str, found: u64, measured: u64) {
    println!("{what}: {found}, {measured} measured before");
    assert!(
        found * 100 <= measured * (100 + SLACK),
        "{what}: {found}, not {measured}"
    );
}

/// A field of the kernel's account of all pages, in KiB: `Rss`, `Anonymous`.
fn pages_kib(gateway: &Gateway, field: &str) -> u64 {
    let path = format!("/proc/{}/smaps_rollup", gateway.child.id());
    let text = std::fs::read_to_string(path).expect("the kernel accounts pages");
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = value.and_then(|value| value.trim().strip_suffix(" kB"));
    number.and_then(|kib| kib.parse().ok()).expect("a number")
}

/// Waits until so many connections of callers, and of upstreams at most so many, are open.
fn until_open(gateway: &Gateway, downstream: usize, upstream_max: usize) {
    wait_for("connections to open and close", || {
        let open = |side| gateway.metric("sluice_runtime_core_connections", &[side]) as usize;
        let settled = open("side=\"downstream\"") == downstream;
        (settled && open("side=\"upstream\"") <= upstream_max).then_some(())
    });
}

/// What `count` of what `opened` gives add to resident memory, bytes each.
fn each<T>(gateway: &Gateway, count: usize, opened: impl Fn() -> T) -> u64 {
    let before = pages_kib(gateway, "Anonymous");
    let held: Vec<T> = (0..count).map(|_| opened()).collect();
    until_open(gateway, count, count + 1);
    let after = pages_kib(gateway, "Anonymous");
    drop(held);
    after.saturating_sub(before) * 1024 / count as u64
}

fn asked(gateway: &Gateway, times: usize) -> Raw {
    let mut raw = gateway.connect();
    let request = post(CHAT, &chat("m", false));
    for _ in 0..times {
        raw.send(&request);
        assert_eq!(raw.response().status, 200);
    }
    raw
}

/// Connections of HTTP/2, each with 100 streams that wait for their next event.
fn http2_streams(gateway: &Gateway, connections: usize) -> Vec<impl Sized + use<>> {
    let held = (0..connections)
        .map(|_| http2::waiting(gateway, 100))
        .collect();
    until_open(gateway, connections, connections * 100 + 1);
    held
}

fn streaming(gateway: &Gateway) -> Raw {
    let mut raw = gateway.connect();
    raw.send(&post(CHAT, &chat("script/events=2,stall_at=1", true)));
    raw.until(b"\"e0 ");
    raw
}

on_both_engines! {
    fn an_idle_process_holds_the_memory_that_was_measured(engine) {
        let gateway = Setup::new(engine, mock()).start_ready();
        drop(asked(&gateway, 1));
        until_open(&gateway, 0, 1);
        println!("resident: {} KiB, by VmRSS {}", pages_kib(&gateway, "Rss"), gateway.rss_kib());
        let anonymous = pages_kib(&gateway, "Anonymous");
        hold("anonymous KiB of an idle process", anonymous, IDLE_KIB);
    }

    fn an_idle_connection_holds_the_memory_that_was_measured(engine) {
        let gateway = Setup::new(engine, mock()).start_ready();
        let (count, times) = BEFORE;
        let first: Vec<Raw> = (0..count).map(|_| asked(&gateway, times)).collect();
        until_open(&gateway, count, 1);
        drop(first);
        until_open(&gateway, 0, 1);
        let bytes = each(&gateway, CONNECTIONS, || asked(&gateway, 1));
        hold("bytes of an idle connection", bytes, PER_CONNECTION);
    }

    fn an_open_stream_holds_the_memory_that_was_measured(engine) {
        let gateway = Setup::new(engine, mock()).start_ready();
        let (count, times) = BEFORE;
        drop(asked(&gateway, times));
        let first: Vec<Raw> = (0..count).map(|_| streaming(&gateway)).collect();
        until_open(&gateway, count, count + 1);
        drop(first);
        until_open(&gateway, 0, 1);
        let bytes = each(&gateway, STREAMS, || streaming(&gateway));
        hold("bytes of an open stream", bytes, PER_STREAM);
    }

    fn an_open_stream_over_http2_holds_the_memory_that_was_measured(engine) {
        let gateway = Setup::new(engine, mock()).start_ready();
        drop(asked(&gateway, 1));
        drop(http2_streams(&gateway, 1));
        until_open(&gateway, 0, 1);
        let before = pages_kib(&gateway, "Rss");
        let held = http2_streams(&gateway, 10);
        let bytes = pages_kib(&gateway, "Rss").saturating_sub(before) * 1024 / 1_000;
        drop(held);
        hold("bytes of an open stream over HTTP/2", bytes, PER_HTTP2_STREAM);
    }
}
