//! One try at one target: a connection, the request, the response head. [ring]

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use config_sync::model::{BaseUrl, KeyTls, ProviderKey};
use monoio::time::Instant;

use super::clocks::Clocks;
use super::connect::connect;
use super::failure::Failure;
use super::tls;
use super::transport::Transport;
use crate::bridge::domain::Side;
use crate::http::h1::{BodyReader, Limits, Method, ResponseHead, parse_response};
use crate::worker::Worker;
use crate::worker::alarm::{Alarm, within};
use crate::worker::inbox::Inbox;
use crate::worker::inflow::Inflow;

/// Interim (1xx) responses skipped before the final one; more is a broken upstream.
const INTERIM_MAX: usize = 8;

/// An upstream connection with one request on it.
#[derive(Debug)]
pub(crate) struct Connection {
    transport: Transport,
    inbox: Inbox,
    key: u128,
    /// Whether it carried a request before: then its end before the first byte of a response means
    /// that the upstream closed it meanwhile, not that the request failed.
    reused: bool,
}

/// A response whose head has arrived.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The response head.
    pub head: ResponseHead,
    /// What of the body has been read.
    pub body: BodyReader,
    /// Where the rest comes from.
    pub connection: Connection,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination<'d> {
    pub base: &'d BaseUrl,
    /// How the upstream proves who it is.
    pub tls: &'d KeyTls,
}

/// A complete request.
#[derive(Clone, Copy)]
pub(crate) struct Request<'r> {
    /// Its head, and whatever of the body is sent with it.
    pub head: &'r [u8],
    /// The rest of the body.
    pub body: &'r [u8],
    /// The method of the head: whether the response has a body depends on it.
    pub method: &'r Method,
}

/// Sends `request`, a POST, to `provider_key`'s upstream and waits for the response head.
///
/// # Errors
///
/// As [`send_to`].
pub(crate) async fn send(
    worker: &Worker,
    provider_key: &ProviderKey,
    request: &[u8],
    clocks: &Clocks,
    alarm: &mut Alarm,
) -> Result<Reply, Failure> {
    let Some(base) = &provider_key.base else {
        return Err(Failure::NoBase);
    };
    let destination = Destination {
        base,
        tls: &provider_key.tls,
    };
    let request = Request {
        head: request,
        body: &[],
        method: &Method::Post,
    };
    send_to(worker, &destination, &request, clocks, alarm).await
}

/// Sends `request` to `destination` and waits for the response head.
///
/// A pooled connection that turns out to be closed before a byte of a response came is replaced by
/// a fresh one, once: the request reached nobody.
///
/// # Errors
///
/// [`Failure`], each with what it needs for the answer and for the log.
pub(crate) async fn send_to(
    worker: &Worker,
    destination: &Destination<'_>,
    request: &Request<'_>,
    clocks: &Clocks,
    alarm: &mut Alarm,
) -> Result<Reply, Failure> {
    let key = destination.base.pool_key;
    if let Some(transport) = worker.pool.take(key, worker.now(), &worker.buffers) {
        let connection = Connection::new(transport, key, true);
        worker.shard().upstream_reused();
        match exchange(worker, connection, request, clocks, alarm).await {
            Err(Failure::ClosedBeforeHead { reused: true }) => {}
            done => return done,
        }
    }
    let deadline = clocks.connect.map(|limit| worker.now() + limit);
    let mut opening = Box::pin(open(worker, destination));
    let transport = within(alarm, deadline, opening.as_mut())
        .await
        .map_err(|_| Failure::ConnectTimeout(clocks.connect.unwrap_or_default()))??;
    let connection = Connection::new(transport, key, false);
    exchange(worker, connection, request, clocks, alarm).await
}

/// A fresh connection, TLS included.
async fn open(worker: &Worker, destination: &Destination<'_>) -> Result<Transport, Failure> {
    let base = destination.base;
    let addresses = resolve(worker, &base.host).await?;
    let socket = connect(worker, &addresses, base.port)
        .await
        .map_err(Failure::Connect)?;
    let inflow = Inflow::new(socket);
    if !base.https {
        worker.shard().connections(Side::Upstream, 1);
        return Ok(Transport::plain(inflow, Rc::clone(&worker.upstream_closed)));
    }
    let (config, name) = worker
        .trust
        .client_for(&base.host, destination.tls)
        .map_err(Failure::TlsSettings)?;
    let session = tls::connect(inflow, config, name, &worker.buffers)
        .await
        .map_err(Failure::Tls)?;
    worker.shard().connections(Side::Upstream, 1);
    Ok(Transport::tls(session, Rc::clone(&worker.upstream_closed)))
}

async fn resolve(worker: &Worker, host: &Arc<str>) -> Result<Arc<[IpAddr]>, Failure> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(Arc::from([address]));
    }
    worker
        .names
        .lookup(worker, host)
        .await
        .map_err(Failure::Resolve)
}

async fn exchange(
    worker: &Worker,
    mut connection: Connection,
    request: &Request<'_>,
    clocks: &Clocks,
    alarm: &mut Alarm,
) -> Result<Reply, Failure> {
    let deadline = clocks.head.map(|limit| worker.now() + limit);
    let talk = async {
        // An upstream that refuses early stops reading: its answer counts, not the failed send.
        let sent = connection.send(request).await;
        match connection.read_head(worker, request.method).await {
            Ok(head) => Ok(head),
            Err(failure) => Err(match sent {
                Ok(()) => failure,
                Err(error) if !connection.reused => Failure::Broken(error),
                Err(_) => Failure::ClosedBeforeHead { reused: true },
            }),
        }
    };
    let talked = within(alarm, deadline, pin!(talk)).await;
    match talked {
        Ok(Ok(head)) => Ok(Reply {
            body: BodyReader::new(head.body()),
            head,
            connection,
        }),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(Failure::Timeout(clocks.head.unwrap_or_default())),
    }
}

impl Connection {
    fn new(transport: Transport, key: u128, reused: bool) -> Self {
        Self {
            transport,
            inbox: Inbox::default(),
            key,
            reused,
        }
    }

    /// Bytes that have arrived.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.inbox.bytes()
    }

    /// Drops the first `count` arrived bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.inbox.consume(count);
    }

    /// Waits for more bytes; 0 is the end of the stream. Loses nothing when dropped.
    ///
    /// # Errors
    ///
    /// Those of the transport.
    pub(crate) async fn fill(&mut self, worker: &Worker) -> io::Result<usize> {
        self.inbox.release(&worker.buffers);
        self.transport.fill(&mut self.inbox, &worker.buffers).await
    }

    /// Has what arrives acknowledged in pairs.
    pub(crate) fn delay_acks(&self) {
        self.transport.delay_acks();
    }

    /// Puts the connection back for the next request. Only after a final response that says so and
    /// was read to its end; unasked bytes close it instead.
    pub(crate) fn give_back(mut self, worker: &Worker, now: Instant) {
        if self.inbox.is_empty() {
            self.inbox.release(&worker.buffers);
            worker
                .pool
                .give(self.key, self.transport, now, &worker.buffers);
        }
    }

    async fn send(&mut self, request: &Request<'_>) -> io::Result<()> {
        self.transport.send_all(request.head).await?;
        if request.body.is_empty() {
            return Ok(());
        }
        self.transport.send_all(request.body).await
    }

    async fn read_head(
        &mut self,
        worker: &Worker,
        method: &Method,
    ) -> Result<ResponseHead, Failure> {
        let mut interims = 0;
        let mut received = false;
        loop {
            let parsed = parse_response(self.bytes(), method, &Limits::default());
            match parsed.map_err(Failure::MalformedHead)? {
                Some((head, used)) => {
                    self.consume(used);
                    if !head.is_interim() {
                        return Ok(head);
                    }
                    interims += 1;
                    if interims > INTERIM_MAX {
                        return Err(Failure::TooManyInterims);
                    }
                }
                None => match self.transport.fill(&mut self.inbox, &worker.buffers).await {
                    Ok(0) if received => return Err(Failure::Truncated),
                    Ok(0) => {
                        return Err(Failure::ClosedBeforeHead {
                            reused: self.reused,
                        });
                    }
                    Ok(_) => received = true,
                    Err(_) if self.reused && !received => {
                        return Err(Failure::ClosedBeforeHead { reused: true });
                    }
                    Err(error) => return Err(Failure::Broken(error)),
                },
            }
        }
    }
}
