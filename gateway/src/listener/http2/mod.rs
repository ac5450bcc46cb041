//! HTTP/2 on an established connection: its streams become requests of the one request path. [ring]
//!
//! [`serve`] takes over the bytes, whatever carries them and however the protocol was agreed: by the
//! client's preface in the clear, by ALPN on TLS. One task drives the connection, one task serves
//! each stream. Bounds and what is answered at them: `docs/http2.md`.

mod driver;
mod outgoing;
mod pipe;
mod stream;
mod transport;

use std::net::SocketAddr;
use std::rc::Rc;

pub(crate) use pipe::Pipe;

use super::Open;
use super::wire::Wire;
use crate::bridge::domain::Overload;
use crate::worker::Worker;
use crate::worker::inbox::Inbox;

/// Serves HTTP/2 over `stream` to its end. `stream` is what carries the bytes, and those that have
/// arrived and were not taken: the preface, if any. `guest`: there is no room for the connection, it
/// ends with its first requests.
pub(crate) async fn serve(
    worker: &Rc<Worker>,
    stream: (Wire, Inbox),
    (peer, guest): (SocketAddr, Option<Overload>),
    open: &Open,
) {
    // Nobody asks where it is not spoken.
    let Some(streams_max) = worker.settings.http2_streams_max else {
        return;
    };
    let transport = transport::Transport::new(worker, stream, streams_max);
    let caller = driver::Caller { peer, guest, open };
    Box::pin(driver::run(worker, transport, streams_max, caller)).await;
}
