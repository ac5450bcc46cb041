//! From an accepted socket to a client's wire: the handshake where the listener speaks TLS. [ring]

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use rustls::ServerConnection;
use rustls::server::{Accepted, AcceptedAlert, Acceptor};

use super::client::Client;
use super::wire::Wire;
use crate::rejection::Rejection;
use crate::request;
use crate::short_text::ShortText;
use crate::sys::Socket;
use crate::tls::facts::client_name;
use crate::tls::handshakes::{Failure, UnknownName};
use crate::tls::listener::TlsListener;
use crate::worker::Worker;
use crate::worker::alarm::{Alarm, within};
use crate::worker::buffers::Buffers;
use crate::worker::inbox::Inbox;
use crate::worker::inflow::Inflow;
use crate::worker::tls::Session;

/// From the accept to the end of the handshake.
pub(super) const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// First byte of every TLS connection: a record of the handshake (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// The alert for a name that nothing is presented for: fatal, 112 (RFC 6066, section 3; RFC 8446,
/// sections 5.1 and 6).
const UNRECOGNIZED_NAME: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 112];

const PLAIN_TEXT: Rejection = Rejection::Head {
    status: 400,
    message: "this port speaks TLS: use https:// instead of http://",
};

/// A session whose handshake is done.
#[derive(Debug)]
pub(crate) struct Secured {
    pub session: Session<ServerConnection>,
    /// The verified name of the client.
    pub identity: Option<ShortText>,
}

/// What became of a socket.
enum Ending {
    Secured(Box<Secured>),
    /// The client speaks HTTP in the clear.
    Plain(Inflow),
    Failed(io::Error),
}

/// Makes `socket` ready for requests, within `limit`. `None` where that failed: everything is said and counted then.
pub(crate) async fn open(
    worker: &Rc<Worker>,
    socket: Socket,
    peer: SocketAddr,
    limit: Duration,
) -> Option<Wire> {
    match &worker.tls {
        None => Some(Wire::plain(socket)),
        // Boxed: what a handshake needs is not kept for as long as the connection lives.
        Some(tls) => Box::pin(secure(worker, tls, socket, (peer, limit))).await,
    }
}

async fn secure(
    worker: &Rc<Worker>,
    tls: &TlsListener,
    socket: Socket,
    (peer, limit): (SocketAddr, Duration),
) -> Option<Wire> {
    let deadline = worker.tick() + limit;
    let mut alarm = Alarm::default();
    let shaking = pin!(shake(worker, tls, socket));
    let shaken = within(&mut alarm, Some(deadline), shaking).await;
    let handshakes = worker.shard().handshakes();
    let failure = match shaken {
        Ok(Ending::Secured(secured)) => {
            let connection = secured.session.connection();
            handshakes.count(connection.protocol_version(), connection.handshake_kind());
            return Some(Wire::Tls(secured));
        }
        Ok(Ending::Plain(inflow)) => {
            handshakes.fail(Failure::PlainHttp);
            let mut client = Client::new(Rc::clone(worker), Wire::Plain(inflow), peer);
            request::refuse(worker, &PLAIN_TEXT, &mut client).await;
            client.linger().await;
            return None;
        }
        Ok(Ending::Failed(error)) => {
            let failure = Failure::of(&error);
            if failure.is_telling() {
                let detail = format!("{}: {error}", peer.ip());
                worker.warn("a client was refused for its certificate", &detail);
            }
            failure
        }
        Err(_) => Failure::Timeout,
    };
    handshakes.fail(failure);
    None
}

async fn shake(worker: &Worker, tls: &TlsListener, socket: Socket) -> Ending {
    let buffers = &worker.buffers;
    let mut inflow = Inflow::new(socket);
    let mut records = Inbox::default();
    let first = poll_fn(|cx| inflow.poll_fill(cx, &mut records, buffers)).await;
    if let Err(error) = first {
        return Ending::Failed(error);
    }
    match records.bytes().first() {
        None => return Ending::Failed(io::ErrorKind::UnexpectedEof.into()),
        // A method begins with a letter.
        Some(first) if *first != HANDSHAKE_RECORD && first.is_ascii_alphabetic() => {
            records.consume(records.len());
            records.release(buffers);
            return Ending::Plain(inflow);
        }
        Some(_) => {}
    }
    let connection = match tls.depends_on_name() {
        true => greet(tls, &mut inflow, &mut records, buffers).await,
        false => ServerConnection::new(tls.config()).map_err(invalid),
    };
    let connection = match connection {
        Ok(connection) => connection,
        Err(error) => {
            records.consume(records.len());
            records.release(buffers);
            return Ending::Failed(error);
        }
    };
    let mut session = Session::new(inflow, connection, records);
    if let Err(error) = session.handshake(buffers).await {
        return Ending::Failed(error);
    }
    let shown = session.connection().peer_certificates();
    let identity = shown.and_then(|chain| client_name(chain.first()?));
    Ending::Secured(Box::new(Secured {
        session,
        identity: identity.map(|name| ShortText::from(name.as_str())),
    }))
}

/// Begins a session by the name in the client's first message, all of which it waits for. Loses
/// nothing of what follows; dropped half way, the connection is of no more use.
async fn greet(
    tls: &TlsListener,
    inflow: &mut Inflow,
    records: &mut Inbox,
    buffers: &Buffers,
) -> io::Result<ServerConnection> {
    let mut acceptor = Acceptor::default();
    loop {
        while !records.is_empty() {
            let taken = acceptor.read_tls(&mut records.bytes())?;
            if taken == 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            records.consume(taken);
            match acceptor.accept() {
                Ok(Some(accepted)) => return begin(tls, accepted, inflow),
                Ok(None) => {}
                Err(told) => return Err(tell(told, inflow)),
            }
        }
        records.release(buffers);
        if poll_fn(|cx| inflow.poll_fill(cx, records, buffers)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn begin(tls: &TlsListener, accepted: Accepted, inflow: &Inflow) -> io::Result<ServerConnection> {
    let name = accepted.client_hello().server_name().map(str::to_owned);
    let Some(config) = tls.config_for(name.as_deref()) else {
        // The alert is a courtesy; the error counts.
        let _ = inflow.socket().try_send(&UNRECOGNIZED_NAME);
        return Err(io::Error::new(io::ErrorKind::InvalidData, UnknownName));
    };
    let session = accepted.into_connection(config);
    session.map_err(|told| tell(told, inflow))
}

/// Tells the client what is wrong, as far as the socket takes it now.
fn tell((error, mut alert): (rustls::Error, AcceptedAlert), inflow: &Inflow) -> io::Error {
    let mut record = Vec::new();
    if alert.write_all(&mut record).is_ok() {
        let _ = inflow.socket().try_send(&record);
    }
    invalid(error)
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
