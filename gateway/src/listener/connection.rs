//! One client connection: request after request until one side has had enough. [ring]

use std::net::SocketAddr;
use std::rc::Rc;

use super::Open;
use super::client::{Client, GUEST_WAIT, Next};
use super::handshake::{self, HANDSHAKE_MAX};
use super::http2;
use crate::bridge::domain::Overload;
use crate::http::h2;
use crate::rejection::Rejection;
use crate::request;
use crate::sys::{Pooled, Socket};
use crate::worker::Worker;
use crate::worker::core::Phase;
use crate::worker::inbox::Inbox;

const SLOW_HEAD: Rejection = Rejection::Head {
    status: 408,
    message: "the request head did not arrive in time",
};

/// Tells a connection that there is no room for it, as the answer to its first request: probes and
/// lists are answered as ever. One that asks nothing is told all the same.
pub(crate) async fn turn_away(
    worker: &Rc<Worker>,
    (socket, why): (Socket, Overload),
    peer: SocketAddr,
    open: &Open,
) {
    // Not idle, so not closed before it is told.
    open.set_busy(true);
    let Some(wire) = handshake::open(worker, socket, peer, GUEST_WAIT).await else {
        return;
    };
    if wire.alpn() == Some(h2::ALPN) {
        return http2::serve(worker, (wire, Inbox::default()), (peer, Some(why)), open).await;
    }
    let mut client = Client::new(Rc::clone(worker), wire, peer).turned_away(why);
    match client.next_head().await {
        Next::Head(head) => {
            Box::pin(request::serve(worker, &head, &mut client)).await;
        }
        Next::Http2 => {
            return http2::serve(worker, client.into_stream(), (peer, Some(why)), open).await;
        }
        Next::Malformed(_) | Next::Slow | Next::Closed => {
            let rejection = Rejection::Overloaded(why);
            Box::pin(request::refuse(worker, &rejection, &mut client)).await;
        }
    }
    Box::pin(client.linger()).await;
}

/// Serves one connection to its end.
pub(crate) async fn run(worker: &Rc<Worker>, socket: Socket, peer: SocketAddr, open: &Open) {
    let Some(wire) = handshake::open(worker, socket, peer, HANDSHAKE_MAX).await else {
        return;
    };
    if wire.alpn() == Some(h2::ALPN) {
        return http2::serve(worker, (wire, Inbox::default()), (peer, None), open).await;
    }
    let mut client = Client::new(Rc::clone(worker), wire, peer);
    loop {
        let next = client.next_head().await;
        if matches!(next, Next::Http2) {
            return http2::serve(worker, client.into_stream(), (peer, None), open).await;
        }
        open.set_busy(true);
        let kept = match &next {
            // Kilobytes, which a connection that waits does not hold.
            Next::Head(head) => Pooled::new(request::serve(worker, head, &mut client)).await,
            Next::Malformed(error) => {
                let (status, message) = (error.status(), error.message());
                let rejection = Rejection::Head { status, message };
                Box::pin(request::refuse(worker, &rejection, &mut client)).await;
                false
            }
            Next::Slow => {
                Box::pin(request::refuse(worker, &SLOW_HEAD, &mut client)).await;
                false
            }
            Next::Closed | Next::Http2 => {
                client.close();
                return;
            }
        };
        open.set_busy(false);
        if !kept || worker.phase.get() >= Phase::Closing {
            Box::pin(client.linger()).await;
            return;
        }
    }
}
