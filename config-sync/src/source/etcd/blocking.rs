//! Talking to a store from a thread that has nothing else to do. [cold]

use std::future::Future;
use std::io;
use std::time::Duration;

/// Runs `work`, which talks to a store, to its end on this thread.
///
/// # Errors
///
/// The operating system refused a timer or a poll descriptor.
pub fn block_on<F: Future>(work: F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(work))
}

/// Waits, inside of [`block_on`].
pub async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}
