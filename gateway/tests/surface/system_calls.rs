//! System calls of a worker per request and per event, held to what was counted.
//!
//! Each count is the difference between two runs, so that what begins and ends a run falls out. Nothing happens
//! before the worker sleeps: each request, answer and event wakes it once, whatever the machine is doing.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};

use crate::on_both_engines;
use crate::support::gateway::{chat, post};
use crate::support::scripted::Asker;
use crate::support::strace::{Calls, Trace};
use crate::support::{Engine, Gateway, Raw, Scripted, Setup, wait_for};

const CHAT: &str = "/v1/chat/completions";
const ANSWER: &str = r#"{"id":"c1","object":"chat.completion","created":1,"model":"gpt-up","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#;

/// Calls of a unary request on a kept connection, to an upstream whose connection is kept too.
const PER_REQUEST: Counted = Counted {
    io_uring: 6,
    epoll: 8,
};
/// Calls of an event that comes alone.
const PER_EVENT: Counted = Counted {
    io_uring: 3,
    epoll: 4,
};
/// Hundredths that may be more than what was counted, and less: then the number here follows.
const SLACK: (u64, u64) = (10, 15);

/// Requests of the shorter run, and how many the longer one has more; events, likewise.
const REQUESTS: (u64, u64) = (20, 200);
const EVENTS: (u64, u64) = (20, 1_000);

/// What was counted on each engine.
struct Counted {
    io_uring: u64,
    epoll: u64,
}

impl Counted {
    fn on(&self, engine: Engine) -> u64 {
        match engine {
            Engine::IoUring => self.io_uring,
            Engine::Epoll => self.epoll,
        }
    }
}

/// A worker's thread, looked at from outside.
#[derive(Clone, Debug, Default)]
struct Thread(Arc<OnceLock<PathBuf>>);

impl Thread {
    /// To be called once the gateway runs.
    fn find(&self, gateway: &Gateway) -> u32 {
        let tasks = format!("/proc/{}/task", gateway.child.id());
        let mut tasks = std::fs::read_dir(tasks).unwrap().map(|task| task.unwrap());
        let is_worker =
            |path: PathBuf| std::fs::read_to_string(path).is_ok_and(|name| name == "sluice-0\n");
        let task = tasks.find(|task| is_worker(task.path().join("comm")));
        let task = task.expect("a worker");
        self.0.set(task.path().join("stat")).expect("found once");
        task.file_name().to_str().unwrap().parse().unwrap()
    }

    /// Waits until it has done what there was to do, and waits itself.
    fn until_asleep(&self) {
        let stat = self.0.get().expect("found");
        wait_for("the worker to sleep", || {
            let text = std::fs::read_to_string(stat).unwrap();
            // The state follows the name, which is in brackets.
            text.contains(") S ").then_some(())
        });
    }
}

/// Sends `count` events, each once the one before has reached the caller; `seen` tells.
fn tell(asker: Asker<'_>, count: u64, seen: &Receiver<()>, worker: &Thread) {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    asker.write_all(head.as_bytes()).unwrap();
    let mut chunk = |text: &str| {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        asker.write_all(chunk.as_bytes()).unwrap();
    };
    for number in 0..count {
        worker.until_asleep();
        let delta =
            format!(r#"{{"index":0,"delta":{{"content":"w{number:05} "}},"finish_reason":null}}"#);
        chunk(&format!(
            "data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-up\",\"choices\":[{delta}]}}\n\n"
        ));
        seen.recv().expect("the caller reads on");
    }
    chunk(
        "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-up\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    );
    chunk("data: [DONE]\n\n");
    asker.write_all(b"0\r\n\r\n").unwrap();
}

/// An upstream whose answers come while `worker` sleeps, and a stream's events after `seen`. The model's name
/// tells how many events there are.
fn upstream(worker: Thread, seen: Receiver<()>) -> Scripted {
    let seen = Mutex::new(seen);
    let length = ANSWER.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{ANSWER}"
    );
    Scripted::new(move |asked, asker| {
        let call: serde_json::Value = serde_json::from_slice(&asked.body).expect("a call");
        worker.until_asleep();
        if call["stream"] != true {
            // In one piece: read once.
            return asker.write_all(answer.as_bytes()).is_ok();
        }
        let count = call["model"].as_str().and_then(|model| model.parse().ok());
        tell(
            asker,
            count.expect("a number"),
            &seen.lock().unwrap(),
            &worker,
        );
        true
    })
}

fn unary(raw: &mut Raw, worker: &Thread, count: u64) {
    let request = post(CHAT, &chat("m", false));
    for _ in 0..count {
        worker.until_asleep();
        raw.send(&request);
        assert_eq!(raw.response().status, 200);
    }
}

fn stream(raw: &mut Raw, worker: &Thread, seen: &Sender<()>, count: u64) {
    worker.until_asleep();
    raw.send(&post(CHAT, &chat(&format!("script/{count}"), true)));
    assert_eq!(raw.head().status, 200);
    let mut events = 0;
    while let Some(chunk) = raw.chunk() {
        if events < count {
            let text = String::from_utf8(chunk).unwrap();
            assert!(text.contains(&format!("w{events:05}")), "{text}");
            seen.send(()).expect("the upstream sends on");
            events += 1;
        }
    }
    assert_eq!(events, count);
}

/// Calls of the worker during `work`; `None` where they cannot be counted.
fn traced(tid: u32, worker: &Thread, work: impl FnOnce()) -> Option<Calls> {
    worker.until_asleep();
    let trace = Trace::attach(tid)?;
    work();
    worker.until_asleep();
    Some(trace.calls())
}

/// Holds the calls that `more` requests or events make, the difference between two runs, to `counted` each.
fn hold(what: &str, (few, many): (&Calls, &Calls), more: u64, counted: u64) {
    let names: BTreeSet<&String> = few.keys().chain(many.keys()).collect();
    let (mut total, mut table) = (0, String::new());
    for name in names {
        let of = |calls: &Calls| calls.get(name).copied().unwrap_or(0);
        let calls = of(many).saturating_sub(of(few));
        total += calls;
        let _ = write!(table, " {name} {calls}");
    }
    println!("{what}: {total} system calls for {more}, {counted} each counted before:{table}");
    let (dearer, cheaper) = SLACK;
    let hundredths = total * 100 / more;
    assert!(
        hundredths <= counted * (100 + dearer) && hundredths >= counted * (100 - cheaper),
        "{what}: {hundredths} hundredths of a system call each, not {counted}:{table}"
    );
}

on_both_engines! {
    fn a_request_and_an_event_cost_the_system_calls_that_were_counted(engine) {
        let (worker, (told, seen)) = (Thread::default(), channel());
        let upstream = upstream(worker.clone(), seen);
        let gateway = Setup::new(engine, upstream.addr()).start();
        let tid = worker.find(&gateway);
        let mut raw = gateway.connect();
        // Connections, series and buffers are made once.
        unary(&mut raw, &worker, 5);
        stream(&mut raw, &worker, &told, 5);

        let (few, more) = REQUESTS;
        let Some(short) = traced(tid, &worker, || unary(&mut raw, &worker, few)) else {
            return;
        };
        let long = traced(tid, &worker, || unary(&mut raw, &worker, few + more)).expect("as before");
        hold("a request", (&short, &long), more, PER_REQUEST.on(engine));

        let (few, more) = EVENTS;
        let mut run = |count| traced(tid, &worker, || stream(&mut raw, &worker, &told, count));
        let (short, long) = (run(few).expect("as before"), run(few + more).expect("as before"));
        hold("an event", (&short, &long), more, PER_EVENT.on(engine));
    }
}
