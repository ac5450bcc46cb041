//! One bucket: order, all or nothing, and exactness across threads. [bridge]

use std::sync::Barrier;
use std::sync::atomic::AtomicU64;

use config_sync::model::rate_limit::RateLimit;

use super::*;

const NONE: RateLimit = RateLimit {
    rps: None,
    rpm: None,
    rph: None,
    rpd: None,
    tpm: None,
    tpd: None,
    concurrency: None,
};
/// 2023-11-15, 00:00 UTC.
const MIDNIGHT_MS: u64 = 1_700_006_400_000;

fn charge(at_ms: u64, tokens: u64) -> Charge {
    Charge { at_ms, tokens }
}

/// Everything the bucket holds at `now_ms`.
fn counts(bucket: &Bucket, now_ms: u64) -> ([u64; 6], u32) {
    let read = |field| bucket.window(field).read(field, now_ms).count;
    (Field::ALL.map(read), bucket.in_flight.load(Relaxed))
}

/// `limits` when one request of 10 tokens is in flight that counted everywhere.
fn refusal(limits: &RateLimit) -> Result<(), Full> {
    let all = RateLimit {
        rps: Some(9),
        rpm: Some(9),
        rph: Some(9),
        rpd: Some(9),
        tpm: Some(99),
        tpd: Some(99),
        concurrency: Some(9),
    };
    let bucket = Bucket::default();
    let now_ms = MIDNIGHT_MS + 1_500;
    let _ = bucket
        .take(&Terms::from(&all), charge(now_ms, 10), |_, _| ())
        .unwrap();
    let before = counts(&bucket, now_ms);
    let checked = bucket.check(&Terms::from(limits), now_ms);
    let taken = bucket
        .take(&Terms::from(limits), charge(now_ms, 10), |_, _| ())
        .map(|_| ());
    assert_eq!(taken, checked);
    if taken.is_err() {
        assert_eq!(counts(&bucket, now_ms), before, "{limits:?}");
    }
    taken
}

#[test]
fn the_first_limit_reached_answers_and_a_refused_request_changes_nothing() {
    let full = |dimension, retry_after_secs| {
        Err(Full {
            dimension,
            retry_after_secs,
        })
    };
    let limits = |set: fn(&mut RateLimit)| {
        let mut limits = NONE;
        set(&mut limits);
        limits
    };
    use Dimension::{Concurrency, Requests, Tokens};
    let cases = [
        (limits(|_| ()), Ok(())),
        (limits(|l| l.concurrency = Some(2)), Ok(())),
        (limits(|l| l.concurrency = Some(1)), full(Concurrency, 1)),
        (limits(|l| l.tpm = Some(11)), Ok(())),
        (limits(|l| l.tpm = Some(10)), full(Tokens, 59)),
        (limits(|l| l.tpd = Some(0)), full(Tokens, 86_399)),
        (limits(|l| l.rps = Some(1)), full(Requests, 1)),
        (limits(|l| l.rpm = Some(1)), full(Requests, 59)),
        (limits(|l| l.rph = Some(1)), full(Requests, 3_599)),
        (limits(|l| l.rpd = Some(1)), full(Requests, 86_399)),
        (limits(|l| l.rpd = Some(2)), Ok(())),
        (
            limits(|l| (l.rph, l.rpd, l.rpm) = (Some(1), Some(1), Some(2))),
            full(Requests, 3_599),
        ),
        (
            limits(|l| (l.rps, l.tpd) = (Some(0), Some(10))),
            full(Tokens, 86_399),
        ),
        (
            limits(|l| (l.tpm, l.concurrency) = (Some(0), Some(1))),
            full(Concurrency, 1),
        ),
        (
            limits(|l| (l.tpm, l.concurrency, l.rpd) = (Some(99), Some(5), Some(1))),
            full(Requests, 86_399),
        ),
    ];
    for (limits, want) in cases {
        assert_eq!(refusal(&limits), want, "{limits:?}");
    }
}

#[test]
fn zero_of_anything_admits_nothing() {
    for field in Field::ALL {
        let mut limits = NONE;
        let limit = match field {
            Field::Rps => &mut limits.rps,
            Field::Rpm => &mut limits.rpm,
            Field::Rph => &mut limits.rph,
            Field::Rpd => &mut limits.rpd,
            Field::Tpm => &mut limits.tpm,
            Field::Tpd => &mut limits.tpd,
        };
        *limit = Some(0);
        let bucket = Bucket::default();
        assert!(
            bucket
                .take(&Terms::from(&limits), charge(MIDNIGHT_MS, 0), |_, _| ())
                .is_err()
        );
        assert!(bucket.check(&Terms::from(&limits), MIDNIGHT_MS).is_err());
    }
    let limits = RateLimit {
        concurrency: Some(0),
        ..NONE
    };
    assert!(
        Bucket::default()
            .take(&Terms::from(&limits), charge(0, 0), |_, _| ())
            .is_err()
    );
}

#[test]
fn what_is_given_back_is_what_was_counted() {
    let limits = RateLimit {
        rps: Some(9),
        rpd: Some(9),
        tpm: Some(100),
        concurrency: Some(3),
        ..NONE
    };
    let bucket = Bucket::default();
    let reserved = charge(MIDNIGHT_MS, 70);
    let receipt = bucket
        .take(&Terms::from(&limits), reserved, |_, _| ())
        .unwrap();
    assert_eq!(counts(&bucket, MIDNIGHT_MS), ([1, 0, 0, 1, 70, 0], 1));
    bucket.release(receipt);
    bucket.settle(receipt, reserved, 30, MIDNIGHT_MS + 10);
    assert_eq!(counts(&bucket, MIDNIGHT_MS), ([1, 0, 0, 1, 30, 0], 0));

    let later = charge(MIDNIGHT_MS + 50, 20);
    let receipt = bucket
        .take(&Terms::from(&limits), later, |_, _| ())
        .unwrap();
    bucket.refund(receipt, later);
    assert_eq!(counts(&bucket, MIDNIGHT_MS), ([2, 0, 0, 2, 30, 0], 1));
    bucket.refund(Receipt::default(), later);
    bucket.undo(receipt, charge(MIDNIGHT_MS + 50, 0));
    assert_eq!(counts(&bucket, MIDNIGHT_MS), ([1, 0, 0, 1, 30, 0], 0));
}

#[test]
fn a_slow_workers_request_is_given_back_to_the_window_it_counted_in() {
    let limits = RateLimit {
        rps: Some(9),
        tpm: Some(100),
        ..NONE
    };
    let bucket = Bucket::default();
    let turned = charge(MIDNIGHT_MS, 10);
    let _ = bucket
        .take(&Terms::from(&limits), turned, |_, _| ())
        .unwrap();
    let slow = charge(MIDNIGHT_MS - 1, 20);
    let receipt = bucket.take(&Terms::from(&limits), slow, |_, _| ()).unwrap();
    assert_eq!(counts(&bucket, MIDNIGHT_MS), ([2, 0, 0, 0, 30, 0], 0));
    bucket.undo(receipt, slow);
    assert_eq!(counts(&bucket, MIDNIGHT_MS), ([1, 0, 0, 0, 10, 0], 0));
}

#[test]
fn room_is_what_is_left_and_never_negative() {
    let bucket = Bucket::default();
    let limits = RateLimit {
        rpm: Some(5),
        tpm: Some(100),
        concurrency: Some(2),
        ..NONE
    };
    let now_ms = MIDNIGHT_MS + 20_000;
    let _ = bucket
        .take(&Terms::from(&limits), charge(now_ms, 150), |_, _| ())
        .unwrap();
    let room = |field: Field| Some(bucket.room(field, field.of(&limits)?, now_ms));
    let of = |limit, remaining, reset_secs| {
        Some(Room {
            limit,
            remaining,
            reset_secs,
        })
    };
    assert_eq!(room(Field::Rps), None);
    assert_eq!(room(Field::Rpm), of(5, 4, 40));
    assert_eq!(room(Field::Tpm), of(100, 0, 40));
    assert_eq!(bucket.slots(&Terms::from(&limits)), of(2, 1, 0));
    assert_eq!(bucket.slots(&Terms::default()), None);
}

#[test]
fn a_bucket_is_idle_when_its_windows_are_over_and_its_slots_free() {
    let bucket = Bucket::default();
    assert!(bucket.is_idle(MIDNIGHT_MS));
    let limits = RateLimit {
        rpm: Some(5),
        concurrency: Some(1),
        ..NONE
    };
    let receipt = bucket
        .take(&Terms::from(&limits), charge(MIDNIGHT_MS, 0), |_, _| ())
        .unwrap();
    assert!(!bucket.is_idle(MIDNIGHT_MS + 60_000));
    bucket.release(receipt);
    assert!(!bucket.is_idle(MIDNIGHT_MS + 59_999));
    assert!(bucket.is_idle(MIDNIGHT_MS + 60_000));
}

const THREADS: u64 = 8;

#[test]
fn threads_that_hammer_one_limit_admit_exactly_that_many_in_each_window() {
    const LIMIT: u64 = 1_000;
    let limits = [
        RateLimit {
            rps: Some(LIMIT),
            ..NONE
        },
        // The larger windows have room; they must not be charged for what the smallest refuses.
        RateLimit {
            rps: Some(LIMIT),
            rpm: Some(LIMIT * 3),
            rpd: Some(LIMIT * 3),
            ..NONE
        },
        RateLimit {
            tpm: Some(LIMIT * 3),
            ..NONE
        },
    ];
    for limits in limits {
        let bucket = Bucket::default();
        let admitted = AtomicU64::new(0);
        // All threads are in the same second, which turns while they run.
        let barrier = Barrier::new(THREADS as usize);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for second in 0..3 {
                        barrier.wait();
                        for _ in 0..LIMIT {
                            let now = charge(MIDNIGHT_MS + second * 1_000, 1);
                            if bucket.take(&Terms::from(&limits), now, |_, _| ()).is_ok() {
                                admitted.fetch_add(1, Relaxed);
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), LIMIT * 3, "{limits:?}");
    }
}

#[test]
fn no_more_are_in_flight_than_there_are_slots_and_all_leave() {
    const SLOTS: u32 = 3;
    let limits = RateLimit {
        concurrency: Some(SLOTS),
        rpd: Some(500),
        ..NONE
    };
    let bucket = Bucket::default();
    let (in_flight, admitted) = (AtomicU32::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    let now = charge(MIDNIGHT_MS, 0);
                    let Ok(receipt) = bucket.take(&Terms::from(&limits), now, |_, _| ()) else {
                        continue;
                    };
                    admitted.fetch_add(1, Relaxed);
                    assert!(in_flight.fetch_add(1, Relaxed) < SLOTS);
                    std::thread::yield_now();
                    in_flight.fetch_sub(1, Relaxed);
                    bucket.release(receipt);
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 500);
    assert_eq!(counts(&bucket, MIDNIGHT_MS), ([0, 0, 0, 500, 0, 0], 0));
}
