//! What is counted, under which keys, and how much is admitted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway::bridge::limits::{Dimension, Field};
use gateway::bridge::shared_limits::{Admitted, Ending, Outcome, Receipt, Taken};
use tokio::time::{Instant, sleep};

use super::server::{Server, ask as redis};
use super::{Gateway, RateLimit, ask, none, options, single};

const ALL: RateLimit = RateLimit {
    rps: Some(100),
    rpm: Some(100),
    rph: Some(100),
    rpd: Some(100),
    tpm: Some(1_000),
    tpd: Some(1_000),
    concurrency: Some(10),
};

#[tokio::test]
async fn keys_and_expiries_are_the_documented_ones() {
    let server = Server::start().await;
    let mut raw = server.connect().await;
    for (env_id, prefix) in [("", "sluice:rl"), ("blue", "sluice:rl:blue")] {
        let mut with_env = options();
        with_env.env_id = env_id.into();
        let gateway = Gateway::on(&single(&server), with_env).await;
        let admitted = gateway.admit(&ask(&[("model:fast", ALL)], 40)).await;
        let at_secs = admitted.receipt.taken().layers[0].at_ms / 1_000;
        let key = |what: &str| format!("{prefix}:{{model:fast}}:{what}");
        for (field, span, count) in [
            ("rps", 1, 1),
            ("rpm", 60, 1),
            ("rph", 3_600, 1),
            ("rpd", 86_400, 1),
            ("tpm", 60, 40),
            ("tpd", 86_400, 40),
        ] {
            let name = key(&format!("{field}:{}", at_secs - at_secs % span));
            assert_eq!(
                redis::<u64>(&mut raw, &["GET", &name]).await,
                count,
                "{name}"
            );
            let left: u64 = redis(&mut raw, &["TTL", &name]).await;
            assert!((span..=span + 5).contains(&left), "{name}: {left}");
        }
        let members: Vec<(String, u64)> =
            redis(&mut raw, &["ZRANGE", &key("conc"), "0", "-1", "WITHSCORES"]).await;
        let (member, score) = &members[0];
        let (instance, sequence) = member.rsplit_once(':').unwrap();
        assert_eq!((instance.len(), sequence), (36, "0"));
        assert_eq!(*score, admitted.receipt.taken().layers[0].at_ms);
        let left: u64 = redis(&mut raw, &["TTL", &key("conc")]).await;
        assert!((300..=305).contains(&left), "{left}");

        gateway
            .limits
            .end(admitted.receipt, Ending::Settled(55))
            .await;
        let tpm = key(&format!("tpm:{}", at_secs - at_secs % 60));
        assert_eq!(redis::<u64>(&mut raw, &["GET", &tpm]).await, 55);
        assert!(!redis::<bool>(&mut raw, &["EXISTS", &key("conc")]).await);
        let all: Vec<String> = redis(&mut raw, &["KEYS", &format!("{prefix}:{{model*")]).await;
        assert_eq!(all.len(), 6, "{all:?}");
    }
}

#[tokio::test]
async fn the_first_exceeded_layer_answers_in_the_order_of_its_rules_and_none_is_charged() {
    let server = Server::start().await;
    let gateway = Gateway::on(&single(&server), options()).await;
    let cases = [
        (
            RateLimit {
                concurrency: Some(0),
                tpm: Some(0),
                rps: Some(0),
                ..none()
            },
            Dimension::Concurrency,
        ),
        (
            RateLimit {
                tpm: Some(0),
                rps: Some(0),
                ..none()
            },
            Dimension::Tokens,
        ),
        (
            RateLimit {
                tpd: Some(40),
                rpm: Some(9),
                ..none()
            },
            Dimension::Tokens,
        ),
        (
            RateLimit {
                rpd: Some(0),
                tpm: Some(99),
                ..none()
            },
            Dimension::Requests,
        ),
    ];
    for (number, (limits, dimension)) in cases.into_iter().enumerate() {
        let [wide, tight] = ["wide", "tight"].map(|name| format!("{name}{number}"));
        if limits.tpd == Some(40) {
            // The reservation reaches the limit: what comes next is refused, not this one.
            drop(gateway.admit(&ask(&[(&tight, limits)], 40)).await);
        }
        let request = ask(&[(&wide, ALL), (&tight, limits)], 40);
        let refused = gateway.refuse(&request).await;
        assert_eq!((refused.layer, refused.full.dimension), (1, dimension));
        assert!(refused.full.retry_after_secs >= 1);
        let all_left = refused.rooms[0].windows[Field::Rpm as usize].unwrap();
        assert_eq!((all_left.limit, all_left.remaining), (100, 100));
        let admitted = gateway.admit(&ask(&[(&wide, ALL)], 40)).await;
        let room = admitted.rooms[0];
        assert_eq!(room.windows[Field::Tpd as usize].unwrap().remaining, 960);
        assert_eq!(room.windows[Field::Rph as usize].unwrap().remaining, 99);
        assert_eq!(room.slots.unwrap().remaining, 9);
    }
    let unlimited = gateway.admit(&ask(&[], 7)).await;
    gateway
        .limits
        .end(unlimited.receipt, Ending::Settled(9))
        .await;
}

#[tokio::test]
async fn each_ending_leaves_the_counts_it_says() {
    let server = Server::start().await;
    let gateway = Gateway::on(&single(&server), options()).await;
    let day = RateLimit {
        rpd: Some(100),
        tpd: Some(1_000),
        concurrency: Some(10),
        ..none()
    };
    for (number, (ending, tokens, requests)) in [
        (Ending::Settled(25), 25, 1),
        (Ending::Settled(95), 95, 1),
        (Ending::Kept, 60, 1),
        (Ending::Refunded, 0, 1),
        (Ending::GivenBack, 0, 0),
    ]
    .into_iter()
    .enumerate()
    {
        let bucket = format!("b{number}");
        let admitted = gateway.admit(&ask(&[(&bucket, day)], 60)).await;
        gateway.limits.end(admitted.receipt, ending).await;
        let next = gateway.admit(&ask(&[(&bucket, day)], 0)).await;
        let left = |field: Field| next.rooms[0].windows[field as usize].unwrap().remaining;
        assert_eq!(left(Field::Tpd), 1_000 - tokens, "{ending:?}");
        assert_eq!(left(Field::Rpd), 99 - requests, "{ending:?}");
        assert_eq!(next.rooms[0].slots.unwrap().remaining, 9, "{ending:?}");
    }
}

#[tokio::test]
async fn a_reservation_is_corrected_in_the_window_it_was_made_in() {
    let server = Server::start().await;
    let gateway = Gateway::on(&single(&server), options()).await;
    let minute = RateLimit {
        tpm: Some(100),
        ..none()
    };
    for (reserved, tokens, want) in [(60, 20, 0), (60, 90, 30), (0, 90, 90)] {
        let name = format!("b{reserved}{tokens}");
        let admitted = gateway.admit(&ask(&[(&name, minute)], reserved)).await;
        // As if it had been admitted a minute ago.
        let mut taken = copy_of(&admitted);
        taken.layers[0].at_ms -= 60_000;
        let mut raw = server.connect().await;
        let keys: Vec<String> = redis(&mut raw, &["KEYS", &format!("*{{{name}}}*")]).await;
        for key in keys {
            redis::<u64>(&mut raw, &["DEL", &key]).await;
        }
        let receipt = Receipt::new(Arc::new(taken));
        gateway.limits.end(receipt, Ending::Settled(tokens)).await;
        let next = gateway.admit(&ask(&[(&name, minute)], 0)).await;
        let left = next.rooms[0].windows[Field::Tpm as usize]
            .unwrap()
            .remaining;
        assert_eq!(left, 100 - want, "{reserved} {tokens}");
    }
}

fn copy_of(admitted: &Admitted) -> Taken {
    let taken = admitted.receipt.taken();
    Taken {
        member: taken.member.clone(),
        tokens: taken.tokens,
        layers: taken.layers.clone(),
    }
}

/// What was admitted, as redis saw it.
#[derive(Default)]
struct Seen {
    /// By second and by minute.
    windows: Mutex<BTreeMap<(u64, u64), u64>>,
    in_flight: AtomicU32,
    most: AtomicU32,
    refused: AtomicU64,
}

impl Seen {
    fn note(&self, second: u64) {
        let mut windows = self.windows.lock().unwrap();
        *windows.entry((1, second)).or_default() += 1;
        *windows.entry((86_400, second / 86_400)).or_default() += 1;
    }
}

#[tokio::test]
async fn two_gateways_admit_together_exactly_what_the_limits_hold() {
    const SLOTS: u32 = 7;
    const PER_SECOND: u64 = 40;
    const PER_DAY: u64 = 150;
    let server = Server::start().await;
    let gateways = [
        Gateway::on(&single(&server), options()).await,
        Gateway::on(&single(&server), options()).await,
    ];
    let seen = Arc::<Seen>::default();
    let caller = RateLimit {
        rps: Some(PER_SECOND),
        concurrency: Some(SLOTS),
        ..none()
    };
    let model = RateLimit {
        rpd: Some(PER_DAY),
        tpd: Some(1_000_000),
        ..none()
    };
    let until = Instant::now() + Duration::from_secs(6);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..40_u64 {
        let limits = Arc::clone(&gateways[task as usize % 2].limits);
        let seen = Arc::clone(&seen);
        tasks.spawn(async move {
            let request = ask(&[("caller", caller), ("model", model)], 10);
            let mut dice = task * 7 + 1;
            while Instant::now() < until {
                match limits.admit(&request).await.unwrap() {
                    Outcome::Refused(_) => {
                        seen.refused.fetch_add(1, Relaxed);
                    }
                    Outcome::Admitted(admitted) => {
                        let now = seen.in_flight.fetch_add(1, Relaxed) + 1;
                        seen.most.fetch_max(now, Relaxed);
                        let second = admitted.receipt.taken().layers[0].at_ms / 1_000;
                        seen.note(second);
                        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        sleep(Duration::from_millis(dice >> 61)).await;
                        seen.in_flight.fetch_sub(1, Relaxed);
                        limits
                            .end(admitted.receipt, Ending::Settled(dice >> 60))
                            .await;
                    }
                }
                sleep(Duration::from_millis(1)).await;
            }
        });
    }
    tasks.join_all().await;
    let windows = std::mem::take(&mut *seen.windows.lock().unwrap());
    let counts = |span: u64| -> Vec<u64> {
        let of_span = windows.iter().filter(|((length, _), _)| *length == span);
        of_span.map(|(_, count)| *count).collect()
    };
    let (seconds, days) = (counts(1), counts(86_400));
    assert!(
        seconds.iter().all(|count| *count <= PER_SECOND),
        "{seconds:?}"
    );
    assert!(days.iter().all(|count| *count <= PER_DAY), "{days:?}");
    // Nobody is refused for what another was refused: the limits are reached, not just kept to.
    assert!(seconds.contains(&PER_SECOND), "{seconds:?}");
    assert!(days.contains(&PER_DAY), "{days:?}");
    assert_eq!(seen.most.load(Relaxed), SLOTS);
    assert!(seen.refused.load(Relaxed) > 0);
    let mut raw = server.connect().await;
    let held: u64 = redis(&mut raw, &["ZCARD", "sluice:rl:{caller}:conc"]).await;
    assert_eq!(held, 0);
}
