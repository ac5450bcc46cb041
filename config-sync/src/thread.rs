//! The sync thread: follows a store, folds what it tells, publishes. [cold]
//!
//! ```text
//! etcd ──► loader: state ──► publisher ──► workers
//!             │      └─────► status   ──► status pages
//!             └─ sealed ───► the cache's writer ──► disk
//! ```
//!
//! It is the only writer of the configuration, and nothing of serving waits for it.

mod cache;
mod loader;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use self::loader::{Loader, Shared};
use crate::decode::OpenSecrets;
use crate::publish::{Publisher, SnapshotCell};
use crate::snapshot::Snapshot;
use crate::source::etcd::{Command, EtcdOptions, follow};
use crate::status::ConfigStatus;

/// How often what changed is hashed and stored, and old generations are freed.
const TICK: Duration = Duration::from_millis(250);
/// Messages that wait for the thread. One more is left out: those before it do the same.
const MESSAGES_MAX: usize = 8;

/// What opens sealed values, if anything does.
pub type Opener = Option<Box<dyn OpenSecrets + Send>>;

/// What the thread is told at boot.
pub struct SyncOptions {
    /// The store.
    pub etcd: EtcdOptions,
    /// Opens sealed values.
    pub opener: Opener,
    /// Where the rows are kept for a start without the store; `None` keeps none.
    pub cache: Option<PathBuf>,
}

/// The running thread. It ends when this is dropped.
#[derive(Debug)]
pub struct SyncThread {
    messages: Sender<Resync>,
    thread: JoinHandle<()>,
}

/// Read everything anew, opening sealed values with this.
struct Resync(Opener);

impl SyncThread {
    /// Takes over what the cache holds, so that it serves at once, and starts to follow the store.
    ///
    /// A store that cannot be reached is no error: it is tried until it answers.
    ///
    /// # Errors
    ///
    /// A thread could not be started.
    pub fn start(options: SyncOptions, status: ConfigStatus) -> io::Result<(Self, SnapshotCell)> {
        let (publisher, cell) = Publisher::new(Snapshot::empty());
        let mut loader = Loader::new(&options.etcd.prefix, options.opener, publisher, status);
        if let Some(path) = options.cache {
            loader.restore(path)?;
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (messages, received) = channel(MESSAGES_MAX);
        let etcd = options.etcd;
        let thread = std::thread::Builder::new()
            .name("sluice-sync".to_owned())
            .spawn(move || run(&runtime, &etcd, loader, received))?;
        Ok((Self { messages, thread }, cell))
    }

    /// Reads key rings, TLS files and the whole store anew.
    pub fn resync(&self, opener: Opener) {
        // A full queue holds the same order already.
        let _ = self.messages.try_send(Resync(opener));
    }

    /// Whether the thread has ended by itself, which only a panic can bring about.
    pub fn is_dead(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends the thread once the cache on disk is up to date.
    pub fn stop(self) {
        drop(self.messages);
        // A panic was logged where it happened.
        let _ = self.thread.join();
    }
}

impl fmt::Debug for Resync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resync")
    }
}

fn run(runtime: &Runtime, etcd: &EtcdOptions, loader: Loader, mut messages: Receiver<Resync>) {
    // No borrow is held across an await: the three tasks below take turns on this thread.
    let loader = Rc::new(RefCell::new(loader));
    runtime.block_on(async {
        let (commands, mut orders) = channel(1);
        let mut sink = Shared(Rc::clone(&loader));
        let following = follow(etcd, &mut sink, &mut orders);
        let obeying = async {
            while let Some(Resync(opener)) = messages.recv().await {
                loader.borrow_mut().reopen(opener);
                if commands.send(Command::Resync).await.is_err() {
                    break;
                }
            }
            drop(commands);
        };
        let ticking = async {
            loop {
                tokio::time::sleep(TICK).await;
                loader.borrow_mut().tick();
            }
        };
        tokio::select! {
            ((), ()) = async { tokio::join!(following, obeying) } => {}
            () = ticking => {}
        }
    });
    loader.borrow_mut().flush();
}
