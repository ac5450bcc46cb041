use super::super::record::tests::{caller, record, target};
use super::super::series::{CallerId, TargetId};
use super::*;

fn shard() -> (WorkerShard, Arc<Counters>) {
    WorkerShard::new(BucketSettings::default())
}

#[test]
fn equal_labels_share_a_series_across_reloads() {
    let (shard, counters) = shard();
    for _ in 0..3 {
        // Fresh allocations with the same text: what a reload brings.
        let record = RequestRecord {
            caller: Some(caller("k1")),
            target: Some(target("m")),
            ..record()
        };
        shard.request(&record);
        shard.request(&record);
    }
    let series = counters.series();
    assert_eq!(series.len(), 1);
    assert_eq!(series[0].requests.value(), 6);
}

#[test]
fn a_label_set_stays_alive_as_long_as_its_address_is_a_key() {
    let (shard, _counters) = shard();
    let who = caller("k1");
    let record = RequestRecord {
        caller: Some(Arc::clone(&who)),
        ..record()
    };
    shard.request(&record);
    drop(record);
    // One here, one as key, one in the labels of the series.
    assert_eq!(Arc::strong_count(&who), 3);
}

#[test]
fn series_beyond_the_cap_fold_into_other() {
    let (shard, counters) = shard();
    for at in 0..SERIES_MAX + 5 {
        shard.request(&RequestRecord {
            caller: Some(caller(&at.to_string())),
            ..record()
        });
    }
    assert_eq!(counters.series_overflow.value(), 5);
    let series = counters.series();
    assert_eq!(series.len(), SERIES_MAX + 1);
    let other = series.last().unwrap();
    assert!(matches!(other.labels.caller, CallerId::Other));
    assert!(matches!(other.labels.target, TargetId::Other));
    assert_eq!(other.requests.value(), 5);
}

#[test]
fn remembered_pointers_are_bounded_and_nothing_is_lost() {
    let (shard, counters) = shard();
    let total = POINTERS_MAX + 10;
    for _ in 0..total {
        shard.request(&RequestRecord {
            caller: Some(caller("k1")),
            ..record()
        });
    }
    assert!(shard.known.borrow().by_pointer.len() <= POINTERS_MAX);
    assert_eq!(counters.series()[0].requests.value(), total as u64);
}

#[test]
fn attempts_count_by_target_and_result() {
    let (shard, counters) = shard();
    let first = target("a");
    shard.attempt(&first, true);
    shard.attempt(&first, false);
    shard.attempt(&target("a"), true);
    shard.attempt(&target("b"), true);
    shard.attempt_left(&target("b"));
    let targets = counters.targets();
    let values: Vec<_> = targets
        .iter()
        .map(|t| (t.success.value(), t.failure.value(), t.left.value()))
        .collect();
    assert_eq!(values, [(2, 1, 0), (1, 0, 1)]);
}

#[test]
fn a_late_turn_is_measured_against_the_period() {
    let (shard, counters) = shard();
    let turns = [1_000, 1_020, 1_090, 1_161, 2_182];
    for now in turns {
        shard.turn(now);
    }
    assert_eq!(counters.longest_stall_ms.value(), 1_001);
    assert_eq!(
        counters.slow_turns.value(),
        2,
        "70 ms is 50 late, 71 ms is more"
    );
    assert_eq!(counters.stalled_turns.value(), 1);
    shard.turn(5); // the wall clock was set back
    assert_eq!(counters.longest_stall_ms.value(), 1_001);
}

#[test]
fn small_tables_move_their_own_cell_only() {
    let (shard, counters) = shard();
    shard.in_flight("/v1/embeddings", 1);
    shard.connections(Side::Upstream, 1);
    shard.connections(Side::Upstream, -1);
    shard.auth(AuthDecision::ApiKeyExpired);
    shard.body_limit("/v1/chat/completions", BodyLimitOutcome::Timeout);
    let in_flight: i64 = counters.in_flight.iter().map(Gauge::value).sum();
    assert_eq!(in_flight, 1);
    assert_eq!(
        counters.in_flight[endpoint_slot("/v1/embeddings")].value(),
        1
    );
    assert_eq!(counters.connections[Side::Upstream as usize].value(), 0);
    assert_eq!(
        counters.connections_opened[Side::Upstream as usize].value(),
        1
    );
    assert_eq!(
        counters.auth[AuthDecision::ApiKeyExpired as usize].value(),
        1
    );
    let refused: u64 = counters
        .body_limit
        .iter()
        .flatten()
        .map(Counter::value)
        .sum();
    assert_eq!(refused, 1);
}

#[test]
fn hashes_of_neighbouring_addresses_differ_in_their_low_bits() {
    let mut low = std::collections::HashSet::new();
    for at in 0..1_000usize {
        let mut hasher = PointerHasher::default();
        hasher.write_usize(0x7f00_0000_0000 + at * 64);
        low.insert(hasher.finish() & 0xfff);
    }
    assert!(low.len() > 700, "{} of 1000 buckets", low.len());
}
