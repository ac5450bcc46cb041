//! The I/O engine of every worker: io_uring where the host allows it, else epoll. [boot]
//!
//! A ring must be made on the thread that uses it, and all workers must end up on the same engine.
//! So each worker thread tries the rung it is told, says how it went, and boot steps down for all
//! of them until a rung holds.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, Runtime, RuntimeBuilder};
use rustix::io::Errno;

/// What the operator asked for (`proxy.io_engine`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum EngineChoice {
    /// io_uring if the host allows it, epoll otherwise.
    #[default]
    Auto,
    /// io_uring, or no start.
    IoUring,
    /// epoll.
    Epoll,
}

/// What the workers run on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Engine {
    /// A ring of this many submission entries; `tuned` with `SINGLE_ISSUER` and `DEFER_TASKRUN`
    /// (kernel 6.1).
    IoUring {
        /// Submission queue entries. Kernel memory counts against `RLIMIT_MEMLOCK` of the user.
        entries: u32,
        /// Whether the ring has the flags of a single-threaded server.
        tuned: bool,
    },
    /// The readiness fallback.
    Epoll,
}

impl Engine {
    /// The name in logs, metrics and status pages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::IoUring { .. } => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

/// Entries of the ring wanted first: 104 KB of locked memory per worker on a 6.18 kernel.
const ENTRIES: u32 = 1024;
/// Entries where locked memory is scarce: 28 KB per worker.
const ENTRIES_SMALL: u32 = 256;
/// Rings of a failed rung free their memory some time after they are closed: a rung that fails for
/// memory is tried once more after this pause.
const MEMORY_PAUSE: Duration = Duration::from_millis(100);

/// The next rung below `engine` after `error`, or `None` at the bottom.
fn step_down(engine: Engine, error: &io::Error) -> Option<Engine> {
    let Engine::IoUring { entries, tuned } = engine else {
        return None;
    };
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::INVAL) if tuned => Some(Engine::IoUring {
            entries,
            tuned: false,
        }),
        Some(Errno::NOMEM) if entries > ENTRIES_SMALL => Some(Engine::IoUring {
            entries: ENTRIES_SMALL,
            tuned,
        }),
        _ => Some(Engine::Epoll),
    }
}

/// A runtime on either engine.
pub(crate) enum WorkerRuntime {
    Ring(Runtime<TimeDriver<IoUringDriver>>),
    Epoll(Runtime<TimeDriver<LegacyDriver>>),
}

impl WorkerRuntime {
    fn build(engine: Engine) -> io::Result<Self> {
        match engine {
            Engine::IoUring { entries, tuned } => {
                let mut ring = io_uring::IoUring::builder();
                if tuned {
                    ring.setup_single_issuer().setup_defer_taskrun();
                }
                // A host may let rings be set up and not entered: better found here than by a worker that never turns.
                ring.build(1)?.submit()?;
                RuntimeBuilder::<IoUringDriver>::new()
                    .uring_builder(ring)
                    .with_entries(entries)
                    .enable_timer()
                    .build()
                    .map(Self::Ring)
            }
            Engine::Epoll => RuntimeBuilder::<LegacyDriver>::new()
                .enable_timer()
                .build()
                .map(Self::Epoll),
        }
    }

    /// Whether this is a ring.
    pub(crate) fn is_ring(&self) -> bool {
        matches!(self, Self::Ring(_))
    }

    /// Runs `main` to its end on this thread.
    pub(crate) fn block_on<F: Future>(&mut self, main: F) -> F::Output {
        match self {
            Self::Ring(runtime) => runtime.block_on(main),
            Self::Epoll(runtime) => runtime.block_on(main),
        }
    }
}

/// Boot's side of the ladder: one line to each worker thread.
pub(crate) struct Ladder {
    workers: Vec<(Sender<Rung>, Receiver<io::Result<()>>)>,
}

/// All workers stand on one rung.
pub(crate) struct Settled {
    ladder: Ladder,
    /// The rung.
    pub engine: Engine,
    /// Why a higher rung did not hold.
    pub reason: Option<io::Error>,
}

impl Settled {
    /// Sets the workers off.
    pub(crate) fn go(&self) {
        for (rungs, _) in &self.ladder.workers {
            // A worker that is gone by now shows when its thread is looked at.
            let _ = rungs.send(Rung::Stay);
        }
    }
}

/// A worker's side of the ladder.
pub(crate) struct Footing {
    rungs: Receiver<Rung>,
    answers: Sender<io::Result<()>>,
}

#[derive(Clone, Copy)]
enum Rung {
    Try(Engine),
    Stay,
}

impl Ladder {
    /// A ladder for workers that are yet to be started.
    pub(crate) fn new() -> Self {
        Self {
            workers: Vec::new(),
        }
    }

    /// The side of one more worker.
    pub(crate) fn add_worker(&mut self) -> Footing {
        let (rung_sender, rungs) = channel();
        let (answers, answer_receiver) = channel();
        self.workers.push((rung_sender, answer_receiver));
        Footing { rungs, answers }
    }

    /// Finds the highest rung that holds for every worker. They wait on it until [`Settled::go`].
    ///
    /// # Errors
    ///
    /// The last rung's, where no permitted rung holds.
    pub(crate) fn settle(self, choice: EngineChoice) -> io::Result<Settled> {
        let mut engine = match choice {
            EngineChoice::Auto | EngineChoice::IoUring => Engine::IoUring {
                entries: ENTRIES,
                tuned: true,
            },
            EngineChoice::Epoll => Engine::Epoll,
        };
        let mut reason = None;
        loop {
            let Some(error) = self.try_all(engine) else {
                return Ok(Settled {
                    ladder: self,
                    engine,
                    reason,
                });
            };
            match step_down(engine, &error) {
                Some(Engine::Epoll) if choice == EngineChoice::IoUring => return Err(error),
                Some(below) => engine = below,
                None => return Err(error),
            }
            reason.get_or_insert(error);
        }
    }

    fn try_all(&self, engine: Engine) -> Option<io::Error> {
        let first = self.try_once(engine)?;
        if first.raw_os_error() != Some(Errno::NOMEM.raw_os_error()) {
            return Some(first);
        }
        std::thread::park_timeout(MEMORY_PAUSE);
        self.try_once(engine)
    }

    fn try_once(&self, engine: Engine) -> Option<io::Error> {
        let mut failed = None;
        for (rungs, _) in &self.workers {
            if rungs.send(Rung::Try(engine)).is_err() {
                failed = Some(io::Error::other("a worker thread ended at boot"));
            }
        }
        for (_, answers) in &self.workers {
            match answers.recv() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failed = Some(error),
                Err(_) => failed = Some(io::Error::other("a worker thread ended at boot")),
            }
        }
        failed
    }
}

/// What `workers` workers would settle on, with the reason of a step down. Rings are set up, one on a
/// thread of its own each, and freed again.
///
/// # Errors
///
/// As [`Ladder::settle`]; a thread could not be started.
pub(crate) fn rehearse(
    choice: EngineChoice,
    workers: usize,
) -> io::Result<(Engine, Option<io::Error>)> {
    let mut ladder = Ladder::new();
    let mut threads = Vec::with_capacity(workers);
    for _ in 0..workers {
        let footing = ladder.add_worker();
        let thread = std::thread::Builder::new().spawn(move || drop(footing.find()))?;
        threads.push(thread);
    }
    let Settled {
        ladder,
        engine,
        reason,
    } = ladder.settle(choice)?;
    // Threads end once nobody is left to tell them of a rung.
    drop(ladder);
    for thread in threads {
        thread
            .join()
            .map_err(|_| io::Error::other("a thread panicked"))?;
    }
    Ok((engine, reason))
}

impl Footing {
    /// Tries rungs as told until boot says to stay; `None` where boot gave up.
    pub(crate) fn find(self) -> Option<WorkerRuntime> {
        let mut held = None;
        loop {
            match self.rungs.recv().ok()? {
                Rung::Stay => return held,
                Rung::Try(engine) => {
                    // The ring of the rung above is closed before the next is made.
                    drop(held.take());
                    let answer = match WorkerRuntime::build(engine) {
                        Ok(runtime) => {
                            held = Some(runtime);
                            Ok(())
                        }
                        Err(error) => Err(error),
                    };
                    self.answers.send(answer).ok()?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(entries: u32, tuned: bool) -> Engine {
        Engine::IoUring { entries, tuned }
    }

    #[test]
    fn each_error_leads_to_its_own_rung() {
        let cases = [
            (
                ring(ENTRIES, true),
                Errno::INVAL,
                Some(ring(ENTRIES, false)),
            ),
            (ring(ENTRIES, false), Errno::INVAL, Some(Engine::Epoll)),
            (
                ring(ENTRIES, true),
                Errno::NOMEM,
                Some(ring(ENTRIES_SMALL, true)),
            ),
            (ring(ENTRIES_SMALL, true), Errno::NOMEM, Some(Engine::Epoll)),
            (ring(ENTRIES, true), Errno::PERM, Some(Engine::Epoll)),
            (ring(ENTRIES, true), Errno::NOSYS, Some(Engine::Epoll)),
            (Engine::Epoll, Errno::MFILE, None),
        ];
        for (from, errno, want) in cases {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            assert_eq!(step_down(from, &error), want, "{from:?} after {errno:?}");
        }
    }

    #[test]
    fn all_workers_settle_on_one_rung_and_run() {
        for choice in [EngineChoice::Auto, EngineChoice::Epoll] {
            let mut ladder = Ladder::new();
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let footing = ladder.add_worker();
                    std::thread::spawn(move || {
                        let mut runtime = footing.find().expect("boot settles");
                        runtime.block_on(async { 7 })
                    })
                })
                .collect();
            let settled = ladder.settle(choice).unwrap();
            if choice == EngineChoice::Epoll {
                assert_eq!(settled.engine, Engine::Epoll);
            }
            settled.go();
            for thread in threads {
                assert_eq!(thread.join().unwrap(), 7);
            }
        }
    }
}
