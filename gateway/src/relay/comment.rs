//! A comment to a client for whom nobody serves for certain yet. [ring]

use super::{Replay, ResponseWriter};
use crate::http::h1::write;
use crate::listener::client::{Client, HungUp};
use crate::worker::Worker;

/// The comment that keeps a silent stream open.
pub(super) const COMMENT: &[u8] = b":\n\n";

/// Sends a comment, after the head of an event stream where the client does not have it: without the
/// name of who serves, for another target still may. Returns the bytes sent.
///
/// # Errors
///
/// [`HungUp`].
pub(crate) async fn comment(
    worker: &Worker,
    client: &mut Client,
    writer: &ResponseWriter,
    replay: &mut Replay,
) -> Result<u64, HungUp> {
    let mut out = worker.buffers.take();
    if replay.head_at.is_none() {
        writer.unserved().stream_head(worker, &mut out);
        replay.head_at = Some(worker.now());
    }
    send(worker, client, writer.chunks, out).await
}

/// Sends a comment to a client who has the head of an event stream, in `chunks` or not. Returns the
/// bytes sent.
///
/// # Errors
///
/// [`HungUp`].
pub(crate) async fn another_comment(
    worker: &Worker,
    client: &mut Client,
    chunks: bool,
) -> Result<u64, HungUp> {
    send(worker, client, chunks, worker.buffers.take()).await
}

async fn send(
    worker: &Worker,
    client: &mut Client,
    chunks: bool,
    mut out: Vec<u8>,
) -> Result<u64, HungUp> {
    if chunks {
        write::chunk(&mut out, COMMENT);
    } else {
        out.extend_from_slice(COMMENT);
    }
    let sent = client.send(&out).await;
    let bytes = out.len() as u64;
    worker.buffers.give(out);
    worker.shard().keep_alive();
    sent.map(|()| bytes)
}
