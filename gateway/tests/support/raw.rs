//! A client that sends exactly the bytes it is given.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::PATIENCE;

/// One raw connection.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Read and not yet taken.
    inbox: Vec<u8>,
}

/// One response, its body decoded.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first header called `name`, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter();
        found
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// The `error` object of an envelope.
    pub fn error(&self) -> serde_json::Value {
        self.json()["error"].clone()
    }
}

impl Raw {
    /// Connects.
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            tls: None,
            inbox: Vec::new(),
        }
    }

    /// Connects and shakes hands with the server called `name`.
    ///
    /// With TLS 1.3 a server may still refuse the client's certificate afterwards: the next read
    /// tells.
    pub fn secure(
        addr: SocketAddr,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> std::io::Result<Self> {
        let mut raw = Self::connect(addr);
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut tls = ClientConnection::new(Arc::clone(config), name).expect("a session");
        tls.complete_io(&mut raw.stream)?;
        raw.tls = Some(Box::new(tls));
        Ok(raw)
    }

    /// The session, where there is one.
    pub fn session(&self) -> &ClientConnection {
        self.tls.as_ref().expect("a secure connection")
    }

    /// Says in TLS that nothing more comes, and leaves the socket as it is.
    pub fn close_notify(&mut self) {
        let tls = self.tls.as_mut().expect("a secure connection");
        tls.send_close_notify();
        while tls.wants_write() {
            tls.write_tls(&mut self.stream)
                .expect("the server takes bytes");
        }
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.tls {
            None => self.stream.read(buffer),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.stream).read(buffer),
        }
    }

    fn write_whole(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.tls {
            None => self.stream.write_all(bytes),
            Some(tls) => {
                let mut stream = rustls::Stream::new(&mut **tls, &mut self.stream);
                stream.write_all(bytes)?;
                stream.flush()
            }
        }
    }

    /// Fixes how much the kernel takes in unread. Left to itself it may grow to tens of megabytes, and
    /// take in a whole answer that was meant to get stuck.
    pub fn take_in_little(&self) {
        rustix::net::sockopt::set_socket_recv_buffer_size(&self.stream, 64 * 1024).unwrap();
    }

    /// The socket itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends all of `bytes`.
    pub fn send(&mut self, bytes: &[u8]) {
        self.write_whole(bytes).expect("the server takes bytes");
    }

    /// Sends `bytes` as far as the other side takes them.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.write_whole(bytes)
    }

    /// Ends the sending half.
    pub fn shutdown_write(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes with a reset.
    pub fn reset(self) {
        let linger =
            rustix::net::sockopt::set_socket_linger(&self.stream, Some(std::time::Duration::ZERO));
        linger.expect("the socket takes options");
    }

    /// Bytes that arrived and were not read.
    pub fn waiting(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.stream).expect("a socket can tell")
    }

    /// Waits until no more arrives: the other side has nothing to send, or cannot.
    pub fn wait_until_blocked(&self) {
        let (mut seen, mut still) = (0, 0);
        super::wait_for("the other side to be blocked", || {
            let waiting = self.waiting();
            still = if waiting == seen { still + 1 } else { 0 };
            seen = waiting;
            (seen > 0 && still >= 20).then_some(())
        });
    }

    /// Reads once more; `false` at the end of the stream or after a reset.
    pub fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.read_some(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    self.inbox.extend_from_slice(&buffer[..count]);
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
                Err(error) => panic!("no more bytes came: {error}; so far {:?}", self.peeked()),
            }
        }
    }

    /// Waits for the first byte of an answer; `false` where there will be none.
    pub fn is_answered(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let count = self.read_some(&mut buffer).unwrap_or(0);
        self.inbox.extend_from_slice(&buffer[..count]);
        count > 0
    }

    /// What was read and not taken, for messages.
    pub fn peeked(&self) -> String {
        String::from_utf8_lossy(&self.inbox).into_owned()
    }

    /// Whether the other side closes without another byte.
    pub fn closes(&mut self) -> bool {
        self.inbox.is_empty() && !self.fill()
    }

    /// Reads bytes until `needle` is among them; returns all up to and including it.
    pub fn until(&mut self, needle: &[u8]) -> Vec<u8> {
        loop {
            let at = self.inbox.windows(needle.len()).position(|w| w == needle);
            if let Some(at) = at {
                return self.inbox.drain(..at + needle.len()).collect();
            }
            assert!(
                self.fill(),
                "closed before {:?}",
                String::from_utf8_lossy(needle)
            );
        }
    }

    /// Everything until the other side closes.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.inbox)
    }

    /// One response head: status and headers.
    pub fn head(&mut self) -> Response {
        let head = self.until(b"\r\n\r\n");
        let text = String::from_utf8(head).expect("a head is text");
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().unwrap();
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':'));
        Response {
            status: status.unwrap_or_else(|| panic!("no status in {text:?}")),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                .collect(),
            body: Vec::new(),
        }
    }

    /// One whole response to a request that was not HEAD.
    pub fn response(&mut self) -> Response {
        let mut response = self.head();
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                response.body.extend_from_slice(&chunk);
            }
        } else if let Some(length) = response.header("content-length") {
            let length: usize = length.parse().expect("a length is a number");
            response.body = self.exactly(length);
        } else if !matches!(response.status, 100..=199 | 204 | 304) {
            response.body = self.rest();
        }
        response
    }

    /// The next chunk of a chunked body; `None` at its end.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.until(b"\r\n");
        let digits = std::str::from_utf8(&line).unwrap().trim_end();
        let size = usize::from_str_radix(digits, 16).expect("a chunk size");
        let data = self.exactly(size);
        assert_eq!(self.exactly(2), b"\r\n", "a chunk ends in CRLF");
        (size > 0).then_some(data)
    }

    /// The data of the chunks that are left of a body whose head and first bytes were read with
    /// [`Raw::until`], its framing included where the first chunk goes on.
    pub fn rest_of_stream(&mut self) -> Vec<u8> {
        let mut data = self.until(b"\n\n\r\n");
        data.truncate(data.len() - 2);
        while let Some(chunk) = self.chunk() {
            data.extend(chunk);
        }
        data
    }

    /// The next `count` bytes; `None` where the other side closes before.
    pub fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.inbox.len() < count {
            if !self.fill() {
                return None;
            }
        }
        Some(self.inbox.drain(..count).collect())
    }

    fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.inbox.len() < count {
            assert!(
                self.fill(),
                "closed after {} of {count} bytes",
                self.inbox.len()
            );
        }
        self.inbox.drain(..count).collect()
    }
}
