//! The real binary, a scripted upstream and raw sockets, for black-box tests.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses its own part"
)]

pub mod black_hole;
pub mod cgroup;
pub mod command;
pub mod gateway;
pub mod raw;
pub mod scripted;
pub mod store;
pub mod strace;
pub mod tls;
pub mod tls_client;
pub mod validate;

pub use black_hole::BlackHole;
pub use gateway::{Engine, Gateway, Setup};
pub use raw::{Raw, Response};
pub use scripted::Scripted;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Generous: the machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a scripted upstream of its own (its scripts: `loadtest/README.md`).
pub fn mock() -> SocketAddr {
    let arguments = loadtest::mock::MockArguments {
        listen: "127.0.0.1:0".parse().unwrap(),
        threads: 1,
        script: String::new(),
        keep: 1000,
    };
    loadtest::mock::spawn(&arguments).expect("the mock starts")
}

/// What the upstream at `mock` has recorded, oldest first.
pub fn upstream_requests(mock: SocketAddr) -> Vec<serde_json::Value> {
    let mut raw = Raw::connect(mock);
    raw.send(b"GET /__mock/requests HTTP/1.1\r\nhost: mock\r\n\r\n");
    let body = raw.response().body;
    let value: serde_json::Value = serde_json::from_slice(&body).expect("the record is JSON");
    value
        .as_array()
        .or_else(|| value["requests"].as_array())
        .expect("a list")
        .clone()
}

/// What the upstream at `mock` has recorded of the request with this id, if it came.
pub fn upstream_request(mock: SocketAddr, id: &str) -> Option<serde_json::Value> {
    let mut records = upstream_requests(mock).into_iter();
    records.find(|record| {
        let headers = record["headers"].as_array().into_iter().flatten();
        let mut ids = headers.filter(|pair| pair[0] == "x-sluice-request-id");
        ids.any(|pair| pair[1] == id)
    })
}

/// Connections that the upstream at `mock` has open.
pub fn upstream_connections(mock: SocketAddr) -> u64 {
    let mut raw = Raw::connect(mock);
    raw.send(b"GET /__mock/connections HTTP/1.1\r\nhost: mock\r\n\r\n");
    raw.response().json()["open"].as_u64().expect("a number")
}

/// The wall clock, which the mock's records use too.
pub fn unix_ms() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    u64::try_from(since.expect("after 1970").as_millis()).expect("a while to go")
}

/// Numbers of the scripted content events in `text`, in their order.
pub fn event_numbers(text: &str) -> Vec<u64> {
    let starts = ["\"content\":\"e", "\"text\":\"e"];
    let lines = text.split(['\n', '\r']);
    lines
        .filter_map(|line| {
            let rest = starts.iter().find_map(|start| line.split_once(start))?.1;
            rest.split(' ').next()?.parse().ok()
        })
        .collect()
}

/// Waits until `probe` has an answer.
#[expect(
    clippy::disallowed_methods,
    reason = "tests wait for conditions on the wall clock"
)]
pub fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Makes each test a pair: one run on io_uring, one on epoll.
#[macro_export]
macro_rules! on_both_engines {
    ($($(#[$meta:meta])* fn $name:ident($engine:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn check($engine: $crate::support::Engine) $body

            $(#[$meta])*
            #[test]
            fn on_io_uring() {
                check($crate::support::Engine::IoUring);
            }

            $(#[$meta])*
            #[test]
            fn on_epoll() {
                check($crate::support::Engine::Epoll);
            }
        }
    )*};
}
