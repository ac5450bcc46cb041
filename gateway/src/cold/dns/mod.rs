//! Name resolution for the workers, through the system's resolver. [cold]
//!
//! `getaddrinfo` on a few blocking threads, so that nsswitch, /etc/hosts and search domains act
//! as for every other program.

pub mod cache;

use std::net::{IpAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, histogram};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};

use crate::bridge::WorkerView;
use crate::bridge::dns::{DnsAnswer, DnsError, DnsRequest};
use crate::bridge::mailbox::{Receiver, ToWorker};
use cache::Cache;

/// Longest lookup. The resolver may go on in its thread; its result is then dropped.
pub const LOOKUP_LIMIT: Duration = Duration::from_secs(5);
/// Lookups in threads at a time, hung ones included.
pub const LOOKUPS_MAX: usize = 16;

/// How names become addresses: the system, or a table in tests.
pub trait Lookup: Clone + Send + Sync + 'static {
    /// Blocks until the answer is known.
    ///
    /// # Errors
    ///
    /// [`DnsError::NotFound`] when there is none.
    fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, DnsError>;
}

/// The system's resolver.
#[derive(Clone, Copy, Debug)]
pub struct SystemResolver;

impl Lookup for SystemResolver {
    fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        let found = (host, 0)
            .to_socket_addrs()
            .map_err(|_| DnsError::NotFound)?;
        Ok(found.map(|addr| addr.ip()).collect())
    }
}

type Finished = (Arc<str>, Result<Vec<IpAddr>, DnsError>);

/// Answers the workers' questions until the runtime ends.
pub async fn serve<L: Lookup>(
    questions: Receiver<DnsRequest>,
    wake: OwnedFd,
    workers: Vec<WorkerView>,
    lookup: L,
) -> std::io::Result<()> {
    let bell = StdUnixStream::from(wake);
    bell.set_nonblocking(true)?;
    let bell = UnixStream::from_std(bell)?;
    let mut cache = Cache::default();
    let start = Instant::now();
    let threads = Arc::new(Semaphore::new(LOOKUPS_MAX));
    // At most one message per host under way, and those are bounded by the cache.
    let (done, mut finished) = mpsc::unbounded_channel::<Finished>();
    loop {
        tokio::select! {
            ready = bell.readable() => {
                ready?;
                // Pending wake-ups are read away first: one that comes later is seen again.
                while let Ok(read) = bell.try_read(&mut [0; 64]) {
                    if read == 0 {
                        return Ok(()); // Every worker is gone.
                    }
                }
                while let Some(request) = questions.pop() {
                    let step = cache.ask(&request.host, request.worker, start.elapsed());
                    if let Some(answer) = step.answer {
                        send(&workers, request.worker, answer);
                    }
                    if step.look_up {
                        let (lookup, threads) = (lookup.clone(), Arc::clone(&threads));
                        let done = done.clone();
                        tokio::spawn(async move {
                            let result = run(lookup, &request.host, threads).await;
                            let _ = done.send((request.host, result));
                        });
                    }
                }
            }
            Some((host, result)) = finished.recv() => {
                if let Err(error) = &result {
                    tracing::warn!(host = &*host, error = error.message(), "a name did not resolve");
                }
                if let Some((answer, waiting)) = cache.found(&host, result, start.elapsed()) {
                    for worker in waiting {
                        send(&workers, worker, answer.clone());
                    }
                }
            }
        }
    }
}

fn send(workers: &[WorkerView], worker: u16, answer: DnsAnswer) {
    let delivered = workers
        .get(usize::from(worker))
        .is_some_and(|worker| worker.mailbox.send(ToWorker::Dns(answer)));
    if !delivered {
        counter!("sluice_dns_lookups_total", "result" => "undelivered").increment(1);
    }
}

/// Looks `host` up in a thread, once `threads` has a place for it; for at most [`LOOKUP_LIMIT`].
pub(super) async fn run<L: Lookup>(
    lookup: L,
    host: &Arc<str>,
    threads: Arc<Semaphore>,
) -> Result<Vec<IpAddr>, DnsError> {
    let start = Instant::now();
    let host = Arc::clone(host);
    let work = async {
        let permit = threads.acquire_owned().await.map_err(|_| DnsError::Busy)?;
        let blocking = tokio::task::spawn_blocking(move || {
            // Held until the thread is free again, also when nobody waits for it any more.
            let _permit = permit;
            lookup.look_up(&host)
        });
        blocking.await.unwrap_or(Err(DnsError::NotFound))
    };
    let result = timeout(LOOKUP_LIMIT, work)
        .await
        .unwrap_or(Err(DnsError::Timeout));
    let outcome = match &result {
        Ok(_) => "found",
        Err(DnsError::NotFound) => "not_found",
        Err(DnsError::Timeout) => "timeout",
        Err(DnsError::Busy) => "busy",
    };
    counter!("sluice_dns_lookups_total", "result" => outcome).increment(1);
    histogram!("sluice_dns_lookup_duration_seconds").record(start.elapsed().as_secs_f64());
    result
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::bridge::build;
    use crate::bridge::histogram::BucketSettings;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[derive(Clone, Default)]
    struct Table(Arc<AtomicU32>);

    impl Lookup for Table {
        fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            match host {
                "good.example" => Ok(vec!["192.0.2.1".parse().unwrap()]),
                _ => Err(DnsError::NotFound),
            }
        }
    }

    /// Blocks on the worker's end of the socket until an answer is there.
    fn wait(mailbox: &crate::bridge::mailbox::Mailbox, ear: &mut StdUnixStream) -> DnsAnswer {
        loop {
            if let Some(ToWorker::Dns(answer)) = mailbox.pop() {
                return answer;
            }
            assert!(ear.read(&mut [0; 64]).unwrap() > 0);
        }
    }

    #[test]
    fn workers_are_woken_with_answers_and_a_host_is_looked_up_once() {
        let (workers, cold) = build(2, &BucketSettings::default()).unwrap();
        let table = Table::default();
        let lookups = Arc::clone(&table.0);
        for worker in &workers {
            assert!(worker.resolve(&"good.example".into()));
        }
        assert!(workers[0].resolve(&"bad.example".into()));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(serve(
                cold.questions,
                cold.questions_wake,
                cold.workers,
                table,
            ))
        });
        let mut found = Vec::new();
        for (worker, answers) in workers.into_iter().zip([2, 1]) {
            let mut ear = StdUnixStream::from(worker.wake.try_clone().unwrap());
            ear.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            for _ in 0..answers {
                let answer = wait(&worker.mailbox, &mut ear);
                found.push((worker.worker, answer.host.to_string(), answer.addrs.is_ok()));
            }
        }
        found.sort();
        let want = [
            (0, "bad.example", false),
            (0, "good.example", true),
            (1, "good.example", true),
        ];
        assert_eq!(
            found,
            want.map(|(worker, host, ok)| (worker, host.to_owned(), ok))
        );
        assert_eq!(lookups.load(Ordering::Relaxed), 2);
        // All workers are dropped now: their ends close, and the server returns.
        thread.join().unwrap().unwrap();
    }
}
