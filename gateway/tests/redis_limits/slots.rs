//! Slots that nobody releases, and slots held for long.

use std::time::Duration;

use gateway::bridge::shared_limits::{Ending, Outcome};
use tokio::time::sleep;

use super::server::{Server, ask as redis, eventually};
use super::{Gateway, RateLimit, RedisLimitsOptions, ask, none, options, single};

const ONE: RateLimit = RateLimit {
    concurrency: Some(1),
    rps: None,
    rpm: None,
    rph: None,
    rpd: None,
    tpm: None,
    tpd: None,
};

fn brief() -> RedisLimitsOptions {
    RedisLimitsOptions {
        concurrency_ttl: Duration::from_secs(2),
        ..options()
    }
}

#[tokio::test]
async fn the_slot_of_a_gateway_that_is_gone_is_free_after_its_ttl_and_not_before() {
    let server = Server::start().await;
    let gone = Gateway::on(&single(&server), brief()).await;
    let other = Gateway::on(&single(&server), brief()).await;
    let request = ask(&[("b", ONE)], 0);
    let admitted = gone.admit(&request).await;
    let taken_at = admitted.receipt.taken().layers[0].at_ms;
    drop(gone);
    other.refuse(&request).await;
    let mut second = None;
    eventually("the slot is free", async || {
        match other.limits.admit(&request).await.unwrap() {
            Outcome::Admitted(admitted) => second = Some(admitted),
            Outcome::Refused(_) => return false,
        }
        true
    })
    .await;
    let age = second.unwrap().receipt.taken().layers[0].at_ms - taken_at;
    assert!(age > 2_000, "{age} ms");
}

#[tokio::test]
async fn a_long_stream_keeps_its_slot_and_a_lost_receipt_does_not() {
    let server = Server::start().await;
    let gateway = Gateway::on(&single(&server), brief()).await;
    let other = Gateway::on(&single(&server), brief()).await;
    let request = ask(&[("b", ONE)], 0);
    let stream = gateway.admit(&request).await;
    for _ in 0..10 {
        sleep(Duration::from_millis(500)).await;
        other.refuse(&request).await;
    }
    drop(stream);
    eventually("the slot is free", async || {
        matches!(other.limits.admit(&request).await, Ok(Outcome::Admitted(_)))
    })
    .await;
}

#[tokio::test]
async fn buckets_with_strange_names_have_keys_of_their_own() {
    let server = Server::start().await;
    let gateway = Gateway::on(&single(&server), options()).await;
    let day = RateLimit {
        rpd: Some(1),
        ..none()
    };
    for name in ["}", "{}", "a}b", "a b\n", "ü:*?", "%7D"] {
        let request = ask(&[(name, day), ("beside", none())], 0);
        let admitted = gateway.limits.admit(&request).await.unwrap();
        let Outcome::Admitted(admitted) = admitted else {
            // Two names share a bucket, which takes an id that begins with what another is escaped to.
            assert_eq!(name, "%7D");
            continue;
        };
        gateway.limits.end(admitted.receipt, Ending::Kept).await;
        gateway.refuse(&request).await;
    }
    let mut raw = server.connect().await;
    let keys: Vec<String> = redis(&mut raw, &["KEYS", "sluice:rl:*:rpd:*"]).await;
    assert_eq!(keys.len(), 5, "{keys:?}");
}
