//! Allocations of the hot path that needs no ring: per request, and per event of a stream.
//!
//! The bounds are what was measured, with no room beyond: whoever adds an allocation says so here.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
#![allow(
    unsafe_code,
    reason = "an allocator that counts is unsafe by its trait"
)]

mod hot_path;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use gateway::bridge;
use gateway::bridge::histogram::BucketSettings;
use gateway::bridge::record::RequestRecord;
use gateway::http::h1::{self, Limits, Method};
use gateway::http::sse::{EVENT_BYTES_MAX, EventScanner};
use gateway::limit::{Buckets, Claim, Policies};
use gateway::provider::Seen;
use gateway::route::Rows;

use hot_path::{ANSWER, CHAT, LIMITED, admit, body, event, head, load, record, snapshot};

/// Allocations of one unary request, from the bytes of its head to those of its answer.
const PER_REQUEST_MAX: u64 = 2;
/// Allocations of a stream beside those of its events.
const PER_STREAM_MAX: u64 = 2;

/// Counts allocations of the calling thread: tests run in parallel.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // Gone at the very end of a thread, when nobody counts any more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is handed to `System` as it came; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` allocates.
fn allocations<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = ALLOCATIONS.get();
    let result = work();
    (result, ALLOCATIONS.get() - before)
}

#[test]
fn a_request_stays_within_its_allocations() {
    let (snapshot, rows) = (snapshot(), Rows::default());
    let body = body(false);
    let head = head(CHAT, &body);
    let answer = ANSWER;
    let answer_head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: r1\r\ncontent-length: {}\r\n\r\n",
        answer.len()
    );
    // As a worker's: warm, and handed on from request to request.
    let (mut out, mut edited) = (Vec::with_capacity(16 * 1024), Vec::with_capacity(16 * 1024));
    let mut counts = Vec::new();
    for _ in 0..3 {
        out.clear();
        edited.clear();
        let ((_head, call, route, mut exchange), before) =
            allocations(|| admit((&snapshot, &rows), &head, &body, &mut out));
        let ((), after) = allocations(|| {
            let parsed =
                h1::parse_response(answer_head.as_bytes(), &Method::Post, &Limits::default());
            let (head, _) = parsed.expect("a head").expect("a whole head");
            assert_eq!(head.status(), 200);
            let reply = exchange.answer(&call, &route, answer).expect("an answer");
            reply.write_body(answer, &mut edited);
        });
        counts.push((before, after));
    }
    assert!(out.starts_with(b"POST /v1/chat/completions HTTP/1.1\r\nhost: up.test\r\n"));
    assert!(String::from_utf8_lossy(&edited).contains(r#""model":"fast""#));
    let last = counts[2];
    println!("allocations of a request, up to and from the upstream: {counts:?}");
    assert_eq!(counts[1], last, "a steady state");
    assert!(
        last.0 + last.1 <= PER_REQUEST_MAX,
        "{last:?} allocations, budget {PER_REQUEST_MAX}"
    );
}

#[test]
fn an_event_of_a_stream_allocates_nothing_once_the_stream_is_under_way() {
    let snapshot = snapshot();
    let body = body(true);
    let head = head(CHAT, &body);
    let mut request = Vec::with_capacity(16 * 1024);
    let rows = Rows::default();
    let (_, call, route, mut exchange) = admit((&snapshot, &rows), &head, &body, &mut request);
    let events: Vec<String> = (0..1000).map(event).collect();
    let mut out = Vec::with_capacity(16 * 1024);

    let ((mut scanner, mut reader), opening) = allocations(|| {
        let reader = exchange.stream(&call, &route);
        (EventScanner::new(EVENT_BYTES_MAX), reader)
    });
    let mut take = |text: &str, out: &mut Vec<u8>| {
        out.clear();
        let end = scanner.next_event(text.as_bytes()).expect("an event");
        let end = end.expect("a whole event");
        reader.event(&text.as_bytes()[..end], out).expect("a chunk")
    };
    let (_, first) = allocations(|| take(&events[0], &mut out));
    let (seen, rest) = allocations(|| {
        let mut seen = 0;
        for event in &events[1..] {
            seen += usize::from(take(event, &mut out) == Seen::Content);
        }
        seen
    });
    assert_eq!(seen, 999);
    assert!(
        String::from_utf8_lossy(&out).contains(r#""model":"fast""#),
        "the name is replaced"
    );
    println!(
        "allocations of a stream: {opening} to open, {first} for its first event, {rest} for 999 more"
    );
    assert_eq!(rest, 0, "allocations of 999 events");
    // Without escapes, an event is alike the one before it.
    let plain: Vec<String> = (0..1000).map(|n| event(n).replace(r#"\n\""#, "")).collect();
    let (_, first_plain) = allocations(|| take(&plain[0], &mut out));
    let ((), rest) = allocations(|| {
        for event in &plain[1..] {
            take(event, &mut out);
        }
    });
    assert_eq!((first_plain, rest), (1, 0), "allocations of events alike");
    assert!(
        opening + first <= PER_STREAM_MAX,
        "{opening} + {first}, budget {PER_STREAM_MAX}"
    );
}

/// Relays `opening`, then a thousand of what `delta` gives, from an upstream that speaks the caller's
/// protocol. Gives what the opening and the first event allocated, and what the others did.
fn relayed(path: &str, body: &str, opening: &[&str], delta: fn(usize) -> String) -> (u64, u64) {
    let snapshot = snapshot();
    let head = head(path, body.as_bytes());
    let (mut request, mut out) = (Vec::with_capacity(16 * 1024), Vec::with_capacity(16 * 1024));
    let rows = Rows::default();
    let ways = (&snapshot, &rows);
    let (_, call, route, mut exchange) = admit(ways, &head, body.as_bytes(), &mut request);
    let mut scanner = EventScanner::new(EVENT_BYTES_MAX);
    let mut reader = exchange.stream(&call, &route);
    let mut take = |text: &str| {
        out.clear();
        let end = scanner.next_event(text.as_bytes()).expect("an event");
        let end = end.expect("a whole event");
        let seen = reader
            .event(&text.as_bytes()[..end], &mut out)
            .expect("read");
        assert!(
            seen != Seen::Content || out == text.as_bytes(),
            "byte for byte"
        );
        seen
    };
    let events: Vec<String> = (0..1001).map(delta).collect();
    let ((), first) = allocations(|| {
        opening.iter().for_each(|event| _ = take(event));
        take(&events[0]);
    });
    let (seen, rest) = allocations(|| {
        let seen = events[1..].iter().map(|event| take(event));
        seen.filter(|seen| *seen == Seen::Content).count()
    });
    assert_eq!(seen, 1000);
    (first, rest)
}

#[test]
fn relayed_events_of_messages_and_responses_allocate_nothing_either() {
    let messages = relayed(
        "/v1/messages",
        r#"{"model":"claude","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#,
        &[
            concat!(
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",",
                "\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-up\",\"content\":[],",
                "\"stop_reason\":null,\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n"
            ),
            concat!(
                "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,",
                "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
            ),
        ],
        |number| {
            let data = serde_json::json!({"type": "content_block_delta", "index": 0,
                "delta": {"type": "text_delta", "text": format!("w{number:04}\n\"")}});
            format!("event: content_block_delta\ndata: {data}\n\n")
        },
    );
    let responses = relayed(
        "/v1/responses",
        r#"{"model":"fast","stream":true,"input":"hi"}"#,
        &[concat!(
            "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,",
            "\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"in_progress\",",
            "\"model\":\"gpt\",\"output\":[],\"usage\":null}}\n\n"
        )],
        |number| {
            let data = serde_json::json!({"type": "response.output_text.delta", "item_id": "msg_1",
                "sequence_number": number + 4, "output_index": 0, "content_index": 0,
                "delta": format!("w{number:04}\n\""), "logprobs": []});
            format!("event: response.output_text.delta\ndata: {data}\n\n")
        },
    );
    println!("allocations of the opening, and of 1000 events: {messages:?} {responses:?}");
    assert_eq!(
        (messages.1, responses.1),
        (0, 0),
        "allocations of 1000 events"
    );
}

#[test]
fn limits_of_known_buckets_allocate_nothing_whether_they_admit_or_refuse() {
    let snapshot = load(LIMITED);
    let key = snapshot.api_keys().next().expect("a key");
    let model = snapshot.model_names().next().expect("a model");
    let policies = Policies::of(&snapshot);
    let buckets = Buckets::new(Arc::default());
    let claim = Claim::new(&policies, key).to(model).reserving(50);
    let second = |number: u64| {
        (0..4).map(move |_| number * 1_000).map(|now_ms| {
            let admitted = buckets.admit(&claim, now_ms);
            let admitted = admitted.map(|mut permit| permit.settle(70, now_ms));
            admitted.is_ok()
        })
    };
    // A second admits three.
    let (first, learning) = allocations(|| second(1).filter(|admitted| *admitted).count());
    let (later, known) = allocations(|| second(2).filter(|admitted| *admitted).count());
    println!("allocations of four admissions: {learning}, then {known}");
    assert_eq!((first, later), (3, 3));
    assert!(learning > 0, "the counter counts");
    assert_eq!(known, 0, "allocations of known buckets");
}

#[test]
fn a_record_allocates_nothing_once_the_cold_side_gives_records_back() {
    let (workers, cold) = bridge::build(1, &BucketSettings::default()).unwrap();
    let (worker, view) = (&workers[0], &cold.workers[0]);
    let mut counts = Vec::new();
    for round in 0..4 {
        let ((), finished) = allocations(|| {
            let id = "018f6b1c-4a7e-7d3b-9c52-6e0f1a2b3c4d";
            let mut blank = worker.blank();
            *blank = record(id, round);
            worker.finish(blank);
        });
        let ((), released) = allocations(|| {
            let mut written = view.records.pop().expect("the record");
            *written = RequestRecord::default();
            drop(view.given_back.push(vec![written]));
        });
        counts.push((finished, released));
    }
    println!("allocations of a record, by the worker and by the cold side: {counts:?}");
    assert!(counts[0].0 > 0, "the counter counts");
    // The cold side allocates the list that a batch comes back in.
    assert_eq!(counts[2..], [(0, 1), (0, 1)]);
}
