//! Redis that is late, gone, back again, or does not know us.

use std::sync::Arc;
use std::time::Duration;

use gateway::bridge::shared_limits::{Ending, Outcome, RedisDown};
use gateway::settings::Secret;
use tokio::time::{Instant, sleep};

use super::server::{Server, ask as redis, eventually};
use super::{Gateway, RateLimit, RedisLimitsOptions, ask, none, options, single};

fn hasty() -> RedisLimitsOptions {
    RedisLimitsOptions {
        timeout: Duration::from_millis(200),
        ..options()
    }
}

const LIMITS: RateLimit = RateLimit {
    concurrency: Some(50),
    rpd: Some(1_000_000),
    rps: None,
    rpm: None,
    rph: None,
    tpm: None,
    tpd: None,
};

#[tokio::test]
async fn redis_that_is_killed_under_load_is_noticed_at_once_and_used_again_when_it_is_back() {
    let mut server = Server::start().await;
    let gateway = Gateway::on(&single(&server), hasty()).await;
    let mut tasks = tokio::task::JoinSet::new();
    let until = Instant::now() + Duration::from_secs(3);
    for _ in 0..16 {
        let limits = Arc::clone(&gateway.limits);
        tasks.spawn(async move {
            let request = ask(&[("b", LIMITS)], 0);
            let (mut down, mut slowest) = (0, Duration::ZERO);
            while Instant::now() < until {
                let start = Instant::now();
                match limits.admit(&request).await {
                    Ok(Outcome::Admitted(admitted)) => {
                        limits.end(admitted.receipt, Ending::Kept).await;
                    }
                    Ok(Outcome::Refused(refused)) => panic!("{refused:?}"),
                    Err(RedisDown) => down += 1,
                }
                slowest = slowest.max(start.elapsed());
                sleep(Duration::from_millis(1)).await;
            }
            (down, slowest)
        });
    }
    sleep(Duration::from_millis(500)).await;
    server.kill();
    for (down, slowest) in tasks.join_all().await {
        assert!(down > 100, "{down}");
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    }
    let breaker = gateway.limits.breaker();
    assert!(breaker.is_open() && breaker.failures() > 0);
    assert_eq!(breaker.outages(), 1);
    server.spawn();
    gateway.counts().await;
    drop(gateway.admit(&ask(&[("b", LIMITS)], 0)).await);
    assert_eq!(breaker.outages(), 1);
}

#[tokio::test]
async fn redis_that_stops_answering_costs_one_timeout_and_no_slot() {
    let server = Server::start().await;
    let gateway = Gateway::on(&single(&server), hasty()).await;
    let one = RateLimit {
        concurrency: Some(2),
        ..none()
    };
    let request = ask(&[("b", one)], 0);
    let held = gateway.admit(&request).await;
    server.signal("-STOP");
    let start = Instant::now();
    // Redis counts this one later, when nobody waits for it any more.
    assert_eq!(gateway.limits.admit(&request).await.unwrap_err(), RedisDown);
    let late = start.elapsed();
    assert!((200..1_000).contains(&late.as_millis()), "{late:?}");
    let start = Instant::now();
    for _ in 0..100 {
        gateway.limits.admit(&request).await.unwrap_err();
    }
    assert!(start.elapsed() < Duration::from_millis(100));
    // What ends meanwhile is told later.
    gateway.limits.end(held.receipt, Ending::Kept).await;
    server.signal("-CONT");
    gateway.counts().await;
    let mut raw = server.connect().await;
    assert_eq!(
        redis::<u64>(&mut raw, &["ZCARD", "sluice:rl:{b}:conc"]).await,
        0
    );
    assert_eq!(gateway.limits.breaker().outages(), 1);
}

#[tokio::test]
async fn a_script_that_redis_has_forgotten_is_sent_again() {
    let server = Server::start().await;
    let gateway = Gateway::on(&single(&server), options()).await;
    let mut raw = server.connect().await;
    for _ in 0..3 {
        redis::<String>(&mut raw, &["SCRIPT", "FLUSH"]).await;
        let admitted = gateway.admit(&ask(&[("b", LIMITS)], 0)).await;
        redis::<String>(&mut raw, &["SCRIPT", "FLUSH"]).await;
        gateway
            .limits
            .end(admitted.receipt, Ending::GivenBack)
            .await;
    }
    assert_eq!(gateway.limits.breaker().failures(), 0);
    let next = gateway.admit(&ask(&[("b", LIMITS)], 0)).await;
    assert_eq!(next.rooms[0].slots.unwrap().remaining, 49);
}

#[tokio::test]
async fn a_password_is_needed_where_there_is_one() {
    let server = Server::start_with(&["--requirepass", "open sesame"]).await;
    let mut wrong = single(&server);
    wrong.password = Some(Secret::from("sesame".to_owned()));
    let refused = Gateway::beside(&wrong, options());
    eventually("it is refused", async || {
        refused.limits.breaker().outages() == 1
    })
    .await;
    assert!(
        refused
            .limits
            .admit(&ask(&[("b", LIMITS)], 0))
            .await
            .is_err()
    );
    let mut right = single(&server);
    right.password = Some(Secret::from("open sesame".to_owned()));
    let gateway = Gateway::on(&right, options()).await;
    drop(gateway.admit(&ask(&[("b", LIMITS)], 0)).await);
}
