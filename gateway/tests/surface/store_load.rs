//! A load that runs while its configuration changes a hundred times a second.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::on_both_engines;
use crate::support::gateway::{CALLER_KEY, get};
use crate::support::store::{self, Etcd, Rows, Steady, caller, model, now, pause};
use crate::support::{Engine, Gateway, PATIENCE, Raw, Setup, mock};

/// Clients of the load, and the pause between two requests of one of them.
const CLIENTS: usize = 4;
const CLIENT_PAUSE: Duration = Duration::from_millis(20);
/// Changes of a run, even if a slow disk makes it longer than wanted.
const CHANGES_MIN: usize = 20;
/// Models of earlier changes that are still there.
const KEPT: u64 = 50;

on_both_engines! {
    fn a_hundred_changes_a_second_fail_no_request(engine) {
        let outcome = Load::new(engine).run(Duration::from_secs(5), 100);
        println!("{outcome}");
        // How fast is printed, and asserted by the long run on a quiet machine.
        assert!(outcome.requests > 10 && outcome.changes >= CHANGES_MIN, "{outcome}");
    }

    #[ignore = "soak: a minute of 100 changes a second"]
    fn a_minute_of_changes_fails_no_request_and_keeps_memory_flat(engine) {
        let load = Load::new(engine);
        println!("15 s without changes: {}", load.run(Duration::from_secs(15), 0));
        println!("5 s of changes: {}", load.run(Duration::from_secs(5), 100));
        let before = load.gateway.rss_kib();
        let long = load.run(Duration::from_secs(60), 100);
        let after = load.gateway.rss_kib();
        println!("60 s of changes: {long}; {before} KiB before, {after} KiB after");
        assert!(long.changes >= 5_900, "{long}");
        assert!(long.p99_ms <= 1000.0, "{long}");
        assert!(after <= before * 13 / 10, "{before} KiB before, {after} KiB after");
    }
}

/// A gateway, and the store it follows.
struct Load {
    etcd: Etcd,
    mock: SocketAddr,
    gateway: Gateway,
    written: AtomicU64,
}

/// What a run saw.
struct Outcome {
    /// Chats, all served.
    requests: u64,
    changes: usize,
    /// From the store's acknowledgement to the first request that sees it.
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Processor time of the gateway.
    cpu_s: f64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} chats, none failed; {} changes, seen after {:.2} ms (p50), {:.2} ms (p99), {:.2} ms \
             (most); {:.2} s of CPU, {:.0} us per chat",
            self.requests,
            self.changes,
            self.p50_ms,
            self.p99_ms,
            self.max_ms,
            self.cpu_s,
            self.cpu_s * 1e6 / self.requests as f64
        )
    }
}

impl Load {
    fn new(engine: Engine) -> Self {
        let (etcd, mock) = (Etcd::start(), mock());
        let mut rows = Rows::new(etcd.addr());
        rows.seed(mock);
        rows.put("api_keys/caller", &Self::caller(0));
        let setup = Setup::new(engine, mock).following(etcd.addr());
        Self {
            etcd,
            mock,
            gateway: setup.start_ready(),
            written: AtomicU64::new(0),
        }
    }

    /// The caller's row, never twice the same.
    fn caller(number: u64) -> Value {
        let mut row = caller(CALLER_KEY, &["m", "p-*"]);
        row["user_name"] = format!("user {number}").into();
        row
    }

    /// Change `number`: a model comes, an old one goes, and of the rows that every request needs
    /// one is replaced.
    fn change(&self, rows: &mut Rows, number: u64) {
        let fresh = model(&format!("p-{number}"), "x");
        let came = format!("models/p-{number}");
        let gone = format!("models/p-{}", number.wrapping_sub(KEPT));
        let (row, document) = match number % 3 {
            0 => ("models/m", model("m", &format!("gpt-{}", number % 2))),
            1 => ("api_keys/caller", Self::caller(number)),
            _ => {
                let mut key = store::provider_key(self.mock);
                key["display_name"] = format!("up {number}").into();
                ("provider_keys/up", key)
            }
        };
        rows.commit(&[
            (&*came, Some(&fresh)),
            (&*gone, None),
            (row, Some(&document)),
        ]);
    }

    /// Chats for `time`, and so many changes per second. Fails if one chat does.
    fn run(&self, time: Duration, rate: u32) -> Outcome {
        let cpu_before_s = cpu_s(self.gateway.child.id());
        let clients: Vec<Steady> = (0..CLIENTS)
            .map(|number| Steady::start(&self.gateway, number % 2 == 0, CLIENT_PAUSE))
            .collect();
        let mut seen_ms = Vec::new();
        match rate {
            0 => pause(time),
            _ => self.write(time, rate, &mut seen_ms),
        }
        let requests = clients.into_iter().map(Steady::end).sum();
        let cpu_s = cpu_s(self.gateway.child.id()) - cpu_before_s;
        seen_ms.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let rank = ((seen_ms.len() as f64 * part).ceil() as usize).saturating_sub(1);
            seen_ms.get(rank).copied().unwrap_or_default()
        };
        Outcome {
            requests,
            changes: seen_ms.len(),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            max_ms: at(1.0),
            cpu_s,
        }
    }

    /// Changes at `rate` per second; notes how long each took to be seen, in ms.
    fn write(&self, time: Duration, rate: u32, seen_ms: &mut Vec<f64>) {
        let mut rows = Rows::new(self.etcd.addr());
        let mut raw = self.gateway.connect();
        let start = now();
        let mut due = start;
        while start.elapsed() < time || seen_ms.len() < CHANGES_MIN {
            let number = self.written.fetch_add(1, Ordering::Relaxed) + 1;
            self.change(&mut rows, number);
            let acknowledged = now();
            while !sees(&mut raw, number) {
                assert!(
                    acknowledged.elapsed() < PATIENCE,
                    "change {number} is not seen"
                );
            }
            seen_ms.push(acknowledged.elapsed().as_secs_f64() * 1e3);
            due += Duration::from_secs(1) / rate;
            pause(due.saturating_duration_since(now()));
        }
    }
}

/// Whether the model of change `number` is served.
fn sees(raw: &mut Raw, number: u64) -> bool {
    raw.send(&get(&format!("/v1/models/p-{number}")));
    let answer = raw.response();
    assert!(matches!(answer.status, 200 | 404), "{}", answer.text());
    answer.status == 200
}

/// Processor time of a process so far.
fn cpu_s(pid: u32) -> f64 {
    const TICKS_PER_S: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The second field is the name in parentheses; user and system time are the 14th and 15th.
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
    let ticks = fields
        .skip(11)
        .take(2)
        .map(|text| text.parse::<f64>().unwrap());
    ticks.sum::<f64>() / TICKS_PER_S
}
