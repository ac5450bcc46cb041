//! Answers the workers out of the shared counters. [cold]

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;

use tokio::net::UnixStream;

use super::counters::RedisLimits;
use crate::bridge::limit_link::{LimitAnswer, LinkState, ToLimits};
use crate::bridge::shared_limits::{Ending, Outcome};
use crate::bridge::{LimitInbox, WorkerView};

/// Says that nobody is served any more, however it comes about.
struct Serving(Arc<LinkState>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.serve(false);
    }
}

/// Serves the workers until they are gone, and looks after `limits` meanwhile. What is under way at
/// a time is bounded by what the workers may ask.
///
/// # Errors
///
/// The workers' bell cannot be heard.
pub async fn serve(
    inbox: LimitInbox,
    workers: Vec<WorkerView>,
    limits: Arc<RedisLimits>,
) -> io::Result<()> {
    let bell = StdUnixStream::from(inbox.wake);
    bell.set_nonblocking(true)?;
    let bell = UnixStream::from_std(bell)?;
    let _serving = Serving(Arc::clone(&inbox.state));
    inbox.state.serve(true);
    let mut upkeep = std::pin::pin!(limits.run());
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
                while let Some(message) = inbox.messages.pop() {
                    obey(message, &workers, &limits);
                }
            }
            () = &mut upkeep => return Ok(()),
        }
    }
}

fn obey(message: ToLimits, workers: &[WorkerView], limits: &Arc<RedisLimits>) {
    let limits = Arc::clone(limits);
    match message {
        ToLimits::End(receipt, ending) => {
            tokio::spawn(async move { limits.end(receipt, ending).await });
        }
        ToLimits::Ask {
            worker,
            number,
            ask,
        } => {
            let mailbox = workers
                .get(usize::from(worker))
                .map(|worker| worker.mailbox.clone());
            tokio::spawn(async move {
                let outcome = limits.admit(&ask).await;
                let answer = LimitAnswer { number, outcome };
                let undelivered = match mailbox {
                    Some(mailbox) => mailbox.send_limit(answer).err(),
                    None => Some(answer),
                };
                if let Some(Ok(Outcome::Admitted(admitted))) =
                    undelivered.map(|answer| answer.outcome)
                {
                    limits.end(admitted.receipt, Ending::Refunded).await;
                }
            });
        }
    }
}
