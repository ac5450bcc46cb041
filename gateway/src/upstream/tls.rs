//! The client side of TLS: records between a socket and an inbox, no buffer held in between. [ring]

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::sys::Socket;
use crate::worker::buffers::Buffers;
use crate::worker::inbox::{Filled, Inbox};

/// Plaintext turned into records at a time: bounds what a large request body adds in memory.
const SEND_CHUNK_BYTES: usize = 64 * 1024;

/// One TLS session over one socket.
#[derive(Debug)]
pub(crate) struct TlsSession {
    socket: Socket,
    session: ClientConnection,
    /// Records that arrived and were not fed to the session yet.
    records: Inbox,
    undrained: bool,
    /// Records to send.
    outbox: Vec<u8>,
    ended: bool,
}

impl TlsSession {
    /// Shakes hands over `socket` with the server called `name`.
    ///
    /// # Errors
    ///
    /// `InvalidData` with the cause, where the server's certificate or answer is not acceptable;
    /// else those of the socket.
    pub(crate) async fn connect(
        socket: Socket,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        buffers: &Buffers,
    ) -> io::Result<Self> {
        let session = ClientConnection::new(config, name).map_err(invalid)?;
        let mut this = Self {
            socket,
            session,
            records: Inbox::default(),
            undrained: false,
            outbox: Vec::new(),
            ended: false,
        };
        loop {
            this.flush().await?;
            if !this.session.is_handshaking() {
                return Ok(this);
            }
            if !this.receive(buffers).await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// See [`super::transport::Transport::fill`].
    pub(crate) async fn fill(&mut self, inbox: &mut Inbox, buffers: &Buffers) -> io::Result<usize> {
        loop {
            let count = self.take_plaintext(inbox, buffers)?;
            if count > 0 || self.ended {
                return Ok(count);
            }
            self.flush().await?;
            if !self.receive(buffers).await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// See [`super::transport::Transport::send_all`].
    pub(crate) async fn send_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        for chunk in bytes.chunks(SEND_CHUNK_BYTES) {
            self.session.writer().write_all(chunk)?;
            self.flush().await?;
        }
        Ok(())
    }

    /// See [`super::transport::Transport::is_quiet`]. Session tickets that arrived meanwhile are
    /// taken in.
    pub(crate) fn is_quiet(&mut self, buffers: &Buffers) -> bool {
        loop {
            match self.records.fill_from(&self.socket, buffers) {
                Ok(Filled::Dry) => break,
                Ok(Filled::End) | Err(_) => return false,
                Ok(Filled::Bytes { .. }) => {
                    if self.feed(buffers).is_err() {
                        return false;
                    }
                }
            }
        }
        let mut unasked = Inbox::default();
        let quiet = matches!(self.take_plaintext(&mut unasked, buffers), Ok(0)) && !self.ended;
        unasked.consume(unasked.len());
        unasked.release(buffers);
        quiet
    }

    /// Waits for records and feeds them to the session; `false` at the end of the stream.
    async fn receive(&mut self, buffers: &Buffers) -> io::Result<bool> {
        loop {
            if !std::mem::take(&mut self.undrained) {
                self.socket.readable().await?;
            }
            match self.records.fill_from(&self.socket, buffers)? {
                Filled::Dry => {}
                Filled::End => return Ok(false),
                Filled::Bytes { drained, .. } => {
                    self.undrained = !drained;
                    self.feed(buffers)?;
                    return Ok(true);
                }
            }
        }
    }

    fn feed(&mut self, buffers: &Buffers) -> io::Result<()> {
        while !self.records.is_empty() {
            let mut rest = self.records.bytes();
            let taken = self.session.read_tls(&mut rest)?;
            if taken == 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.records.consume(taken);
            let state = self.session.process_new_packets().map_err(invalid)?;
            self.ended |= state.peer_has_closed();
        }
        self.records.release(buffers);
        Ok(())
    }

    fn take_plaintext(&mut self, inbox: &mut Inbox, buffers: &Buffers) -> io::Result<usize> {
        let mut total = 0;
        loop {
            let mut reader = self.session.reader();
            let count = match reader.fill_buf() {
                Ok(plaintext) => {
                    inbox.extend(plaintext, buffers);
                    plaintext.len()
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            if count == 0 {
                return Ok(total);
            }
            reader.consume(count);
            total += count;
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.outbox)?;
        }
        let outbox = std::mem::take(&mut self.outbox);
        if !outbox.is_empty() {
            self.socket.send_all(&outbox).await?;
        }
        Ok(())
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
