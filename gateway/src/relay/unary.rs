//! A response that is read whole before it is answered. [ring]

use crate::bridge::memory::{NoRoom, Share};
use crate::http::h1::BodyLength;
use crate::listener::client::{Client, HungUp};
use crate::upstream::attempt::Reply;
use crate::upstream::failure::Failure;
use crate::worker::Worker;

/// Longest unary response, bytes: an embedding batch of 2048 vectors of 3072 numbers is 60 MB.
pub(crate) const RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A response up to this size goes out in one piece with its head.
pub(crate) const JOINED_BYTES_MAX: usize = 64 * 1024;

/// How a body that exceeds its bound ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Excess {
    /// As a failure.
    Fails,
    /// Cut, the rest unread: enough of an error body for its message.
    Cut,
}

/// Reads the response body to its end, and puts the connection back where it can be reused.
///
/// # Errors
///
/// A broken connection or framing, more than the bound, or more than all bodies together may have:
/// `share` covers what is read, and is to be kept as long as that.
pub(crate) async fn read_body(
    worker: &Worker,
    mut reply: Reply,
    (max, excess): (usize, Excess),
    share: &mut Share,
) -> Result<Vec<u8>, Failure> {
    let mut body = worker.buffers.take();
    loop {
        while !reply.body.is_done() {
            let piece = reply
                .body
                .next(reply.connection.bytes())
                .map_err(Failure::MalformedBody)?;
            if piece.consumed == 0 {
                break;
            }
            let data = &reply.connection.bytes()[piece.data];
            let room = max - body.len();
            if data.len() > room {
                if excess == Excess::Fails {
                    return Err(Failure::TooLarge);
                }
                body.extend_from_slice(&data[..room]);
                return Ok(body);
            }
            let held = (body.len() + data.len()) as u64;
            let covered = share.cover(worker.admission.memory(), held);
            covered.map_err(|NoRoom| Failure::NoRoom)?;
            body.extend_from_slice(data);
            reply.connection.consume(piece.consumed);
        }
        if reply.body.is_done() {
            break;
        }
        match reply.connection.fill(worker).await {
            Ok(0) => {
                reply.body.at_eof().map_err(|_| Failure::Truncated)?;
                break;
            }
            Ok(_) => {}
            Err(error) => return Err(Failure::Broken(error)),
        }
    }
    if reply.head.keep_alive() && reply.head.body() != BodyLength::UntilClose {
        reply.connection.give_back(worker, worker.now());
    }
    Ok(body)
}

/// Sends a response head with a body of at most [`JOINED_BYTES_MAX`], or with none; then the body
/// that lies apart, if any.
///
/// # Errors
///
/// [`HungUp`].
pub(crate) async fn send(client: &mut Client, head: &[u8], apart: &[u8]) -> Result<(), HungUp> {
    client.send(head).await?;
    if apart.is_empty() {
        return Ok(());
    }
    client.send(apart).await
}
