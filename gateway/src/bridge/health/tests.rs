//! What all workers see of a target. [bridge]

use std::rc::Rc;
use std::time::Duration;

use config_sync::model::model::Cooldown;

use super::FailureClass::{Decode, InBand, Status, Timeout, Transport};
use super::*;

const NOW: u64 = 1_770_000_000_000;

fn failure(class: FailureClass, retry_after_secs: Option<u32>) -> Failure {
    Failure {
        class,
        is_retryable: true,
        retry_after_secs,
    }
}

#[test]
fn failures_cool_down_as_configured() {
    let usual = Cooldown::default;
    let off = || Cooldown {
        enabled: false,
        ..Cooldown::default()
    };
    let never = || Cooldown {
        default_seconds: 0,
        ..Cooldown::default()
    };
    let deaf = || Cooldown {
        honor_retry_after: false,
        max_seconds: 5,
        ..Cooldown::default()
    };
    let picky = || Cooldown {
        trigger_on_timeout: false,
        trigger_on_transport: false,
        trigger_statuses: vec![404, 529],
        ..Cooldown::default()
    };
    let cases = [
        (usual(), Timeout, None, Some(("request_timeout", 30))),
        (usual(), Transport, None, Some(("transport_error", 30))),
        (usual(), Decode, None, Some(("upstream_decode_error", 30))),
        (
            usual(),
            InBand(0),
            None,
            Some(("upstream_in_band_error", 30)),
        ),
        (
            usual(),
            InBand(529),
            None,
            Some(("upstream_in_band_error", 30)),
        ),
        (
            usual(),
            InBand(429),
            None,
            Some(("upstream_in_band_error", 30)),
        ),
        (usual(), InBand(400), None, None),
        (
            usual(),
            Status(401),
            None,
            Some(("upstream_auth_failure", 30)),
        ),
        (
            usual(),
            Status(408),
            None,
            Some(("upstream_request_timeout", 30)),
        ),
        (
            usual(),
            Status(429),
            None,
            Some(("upstream_rate_limited", 30)),
        ),
        (
            usual(),
            Status(500),
            None,
            Some(("upstream_server_error", 30)),
        ),
        (
            usual(),
            Status(502),
            None,
            Some(("upstream_server_error", 30)),
        ),
        (
            usual(),
            Status(503),
            None,
            Some(("upstream_server_error", 30)),
        ),
        (
            usual(),
            Status(504),
            None,
            Some(("upstream_server_error", 30)),
        ),
        (usual(), Status(400), None, None),
        (usual(), Status(403), None, None),
        (usual(), Status(404), None, None),
        (usual(), Status(501), None, None),
        (usual(), Status(529), None, None),
        (
            usual(),
            Status(429),
            Some(7),
            Some(("upstream_rate_limited", 7)),
        ),
        (
            usual(),
            Status(503),
            Some(601),
            Some(("upstream_server_error", 600)),
        ),
        (usual(), Status(503), Some(0), None),
        (usual(), Status(400), Some(7), None),
        (
            deaf(),
            Status(503),
            Some(7),
            Some(("upstream_server_error", 30)),
        ),
        (
            deaf(),
            Status(503),
            Some(0),
            Some(("upstream_server_error", 30)),
        ),
        (off(), Status(503), Some(7), None),
        (off(), Timeout, None, None),
        (off(), Decode, None, None),
        (never(), Status(503), None, None),
        (never(), Status(503), Some(7), None),
        (picky(), Timeout, None, None),
        (picky(), Transport, None, None),
        (picky(), Status(503), None, None),
        (
            picky(),
            Status(404),
            None,
            Some(("upstream_status_failure", 30)),
        ),
        (
            picky(),
            Status(529),
            None,
            Some(("upstream_server_error", 30)),
        ),
        (picky(), InBand(429), None, None),
        (
            picky(),
            InBand(404),
            None,
            Some(("upstream_in_band_error", 30)),
        ),
    ];
    for (cooldown, class, retry_after, want) in cases {
        let target = TargetHealth::default();
        let cooled = target.failed(failure(class, retry_after), &cooldown, NOW);
        let got = cooled.map(|cooled| (cooled.reason.label(), cooled.seconds));
        assert_eq!(got, want, "{class:?}, {retry_after:?}, {cooldown:?}");
        let Some((reason, seconds)) = want else {
            assert_eq!(target.state(NOW), HealthState::Healthy);
            continue;
        };
        let view = target.view(NOW);
        assert_eq!(view.state, HealthState::Cooling);
        assert_eq!(view.reason.map(Reason::label), Some(reason));
        assert_eq!(view.seconds_left, seconds);
        let until = NOW + seconds * 1_000;
        assert_eq!(view.cooldown_until_ms, Some(until));
        assert_eq!(target.state(until - 1), HealthState::Cooling);
        assert_eq!(target.view(until - 1).seconds_left, 1);
        assert_eq!(target.state(until), HealthState::Healthy);
        let over = target.view(until);
        assert_eq!((over.reason, over.cooldown_until_ms), (None, None));
    }
}

#[test]
fn a_cooldown_is_lengthened_never_shortened_and_ended_by_a_success() {
    let target = TargetHealth::default();
    let usual = Cooldown::default();
    let fail = |class, asked, now_ms| {
        let cooled = target.failed(failure(class, asked), &usual, now_ms);
        cooled.map(|cooled| cooled.is_new)
    };
    assert_eq!(fail(Status(429), Some(100), NOW), Some(true));
    assert_eq!(fail(Timeout, None, NOW + 10_000), Some(false));
    let view = target.view(NOW + 10_000);
    assert_eq!(view.seconds_left, 90);
    assert_eq!(view.reason, Some(Reason::UpstreamRateLimited));
    assert_eq!(fail(Timeout, None, NOW + 80_000), Some(false));
    let view = target.view(NOW + 80_000);
    assert_eq!(
        (view.seconds_left, view.reason),
        (30, Some(Reason::RequestTimeout))
    );
    assert_eq!(fail(Timeout, None, NOW + 110_000), Some(true));
    target.succeeded(NOW + 110_001, None);
    assert_eq!(target.state(NOW + 110_001), HealthState::Healthy);
    assert_eq!(fail(Timeout, None, NOW + 110_002), Some(true));
}

#[test]
fn an_endless_cooldown_does_not_wrap() {
    let target = TargetHealth::default();
    let endless = Cooldown {
        default_seconds: u64::MAX,
        ..Cooldown::default()
    };
    let cooled = target
        .failed(failure(Timeout, None), &endless, NOW)
        .unwrap();
    assert_eq!(cooled.seconds, u64::MAX);
    assert_eq!(target.state(NOW * 1_000), HealthState::Cooling);
    assert_eq!(target.view(NOW).reason, Some(Reason::RequestTimeout));
}

#[test]
fn retryable_failures_in_a_row_make_the_grade() {
    let target = TargetHealth::default();
    let off = Cooldown {
        enabled: false,
        ..Cooldown::default()
    };
    let codes: Vec<u8> = (0..12)
        .map(|_| {
            target.failed(failure(Timeout, None), &off, NOW);
            let unretried = Failure {
                is_retryable: false,
                ..failure(Status(400), None)
            };
            target.failed(unretried, &off, NOW);
            assert_eq!(target.view(NOW).grade, target.grade());
            target.grade().code()
        })
        .collect();
    assert_eq!(codes, [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2]);
    target.succeeded(NOW, None);
    assert_eq!(target.grade(), Grade::Healthy);
}

#[test]
fn latency_is_a_mean_that_follows_successes_only() {
    let target = TargetHealth::default();
    let ms = Duration::from_millis;
    let ewma = || target.latency(NOW).map(|latency| latency.ewma_ms);
    target.succeeded(NOW, None);
    target.failed(failure(Timeout, None), &Cooldown::default(), NOW);
    assert_eq!(ewma(), None);
    target.succeeded(NOW, Some(ms(100)));
    assert_eq!(ewma(), Some(100.0));
    target.succeeded(NOW, Some(ms(200)));
    assert!((ewma().unwrap() - 130.0).abs() < 1e-9);
    target.succeeded(NOW + 5, Some(ms(0)));
    assert!((ewma().unwrap() - 91.0).abs() < 1e-9);
    assert_eq!(target.latency(NOW + 1_005).unwrap().age_ms, 1_000);
    let instant = TargetHealth::default();
    instant.succeeded(NOW, Some(ms(0)));
    assert!(instant.latency(NOW).unwrap().ewma_ms < 1e-9);
}

#[test]
fn a_failed_probe_counts_until_it_is_stale_or_one_passes() {
    use CheckOutcome::{Failed, Ignored, Passed};
    let target = TargetHealth::default();
    let seen = |now_ms| {
        let view = target.view(now_ms);
        (view.state, view.reason, view.last_check_status)
    };
    let failed = Some(Reason::BackgroundCheckFailed);
    let ignored = Some(Reason::IgnoredTransientError);
    assert_eq!(target.view(NOW).last_checked_at_ms, None);
    target.checked(Ignored, Some(429), 60, NOW);
    assert_eq!(seen(NOW), (HealthState::Healthy, ignored, Some(429)));
    target.checked(Failed, Some(503), 60, NOW + 1);
    assert_eq!(seen(NOW + 1), (HealthState::Unhealthy, failed, Some(503)));
    target.failed(failure(Timeout, None), &Cooldown::default(), NOW + 1);
    assert_eq!(target.state(NOW + 1), HealthState::Unhealthy);
    target.succeeded(NOW + 2, None);
    assert_eq!(target.state(NOW + 2), HealthState::Unhealthy);
    target.checked(Ignored, Some(429), 60, NOW + 3);
    assert_eq!(
        seen(NOW + 60_000),
        (HealthState::Unhealthy, failed, Some(429))
    );
    assert_eq!(target.view(NOW + 4).last_checked_at_ms, Some(NOW + 3));
    assert_eq!(
        seen(NOW + 60_001),
        (HealthState::Healthy, ignored, Some(429))
    );
    target.checked(Failed, None, 60, NOW + 60_001);
    assert_eq!(seen(NOW + 60_002), (HealthState::Unhealthy, failed, None));
    target.checked(Passed, Some(200), 60, NOW + 60_003);
    assert_eq!(seen(NOW + 60_003), (HealthState::Healthy, None, Some(200)));
}

#[test]
fn attempts_of_all_workers_are_counted_and_none_is_left() {
    const WORKERS: usize = 4;
    let table = HealthTable::default();
    let met = std::sync::Barrier::new(WORKERS);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let target = Rc::new(table.hold(&"m".into()));
                let stream = InFlight::enter(&target);
                met.wait();
                assert_eq!(target.in_flight(), WORKERS as u32);
                met.wait();
                for _ in 0..10_000 {
                    let attempt = InFlight::enter(&target);
                    assert!(target.in_flight() >= 2);
                    target.succeeded(NOW, Some(Duration::from_millis(5)));
                    drop(attempt);
                }
                drop(stream);
            });
        }
    });
    let target = table.hold(&"m".into());
    assert_eq!(target.in_flight(), 0);
    assert!((target.latency(NOW).unwrap().ewma_ms - 5.0).abs() < 1e-6);
}

#[test]
fn a_target_that_fails_one_worker_is_left_alone_by_all_while_any_holds_it() {
    let table = HealthTable::default();
    let (id, other) = ("m".into(), "n".into());
    let (first, second) = (table.hold(&id), table.hold(&id));
    first.failed(failure(Timeout, None), &Cooldown::default(), NOW);
    assert_eq!(second.state(NOW), HealthState::Cooling);
    assert_eq!(table.hold(&other).state(NOW), HealthState::Healthy);
    drop(first);
    table.sweep();
    assert!(table.view("n", NOW).is_none());
    assert_eq!(table.view("m", NOW).unwrap().state, HealthState::Cooling);
    drop(second);
    table.sweep();
    assert!(table.view("m", NOW).is_none());
    assert_eq!(table.hold(&id).state(NOW), HealthState::Healthy);
}

#[test]
fn a_full_table_makes_room_where_nobody_looks_and_shares_no_more() {
    let table = HealthTable::default();
    let id = |at: usize| -> Arc<str> { at.to_string().into() };
    let mut held: Vec<_> = (0..TARGETS_MAX).map(|at| table.hold(&id(at))).collect();
    let alone = table.hold(&id(TARGETS_MAX));
    assert!(!Arc::ptr_eq(&alone, &table.hold(&id(TARGETS_MAX))));
    assert!(Arc::ptr_eq(&held[3], &table.hold(&id(3))));
    held.truncate(TARGETS_MAX - 1);
    let shared = table.hold(&id(TARGETS_MAX));
    assert!(Arc::ptr_eq(&shared, &table.hold(&id(TARGETS_MAX))));
    assert_eq!(table.lock().len(), TARGETS_MAX);
}

#[test]
fn codes_find_their_names_again() {
    for (at, reason) in Reason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, at);
    }
    for (at, outcome) in CheckOutcome::ALL.into_iter().enumerate() {
        assert_eq!(outcome as usize, at);
    }
}
