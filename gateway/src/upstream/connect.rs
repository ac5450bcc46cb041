//! A new connection to an upstream: addresses in turn, TLS where asked for. [ring]

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use monoio::net::TcpStream;
use monoio::time::Instant;

use crate::sys::Socket;
use crate::worker::Worker;
use crate::worker::alarm::Alarm;

/// How long one address gets before the next is tried beside it (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

type Attempt = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;

/// Connects to the first of `addresses` that answers, trying the next one each time
/// [`ATTEMPT_DELAY`] passes or an attempt fails. The caller bounds the whole by its deadline.
///
/// # Errors
///
/// The last attempt's error.
pub(crate) async fn connect(
    worker: &Worker,
    addresses: &[IpAddr],
    port: u16,
) -> io::Result<Socket> {
    let mut waiting = addresses.iter();
    let mut running: Vec<Attempt> = Vec::new();
    let mut failed = io::Error::other("the name has no addresses");
    let mut alarm = Alarm::default();
    let stream = loop {
        if let Some(&address) = waiting.next() {
            let target = SocketAddr::new(address, port);
            running.push(Box::pin(TcpStream::connect_addr(target)));
        } else if running.is_empty() {
            return Err(failed);
        }
        let next_at = (!waiting.as_slice().is_empty()).then(|| worker.tick() + ATTEMPT_DELAY);
        match first_of(&mut running, &mut alarm, next_at).await {
            Some(Ok(stream)) => break stream,
            Some(Err(error)) => failed = error,
            None => {}
        }
    };
    let socket = Socket::new(stream)?;
    if let Some(keepalive) = &worker.settings.upstream.tcp_keepalive {
        socket.set_keepalive(keepalive.idle, keepalive.interval, keepalive.probes)?;
    }
    Ok(socket)
}

/// The first attempt to end, which leaves `running`; `None` when `next_at` comes first.
async fn first_of(
    running: &mut Vec<Attempt>,
    alarm: &mut Alarm,
    next_at: Option<Instant>,
) -> Option<io::Result<TcpStream>> {
    poll_fn(|cx| {
        for index in 0..running.len() {
            if let Poll::Ready(ended) = running[index].as_mut().poll(cx) {
                drop(running.swap_remove(index));
                return Poll::Ready(Some(ended));
            }
        }
        alarm.poll_until(cx, next_at).map(|()| None)
    })
    .await
}
