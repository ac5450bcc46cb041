//! Clients that do not read, and streams beside one that is read as fast as it comes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
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

/// An upstream that sends, after the head of one stream, what it is given.
struct Faucet {
    addr: SocketAddr,
    feed: Sender<Vec<u8>>,
}

impl Faucet {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (feed, given) = channel::<Vec<u8>>();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 16 * 1024]);
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
            let _ = stream.write_all(head);
            for bytes in given {
                let _ = stream.write_all(&bytes);
            }
        });
        Self { addr, feed }
    }

    /// Sends a content event of at least `size` bytes; returns its length.
    fn event(&self, number: usize, size: usize) -> u64 {
        let content = format!("e{number} {}", "x".repeat(size));
        let delta = json!({"choices": [{"index": 0, "delta": {"content": content}}]});
        let event = format!("data: {delta}\n\n");
        self.feed.send(event.clone().into()).unwrap();
        event.len() as u64
    }
}

/// Whether the gateway holds some of `sent` bytes, because the client's socket takes no more.
fn is_held_up(gateway: &Gateway, raw: &Raw, sent: u64) -> bool {
    let mut still = 0;
    let mut seen = 0;
    wait_for("the bytes to pass or to stand still", || {
        let passed = unacknowledged(gateway, raw) + raw.waiting();
        still = if passed == seen { still + 1 } else { 0 };
        seen = passed;
        (passed >= sent || (raw.waiting() > 0 && still >= 60)).then_some(passed < sent)
    })
}

/// Bytes in the gateway's send buffer towards the client.
fn unacknowledged(gateway: &Gateway, raw: &Raw) -> u64 {
    let hex = |addr: SocketAddr| format!("0100007F:{:04X}", addr.port());
    let (local, remote) = (hex(gateway.addr), hex(raw.stream().local_addr().unwrap()));
    let table = std::fs::read_to_string("/proc/net/tcp").expect("procfs");
    let rows = table
        .lines()
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    let mut rows = rows.filter(|row| row.get(1..3) == Some(&[&*local, &*remote]));
    let queue = rows.next().and_then(|row| row.get(4)?.split(':').next());
    queue.map_or(0, |hex| u64::from_str_radix(hex, 16).expect("a number"))
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

/// Lets time pass: it is what is tested.
#[expect(clippy::disallowed_methods, reason = "the clock is the subject")]
fn wait_at_least(time: Duration) {
    std::thread::sleep(time);
}

fn one_worker(engine: Engine, upstream: SocketAddr) -> Gateway {
    Setup::new(engine, upstream).start()
}

/// A gateway with two upstreams: one that is paced, and one, behind the model `torrent`, that never stops.
pub(crate) fn beside_a_torrent(engine: Engine) -> Setup {
    let (torrent, paced_by) = (mock(), mock());
    Setup::new(engine, paced_by).resources(|resources| {
        let key = json!({"display_name": "torrent", "provider": "openai", "adapter": "openai",
            "api_key": "sk-torrent", "api_base": format!("http://{torrent}/v1")});
        resources["provider_keys"].as_array_mut().unwrap().push(key);
        resources["models"]
            .as_array_mut()
            .unwrap()
            .push(json!({"display_name": "torrent",
            "provider": "openai", "model_name": "firehose=9000000000,size=200",
            "provider_key": "torrent"}));
        resources["api_keys"][0]["allowed_models"] = json!(["*"]);
    })
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

    fn time_that_the_client_took_is_not_the_upstreams(engine) {
        // More than a busy machine needs from the last byte of the torrent to the event that follows.
        const GAP: Duration = Duration::from_secs(4);
        let faucet = Faucet::start();
        let gateway = Setup::new(engine, faucet.addr)
            .with("upstream.stream_idle_timeout_ms", GAP.as_millis() as u64)
            .start();
        let mut raw = gateway.connect();
        rustix::net::sockopt::set_socket_recv_buffer_size(raw.stream(), 128 * 1024).unwrap();
        raw.send(&post(CHAT, &chat("m", true)));
        let (mut events, mut sent) = (0, 0);
        loop {
            sent += faucet.event(events, 900_000);
            events += 1;
            if is_held_up(&gateway, &raw, sent) {
                break;
            }
        }
        wait_at_least(GAP);
        raw.head();
        let mut numbers = Vec::new();
        while numbers.len() < events {
            let chunk = raw.chunk().expect("the stream goes on");
            numbers.extend(event_numbers(std::str::from_utf8(&chunk).unwrap()));
        }
        // The upstream has been silent for longer than its clock, the gateway deaf.
        faucet.event(events, 1);
        faucet.feed.send(b"data: [DONE]\n\n".to_vec()).unwrap();
        let mut rest = String::new();
        while let Some(chunk) = raw.chunk() {
            rest.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        assert_eq!(event_numbers(&rest), [events as u64], "{rest}");
        assert!(rest.ends_with("data: [DONE]\n\n"), "{rest}");
    }

    fn a_torrent_starves_no_stream_of_its_worker(engine) {
        const SLOW: usize = 50;
        const PAUSE_MAX: Duration = Duration::from_secs(2);
        let gateway = beside_a_torrent(engine).start();
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
