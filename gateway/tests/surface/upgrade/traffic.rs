//! No request fails and no stream is cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;

use super::Generations;
use super::generations::{has_ended, until_ended};
use crate::on_both_engines;
use crate::support::gateway::{chat, get, named, post};
use crate::support::{Raw, Setup, event_numbers, mock, wait_for};

const CHAT: &str = "/v1/chat/completions";
const STREAMS: usize = 200;
const CALLERS: usize = 8;

/// Callers that ask one thing after another until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Half of the callers keep their connection for as long as they may, half open one each time.
    fn start(gateway: &Generations) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicU64::new(0));
        let callers = (0..CALLERS).map(|caller| {
            let (stop, asked, addr) = (Arc::clone(&stop), Arc::clone(&asked), gateway.addr);
            std::thread::spawn(move || {
                let request = post(CHAT, &chat("m", false));
                let mut kept: Option<Raw> = None;
                while !stop.load(Relaxed) {
                    let mut raw = kept.take().unwrap_or_else(|| Raw::connect(addr));
                    raw.send(&request);
                    let answer = raw.response();
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    asked.fetch_add(1, Relaxed);
                    let closes = answer.header("connection") == Some("close");
                    kept = (caller % 2 == 0 && !closes).then_some(raw);
                    std::thread::park_timeout(Duration::from_millis(5));
                }
            })
        });
        let callers = callers.collect();
        Self {
            stop,
            asked,
            callers,
        }
    }

    /// Waits until `count` more requests were answered.
    fn answers(&self, count: u64) {
        let until = self.asked.load(Relaxed) + count;
        wait_for("answers", || {
            (self.asked.load(Relaxed) >= until).then_some(())
        });
    }

    /// Requests in all; none of them failed.
    fn stop(self) -> u64 {
        self.stop.store(true, Relaxed);
        for caller in self.callers {
            caller.join().expect("no request failed");
        }
        self.asked.load(Relaxed)
    }
}

fn open_stream(gateway: &Generations, id: &str, script: &str) -> Raw {
    let mut raw = gateway.connect();
    let body = chat(&format!("script/{script}"), true);
    raw.send(&named(id, &post(CHAT, &body)));
    raw.until(b"\"e0 ");
    raw
}

fn read_whole(stream: &mut Raw, events: u64) {
    let text = String::from_utf8(stream.rest_of_stream()).unwrap();
    // The first one was read when the stream was opened.
    assert_eq!(event_numbers(&text), (1..events).collect::<Vec<u64>>());
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
}

on_both_engines! {
    fn three_in_a_row_fail_no_request_and_cut_no_stream(engine) {
        let setup = Setup::new(engine, mock()).with("proxy.workers", 2);
        let mut gateway = Generations::start(setup);
        let first_start = gateway.metric("process_start_time_seconds", &[]);
        let mut streams: Vec<_> = (0..STREAMS)
            .map(|number| open_stream(&gateway, &format!("s{number}"), "events=40,gap_ms=500"))
            .collect();
        let load = Load::start(&gateway);
        for _ in 0..3 {
            load.answers(100);
            let old = gateway.newest();
            assert_ne!(gateway.upgrade(), old);
            load.answers(100);
        }
        let pids = gateway.pids();
        assert_eq!(pids.len(), 4, "{pids:?}");
        let asked = load.stop();
        for stream in &mut streams {
            read_whole(stream, 40);
        }
        drop(streams);
        for pid in &pids[..3] {
            until_ended(*pid);
        }
        assert_eq!(gateway.ended().code(), Some(0));
        assert!(!has_ended(pids[3]));
        let start = gateway.metric("process_start_time_seconds", &[]);
        assert!(start > first_start, "{start} after {first_start}");
        assert_eq!(gateway.get("/readyz").status, 200);
        // One access log, whoever wrote it, with every request once.
        let lines = gateway.access_lines(usize::try_from(asked).unwrap() + STREAMS);
        assert_eq!(lines.len() as u64, asked + STREAMS as u64);
        assert!(lines.iter().all(|line| line["end"] == "completed"));
    }

    fn a_connection_that_is_kept_gets_one_more_answer_from_the_old_process(engine) {
        let gateway = Generations::start(Setup::new(engine, mock()));
        let mut kept = gateway.connect();
        kept.send(&get("/readyz"));
        assert_eq!(kept.response().header("connection"), None);
        let old = gateway.newest();
        gateway.upgrade();
        kept.send(&get("/readyz"));
        let answer = kept.response();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert!(kept.closes());
        until_ended(old);
        assert_eq!(gateway.until_said("stopped", 1)["outcome"], "handed over");
    }

    fn an_idle_connection_does_not_hold_the_old_process(engine) {
        let gateway = Generations::start(Setup::new(engine, mock()));
        let mut idle = gateway.connect();
        idle.send(&get("/readyz"));
        assert_eq!(idle.response().status, 200);
        let old = gateway.newest();
        gateway.upgrade();
        assert!(idle.closes());
        until_ended(old);
    }

    fn the_old_process_can_be_told_to_end(engine) {
        let setup = Setup::new(engine, mock()).with("shutdown.max_drain_secs", 1);
        let mut gateway = Generations::start(setup);
        let mut stream = open_stream(&gateway, "stuck", "events=2,gap_ms=60000");
        let new = gateway.upgrade();
        gateway.signal(Signal::TERM);
        assert_eq!(gateway.ended().code(), Some(1));
        assert!(!String::from_utf8(stream.rest()).unwrap().contains("[DONE]"));
        assert!(!has_ended(new));
        assert_eq!(gateway.post(CHAT, &chat("m", false)).status, 200);
        assert_eq!(gateway.access_line("stuck")["end"], "drained");
    }
}
