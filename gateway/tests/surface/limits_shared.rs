//! Limits of several gateways on one redis, and what becomes of requests when it is gone.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::on_both_engines;
use crate::redis_server::Server;
use crate::support::gateway::{chat, post};
use crate::support::{Engine, Gateway, Setup, mock, wait_for};

const CHAT: &str = "/v1/chat/completions";

fn gateway(engine: Engine, redis: &Server, on_failure: &str, limit: Value) -> Gateway {
    Setup::new(engine, mock())
        .resources(|file| file["api_keys"][0]["rate_limit"] = limit)
        .with("ratelimit.backend", "redis")
        .with("ratelimit.redis.url", redis.url())
        .with("ratelimit.on_redis_failure", on_failure)
        // A busy machine is no outage.
        .with("ratelimit.redis_timeout_ms", 5_000)
        .start()
}

fn started() -> Server {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    runtime.block_on(Server::start())
}

/// Waits until limits are counted in redis: there is something in it.
fn until_shared(gateway: &Gateway) {
    wait_for("the link to redis", || {
        gateway.logged("redis counts limits")
    });
}

fn statuses(gateway: &Gateway, count: usize) -> Vec<u16> {
    let mut raw = gateway.connect();
    let answers = (0..count).map(|_| {
        raw.send(&post(CHAT, &chat("m", false)));
        raw.response().status
    });
    answers.collect()
}

on_both_engines! {
    fn two_gateways_admit_together_what_one_limit_says(engine) {
        let redis = started();
        let gateways = [(); 2].map(|()| gateway(engine, &redis, "local", json!({"rpd": 30})));
        gateways.iter().for_each(until_shared);
        let admitted: usize = std::thread::scope(|scope| {
            let asking: Vec<_> = gateways
                .iter()
                .flat_map(|gateway| [gateway, gateway])
                .map(|gateway| scope.spawn(move || statuses(gateway, 20)))
                .collect();
            let all = asking.into_iter().flat_map(|asking| asking.join().unwrap());
            all.filter(|status| {
                assert!([200, 429].contains(status), "{status}");
                *status == 200
            })
            .count()
        });
        assert_eq!(admitted, 30);
        let response = gateways[0].post(CHAT, &chat("m", false));
        assert_eq!(response.header("x-ratelimit-remaining-requests"), Some("0"));
        assert!(response.header("retry-after").is_some());
    }

    fn a_redis_that_dies_in_mid_load_fails_no_request(engine) {
        let mut redis = started();
        let gateway = gateway(engine, &redis, "local", json!({"rpd": 1_000_000, "tpd": 1_000_000_000, "concurrency": 100}));
        until_shared(&gateway);
        let stop = AtomicBool::new(false);
        let served = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut served = Vec::new();
                        while !stop.load(Ordering::Relaxed) {
                            served.extend(statuses(&gateway, 20));
                        }
                        served
                    })
                })
                .collect();
            let line = |count: usize| gateway.access_lines(count);
            line(100);
            redis.kill();
            wait_for("the outage to be noticed", || gateway.logged("redis does not count limits; on_redis_failure applies"));
            let so_far = std::fs::read_to_string(gateway.access_log()).unwrap().lines().count();
            line(so_far + 200);
            redis.spawn();
            stop.store(true, Ordering::Relaxed);
            asking.into_iter().flat_map(|asking| asking.join().unwrap()).collect::<Vec<u16>>()
        });
        assert!(served.len() > 300 && served.iter().all(|status| *status == 200), "{served:?}");
    }

    fn without_redis_requests_are_refused_or_uncounted_where_that_is_asked_for(engine) {
        for (on_failure, want) in [("closed", [503, 503]), ("open", [200, 200]), ("local", [200, 429])] {
            let mut redis = started();
            let gateway = gateway(engine, &redis, on_failure, json!({"rpd": 1}));
            until_shared(&gateway);
            redis.kill();
            wait_for("the outage to be noticed", || {
                // Whoever asks first meets it.
                let mut raw = gateway.connect();
                raw.send(&post("/v1/embeddings", &json!({"model": "embed", "input": "x"})));
                raw.response();
                gateway.logged("redis does not count limits; on_redis_failure applies")
            });
            if on_failure == "local" {
                // What was asked while the outage was noticed may have been counted here.
                assert_eq!(statuses(&gateway, 3).last(), Some(&429), "{on_failure}");
            } else {
                assert_eq!(statuses(&gateway, 2), want, "{on_failure}");
            }
        }
    }
}
