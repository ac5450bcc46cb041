//! The tasks that send requests and read answers. [cold]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;
use crate::run::client::{Client, Failure, Response};
use crate::run::stats::{Sequence, Stats};
use crate::sse::{self, Event};
use crate::timer;

/// Pause of a task after a failure: a target that is down must not be hammered.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);

/// What each exchange is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Unary,
    /// A stream that has this many content events.
    Stream(u32),
    /// A stream that the client leaves after its first event.
    Abort,
}

/// One target under load, shared by its tasks.
pub(super) struct Load {
    pub(super) address: SocketAddr,
    pub(super) request: Vec<u8>,
    pub(super) kind: Kind,
    /// For one whole exchange.
    pub(super) timeout: Duration,
    /// After each read of a stream; a caller that is slower than its upstream.
    pub(super) read_pause: Duration,
    pub(super) stats: Mutex<Stats>,
}

/// When exchanges begin.
pub(super) enum Pace {
    /// As soon as the one before has ended, until none are left.
    Closed { left: AtomicU64 },
    /// At fixed times, whatever became of those before.
    Open {
        start: Instant,
        interval: Duration,
        next: AtomicU64,
        count: u64,
    },
}

impl Pace {
    /// `limit` exchanges, or as many as fit until [`Pace::stop`].
    pub(super) fn closed(limit: Option<u64>) -> Self {
        Self::Closed {
            left: AtomicU64::new(limit.unwrap_or(u64::MAX)),
        }
    }

    /// `rate` exchanges per second, which must be above zero.
    pub(super) fn open(start: Instant, rate: f64, duration: Duration) -> Self {
        Self::Open {
            start,
            interval: Duration::from_secs_f64(1.0 / rate),
            next: AtomicU64::new(0),
            count: (rate * duration.as_secs_f64()).round() as u64,
        }
    }

    /// Lets no further exchange begin, if this is a closed loop.
    pub(super) fn stop(&self) {
        if let Self::Closed { left } = self {
            left.store(0, Ordering::Relaxed);
        }
    }

    /// When the next exchange shall begin; `None` when all have.
    fn next(&self) -> Option<Instant> {
        match self {
            Self::Closed { left } => {
                let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                });
                taken.is_ok().then(clock::now)
            }
            Self::Open {
                start,
                interval,
                next,
                count,
            } => {
                let index = next.fetch_add(1, Ordering::Relaxed);
                (index < *count).then(|| *start + interval.mul_f64(index as f64))
            }
        }
    }
}

impl Load {
    pub(super) fn stats(&self) -> MutexGuard<'_, Stats> {
        // Each critical section leaves whole values behind.
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends requests over one connection until `pace` has no more.
    pub(super) async fn work(self: Arc<Self>, pace: Arc<Pace>) {
        let mut client = None;
        while let Some(begin) = pace.next() {
            if matches!(*pace, Pace::Open { .. }) {
                timer::sleep_until(begin).await;
            }
            if self.once(&mut client, begin).await.is_err() {
                timer::sleep(FAILURE_PAUSE).await;
            }
        }
    }

    /// One exchange, whose time counts from `begin`. Leaves the connection in `client` if it may
    /// be used again.
    pub(super) async fn once(
        &self,
        client: &mut Option<Client>,
        begin: Instant,
    ) -> Result<(), Failure> {
        let exchange = tokio::time::timeout(self.timeout, self.exchange(client, begin));
        let result = exchange.await.unwrap_or(Err(Failure::Timeout));
        if let Err(failure) = result {
            *client = None;
            self.stats().failed(failure);
        }
        result
    }

    async fn exchange(&self, slot: &mut Option<Client>, begin: Instant) -> Result<(), Failure> {
        let mut client = match slot.take() {
            Some(client) => client,
            None => Client::connect(self.address).await?,
        };
        client.send(&self.request).await?;
        let mut response = client.head().await?;
        let keep = match (response.status, self.kind) {
            (200, Kind::Unary) => self.unary(&mut client, &mut response, begin).await?,
            (200, Kind::Stream(events)) => {
                let mut open = Open::new(self, begin);
                let result = self
                    .stream(&mut client, &mut response, &mut open.reader)
                    .await;
                open.reader.sequence.ended(events);
                result?;
                self.stream_ended(&open.reader)?
            }
            (200, Kind::Abort) => {
                let mut reader = Reader::new(begin);
                let mut bytes = Vec::new();
                while !reader.begun && client.body(&mut response, &mut bytes).await? {
                    reader.take(&bytes, &mut self.stats());
                    bytes.clear();
                }
                self.stats().requests += 1;
                false
            }
            (status, _) => {
                let mut bytes = Vec::new();
                while client.body(&mut response, &mut bytes).await? {}
                if response.keep_alive {
                    *slot = Some(client);
                }
                self.stats().failed(Failure::Status(status));
                return Ok(());
            }
        };
        if keep && response.keep_alive {
            *slot = Some(client);
        }
        Ok(())
    }

    async fn unary(
        &self,
        client: &mut Client,
        response: &mut Response,
        begin: Instant,
    ) -> Result<bool, Failure> {
        let mut body = Vec::new();
        while client.body(response, &mut body).await? {}
        let took = nanos(begin, clock::now());
        let mut stats = self.stats();
        if stats.measuring {
            stats.requests += 1;
            stats.latency.record(took);
        }
        Ok(true)
    }

    async fn stream(
        &self,
        client: &mut Client,
        response: &mut Response,
        reader: &mut Reader,
    ) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        loop {
            let more = client.body(response, &mut bytes).await?;
            reader.take(&bytes, &mut self.stats());
            bytes.clear();
            if !more {
                return Ok(());
            }
            if !self.read_pause.is_zero() {
                timer::sleep(self.read_pause).await;
            }
        }
    }

    /// Accounts a stream that was read to its end; whether its connection may be used again.
    fn stream_ended(&self, reader: &Reader) -> Result<bool, Failure> {
        if reader.error {
            return Err(Failure::ErrorEvent);
        }
        if !reader.done {
            return Err(Failure::Unfinished);
        }
        let mut stats = self.stats();
        stats.requests += 1;
        stats.latency.record(nanos(reader.begin, clock::now()));
        Ok(true)
    }
}

/// One open stream; accounted when it ends, also if its task is aborted.
struct Open<'l> {
    load: &'l Load,
    reader: Reader,
}

impl<'l> Open<'l> {
    fn new(load: &'l Load, begin: Instant) -> Self {
        load.stats().open += 1;
        let reader = Reader::new(begin);
        Self { load, reader }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut stats = self.load.stats();
        stats.open -= 1;
        stats.sequence(&self.reader.sequence);
    }
}

/// Reads the events of one stream.
struct Reader {
    begin: Instant,
    scanner: sse::Scanner,
    sequence: Sequence,
    last: Option<Instant>,
    /// The first content event has come.
    begun: bool,
    done: bool,
    error: bool,
}

impl Reader {
    fn new(begin: Instant) -> Self {
        Self {
            begin,
            scanner: sse::Scanner::default(),
            sequence: Sequence::default(),
            last: None,
            begun: false,
            done: false,
            error: false,
        }
    }

    /// Accounts the events that `bytes` complete; all of them came now.
    fn take(&mut self, bytes: &[u8], stats: &mut Stats) {
        let (now, now_unix_us) = (clock::now(), clock::unix_micros());
        let (sequence, last, begin) = (&mut self.sequence, &mut self.last, self.begin);
        let (begun, done, error) = (&mut self.begun, &mut self.done, &mut self.error);
        self.scanner.feed(bytes, |event| match sse::read(event) {
            Event::Content { seq, sent_unix_us } => {
                sequence.see(seq);
                stats.events_all += 1;
                if !*begun {
                    *begun = true;
                    stats.ttft.record(nanos(begin, now));
                }
                if stats.measuring {
                    stats.events += 1;
                    let added_us = now_unix_us.saturating_sub(sent_unix_us);
                    stats.added.record(added_us.saturating_mul(1000));
                    if let Some(last) = *last {
                        stats.gap.record(nanos(last, now));
                    }
                }
                *last = Some(now);
            }
            Event::Done => *done = true,
            Event::Error => *error = true,
            Event::Other => {}
        });
    }
}

fn nanos(from: Instant, to: Instant) -> u64 {
    let duration = to.saturating_duration_since(from);
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
