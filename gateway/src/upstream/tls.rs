//! The client side of TLS: records between a socket and an inbox, no buffer held in between. [ring]

use std::future::poll_fn;
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::worker::buffers::Buffers;
use crate::worker::inbox::Inbox;
use crate::worker::inflow::Inflow;

/// Plaintext turned into records at a time: bounds what a large request body adds in memory.
const SEND_CHUNK_BYTES: usize = 64 * 1024;

/// One TLS session over one socket.
#[derive(Debug)]
pub(crate) struct TlsSession {
    inflow: Inflow,
    session: ClientConnection,
    /// Records that arrived and were not fed to the session yet.
    records: Inbox,
    /// Records to send.
    outbox: Vec<u8>,
    ended: bool,
}

impl TlsSession {
    /// Shakes hands over `inflow`'s socket with the server called `name`.
    ///
    /// # Errors
    ///
    /// `InvalidData` with the cause, where the server's certificate or answer is not acceptable;
    /// else those of the socket.
    pub(super) async fn connect(
        inflow: Inflow,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        buffers: &Buffers,
    ) -> io::Result<Self> {
        let session = ClientConnection::new(config, name).map_err(invalid)?;
        let mut this = Self {
            inflow,
            session,
            records: Inbox::default(),
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
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            match self.inflow.poll_fill(&mut cx, &mut self.records, buffers) {
                Poll::Pending => break,
                Poll::Ready(Ok(0) | Err(_)) => return false,
                Poll::Ready(Ok(_)) => {
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
        let records = &mut self.records;
        let count = poll_fn(|cx| self.inflow.poll_fill(cx, records, buffers)).await?;
        if count == 0 {
            return Ok(false);
        }
        self.feed(buffers)?;
        Ok(true)
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
            self.inflow.socket().send_all(&outbox).await?;
        }
        Ok(())
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
