//! Event streams over HTTP/2: each event at once, many at a time, each with an end of its own.

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;

use super::client::{Asked, H2, Streaming, get, named, post};
use super::frames::{self, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, WINDOW_UPDATE};
use crate::backpressure::beside_a_torrent;
use crate::on_both_engines;
use crate::support::gateway::chat;
use crate::support::{
    Gateway, Setup, event_numbers, mock, unix_ms, upstream_connections, upstream_request, wait_for,
};

const CHAT: &str = "/v1/chat/completions";

fn open(h2: &mut H2, id: &str, script: &str) -> Streaming {
    let model = format!("script/{script}");
    let (request, body) = named(id, post(CHAT, &chat(&model, true)));
    let asked = h2.ask(request, &body);
    let streaming = h2.head(asked.response).unwrap();
    assert_eq!(streaming.head.status, 200);
    streaming
}

/// A connection with so many streams that wait for their next event, all begun at once.
pub(crate) fn waiting(gateway: &Gateway, streams: usize) -> impl Sized + use<> {
    let mut h2 = H2::connect(gateway);
    let (request, body) = post(CHAT, &chat("script/events=2,stall_at=1", true));
    let asked: Vec<_> = (0..streams)
        .map(|_| h2.ask(request.clone(), &body))
        .collect();
    let first = |asked: Asked| {
        let mut streaming = h2.head(asked.response).unwrap();
        let mut text = String::new();
        while !text.contains("\"e0 ") {
            let data = h2.data(&mut streaming.body).unwrap().unwrap();
            text.push_str(std::str::from_utf8(&data).unwrap());
        }
        streaming
    };
    let open: Vec<_> = asked.into_iter().map(first).collect();
    (h2, open)
}

fn rest(h2: &H2, stream: &mut Streaming) -> String {
    let mut text = String::new();
    while let Some(data) = h2.data(&mut stream.body) {
        text.push_str(std::str::from_utf8(&data.unwrap()).unwrap());
    }
    text
}

/// Waits until the record of `id` says that its client left, and the upstream was told.
fn check_left(gateway: &Gateway, mock: std::net::SocketAddr, id: &str) {
    let line = gateway.access_line(id);
    assert_eq!(line["end"], "client_gone", "{line}");
    wait_for("the upstream to see it", || {
        upstream_request(mock, id).filter(|seen| seen["hung_up"] == json!(true))
    });
    let lines = gateway.access_lines(1);
    let records = lines.iter().filter(|line| line["request_id"] == id).count();
    assert_eq!(records, 1);
}

on_both_engines! {
    fn each_event_comes_when_it_is_sent(engine) {
        let gateway = Setup::new(engine, mock()).start();
        let mut h2 = H2::connect(&gateway);
        let mut stream = open(&mut h2, "timed", "events=6,gap_ms=150");
        assert_eq!(stream.head.header("content-type"), Some("text/event-stream"));
        assert_eq!(stream.head.header("transfer-encoding"), None);
        let (mut text, mut at) = (String::new(), Vec::new());
        while let Some(data) = h2.data(&mut stream.body) {
            let data = data.unwrap();
            let data = std::str::from_utf8(&data).unwrap();
            // What comes at a time is one event, or the end.
            assert!(event_numbers(data).len() <= 1, "{data}");
            at.extend(event_numbers(data).iter().map(|_| unix_ms()));
            text.push_str(data);
        }
        assert_eq!(event_numbers(&text), [0, 1, 2, 3, 4, 5]);
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
        // Events held back would come together.
        assert!(at[5] - at[0] >= 500, "{at:?}");
    }

    fn a_hundred_streams_share_a_connection(engine) {
        let gateway = Setup::new(engine, mock()).start();
        // They are read one after another: those that wait must not use up the window of all.
        let mut builder = h2::client::Builder::new();
        builder.initial_connection_window_size(16_000_000);
        let mut h2 = H2::with(gateway.addr, &builder);
        assert_eq!(h2.answer(get("/livez"), b"").status, 200);
        let mut streams: Vec<_> = (0..100)
            .map(|number| {
                let script = "script/events=20,gap_ms=25";
                let (request, body) = named(&format!("s{number}"), post(CHAT, &chat(script, true)));
                h2.ask(request, &body)
            })
            .collect();
        wait_for("all of them at a time", || (gateway.in_flight() == 100.0).then_some(()));
        assert_eq!(gateway.metric("sluice_runtime_core_connections", &["downstream"]), 1.0);
        for asked in streams.drain(..) {
            let answer = h2.whole(asked.response).unwrap();
            let text = answer.text();
            assert_eq!(event_numbers(text), (0..20).collect::<Vec<u64>>());
            assert!(text.ends_with("data: [DONE]\n\n"));
        }
        let lines = gateway.access_lines(100);
        assert!(lines.iter().all(|line| line["end"] == "completed" || line["path"] == "/livez"));
    }

    fn one_stream_is_cancelled_and_the_others_go_on(engine) {
        let mock = mock();
        let gateway = Setup::new(engine, mock).start();
        let mut h2 = H2::connect(&gateway);
        let mut stays = open(&mut h2, "stays", "events=10,gap_ms=100");
        let mut leaves = open(&mut h2, "leaves", "events=1000,gap_ms=100");
        h2.data(&mut leaves.body).unwrap().unwrap();
        drop(leaves);
        check_left(&gateway, mock, "leaves");
        assert_eq!(event_numbers(&rest(&h2, &mut stays)), (0..10).collect::<Vec<u64>>());
        assert_eq!(h2.answer(get("/v1/models"), b"").status, 200);
        assert_eq!(gateway.access_line("stays")["end"], "completed");
    }

    fn a_lost_connection_ends_its_streams(engine) {
        let mock = mock();
        let gateway = Setup::new(engine, mock).start();
        let mut frames = Frames::connect(&gateway, b"");
        let key = frames::bearer();
        for (stream, id, script) in
            [(1, "waits", "script/head_ms=60000"), (3, "streams", "script/events=2,gap_ms=60000")]
        {
            let body = chat(script, true).to_string();
            let mut lines = frames::lines("POST", CHAT, &key);
            lines.push(("x-sluice-request-id", id));
            frames.send(HEADERS, END_HEADERS, stream, &frames::block(&lines));
            frames.send(frames::DATA, END_STREAM, stream, body.as_bytes());
        }
        wait_for("both upstream", || {
            let both = ["waits", "streams"].map(|id| upstream_request(mock, id).is_some());
            (both == [true, true]).then_some(())
        });
        frames.raw.reset();
        check_left(&gateway, mock, "waits");
        check_left(&gateway, mock, "streams");
        wait_for("no upstream connection", || (upstream_connections(mock) == 0).then_some(()));
        assert_eq!(gateway.in_flight(), 0.0);
    }

    fn a_stream_waits_for_its_window_and_holds_up_no_other(engine) {
        let mock = mock();
        let gateway = Setup::new(engine, mock).start();
        let before = {
            gateway.get("/v1/models");
            gateway.rss_kib()
        };
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1000).initial_connection_window_size(1_000_000);
        let mut h2 = H2::with(gateway.addr, &builder);
        let mut stuck = open(&mut h2, "stuck", "firehose=50000000,size=1000,usage=no");
        // One that reads passes by.
        let mut reads = open(&mut h2, "reads", "events=20,gap_ms=20");
        assert_eq!(event_numbers(&rest(&h2, &mut reads)).len(), 20);
        let grown = gateway.rss_kib().saturating_sub(before);
        assert!(grown < 4096, "{grown} KiB held for one stream");
        let mut taken = 0;
        while taken < 20_000 {
            taken += h2.data(&mut stuck.body).unwrap().unwrap().len();
        }
        drop(stuck);
        check_left(&gateway, mock, "stuck");
    }

    fn a_failed_upstream_is_told_in_band_and_ends_the_stream(engine) {
        let gateway = Setup::new(engine, mock()).start();
        let mut h2 = H2::connect(&gateway);
        let mut stream = open(&mut h2, "cut", "events=5,gap_ms=30,cut_at=2");
        let text = rest(&h2, &mut stream);
        assert_eq!(event_numbers(&text), [0, 1]);
        assert!(text.contains("transport_error"), "{text}");
        assert_eq!(h2.answer(get("/v1/models"), b"").status, 200);
    }

    fn a_torrent_over_http_2_starves_no_stream_of_its_worker(engine) {
        const PAUSE_MAX: u64 = 2000;
        let gateway = beside_a_torrent(engine).start();
        let (taken, enough) = (AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            // Down: four streams with windows without end. Up: a body without end.
            scope.spawn(|| flood_down(&gateway, &taken, &enough));
            scope.spawn(|| flood_up(&gateway, &taken, &enough));
            wait_for("the torrent", || (taken.load(Ordering::Relaxed) > 1_000_000).then_some(()));
            let before = taken.load(Ordering::Relaxed);
            let slow: Vec<_> = (0..50).map(|_| scope.spawn(|| paced(&gateway))).collect();
            let pauses = slow.into_iter().map(|stream| stream.join().unwrap());
            let longest = pauses.max().unwrap();
            let meanwhile = taken.load(Ordering::Relaxed) - before;
            enough.store(true, Ordering::Relaxed);
            println!("longest pause {longest} ms beside {meanwhile} bytes");
            assert!(longest < PAUSE_MAX, "a stream stood still for {longest} ms");
            assert!(meanwhile > 1_000_000, "the torrent took its turn: {meanwhile} bytes");
        });
    }
}

/// Takes four torrents over one connection, as fast as they come.
fn flood_down(gateway: &Gateway, taken: &AtomicU64, enough: &AtomicBool) {
    // The largest windows there are; they are granted anew long before they are used up.
    let settings = [&[0, 4][..], &0x7fff_ffff_u32.to_be_bytes()].concat();
    let mut frames = Frames::connect(gateway, &settings);
    let more = (0x7fff_ffff_u32 - 65_535).to_be_bytes();
    frames.send(WINDOW_UPDATE, 0, 0, &more);
    let key = frames::bearer();
    let body = chat("torrent", true).to_string();
    for stream in [1, 3, 5, 7] {
        let lines = frames::lines("POST", CHAT, &key);
        frames.send(HEADERS, END_HEADERS, stream, &frames::block(&lines));
        frames.send(frames::DATA, END_STREAM, stream, body.as_bytes());
    }
    let mut buffer = vec![0; 256 * 1024];
    let mut since = 0_u32;
    while !enough.load(Ordering::Relaxed) {
        let count = frames.raw.stream().read(&mut buffer).unwrap();
        assert_ne!(count, 0, "the torrent ended");
        taken.fetch_add(count as u64, Ordering::Relaxed);
        since += u32::try_from(count).unwrap();
        if since > 100_000_000 {
            // Less than was used up, framing left out.
            frames.send(WINDOW_UPDATE, 0, 0, &(since / 2).to_be_bytes());
            since = 0;
        }
    }
}

/// Sends bodies one after another, without a pause.
fn flood_up(gateway: &Gateway, taken: &AtomicU64, enough: &AtomicBool) {
    let mut h2 = H2::connect(gateway);
    let mut long = chat("m", false);
    long["user"] = "y".repeat(8_000_000).into();
    while !enough.load(Ordering::Relaxed) {
        let (request, body) = post(CHAT, &long);
        assert_eq!(h2.answer(request, &body).status, 200);
        taken.fetch_add(body.len() as u64, Ordering::Relaxed);
    }
}

/// The longest pause between two events of a slow stream, in milliseconds.
fn paced(gateway: &Gateway) -> u64 {
    let mut raw = gateway.connect();
    let body = chat("script/events=12,gap_ms=80", true);
    raw.send(&crate::support::gateway::post(CHAT, &body));
    raw.until(b"\"e0 ");
    let (mut longest, mut last) = (0, unix_ms());
    for number in 1..12 {
        raw.until(format!("\"e{number} ").as_bytes());
        let now = unix_ms();
        longest = longest.max(now - last);
        last = now;
    }
    longest
}

/// What a stalled client costs is in `floods`; here, that a reset works before any answer.
#[test]
fn a_stream_reset_before_its_answer_leaves_one_record() {
    let mock = mock();
    let gateway = Setup::new(crate::support::Engine::Epoll, mock).start();
    let mut frames = Frames::connect(&gateway, b"");
    let key = frames::bearer();
    let mut lines = frames::lines("POST", CHAT, &key);
    lines.push(("x-sluice-request-id", "early"));
    frames.send(HEADERS, END_HEADERS, 1, &frames::block(&lines));
    let body = chat("script/head_ms=60000", false).to_string();
    frames.send(frames::DATA, END_STREAM, 1, body.as_bytes());
    wait_for("the upstream", || upstream_request(mock, "early"));
    frames.send(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    check_left(&gateway, mock, "early");
}
