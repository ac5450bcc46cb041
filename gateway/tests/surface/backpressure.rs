//! Clients that do not read, and streams beside one that is read as fast as it comes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::on_both_engines;
use crate::support::gateway::{chat, post};
use crate::support::{Engine, Gateway, Raw, Setup, event_numbers, mock, wait_for};

const CHAT: &str = "/v1/chat/completions";

/// An upstream that sends one stream as fast as it is taken, and says how much was.
struct Hose {
    addr: SocketAddr,
    sent: Arc<AtomicU64>,
}

impl Hose {
    /// The stream has `events` events of about 1 KiB.
    fn start(events: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // A buffer of fixed size, so that what was sent is nearly what was read.
            rustix::net::sockopt::set_socket_send_buffer_size(&stream, 64 * 1024).unwrap();
            let _ = stream.read(&mut [0; 16 * 1024]);
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                         connection: close\r\n\r\n";
            let _ = stream.write_all(head);
            pour(&mut stream, events, &counter);
        });
        Self { addr, sent }
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

fn pour(stream: &mut TcpStream, events: usize, sent: &AtomicU64) {
    let padding = "x".repeat(950);
    for number in 0..events {
        let delta = json!({"choices": [{"index": 0,
            "delta": {"content": format!("e{number} {padding}")}}]});
        let event = format!("data: {delta}\n\n");
        if stream.write_all(event.as_bytes()).is_err() {
            return;
        }
        sent.fetch_add(event.len() as u64, Ordering::Relaxed);
    }
    let _ = stream.write_all(b"data: [DONE]\n\n");
}

/// What a paced stream brought, and its longest pause.
fn paced(gateway: SocketAddr, script: &str) -> (Vec<u64>, Duration) {
    let mut raw = Raw::connect(gateway);
    raw.send(&post(CHAT, &chat(&format!("script/{script}"), true)));
    raw.head();
    let (mut text, mut longest, mut last) = (Vec::new(), Duration::ZERO, now());
    while let Some(chunk) = raw.chunk() {
        longest = longest.max(last.elapsed());
        last = now();
        text.extend(chunk);
    }
    let text = String::from_utf8(text).unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    (event_numbers(&text), longest)
}

/// Raises a flag when dropped, after a failure too.
struct Raise<'f>(&'f AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[expect(clippy::disallowed_methods, reason = "pauses are measured here")]
fn now() -> Instant {
    Instant::now()
}

fn one_worker(engine: Engine, upstream: SocketAddr) -> Gateway {
    Setup::new(engine, upstream).start()
}

on_both_engines! {
    fn a_client_that_does_not_read_stops_the_upstream_and_loses_nothing(engine) {
        const EVENTS: usize = 40_000;
        const GROWTH_KIB_MAX: u64 = 8 * 1024;
        // The sockets' buffers hold some of it, the gateway next to nothing.
        const STOPPED_BYTES_MAX: u64 = 30_000_000;
        let hose = Hose::start(EVENTS);
        let gateway = one_worker(engine, hose.addr);
        assert_eq!(gateway.get("/v1/models").status, 200);
        let before = gateway.rss_kib();
        let mut raw = gateway.connect();
        rustix::net::sockopt::set_socket_recv_buffer_size(raw.stream(), 64 * 1024).unwrap();
        raw.send(&post(CHAT, &chat("m", true)));
        raw.wait_until_blocked();
        let (mut seen, mut still) = (0, 0);
        let stopped_at = wait_for("the upstream not to be read", || {
            still = if hose.sent() == seen { still + 1 } else { 0 };
            seen = hose.sent();
            (still >= 40).then_some(seen)
        });
        assert!(stopped_at < STOPPED_BYTES_MAX, "read on to {stopped_at} bytes");
        let grown = gateway.rss_kib().saturating_sub(before);
        assert!(grown < GROWTH_KIB_MAX, "{grown} KiB for a client that does not read");
        raw.head();
        let (mut next, mut tail) = (0, String::new());
        while let Some(chunk) = raw.chunk() {
            let text = std::str::from_utf8(&chunk).unwrap();
            for number in event_numbers(text) {
                assert_eq!(number, next, "events in their order");
                next += 1;
            }
            tail = text[text.len().saturating_sub(14)..].to_owned();
        }
        assert_eq!(next, EVENTS as u64);
        assert_eq!(tail, "data: [DONE]\n\n");
        let grown = gateway.rss_kib().saturating_sub(before);
        assert!(grown < GROWTH_KIB_MAX, "{grown} KiB after it read on");
    }

    fn a_torrent_starves_no_stream_of_its_worker(engine) {
        const SLOW: usize = 50;
        const PAUSE_MAX: Duration = Duration::from_secs(2);
        let (torrent, paced_by) = (mock(), mock());
        let setup = Setup::new(engine, paced_by).resources(|resources| {
            let key = json!({"display_name": "torrent", "provider": "openai", "adapter": "openai",
                "api_key": "sk-torrent", "api_base": format!("http://{torrent}/v1")});
            resources["provider_keys"].as_array_mut().unwrap().push(key);
            resources["models"].as_array_mut().unwrap().push(json!({"display_name": "torrent",
                "provider": "openai", "model_name": "firehose=9000000000,size=200",
                "provider_key": "torrent"}));
            resources["api_keys"][0]["allowed_models"] = json!(["*"]);
        });
        let gateway = setup.start();
        let (taken, enough) = (AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut raw = gateway.connect();
                raw.send(&post(CHAT, &chat("torrent", true)));
                let mut buffer = vec![0; 256 * 1024];
                while !enough.load(Ordering::Relaxed) {
                    let count = raw.stream().read(&mut buffer).unwrap();
                    assert_ne!(count, 0, "the torrent ended");
                    taken.fetch_add(count as u64, Ordering::Relaxed);
                }
            });
            let stop = Raise(&enough);
            wait_for("the torrent", || (taken.load(Ordering::Relaxed) > 0).then_some(()));
            let before = taken.load(Ordering::Relaxed);
            let slow: Vec<_> = (0..SLOW)
                .map(|_| scope.spawn(|| paced(gateway.addr, "events=12,gap_ms=80")))
                .collect();
            let mut longest = Duration::ZERO;
            for stream in slow {
                let (numbers, pause) = stream.join().unwrap();
                assert_eq!(numbers, (0..12).collect::<Vec<u64>>());
                longest = longest.max(pause);
            }
            let meanwhile = taken.load(Ordering::Relaxed) - before;
            drop(stop);
            println!("longest pause {longest:?} beside {meanwhile} bytes");
            assert!(longest < PAUSE_MAX, "a stream stood still for {longest:?}");
            assert!(meanwhile > 1_000_000, "the torrent took its turn: {meanwhile} bytes");
        });
    }
}
