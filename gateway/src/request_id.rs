//! The id of a request: the caller's where acceptable, else minted; and its trace parent. [pure]
//!
//! Nothing here enters the kernel: a worker seeds its generator once and draws from it.

use std::borrow::Cow;
use std::cell::Cell;

/// Longest request id taken from a caller, in bytes (proxy.md §1.3).
pub const REQUEST_ID_BYTES_MAX: usize = 256;
/// Length of a minted id: a hyphenated UUID.
pub const MINTED_ID_BYTES: usize = uuid::fmt::Hyphenated::LENGTH;
/// Longest `tracestate` kept, all instances joined, in bytes (W3C Trace Context §3.3.1.5).
pub const TRACESTATE_BYTES_MAX: usize = 512;

/// `00-<32 hex>-<16 hex>-<2 hex>`.
const TRACEPARENT_BYTES: usize = 55;

/// The caller's request id: the first acceptable value of the headers in `names`, in that order.
///
/// `header` returns the first value of a header. An unacceptable value is passed over without a
/// word; `None` means that an id is to be minted.
pub fn accept<'h>(
    names: &[Box<str>],
    header: impl Fn(&str) -> Option<&'h [u8]>,
) -> Option<&'h str> {
    names
        .iter()
        .filter_map(|name| header(name))
        .find_map(acceptable)
}

/// `value` as a request id: 1 to 256 bytes, each 0x21 to 0x7E.
fn acceptable(value: &[u8]) -> Option<&str> {
    let fits = (1..=REQUEST_ID_BYTES_MAX).contains(&value.len());
    if fits && value.iter().all(u8::is_ascii_graphic) {
        std::str::from_utf8(value).ok()
    } else {
        None
    }
}

/// A worker's source of request ids: UUIDs of version 4 from a small generator (xoshiro256++).
///
/// Ids are unique, not secret: whoever sees enough of them can foretell the next.
#[derive(Debug)]
pub struct RequestIds {
    state: Cell<[u64; 4]>,
}

impl RequestIds {
    /// A generator that repeats for an equal seed. Seed each worker differently.
    pub fn new(seed: [u8; 32]) -> Self {
        let mut state = [0_u64; 4];
        for (word, bytes) in state.iter_mut().zip(seed.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        if state == [0; 4] {
            // The one state that the generator never leaves.
            state = [0x9E37_79B9_7F4A_7C15; 4];
        }
        Self {
            state: Cell::new(state),
        }
    }

    /// A generator seeded from the operating system. Enters the kernel: once per worker.
    pub fn from_os() -> Self {
        let mut seed = [0; 32];
        for half in seed.as_chunks_mut::<16>().0 {
            *half = uuid::Uuid::new_v4().into_bytes();
        }
        Self::new(seed)
    }

    /// 32 random lower-case hex digits.
    pub fn hex(&self) -> [u8; 32] {
        let mut digits = [0; 32];
        for sixteen in digits.as_chunks_mut::<16>().0 {
            let drawn = self.next();
            for (place, digit) in sixteen.iter_mut().enumerate() {
                *digit = b"0123456789abcdef"[(drawn >> (4 * place)) as usize & 0xf];
            }
        }
        digits
    }

    /// Writes a fresh id into `buf` and returns it.
    pub fn mint<'b>(&self, buf: &'b mut [u8; MINTED_ID_BYTES]) -> &'b str {
        let mut random = [0; 16];
        for half in random.as_chunks_mut::<8>().0 {
            *half = self.next().to_le_bytes();
        }
        uuid::Builder::from_random_bytes(random)
            .into_uuid()
            .hyphenated()
            .encode_lower(buf)
    }

    /// Source: Blackman, Vigna, "Scrambled linear pseudorandom number generators" (xoshiro256++ 1.0).
    /// A random number.
    pub fn next(&self) -> u64 {
        let [s0, s1, s2, s3] = self.state.get();
        let drawn = s0.wrapping_add(s3).rotate_left(23).wrapping_add(s0);
        let n2 = s2 ^ s0;
        let n3 = s3 ^ s1;
        self.state
            .set([s0 ^ n3, s1 ^ n2, n2 ^ (s1 << 17), n3.rotate_left(45)]);
        drawn
    }
}

/// The caller's side of a distributed trace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TraceContext<'h> {
    /// 32 lower-case hex digits, not all zero.
    pub trace_id: &'h str,
    /// The caller's span: 16 lower-case hex digits, not all zero.
    pub parent_id: &'h str,
    /// Whether the caller records this trace.
    pub sampled: bool,
    /// Vendor entries, several headers joined with `,`; at most [`TRACESTATE_BYTES_MAX`] bytes.
    pub tracestate: Option<Cow<'h, str>>,
}

/// Reads the trace context from all values of `traceparent` and of `tracestate`.
///
/// `None` (the request starts a trace of its own) unless there is exactly one `traceparent`, of
/// version `00`, in lower-case hex with ids that are not zero. Allocates only to join several
/// `tracestate` headers.
///
/// # Source
///
/// proxy.md §1.3; W3C Trace Context, "traceparent Header Field Values".
pub fn trace_context<'h>(
    mut traceparent: impl Iterator<Item = &'h [u8]>,
    tracestate: impl Iterator<Item = &'h [u8]>,
) -> Option<TraceContext<'h>> {
    let parent = traceparent.next()?;
    if traceparent.next().is_some() || parent.len() != TRACEPARENT_BYTES {
        return None;
    }
    let mut fields = std::str::from_utf8(parent).ok()?.split('-');
    let mut field = |digits: usize| fields.next().filter(|text| is_lower_hex(text, digits));
    let version = field(2)?;
    let trace_id = field(32).filter(|id| !is_zero(id))?;
    let parent_id = field(16).filter(|id| !is_zero(id))?;
    let flags = u8::from_str_radix(field(2)?, 16).ok()?;
    if version != "00" || fields.next().is_some() {
        return None;
    }
    Some(TraceContext {
        trace_id,
        parent_id,
        sampled: flags & 1 == 1,
        tracestate: joined(tracestate),
    })
}

fn is_lower_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_zero(id: &str) -> bool {
    id.bytes().all(|b| b == b'0')
}

fn joined<'h>(values: impl Iterator<Item = &'h [u8]>) -> Option<Cow<'h, str>> {
    let mut all: Option<Cow<'h, str>> = None;
    for value in values {
        if !value.iter().all(|b| matches!(b, 0x20..=0x7E)) {
            return None;
        }
        let value = std::str::from_utf8(value).ok()?;
        let longer = match all {
            None => Cow::Borrowed(value),
            Some(before) => {
                let mut text = before.into_owned();
                text.push(',');
                text.push_str(value);
                Cow::Owned(text)
            }
        };
        if longer.len() > TRACESTATE_BYTES_MAX {
            return None;
        }
        all = Some(longer);
    }
    all.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<Box<str>> {
        list.iter().map(|name| Box::from(*name)).collect()
    }

    #[test]
    fn the_first_acceptable_value_in_list_order_wins() {
        let long = [b'a'; REQUEST_ID_BYTES_MAX + 1];
        type Case<'c> = (&'c [&'c str], &'c [u8], &'c [u8], Option<&'c str>);
        let cases: [Case<'_>; 9] = [
            (&["a", "b"], b"one", b"two", Some("one")),
            (&["b", "a"], b"one", b"two", Some("two")),
            (&["a", "b"], b"", b"two", Some("two")),
            (&["a", "b"], b"with space", b"two", Some("two")),
            (&["a", "b"], b"caf\xC3\xA9", b"two", Some("two")),
            (&["a", "b"], b"tab\t", b"del\x7F", None),
            (&["a", "b"], &long, b"two", Some("two")),
            (&["c"], b"one", b"two", None),
            (&[], b"one", b"two", None),
        ];
        for (list, a, b, want) in cases {
            let header = |name: &str| match name {
                "a" => Some(a),
                "b" => Some(b),
                _ => None,
            };
            assert_eq!(accept(&names(list), header), want, "{list:?} {a:?} {b:?}");
        }
        let longest = [b'~'; REQUEST_ID_BYTES_MAX];
        assert!(accept(&names(&["a"]), |_| Some(&longest[..])).is_some());
    }

    #[test]
    fn minted_ids_are_version_4_uuids_and_differ() {
        let ids = RequestIds::from_os();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let mut buf = [0; MINTED_ID_BYTES];
            let text = ids.mint(&mut buf).to_owned();
            let parsed = uuid::Uuid::parse_str(&text).expect("a UUID");
            assert_eq!(parsed.get_version_num(), 4);
            assert_eq!(parsed.get_variant(), uuid::Variant::RFC4122);
            assert!(seen.insert(text));
        }
    }

    #[test]
    fn equal_seeds_repeat_and_a_zero_seed_still_moves() {
        let draw = |seed| {
            let ids = RequestIds::new(seed);
            [ids.next(), ids.next(), ids.next()]
        };
        assert_eq!(draw([7; 32]), draw([7; 32]));
        assert_ne!(draw([7; 32]), draw([8; 32]));
        let zero = draw([0; 32]);
        assert!(zero[0] != zero[1] && zero[1] != zero[2]);
    }

    #[test]
    fn the_generator_gives_the_published_numbers() {
        // The state 1, 2, 3, 4, as in the vectors of the reference implementation.
        let mut seed = [0; 32];
        for (at, byte) in [(0, 1), (8, 2), (16, 3), (24, 4)] {
            seed[at] = byte;
        }
        let ids = RequestIds::new(seed);
        let drawn = [ids.next(), ids.next(), ids.next()];
        assert_eq!(drawn, [41_943_041, 58_720_359, 3_588_806_011_781_223]);
    }

    const PARENT: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parse<'h>(parents: &[&'h [u8]], states: &[&'h [u8]]) -> Option<TraceContext<'h>> {
        trace_context(parents.iter().copied(), states.iter().copied())
    }

    #[test]
    fn only_one_well_formed_parent_of_version_00_is_taken() {
        let good = parse(&[PARENT], &[]).expect("taken");
        assert_eq!(good.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(good.parent_id, "00f067aa0ba902b7");
        assert!(good.sampled);
        let unsampled = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        assert!(!parse(&[unsampled], &[]).expect("taken").sampled);
        let refused: [&[&[u8]]; 11] = [
            &[],
            &[PARENT, PARENT],
            &[b""],
            &[b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
            &[b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"],
            &[b"00-00000000000000000000000000000000-00f067aa0ba902b7-01"],
            &[b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"],
            &[b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x"],
            &[b"00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01"],
            &[b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-"],
            &[b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b\xFF-01"],
        ];
        for parents in refused {
            assert_eq!(parse(parents, &[]), None, "{parents:?}");
        }
    }

    #[test]
    fn tracestate_is_joined_and_dropped_whole_when_unfit() {
        let half = [b'a'; 256];
        let cases: [(&[&[u8]], Option<String>); 8] = [
            (&[], None),
            (&[b""], None),
            (&[b"a=1"], Some("a=1".into())),
            (&[b"a=1", b"b=2,c=3"], Some("a=1,b=2,c=3".into())),
            (&[b"a=1", b"b=\x00"], None),
            (&[b"a=\xC3\xA9"], None),
            (
                &[&half[..], &half[..255]],
                Some(format!("{},{}", "a".repeat(256), "a".repeat(255))),
            ),
            (&[&half, &half], None),
        ];
        for (states, want) in cases {
            let state = parse(&[PARENT], states).expect("taken").tracestate;
            assert_eq!(state.as_deref(), want.as_deref(), "{states:?}");
        }
        assert_eq!(parse(&[b"bad"], &[b"a=1"]), None);
    }
}
