//! How many segments the gateway answers an upstream's stream with.
#![allow(
    unsafe_code,
    reason = "the kernel's counters of a connection have no safe reading"
)]

use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::on_both_engines;
use crate::support::gateway::{chat, post};
use crate::support::scripted::Scripted;
use crate::support::{Setup, event_numbers};

const EVENTS: usize = 200;
/// Streams of which one has to find a machine that does not pause.
const STREAMS_MAX: usize = 5;
/// More than a read and a write take, less than the kernel waits with an acknowledgement.
const PACE: Duration = Duration::from_millis(5);
/// Where `struct tcp_info` has `tcpi_segs_in`: eight bytes, 24 words and four double words, and a word.
const SEGMENTS_IN: usize = 8 + 24 * 4 + 4 * 8 + 4;

#[expect(clippy::disallowed_methods, reason = "a model takes its time")]
fn pause() {
    std::thread::sleep(PACE);
}

/// Segments that `socket` has received.
fn segments_in(socket: &impl AsRawFd) -> u32 {
    let mut info = [0_u8; SEGMENTS_IN + 4];
    let mut length = u32::try_from(info.len()).unwrap();
    // SAFETY: the kernel writes at most `length` bytes, and the buffer has as many.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    assert_eq!((failed, length as usize), (0, info.len()));
    u32::from_ne_bytes(info[SEGMENTS_IN..].try_into().unwrap())
}

on_both_engines! {
    fn events_are_acknowledged_in_pairs(engine) {
        let (counts, counted) = channel();
        let counts = Mutex::new(counts);
        let upstream = Scripted::new(move |_, asker| {
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
            asker.write_all(head.as_bytes()).unwrap();
            let before = segments_in(asker);
            for number in 0..EVENTS {
                let content = format!("e{number} ");
                let delta =
                    serde_json::json!({"choices": [{"index": 0, "delta": {"content": content}}]});
                asker
                    .write_all(format!("data: {delta}\n\n").as_bytes())
                    .unwrap();
                pause();
            }
            counts
                .lock()
                .unwrap()
                .send(segments_in(asker) - before)
                .unwrap();
            asker.write_all(b"data: [DONE]\n\n").unwrap();
            false
        });
        let gateway = Setup::new(engine, upstream.addr()).start();
        // One each would be 200. From the first pause of 40 ms on, which a busy machine makes, a stream has one each.
        let paired = (0..STREAMS_MAX).any(|_| {
            let mut client = gateway.connect();
            client.send(&post("/v1/chat/completions", &chat("m", true)));
            assert_eq!(client.head().status, 200);
            let stream = String::from_utf8(client.rest_of_stream()).unwrap();
            assert_eq!(event_numbers(&stream).len(), EVENTS, "{stream:.400}");
            let acks = usize::try_from(counted.recv().unwrap()).unwrap();
            eprintln!("{acks} acknowledgements of {EVENTS} events");
            (1..EVENTS * 3 / 4).contains(&acks)
        });
        assert!(paired, "as many acknowledgements as events");
    }
}
