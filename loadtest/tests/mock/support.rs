//! A mock inside this process, and requests to it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use loadtest::chunked::Chunked;
use loadtest::mock::{self, MockArguments};
use serde_json::{Value, json};

/// How long a test waits for what must come. Long enough for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn start(script: &str) -> SocketAddr {
    let arguments = MockArguments {
        listen: "127.0.0.1:0".parse().unwrap(),
        threads: 1,
        script: script.to_owned(),
        keep: 100,
    };
    mock::spawn(&arguments).unwrap()
}

/// The mock of all tests that do not look at its records.
pub(crate) fn shared() -> SocketAddr {
    static MOCK: OnceLock<SocketAddr> = OnceLock::new();
    *MOCK.get_or_init(|| start(""))
}

pub(crate) fn connect(mock: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(mock).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

pub(crate) fn chat(script: &str, more: &Value) -> Value {
    let mut body = json!({
        "model": format!("mock/{script}"),
        "messages": [{"role": "user", "content": "hello"}],
    });
    let fields = body.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    body
}

pub(crate) fn send(socket: &mut TcpStream, path: &str, headers: &str, body: &Value) {
    let body = body.to_string();
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: mock\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    socket.write_all(request.as_bytes()).unwrap();
}

/// All bytes until the mock closes, and whether it closed with a reset.
pub(crate) fn read_to_close(socket: &mut TcpStream) -> (Vec<u8>, bool) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 64 * 1024]);
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return (bytes, false),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return (bytes, true),
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
}

/// Reads until `bytes` contains `text`, or panics.
pub(crate) fn read_until(socket: &mut TcpStream, text: &str) -> String {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let so_far = String::from_utf8_lossy(&bytes).into_owned();
        if so_far.contains(text) {
            return so_far;
        }
        let count = socket.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "closed after {so_far:?}");
        bytes.extend_from_slice(&buffer[..count]);
    }
}

/// A response, taken apart.
pub(crate) struct Reply {
    pub(crate) head: String,
    /// Without chunk framing.
    pub(crate) body: Vec<u8>,
    /// As sent.
    pub(crate) raw_body: Vec<u8>,
    pub(crate) reset: bool,
}

impl Reply {
    pub(crate) fn of(bytes: &[u8], reset: bool) -> Self {
        let split = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let (head, rest) = bytes.split_at(split.map_or(bytes.len(), |at| at + 4));
        let head = String::from_utf8_lossy(head).into_owned();
        let body = match head.contains("transfer-encoding: chunked") {
            true => unchunk(rest),
            false => rest.to_vec(),
        };
        Self {
            head,
            body,
            raw_body: rest.to_vec(),
            reset,
        }
    }

    pub(crate) fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or("")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    /// The `data:` payloads of a stream, lines ended by LF.
    pub(crate) fn data(&self) -> Vec<String> {
        let text = self.text();
        let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
        lines.map(str::to_owned).collect()
    }

    /// Content of the first choice of each event, where there is one.
    pub(crate) fn contents(&self) -> Vec<String> {
        let data = self.data();
        let events = data
            .iter()
            .filter_map(|data| serde_json::from_str::<Value>(data).ok());
        let contents = events.filter_map(|event| {
            event["choices"][0]["delta"]["content"]
                .as_str()
                .map(str::to_owned)
        });
        contents.collect()
    }
}

fn unchunk(wire: &[u8]) -> Vec<u8> {
    let (mut decoder, mut body, mut rest) = (Chunked::default(), Vec::new(), wire);
    while let Ok(piece) = decoder.next(rest) {
        body.extend_from_slice(&rest[piece.data]);
        rest = &rest[piece.consumed..];
        if piece.consumed == 0 {
            break;
        }
    }
    body
}

/// One request on its own connection; everything until the mock closes.
pub(crate) fn exchange(path: &str, body: &Value) -> Reply {
    let mut socket = connect(shared());
    send(&mut socket, path, "connection: close\r\n", body);
    let (bytes, reset) = read_to_close(&mut socket);
    Reply::of(&bytes, reset)
}

pub(crate) fn unary(script: &str) -> Reply {
    exchange("/v1/chat/completions", &chat(script, &json!({})))
}

pub(crate) fn streamed(script: &str) -> Reply {
    exchange(
        "/v1/chat/completions",
        &chat(script, &json!({"stream": true})),
    )
}

/// The named events of a stream: name, and data.
pub(crate) fn events(reply: &Reply) -> Vec<(String, Value)> {
    let text = reply.text();
    let events = text.split("\n\n").filter_map(|event| {
        let (name, data) = event.strip_prefix("event: ")?.split_once("\ndata: ")?;
        Some((name.to_owned(), serde_json::from_str(data).unwrap()))
    });
    events.collect()
}

/// Asks the mock about itself.
pub(crate) fn ask(mock: SocketAddr, method: &str, path: &str) -> Value {
    let mut socket = connect(mock);
    let request = format!("{method} {path} HTTP/1.1\r\nhost: mock\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    Reply::of(&read_to_close(&mut socket).0, false).json()
}

/// The first answer to `path` that satisfies `condition`.
pub(crate) fn wait_for(mock: SocketAddr, path: &str, condition: impl Fn(&Value) -> bool) -> Value {
    let deadline = unix_ms() + PATIENCE.as_millis() as u64;
    loop {
        let answer = ask(mock, "GET", path);
        if condition(&answer) {
            return answer;
        }
        assert!(unix_ms() < deadline, "never true of {path}: {answer:#}");
        std::thread::yield_now();
    }
}

pub(crate) fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64
}
