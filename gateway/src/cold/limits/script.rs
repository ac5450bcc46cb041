//! What runs inside redis, how it is asked and what it answers. [cold]

use std::sync::LazyLock;

use config_sync::model::rate_limit::RateLimit;
use redis::{Script, Value};

use crate::bridge::limits::{Dimension, Field, Full, Room};
use crate::bridge::shared_limits::{LayerRoom, TakenLayer};

/// The fields in the order in which they refuse, and in which arguments name them; before them all
/// stands the limit of requests in flight.
const ORDER: [Field; 6] = [
    Field::Tpm,
    Field::Tpd,
    Field::Rps,
    Field::Rpm,
    Field::Rph,
    Field::Rpd,
];
/// Arguments of a bucket.
const PER_BUCKET: usize = 1 + ORDER.len();
/// Numbers of an answer before those of its buckets.
const HEAD: usize = 3;

/// Looks at all buckets, then counts in all of them or in none.
///
/// `KEYS`: stems of buckets. `ARGV`: member, tokens, TTL in ms, then the limits of each bucket, empty
/// where there is none. Answers the time in ms, the number of the bucket that refuses (0: none) and
/// of its field, and the counts found in each bucket, -1 where there is no limit.
pub(super) static ADMIT: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(concat!(
        include_str!("lua/fields.lua"),
        include_str!("lua/admit.lua")
    ))
});

/// Ends a request in all its buckets.
///
/// `KEYS`: stems. `ARGV`: member, requests to take back (0 or 1), tokens reserved, tokens charged in
/// their place (-1: leave them), then of each bucket the second it was counted in and seven times 1
/// or 0, for what was counted. In a window that is over nothing is taken back; what was not reserved
/// is charged to the current one.
pub(super) static END: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(concat!(
        include_str!("lua/fields.lua"),
        include_str!("lua/end.lua")
    ))
});

/// Says of members that they are still there. `KEYS`: one stem. `ARGV`: TTL in ms, then members. One
/// that is not in the set any more stays out of it.
pub(super) static REFRESH: LazyLock<Lua> =
    LazyLock::new(|| Lua::new(include_str!("lua/refresh.lua")));

/// A script and the name that redis knows it by.
#[derive(Debug)]
pub(super) struct Lua {
    pub(super) text: &'static str,
    pub(super) hash: String,
}

impl Lua {
    fn new(text: &'static str) -> Self {
        let hash = Script::new(text).get_hash().to_owned();
        Self { text, hash }
    }
}

/// One run of a script.
#[derive(Clone, Debug, Default)]
pub(super) struct Call {
    pub(super) keys: Vec<String>,
    pub(super) args: Vec<String>,
}

impl Call {
    /// Of a script that begins with `args`.
    pub(super) fn new(args: impl IntoIterator<Item = String>) -> Self {
        Self {
            keys: Vec::new(),
            args: args.into_iter().collect(),
        }
    }

    /// Admits by one more bucket.
    pub(super) fn admit(&mut self, stem: String, limits: &RateLimit) {
        let text = |limit: Option<u64>| limit.map_or_else(String::new, |limit| limit.to_string());
        self.keys.push(stem);
        self.args.push(text(limits.concurrency.map(u64::from)));
        for field in ORDER {
            let limit = field.of(limits).map(|limit| limit.min(field.count_max()));
            self.args.push(text(limit));
        }
    }

    /// Ends in one more bucket: all that was counted there, or its slot only.
    pub(super) fn end(&mut self, stem: String, layer: &TakenLayer, slot_only: bool) {
        let windows = ORDER.map(|field| !slot_only && field.of(&layer.limits).is_some());
        let counted = std::iter::once(layer.limits.concurrency.is_some()).chain(windows);
        self.keys.push(stem);
        self.args.push((layer.at_ms / 1_000).to_string());
        self.args.push(
            counted
                .map(|counted| if counted { '1' } else { '0' })
                .collect(),
        );
    }
}

/// The largest number of tokens that is counted at once.
pub(super) fn bounded(tokens: u64) -> u64 {
    tokens.min(Field::Tpd.count_max())
}

/// What [`ADMIT`] answered.
#[derive(Debug)]
pub(super) struct Verdict {
    /// When.
    pub(super) at_ms: u64,
    /// Place of the bucket that refused.
    pub(super) refused: Option<(usize, Full)>,
    /// Counts before this request, by bucket.
    pub(super) counts: Vec<Counts>,
}

/// Counts of one bucket: its slots, then its fields in the order of [`ORDER`].
pub(super) type Counts = [u64; PER_BUCKET];

impl Verdict {
    /// Reads an answer about `buckets` buckets; `None` where it is none.
    pub(super) fn read(value: &Value, buckets: usize) -> Option<Self> {
        let Value::Array(items) = value else {
            return None;
        };
        let number = |item: &Value| match item {
            Value::Int(number) => Some(*number),
            _ => None,
        };
        let numbers: Vec<i64> = items.iter().map(number).collect::<Option<_>>()?;
        let (head, rest) = numbers.split_at_checked(HEAD)?;
        let [at_ms, refused, field] = *head else {
            return None;
        };
        let (counts, rest) = rest.as_chunks::<PER_BUCKET>();
        if counts.len() != buckets || !rest.is_empty() {
            return None;
        }
        // -1 stands where nothing is limited, and is not looked at.
        let unsigned = |count: i64| u64::try_from(count).unwrap_or(0);
        let at_ms = u64::try_from(at_ms).ok()?;
        let refused = match usize::try_from(refused).ok()?.checked_sub(1) {
            Some(bucket) => Some((bucket, full(usize::try_from(field).ok()?, at_ms)?)),
            None => None,
        };
        Some(Self {
            at_ms,
            refused,
            counts: counts.iter().map(|counts| counts.map(unsigned)).collect(),
        })
    }
}

fn full(place: usize, at_ms: u64) -> Option<Full> {
    let Some(place) = place.checked_sub(1) else {
        return Some(Full {
            dimension: Dimension::Concurrency,
            retry_after_secs: 1,
        });
    };
    let field = *ORDER.get(place)?;
    let dimension = match field {
        Field::Tpm | Field::Tpd => Dimension::Tokens,
        Field::Rps | Field::Rpm | Field::Rph | Field::Rpd => Dimension::Requests,
    };
    Some(Full {
        dimension,
        retry_after_secs: field.ends_in_secs(field.window_at(at_ms), at_ms),
    })
}

/// What is left of `limits`, where `counts` were found and, if `admitted`, one more request was
/// counted with `tokens`.
pub(super) fn room(
    limits: &RateLimit,
    counts: &Counts,
    at_ms: u64,
    admitted: Option<u64>,
) -> LayerRoom {
    let [slots, windows @ ..] = counts;
    let own = u64::from(admitted.is_some());
    let mut room = LayerRoom {
        slots: limits.concurrency.map(|limit| Room {
            limit: limit.into(),
            remaining: u64::from(limit).saturating_sub(slots.saturating_add(own)),
            reset_secs: 0,
        }),
        ..LayerRoom::default()
    };
    for (field, count) in ORDER.into_iter().zip(windows) {
        let own = match field {
            Field::Tpm | Field::Tpd => admitted.unwrap_or(0),
            Field::Rps | Field::Rpm | Field::Rph | Field::Rpd => own,
        };
        let left = |limit: u64| Room {
            limit,
            remaining: limit.saturating_sub(count.saturating_add(own)),
            reset_secs: field.ends_in_secs(field.window_at(at_ms), at_ms),
        };
        if let Some(place) = room.windows.get_mut(field as usize) {
            *place = field.of(limits).map(left);
        }
    }
    room
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ints(numbers: &[i64]) -> Value {
        Value::Array(numbers.iter().map(|number| Value::Int(*number)).collect())
    }

    #[test]
    fn answers_are_read_or_found_to_be_none() {
        let counts = [-1, 5, -1, -1, 7, -1, -1];
        let admitted = [&[61_500, 0, 0][..], &counts].concat();
        let verdict = Verdict::read(&ints(&admitted), 1).unwrap();
        assert_eq!((verdict.at_ms, verdict.refused), (61_500, None));
        assert_eq!(verdict.counts, [[0, 5, 0, 0, 7, 0, 0]]);

        for (field, dimension, secs) in [
            (0, Dimension::Concurrency, 1),
            (1, Dimension::Tokens, 59),
            (4, Dimension::Requests, 59),
        ] {
            let refused = [&[61_500, 2, field][..], &counts, &counts].concat();
            let (bucket, full) = Verdict::read(&ints(&refused), 2).unwrap().refused.unwrap();
            assert_eq!((bucket, full.dimension), (1, dimension));
            assert_eq!(full.retry_after_secs, secs);
        }
        for (broken, buckets) in [
            (Value::Nil, 1),
            (ints(&[]), 0),
            (ints(&admitted), 2),
            (ints(&[&admitted[..], &[1]].concat()), 1),
            (ints(&[&[1, 1, 7][..], &counts].concat()), 1),
            (ints(&[&[-1, 0, 0][..], &counts].concat()), 1),
            (Value::Array(vec![Value::Nil]), 1),
        ] {
            assert!(Verdict::read(&broken, buckets).is_none(), "{broken:?}");
        }
    }

    #[test]
    fn what_is_left_counts_the_request_only_if_it_was_admitted() {
        let limits = RateLimit {
            rpm: Some(10),
            tpd: Some(100),
            concurrency: Some(2),
            ..RateLimit::default()
        };
        let counts = [1, 0, 30, 0, 4, 0, 0];
        for (admitted, slots, requests, tokens) in [(None, 1, 6, 70), (Some(80), 0, 5, 0)] {
            let room = room(&limits, &counts, 30_000, admitted);
            assert_eq!(room.slots.unwrap().remaining, slots);
            let rpm = room.windows[Field::Rpm as usize].unwrap();
            assert_eq!(
                (rpm.limit, rpm.remaining, rpm.reset_secs),
                (10, requests, 30)
            );
            assert_eq!(room.windows[Field::Tpd as usize].unwrap().remaining, tokens);
            assert_eq!(room.windows.iter().flatten().count(), 2);
        }
    }

    #[test]
    fn fields_are_named_and_sized_in_redis_as_here() {
        for (place, field) in ORDER.into_iter().enumerate() {
            let name = format!("{field:?}").to_lowercase();
            let list = |text: &str, what: &str| -> Vec<String> {
                let (_, rest) = text.split_once(what).unwrap();
                let (inner, _) = rest.split_once('}').unwrap();
                inner
                    .split(", ")
                    .map(|item| item.trim_matches('\'').to_owned())
                    .collect()
            };
            assert_eq!(list(ADMIT.text, "names = {")[place], name);
            let span = field.window_secs().to_string();
            assert_eq!(list(END.text, "spans = {")[place], span);
        }
    }
}
