//! Giving way: a task that has had its turn lets all others have theirs. [ring]

use std::io::{self, Write};
use std::os::unix::net::UnixStream as StdUnixStream;

use monoio::net::UnixStream;

/// A gate that each long loop passes once per turn.
///
/// Nothing on a worker may wake itself: the runtime puts such a task to the front of its queue, and
/// while the queue never runs dry it looks neither at timers nor, on a ring with deferred work, at
/// completions. So giving way must end in something that the kernel completes.
#[derive(Debug)]
pub(crate) struct Turnstile {
    /// A socket that always has a byte to read; `None` on epoll, whose readiness is known without
    /// asking the kernel.
    ready: Option<(UnixStream, StdUnixStream)>,
}

impl Turnstile {
    /// A gate for a worker on a ring, or on epoll.
    pub(crate) fn new(is_ring: bool) -> Self {
        // Out of descriptors: the epoll way is second best on a ring.
        let ready = is_ring.then(always_readable).and_then(Result::ok);
        Self { ready }
    }

    /// Lets every other task, timer and completion of this worker have its turn.
    pub(crate) async fn pass(&self) {
        if let Some((ready, _)) = &self.ready {
            // An error has come from the kernel as well.
            let _ = ready.readable(false).await;
        } else {
            // A newly spawned task goes to the back of the queue.
            monoio::spawn(async {}).await;
        }
    }
}

fn always_readable() -> io::Result<(UnixStream, StdUnixStream)> {
    let (reader, mut writer) = StdUnixStream::pair()?;
    writer.write_all(&[1])?;
    Ok((UnixStream::from_std(reader)?, writer))
}
