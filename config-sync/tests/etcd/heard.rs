//! A follower on a thread of its own, and what its sink has heard.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use config_sync::source::etcd::{Clocks, Command, Endpoint, EtcdOptions, follow};
use config_sync::source::{Batch, Change, Listing, Sink, StoredRow};
use tokio::sync::mpsc::Sender;

use crate::direct::{Content, Direct, runtime};

/// How long anything may take before a test gives up. Generous: the machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long catching up may take once the trouble is over.
const HEALING: Duration = Duration::from_secs(5);
/// The prefix of most tests.
pub const PREFIX: &str = "/sluice";

/// One call of the sink.
#[allow(dead_code, reason = "printed when a test fails")]
#[derive(Clone, Debug)]
pub enum Call {
    Listing { revision: i64, rows: usize },
    Batch { revision: i64, changes: usize },
    Confirmed(i64),
    Lost(String),
}

/// What was heard, and what it adds up to.
#[derive(Debug, Default)]
pub struct Heard {
    pub calls: Vec<Call>,
    /// The rows after all calls.
    pub rows: Content,
    /// The revision of the last listing or batch.
    pub revision: i64,
    /// The revision confirmed since the last listing.
    promised: i64,
    /// Whether the store may go back in time.
    pub may_regress: bool,
    /// What must not happen and did.
    pub violations: Vec<String>,
}

impl Heard {
    pub fn listings(&self) -> usize {
        let listings = self.calls.iter();
        listings
            .filter(|call| matches!(call, Call::Listing { .. }))
            .count()
    }

    /// The changes of each batch.
    pub fn batches(&self) -> Vec<usize> {
        let batch = |call: &Call| match call {
            Call::Batch { changes, .. } => Some(*changes),
            _ => None,
        };
        self.calls.iter().filter_map(batch).collect()
    }

    pub fn losses(&self) -> Vec<&str> {
        let calls = self.calls.iter();
        let losses = calls.filter_map(|call| match call {
            Call::Lost(why) => Some(why.as_str()),
            _ => None,
        });
        losses.collect()
    }

    /// The revision of the last confirmation.
    pub fn confirmed(&self) -> Option<i64> {
        self.calls.iter().rev().find_map(|call| match call {
            Call::Confirmed(revision) => Some(*revision),
            _ => None,
        })
    }

    fn reached(&mut self, revision: i64, what: &str) {
        if revision < self.revision && !self.may_regress {
            let known = self.revision;
            self.violations
                .push(format!("{what} at {revision} after {known}"));
        }
        self.revision = revision;
    }

    fn put(rows: &mut Content, row: StoredRow) -> Option<i64> {
        let value = (row.value.to_vec(), row.mod_revision);
        let before = rows.insert(row.key.into(), value)?;
        Some(before.1)
    }
}

/// A probe that fails while it looks must not fail the follower too.
fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sink of the follower's thread.
struct Ear(Arc<Mutex<Heard>>);

impl Sink for Ear {
    fn listing(&mut self, listing: Listing) {
        let mut heard = lock(&self.0);
        heard.calls.push(Call::Listing {
            revision: listing.revision,
            rows: listing.rows.len(),
        });
        heard.reached(listing.revision, "a listing");
        heard.promised = 0;
        let mut rows = Content::new();
        for row in listing.rows {
            if row.mod_revision > listing.revision {
                heard.violations.push(format!("{row:?} of the future"));
            }
            Heard::put(&mut rows, row);
        }
        heard.rows = rows;
    }

    fn batch(&mut self, batch: Batch) {
        let mut heard = lock(&self.0);
        heard.calls.push(Call::Batch {
            revision: batch.revision,
            changes: batch.changes.len(),
        });
        heard.reached(batch.revision, "a batch");
        if heard.promised >= batch.revision {
            let promised = heard.promised;
            let text = format!(
                "a batch at {} after a promise of {promised}",
                batch.revision
            );
            heard.violations.push(text);
        }
        for change in batch.changes {
            match change {
                Change::Put(row) => {
                    let text = format!("{row:?}");
                    let now = row.mod_revision;
                    let before = Heard::put(&mut heard.rows, row);
                    if before.is_some_and(|before| before >= now) || now > batch.revision {
                        heard.violations.push(format!("{text} after {before:?}"));
                    }
                }
                Change::Delete { key } => {
                    heard.rows.remove(&*key);
                }
            }
        }
    }

    fn confirmed(&mut self, revision: i64) {
        let mut heard = lock(&self.0);
        heard.calls.push(Call::Confirmed(revision));
        heard.promised = revision;
        if revision < heard.revision {
            let known = heard.revision;
            heard
                .violations
                .push(format!("{revision} confirmed after {known}"));
        }
    }

    fn lost(&mut self, why: &str) {
        let mut heard = lock(&self.0);
        heard.calls.push(Call::Lost(why.to_owned()));
    }
}

/// A follower that runs until it is dropped.
pub struct Follower {
    heard: Arc<Mutex<Heard>>,
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    pub fn start(options: EtcdOptions) -> Self {
        let heard = Arc::<Mutex<Heard>>::default();
        let mut ear = Ear(Arc::clone(&heard));
        let (commands, mut orders) = tokio::sync::mpsc::channel(4);
        let thread = std::thread::spawn(move || {
            runtime().block_on(follow(&options, &mut ear, &mut orders));
        });
        Self {
            heard,
            commands: Some(commands),
            thread: Some(thread),
        }
    }

    /// What was heard so far.
    pub fn lock(&self) -> MutexGuard<'_, Heard> {
        lock(&self.heard)
    }

    pub fn resync(&self) {
        let commands = self.commands.as_ref().unwrap();
        commands.blocking_send(Command::Resync).unwrap();
    }

    /// Waits until `probe` has an answer.
    pub fn until<T>(&self, what: &str, probe: impl Fn(&Heard) -> Option<T>) -> T {
        self.within(PATIENCE, what, probe)
    }

    /// Waits until `probe` has an answer, for no longer than `limit`.
    fn within<T>(&self, limit: Duration, what: &str, probe: impl Fn(&Heard) -> Option<T>) -> T {
        let started = now();
        loop {
            let heard = self.lock();
            if let Some(found) = probe(&heard) {
                return found;
            }
            let waited = started.elapsed();
            assert!(waited < limit, "{what} after {waited:?}: {:?}", heard.calls);
            drop(heard);
            pause(Duration::from_millis(5));
        }
    }

    /// Waits until everything heard adds up to what `direct` reads below `prefix`. Nobody may write
    /// meanwhile.
    pub fn agrees_with(&self, direct: &mut Direct, prefix: &str) {
        self.agrees_within(PATIENCE, direct, prefix);
    }

    /// The same once trouble is over.
    pub fn heals(&self, direct: &mut Direct) {
        self.agrees_within(HEALING, direct, PREFIX);
    }

    fn agrees_within(&self, limit: Duration, direct: &mut Direct, prefix: &str) {
        let content = direct.content(prefix);
        self.within(limit, "agreement", |heard| {
            (heard.rows == content).then_some(())
        });
    }

    /// Waits for the next listing after `before` of them.
    pub fn listed_after(&self, before: usize) {
        self.until("a listing", |heard| {
            (heard.listings() > before).then_some(())
        });
    }

    /// Waits for one more confirmation.
    pub fn confirmed_again(&self) -> i64 {
        let calls = self.lock().calls.len();
        self.until("a confirmation", |heard| {
            heard.calls[calls..].iter().find_map(|call| match call {
                Call::Confirmed(revision) => Some(*revision),
                _ => None,
            })
        })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.commands = None;
        let ended = self.thread.take().map(JoinHandle::join);
        if std::thread::panicking() {
            return;
        }
        ended.unwrap().expect("the follower ends without a panic");
        let heard = self.lock();
        let violations = &heard.violations;
        assert!(violations.is_empty(), "{violations:?}: {:?}", heard.calls);
    }
}

/// Options for plain members at `addresses`: with a loss soon noticed and repaired. On a machine
/// that is busy with other things an answer may come too late for these clocks.
pub fn hasty(addresses: &[SocketAddr], prefix: &str) -> EtcdOptions {
    let mut options = options(addresses, prefix);
    options.dial_timeout = Some(Duration::from_millis(500));
    options.request_timeout = Some(Duration::from_millis(1500));
    options.clocks.silence_limit = Duration::from_millis(700);
    options
}

/// Options for plain members at `addresses`: nothing that still answers counts as lost, however
/// slow the machine is.
pub fn options(addresses: &[SocketAddr], prefix: &str) -> EtcdOptions {
    let endpoints = addresses.iter().map(|addr| Endpoint {
        https: false,
        host: addr.ip().to_string().into(),
        port: addr.port(),
    });
    let mut options = EtcdOptions::new(endpoints.collect(), prefix);
    options.dial_timeout = Some(PATIENCE);
    options.request_timeout = Some(PATIENCE);
    options.clocks = Clocks {
        progress_interval: Duration::from_millis(100),
        silence_limit: PATIENCE,
        ping_interval: PATIENCE,
        // After many failures the wait is 1.2 s.
        backoff_unit: Duration::from_millis(20),
        relist_delay: Duration::from_millis(20),
        ..Clocks::default()
    };
    options
}

#[expect(clippy::disallowed_methods, reason = "tests run on the wall clock")]
pub fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a thread of a test's own")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
