//! The client side of TLS. [ring]

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::worker::buffers::Buffers;
use crate::worker::inbox::Inbox;
use crate::worker::inflow::Inflow;
use crate::worker::tls::Session;

/// One session with an upstream.
pub(crate) type TlsSession = Session<ClientConnection>;

/// Shakes hands over `inflow`'s socket with the server called `name`.
///
/// # Errors
///
/// `InvalidData` with the cause, where the server's certificate or answer is not acceptable; else
/// those of the socket.
pub(super) async fn connect(
    inflow: Inflow,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    buffers: &Buffers,
) -> io::Result<TlsSession> {
    let connection = ClientConnection::new(config, name)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let mut session = Session::new(inflow, connection, Inbox::default());
    session.handshake(buffers).await?;
    Ok(session)
}
