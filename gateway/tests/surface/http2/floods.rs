//! Clients that ask much and pay little: each is told to calm down, holds little memory, and holds up
//! nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use serde_json::json;

use super::client::{H2, get, post};
use super::frames::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frames, HEADERS, PING,
    PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use crate::on_both_engines;
use crate::support::gateway::chat;
use crate::support::{Engine, Gateway, Setup, mock, upstream_requests, wait_for};

const CHAT: &str = "/v1/chat/completions";
/// What a flood may leave resident, in KiB: the windows and buffers of one connection, and what the
/// allocator keeps.
const GROWTH_KIB_MAX: u64 = 8 * 1024;

/// Answers that another client has during a flood before the flood counts as survived.
const SERVED_MEANWHILE: u64 = 20;

struct Flooded {
    // First, as it asks until it is dropped.
    neighbour: Neighbour,
    gateway: Gateway,
    before: u64,
    other: H2,
}

/// A client of the same worker that asks on one connection, answer after answer.
struct Neighbour {
    served: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    asking: Option<JoinHandle<()>>,
}

impl Neighbour {
    fn of(gateway: &Gateway) -> Self {
        let (served, over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (count, ends) = (Arc::clone(&served), Arc::clone(&over));
        let mut raw = gateway.connect();
        let asking = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                raw.send(&crate::support::gateway::get("/v1/models"));
                assert_eq!(raw.response().status, 200);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self {
            served,
            over,
            asking: Some(asking),
        }
    }

    fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.asking.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.expect("once").expect("every answer came");
        }
    }
}

impl Flooded {
    fn new(engine: Engine, mock: std::net::SocketAddr) -> Self {
        let gateway = Setup::new(engine, mock).start();
        let mut other = H2::connect(&gateway);
        assert_eq!(other.answer(get("/v1/models"), b"").status, 200);
        Self {
            before: gateway.rss_kib(),
            neighbour: Neighbour::of(&gateway),
            gateway,
            other,
        }
    }

    /// Floods again and again until another client has been served for a while; the code that the
    /// first one was closed with.
    fn flood(&mut self, mut flood: impl FnMut(u32) -> Vec<u8>) -> u32 {
        let until = self.neighbour.served() + SERVED_MEANWHILE;
        let mut codes = Vec::new();
        while codes.is_empty() || self.neighbour.served() < until {
            let mut frames = Frames::connect(&self.gateway, b"");
            codes.push(until_closed(&mut frames, &mut flood));
        }
        assert!(codes.iter().all(|code| *code == codes[0]), "{codes:?}");
        codes[0]
    }

    /// Another client is served, and memory is what it was.
    fn check(&mut self, what: &str) {
        assert_eq!(
            self.other.answer(get("/v1/models"), b"").status,
            200,
            "{what}"
        );
        let answer = self.gateway.get("/v1/models");
        assert_eq!(answer.status, 200, "{what}");
        let grown = self.gateway.rss_kib().saturating_sub(self.before);
        println!("{what}: {grown} KiB");
        assert!(grown < GROWTH_KIB_MAX, "{what}: {grown} KiB");
    }
}

/// Sends `flood` until the gateway has had enough; the code it closes with.
fn until_closed(frames: &mut Frames, mut flood: impl FnMut(u32) -> Vec<u8>) -> u32 {
    for number in 0..2_000_000 {
        if frames.raw.try_send(&flood(number)).is_err() {
            break;
        }
        // The answer ends it; what was sent beyond is thrown away.
        if number % 64 == 0 && frames.raw.waiting() > 64 * 1024 {
            frames.raw.fill();
        }
    }
    frames.closed_with()
}

fn request_block() -> Vec<u8> {
    let key = frames::bearer();
    frames::block(&frames::lines("GET", "/v1/models", &key))
}

on_both_engines! {
    fn frames_that_carry_nothing_end_in_a_goaway(engine) {
        let mut flooded = Flooded::new(engine, mock());
        let block = request_block();
        type Flood = Box<dyn FnMut(u32) -> Vec<u8>>;
        let open = block.clone();
        let floods: [(&str, Flood); 8] = [
            ("pings", Box::new(|_| frames::frame(PING, 0, 0, b"12345678"))),
            ("settings", Box::new(|_| frames::frame(SETTINGS, 0, 0, b""))),
            ("answers to settings", Box::new(|_| frames::frame(PING, frames::ACK, 0, b"12345678"))),
            ("priorities", Box::new(|_| frames::frame(PRIORITY, 0, 1, b"\0\0\0\0\x10"))),
            ("unknown frames", Box::new(|_| frames::frame(0xbe, 0, 0, b"whatever"))),
            ("window updates", Box::new(|_| frames::frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()))),
            ("empty data", Box::new(move |number| match number {
                0 => frames::frame(HEADERS, END_HEADERS, 1, &open),
                _ => frames::frame(DATA, 0, 1, b""),
            })),
            ("resets", Box::new(move |number| {
                let stream = number * 2 + 1;
                let mut both = frames::frame(HEADERS, END_HEADERS | END_STREAM, stream, &block);
                both.extend(frames::frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
                both
            })),
        ];
        for (name, flood) in floods {
            let code = flooded.flood(flood);
            assert_eq!(code, ENHANCE_YOUR_CALM, "{name}");
            flooded.check(name);
        }
        let said = "an HTTP/2 connection was closed";
        wait_for("a word in the log", || flooded.gateway.logged(said));
    }

    fn a_rapid_reset_reaches_few_upstreams(engine) {
        let mock = mock();
        let mut flooded = Flooded::new(engine, mock);
        let key = frames::bearer();
        let block = frames::block(&frames::lines("POST", CHAT, &key));
        let body = chat("script/head_ms=60000", false).to_string();
        let mut frames = Frames::connect(&flooded.gateway, b"");
        let code = until_closed(&mut frames, |number| {
            let stream = number * 2 + 1;
            [
                frames::frame(HEADERS, END_HEADERS, stream, &block),
                frames::frame(DATA, END_STREAM, stream, body.as_bytes()),
                frames::frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()),
            ]
            .concat()
        });
        assert_eq!(code, ENHANCE_YOUR_CALM);
        flooded.check("rapid reset");
        wait_for("nothing in flight", || (flooded.gateway.in_flight() == 0.0).then_some(()));
        let reached = upstream_requests(mock).len();
        assert!(reached <= 300, "{reached}");
    }

    fn a_head_without_end_is_cut_off(engine) {
        let mut flooded = Flooded::new(engine, mock());
        let block = request_block();
        let line = frames::block(&[("x-a", &"b".repeat(4000))]);
        for (name, piece) in [("long continuations", line), ("empty continuations", Vec::new())] {
            let mut frames = Frames::connect(&flooded.gateway, b"");
            let code = until_closed(&mut frames, |number| match number {
                0 => frames::frame(HEADERS, END_STREAM, 1, &block),
                _ => frames::frame(CONTINUATION, 0, 1, &piece),
            });
            assert_eq!(code, ENHANCE_YOUR_CALM, "{name}");
            flooded.check(name);
        }
    }

    fn a_head_that_trickles_in_is_cut_off(engine) {
        let gateway = Setup::new(engine, mock())
            .with("proxy.header_read_timeout_secs", 1)
            .start();
        let mut frames = Frames::connect(&gateway, b"");
        frames.send(HEADERS, END_STREAM, 1, &request_block());
        assert_eq!(frames.closed_with(), ENHANCE_YOUR_CALM);
        // A preface that never ends is a head that never ends.
        let mut raw = gateway.connect();
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM");
        assert_eq!(raw.response().status, 408);
    }

    fn more_streams_than_allowed_are_refused_and_the_others_served(engine) {
        let gateway = Setup::new(engine, mock())
            .with("proxy.http2.max_concurrent_streams", 4)
            .start();
        let key = frames::bearer();
        let block = frames::block(&frames::lines("POST", CHAT, &key));
        let body = chat("script/events=3,gap_ms=200", true).to_string();
        let mut frames = Frames::connect(&gateway, b"");
        for number in 0..10 {
            frames.send(HEADERS, END_HEADERS, number * 2 + 1, &block);
        }
        let refused: Vec<_> = (0..6).map(|_| frames.until(RST_STREAM)).collect();
        assert!(refused.iter().all(|frame| frame.code() == 7 && frame.stream > 7), "{refused:?}");
        for number in 0..4 {
            frames.send(DATA, END_STREAM, number * 2 + 1, body.as_bytes());
        }
        let mut ended = 0;
        while ended < 4 {
            let frame = frames.next().expect("served on");
            ended += u32::from(frame.kind == DATA && frame.flags & END_STREAM != 0);
        }
    }

    fn a_header_list_beyond_the_bound_is_refused(engine) {
        let gateway = Setup::new(engine, mock()).start();
        let mut h2 = H2::connect(&gateway);
        let (mut request, _) = post(CHAT, &json!({}));
        for number in 0..10 {
            let name = http::HeaderName::from_bytes(format!("x-{number}").as_bytes()).unwrap();
            request.headers_mut().insert(name, "v".repeat(8000).parse().unwrap());
        }
        let asked = h2.begin(request, false).unwrap();
        assert_eq!(h2.whole(asked.response).unwrap().status, 431);
        let mut many = get("/v1/models");
        for number in 0..120 {
            let name = http::HeaderName::from_bytes(format!("x-{number}").as_bytes()).unwrap();
            many.headers_mut().insert(name, "v".parse().unwrap());
        }
        let asked = h2.begin(many, true).unwrap();
        assert_eq!(h2.whole(asked.response).unwrap().status, 431);
        assert_eq!(h2.answer(get("/v1/models"), b"").status, 200);
    }

    fn clients_without_a_window_hold_little(engine) {
        let mut flooded = Flooded::new(engine, mock());
        let key = frames::bearer();
        let block = frames::block(&frames::lines("POST", CHAT, &key));
        let body = chat("script/firehose=50000000,size=1000,usage=no", true).to_string();
        // SETTINGS_INITIAL_WINDOW_SIZE 0 and 1: heads come, bodies never, or byte by byte.
        for window in [0_u32, 1] {
            let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
            let mut frames = Frames::connect(&flooded.gateway, &settings);
            for number in 0..100 {
                frames.send(HEADERS, END_HEADERS, number * 2 + 1, &block);
                frames.send(DATA, END_STREAM, number * 2 + 1, body.as_bytes());
            }
            for _ in 0..100 {
                frames.until(HEADERS);
            }
            for _ in 0..50 {
                assert_eq!(flooded.other.answer(get("/v1/models"), b"").status, 200);
            }
            let grown = flooded.gateway.rss_kib().saturating_sub(flooded.before);
            println!("window {window}: {grown} KiB for 100 streams");
            assert!(grown < 100 * 160, "{grown} KiB for 100 streams");
            drop(frames);
            wait_for("all to be let go", || (flooded.gateway.in_flight() == 0.0).then_some(()));
        }
    }

    fn small_data_frames_that_nobody_reads_are_bounded(engine) {
        let mut flooded = Flooded::new(engine, mock());
        let key = frames::bearer();
        // Refused at once, so that nobody reads: the frames come all the same.
        let block = frames::block(&frames::lines("POST", "/nowhere", &key));
        let mut frames = Frames::connect(&flooded.gateway, b"");
        let code = until_closed(&mut frames, |number| match number {
            0 => frames::frame(HEADERS, END_HEADERS, 1, &block),
            _ => frames::frame(DATA, 0, 1, b"x"),
        });
        assert!(code > 0, "{code}");
        flooded.check("small frames");
    }

    fn an_idle_connection_is_told_and_closed(engine) {
        let gateway = Setup::new(engine, mock())
            .with("downstream.idle_timeout_secs", 1)
            .start();
        let mut h2 = H2::connect(&gateway);
        assert_eq!(h2.answer(get("/v1/models"), b"").status, 200);
        assert_eq!(h2.ended().map(|error| error.to_string()), None);
        // One that does not answer is closed too.
        let mut frames = Frames::connect(&gateway, b"");
        assert_eq!(frames.closed_with(), 0);
    }
}
