//! An upstream that answers whatever bytes a test says, and remembers what it was asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One request as it came.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Request line and headers.
    pub head: String,
    pub body: Vec<u8>,
}

impl Asked {
    /// The request line.
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// Values of the header called `name`, in lower case.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let lines = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        lines
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// Whether `text` is anywhere in it.
    pub fn holds(&self, text: &str) -> bool {
        let body = String::from_utf8_lossy(&self.body);
        self.head.contains(text) || body.contains(text)
    }
}

/// A connection to the one who asks.
pub type Asker<'s> = &'s mut TcpStream;

/// A listening upstream; serves until the test ends.
#[derive(Debug)]
pub struct Scripted {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    closed: Arc<Mutex<usize>>,
}

impl Scripted {
    /// An upstream that lets `answer` write each response. A connection ends once `answer` says so
    /// with `false`, or the other side does.
    pub fn new(answer: impl Fn(&Asked, Asker<'_>) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let this = Self {
            addr: listener.local_addr().unwrap(),
            asked: Arc::default(),
            closed: Arc::default(),
        };
        let (asked, closed) = (Arc::clone(&this.asked), Arc::clone(&this.closed));
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (asked, closed) = (Arc::clone(&asked), Arc::clone(&closed));
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || {
                    serve(stream, &asked, &*answer);
                    *closed.lock().unwrap() += 1;
                });
            }
        });
        this
    }

    /// An upstream that answers 200 with a short text.
    pub fn plain() -> Self {
        Self::new(|asked, asker| match asked.line().starts_with("HEAD ") {
            true => asker
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
                .is_ok(),
            false => reply(asker, "content-type: text/plain\r\n", b"fine"),
        })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The last request.
    pub fn last(&self) -> Asked {
        self.asked().pop().expect("the upstream was asked")
    }

    /// Connections that ended.
    pub fn closed(&self) -> usize {
        *self.closed.lock().unwrap()
    }
}

/// Answers 200 with these header lines and this body.
pub fn reply(asker: Asker<'_>, lines: &str, body: &[u8]) -> bool {
    let head = format!(
        "HTTP/1.1 200 OK\r\n{lines}content-length: {}\r\n\r\n",
        body.len()
    );
    asker.write_all(head.as_bytes()).is_ok() && asker.write_all(body).is_ok()
}

fn serve(
    mut stream: TcpStream,
    asked: &Mutex<Vec<Asked>>,
    answer: &dyn Fn(&Asked, Asker<'_>) -> bool,
) {
    stream.set_nodelay(true).unwrap();
    let mut inbox = Vec::new();
    while let Some(request) = read(&mut stream, &mut inbox) {
        asked.lock().unwrap().push(request.clone());
        if !answer(&request, &mut stream) {
            return;
        }
    }
}

/// The next request; `None` at the end of the connection.
fn read(stream: &mut TcpStream, inbox: &mut Vec<u8>) -> Option<Asked> {
    let end = loop {
        if let Some(at) = inbox.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        fill(stream, inbox)?;
    };
    let head = String::from_utf8(inbox.drain(..end).collect()).expect("a head is text");
    let mut asked = Asked {
        head,
        body: Vec::new(),
    };
    let length = asked
        .values("content-length")
        .first()
        .copied()
        .unwrap_or("0");
    let length: usize = length.parse().expect("a length is a number");
    while inbox.len() < length {
        fill(stream, inbox)?;
    }
    asked.body = inbox.drain(..length).collect();
    Some(asked)
}

fn fill(stream: &mut TcpStream, inbox: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 64 * 1024];
    match stream.read(&mut buffer) {
        Ok(0) | Err(_) => None,
        Ok(count) => {
            inbox.extend_from_slice(&buffer[..count]);
            Some(())
        }
    }
}
