//! From a worker through the mailbox to redis and back.

use std::future::Future;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use gateway::bridge::histogram::BucketSettings;
use gateway::bridge::limit_link::{Answer, SharedPermit};
use gateway::bridge::shared_limits::{Ask, RedisDown};
use gateway::bridge::{WorkerBridge, build};
use gateway::cold::limits::{RedisLimits, serve};

use super::server::{Server, ask as redis, eventually};
use super::{RateLimit, ask, none, options, single};

/// Waits for the answer as a worker does: asleep on its end of the socket.
async fn admit(worker: &WorkerBridge, ask: Ask) -> Result<Answer, RedisDown> {
    let ear = UnixStream::from(worker.wake.try_clone().unwrap());
    ear.set_nonblocking(true).unwrap();
    let ear = tokio::net::UnixStream::from_std(ear).unwrap();
    let mut asking = pin!(worker.limits.ask(ask));
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(answer) = asking.as_mut().poll(&mut context) {
            return answer;
        }
        ear.readable().await.unwrap();
        while ear.try_read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
        worker.deliver_limits();
    }
}

async fn permit(worker: &WorkerBridge, ask: Ask) -> SharedPermit {
    match admit(worker, ask).await {
        Ok(Answer::Admitted(permit, _)) => permit,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_worker_is_answered_and_what_it_drops_leaves_no_slot() {
    let server = Server::start().await;
    let limits = Arc::new(RedisLimits::new(&single(&server), options()).unwrap());
    let (mut workers, cold) = build(1, &BucketSettings::default()).unwrap();
    let worker = workers.remove(0);
    let one = RateLimit {
        concurrency: Some(1),
        tpd: Some(100),
        ..none()
    };
    let request = || ask(&[("b", one)], 10);
    assert!(
        matches!(admit(&worker, request()).await, Err(RedisDown)),
        "nobody serves yet"
    );

    let served = tokio::spawn(serve(cold.limits, cold.workers, Arc::clone(&limits)));
    eventually("redis counts", async || !limits.breaker().is_open()).await;
    let mut raw = server.connect().await;
    let mut held = async || redis::<u64>(&mut raw, &["ZCARD", "sluice:rl:{b}:conc"]).await;

    let mut first = permit(&worker, request()).await;
    assert!(matches!(
        admit(&worker, request()).await,
        Ok(Answer::Refused(_))
    ));
    first.settle(30);
    drop(first);
    eventually("the permit's slot is free", async || held().await == 0).await;

    // The caller hangs up while redis is asked.
    let asking = worker.limits.ask(request());
    eventually("it is counted", async || held().await == 1).await;
    drop(asking);
    eventually("the answer is there", async || {
        worker.deliver_limits();
        held().await == 0
    })
    .await;
    let mut raw = server.connect().await;
    let keys: Vec<String> = redis(&mut raw, &["KEYS", "*tpd*"]).await;
    assert_eq!(redis::<u64>(&mut raw, &["GET", &keys[0]]).await, 30);

    drop(worker);
    served.await.unwrap().unwrap();
}
