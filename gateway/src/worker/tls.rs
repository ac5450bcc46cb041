//! One TLS session over one socket, of either side: records in and out, no buffer held in between. [ring]
//!
//! The session sees bytes only: the socket's readiness is waited for by [`Inflow`], what has arrived
//! lies in a buffer of the worker's until it is decrypted, and records go to the socket from where
//! the session wrote them.

use std::future::poll_fn;
use std::io::{self, BufRead, IoSlice, Write};
use std::ops::DerefMut;
use std::task::{Context, Poll, Waker};

use rustls::{ConnectionCommon, SideData};

use super::buffers::Buffers;
use super::inbox::Inbox;
use super::inflow::Inflow;
use crate::sys::Socket;

/// Plaintext turned into records at a time: bounds what a large body adds in memory.
const SEND_CHUNK_BYTES: usize = 64 * 1024;

/// One session, `C` being `ClientConnection` or `ServerConnection`.
#[derive(Debug)]
pub(crate) struct Session<C> {
    inflow: Inflow,
    connection: C,
    /// Records that arrived and were not fed to the session yet.
    records: Inbox,
    /// What went wrong after bytes that are still to be handed out.
    failed: Option<io::Error>,
    /// Whether the peer has said that nothing more comes.
    ended: bool,
}

impl<C, S> Session<C>
where
    C: DerefMut<Target = ConnectionCommon<S>>,
    S: SideData,
{
    /// A session that has not shaken hands yet; `records` arrived already.
    pub(crate) fn new(inflow: Inflow, connection: C, records: Inbox) -> Self {
        Self {
            inflow,
            connection,
            records,
            failed: None,
            ended: false,
        }
    }

    /// The state of the protocol: versions, names, certificates.
    pub(crate) fn connection(&self) -> &C {
        &self.connection
    }

    /// The socket underneath.
    pub(crate) fn socket(&self) -> &Socket {
        self.inflow.socket()
    }

    /// Shakes hands. Dropped half way, the connection is of no more use.
    ///
    /// # Errors
    ///
    /// `InvalidData` around a [`rustls::Error`], of which the peer was told; `UnexpectedEof` where it
    /// left; else those of the socket.
    pub(crate) async fn handshake(&mut self, buffers: &Buffers) -> io::Result<()> {
        loop {
            self.flush().await?;
            if !self.connection.is_handshaking() {
                return Ok(());
            }
            while self.records.is_empty() {
                let records = &mut self.records;
                let count = poll_fn(|cx| self.inflow.poll_fill(cx, records, buffers)).await?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            while !self.records.is_empty() && self.connection.is_handshaking() {
                self.digest()?;
            }
            self.records.release(buffers);
        }
    }

    /// Appends decrypted bytes to `inbox`; 0 is the end of the stream, as the peer said it. Adds at
    /// most what one read and one record hold. Loses nothing when dropped.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`; `InvalidData` for a broken record; `UnexpectedEof` for an end without a
    /// closing alert.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut Inbox,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        loop {
            let count = self.decrypt(inbox, buffers);
            if count > 0 {
                return Poll::Ready(Ok(count));
            }
            if let Some(error) = self.failed.take() {
                return Poll::Ready(Err(error));
            }
            if self.ended {
                return Poll::Ready(Ok(0));
            }
            self.flush_some()?;
            match self.inflow.poll_fill(cx, &mut self.records, buffers) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Takes of `bytes` what can be turned into records now, and sends what the socket takes of them;
    /// `Ok(0)` where it takes nothing. While [`Session::has_unsent`], not all that was taken has left.
    ///
    /// # Errors
    ///
    /// Those of `send(2)`.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        loop {
            self.flush_some()?;
            if self.has_unsent() || taken == bytes.len() {
                return Ok(taken);
            }
            let rest = &bytes[taken..];
            let chunk = &rest[..rest.len().min(SEND_CHUNK_BYTES)];
            match self.connection.writer().write(chunk)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => taken += count,
            }
        }
    }

    /// Whether records wait for room in the socket: wait until it is writable, and
    /// [`Session::try_send`] again, with no bytes if there are none.
    pub(crate) fn has_unsent(&self) -> bool {
        self.connection.wants_write()
    }

    /// Sends all of `bytes`. Dropped half way, the connection is of no more use.
    ///
    /// # Errors
    ///
    /// Those of `send(2)`.
    pub(crate) async fn send_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        loop {
            let taken = self.try_send(bytes)?;
            bytes = &bytes[taken..];
            if self.has_unsent() {
                self.socket().writable().await?;
            } else if bytes.is_empty() {
                return Ok(());
            }
        }
    }

    /// Tells the peer that nothing more comes, as far as the socket takes it now.
    pub(crate) fn close(&mut self) {
        self.connection.send_close_notify();
        // A peer that is gone already needs no end.
        let _ = self.flush_some();
    }

    /// Whether an idle session is open and nothing unasked has arrived. Session tickets are taken in.
    /// After a `false` it is of no more use.
    pub(crate) fn is_quiet(&mut self, buffers: &Buffers) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let mut unasked = Inbox::default();
        let quiet = self.poll_fill(&mut cx, &mut unasked, buffers).is_pending();
        unasked.consume(unasked.len());
        unasked.release(buffers);
        quiet
    }

    /// Decrypts what has arrived, all of it; an error waits in `failed` behind the bytes before it.
    fn decrypt(&mut self, inbox: &mut Inbox, buffers: &Buffers) -> usize {
        let mut total = self.take_plaintext(inbox, buffers);
        // The session holds back no more than a record at a time: it refuses bytes beyond that.
        while !self.records.is_empty() && self.failed.is_none() && !self.ended {
            if let Err(error) = self.digest() {
                self.failed = Some(error);
            }
            total += self.take_plaintext(inbox, buffers);
        }
        if self.failed.is_some() || self.ended {
            self.records.consume(self.records.len());
        }
        self.records.release(buffers);
        total
    }

    /// Feeds the session once. What it has to say about an error is on its way then.
    fn digest(&mut self) -> io::Result<()> {
        let mut rest = self.records.bytes();
        let taken = self.connection.read_tls(&mut rest)?;
        if taken == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.records.consume(taken);
        match self.connection.process_new_packets() {
            Ok(state) => {
                self.ended |= state.peer_has_closed();
                Ok(())
            }
            Err(error) => {
                // The alert is a courtesy; the error counts.
                let _ = self.flush_some();
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }

    fn take_plaintext(&mut self, inbox: &mut Inbox, buffers: &Buffers) -> usize {
        let mut total = 0;
        loop {
            let mut reader = self.connection.reader();
            // An error tells that there is nothing yet, or nothing more: `ended` knows.
            let Ok(plaintext) = reader.fill_buf() else {
                return total;
            };
            let count = plaintext.len();
            if count == 0 {
                return total;
            }
            inbox.extend(plaintext, buffers);
            reader.consume(count);
            total += count;
        }
    }

    /// Sends what the socket takes now.
    fn flush_some(&mut self) -> io::Result<()> {
        let mut outlet = Outlet(self.inflow.socket());
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut outlet) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        loop {
            self.flush_some()?;
            if !self.has_unsent() {
                return Ok(());
            }
            self.socket().writable().await?;
        }
    }
}

/// Records to the socket, without waiting: several of them in one call.
struct Outlet<'s>(&'s Socket);

impl Write for Outlet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.0.try_send_slices(slices)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
