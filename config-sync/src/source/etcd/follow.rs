//! Follows a prefix for as long as the process lives, whatever happens to etcd. [cold]

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout_at};

use super::backoff::Backoff;
use super::client::{Connection, Watch};
use super::error::StoreError;
use super::options::EtcdOptions;
use super::watch::{End, Header, Stale, Told, Watching};
use crate::source::store::Sink;

/// Watches in a row that may end without having told anything before that counts as a failure.
const FRUITLESS_MAX: u32 = 5;

/// What the follower is told from outside.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// Read the TLS files again, connect again, list again, now.
    Resync,
}

/// Follows the prefix of `options`: lists it at one revision, then watches from the next one, and
/// tells `sink` in order. Returns when `commands` is closed.
///
/// Nothing is resumed: after whatever ends a watch, everything is listed again, so that a restored
/// or compacted store is taken as it is. Where nothing failed – the server ended the stream, the
/// history was compacted, the store was restored – that happens after a short while on the same
/// member; otherwise the sink is told, and the next member is tried after a growing wait.
///
/// Keeps no more than one listing in memory. Runs on a current-thread runtime of tokio with its
/// clock and I/O enabled; reads small files without leaving the thread.
pub async fn follow(options: &EtcdOptions, sink: &mut impl Sink, commands: &mut Receiver<Command>) {
    let mut follower = Follower::new(options);
    loop {
        // A listing is handed over in one step and a batch too: dropping the attempt in between
        // leaves the sink with what it has heard so far.
        let ended = tokio::select! {
            biased;
            command = commands.recv() => match command {
                None => return,
                Some(Command::Resync) => None,
            },
            ended = follower.attempt(sink) => Some(ended),
        };
        let Some(ended) = ended else {
            follower.start_over(commands);
            continue;
        };
        let wait = follower.after(&ended, sink);
        tokio::select! {
            command = commands.recv() => match command {
                None => return,
                Some(Command::Resync) => follower.start_over(commands),
            },
            () = sleep(wait) => {}
        }
    }
}

/// Why an attempt is over.
enum Ended {
    /// Nothing failed; the text says what happened.
    Again(&'static str),
    Failed(StoreError),
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Compacted => Self::Again("the history was compacted"),
            StoreError::FutureRevision => Self::Again("the store was restored"),
            StoreError::TokenExpired => Self::Again("the token of the login expired"),
            error => Self::Failed(error),
        }
    }
}

impl From<End> for Ended {
    fn from(end: End) -> Self {
        match end {
            End::Stale(Stale::Compacted) => StoreError::Compacted.into(),
            End::Stale(Stale::Restored) => StoreError::FutureRevision.into(),
            End::Stale(Stale::OtherCluster) => Self::Again("another cluster answers"),
            End::Stale(Stale::Disorder) => Self::Again("events came out of order"),
            End::Refused(reason) => Self::Failed(StoreError::Refused(reason)),
        }
    }
}

struct Follower<'o> {
    options: &'o EtcdOptions,
    /// Which endpoint is in use.
    turn: usize,
    backoff: Backoff,
    /// Rows of the next page; smaller than configured after a page that did not fit.
    page_rows: u32,
    /// Attempts in a row that ended without a failure, and without a word from a watch.
    fruitless: u32,
}

impl<'o> Follower<'o> {
    fn new(options: &'o EtcdOptions) -> Self {
        Self {
            options,
            turn: 0,
            backoff: Backoff::new(options.clocks.backoff_unit),
            page_rows: options.clocks.page_rows.max(1),
            fruitless: 0,
        }
    }

    /// Forgets failures and further commands: one resync answers them all.
    fn start_over(&mut self, commands: &mut Receiver<Command>) {
        while commands.try_recv().is_ok() {}
        self.backoff.reset();
        self.fruitless = 0;
    }

    /// Connects, lists and watches until something ends it.
    async fn attempt(&mut self, sink: &mut impl Sink) -> Ended {
        match Box::pin(self.try_attempt(sink)).await {
            Err(ended) | Ok(ended) => ended,
        }
    }

    async fn try_attempt(&mut self, sink: &mut impl Sink) -> Result<Ended, Ended> {
        let options = self.options;
        let Some(endpoint) = options.endpoints.get(self.turn) else {
            let nowhere = "etcd.endpoints: is empty".to_owned();
            return Err(StoreError::Options(nowhere).into());
        };
        let mut connection = Connection::open(options, endpoint).await?;
        let (listed, listing) = connection.list(&mut self.page_rows).await?;
        tracing::debug!(
            %endpoint,
            revision = listed.revision,
            rows = listing.rows.len(),
            "The configuration store was listed."
        );
        sink.listing(listing);
        self.backoff.reset();
        let grown = self.page_rows.saturating_mul(2);
        self.page_rows = grown.min(options.clocks.page_rows.max(1));
        let watch = connection.watch(listed.revision.saturating_add(1)).await?;
        self.watch(listed, watch, sink).await
    }

    /// Hands on what `watch` tells. Ends with the stream, or when it has been silent too long.
    async fn watch(
        &mut self,
        listed: Header,
        mut watch: Watch,
        sink: &mut impl Sink,
    ) -> Result<Ended, Ended> {
        let clocks = self.options.clocks;
        let mut watching = Watching::after(listed);
        let every = clocks.progress_interval.max(Duration::from_millis(1));
        let mut ask = interval_at(Instant::now() + every, every);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            let next = tokio::select! {
                biased;
                next = timeout_at(heard + clocks.silence_limit, watch.next()) => next,
                _ = ask.tick() => {
                    watch.ask().await?;
                    continue;
                }
            };
            let message = match next {
                Err(_) => {
                    let (what, after) = ("the progress requests of a watch", clocks.silence_limit);
                    return Err(StoreError::TimedOut { what, after }.into());
                }
                // More happened at once than one answer may hold: a listing comes in pages.
                Ok(Err(StoreError::AnswerTooLarge)) => {
                    return Ok(Ended::Again("too much changed at once"));
                }
                Ok(Ok(None)) => return Ok(Ended::Again("the server ended the watch")),
                Ok(message) => message?,
            };
            match message.map(|message| watching.take(message)) {
                None | Some(Ok(Told::Nothing)) => {}
                Some(Ok(Told::Batch(batch))) => {
                    self.fruitless = 0;
                    sink.batch(batch);
                }
                Some(Ok(Told::Confirmed(revision))) => {
                    self.fruitless = 0;
                    sink.confirmed(revision);
                }
                Some(Err(end)) => return Err(end.into()),
            }
            // After the sink is done: its time is not the server's silence.
            heard = Instant::now();
        }
    }

    /// Tells `sink` if something failed, and says how long to wait before the next attempt.
    fn after(&mut self, ended: &Ended, sink: &mut impl Sink) -> Duration {
        let endpoint = self.options.endpoints.get(self.turn);
        let place = endpoint.map_or_else(|| "etcd".to_owned(), |it| format!("etcd {it}"));
        match ended {
            Ended::Again(why) if self.fruitless < FRUITLESS_MAX => {
                self.fruitless += 1;
                tracing::debug!(%place, why, "The configuration store is listed again.");
                return self.options.clocks.relist_delay;
            }
            Ended::Again(why) => sink.lost(&format!("{place}: {why}, again and again")),
            Ended::Failed(error) => sink.lost(&format!("{place}: {error}")),
        }
        self.fruitless = 0;
        self.turn = (self.turn + 1) % self.options.endpoints.len().max(1);
        self.backoff.after_failure(random())
    }
}

/// Any number: the keys of a hash map are random.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
