//! The real binary, a scripted upstream and raw sockets, for black-box tests.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses its own part"
)]

pub mod gateway;
pub mod raw;
pub mod tls;

pub use gateway::{Engine, Gateway, Setup};
pub use raw::{Raw, Response};

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Generous: the machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(20);

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
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn check($engine: $crate::support::Engine) $body

            #[test]
            fn on_io_uring() {
                check($crate::support::Engine::IoUring);
            }

            #[test]
            fn on_epoll() {
                check($crate::support::Engine::Epoll);
            }
        }
    )*};
}
