//! A client of HTTP/2 by prior knowledge: the `h2` crate, its connection on a thread of its own.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::mpsc;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{Method, Request};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::gateway::CALLER_KEY;
use crate::support::{Gateway, PATIENCE, Response};

/// One connection.
pub(super) struct H2 {
    runtime: Runtime,
    send: SendRequest<Bytes>,
    ended: mpsc::Receiver<Option<h2::Error>>,
}

/// A request on its way.
pub(super) struct Asked {
    pub(super) response: ResponseFuture,
    pub(super) stream: SendStream<Bytes>,
}

/// A response whose head has come.
pub(super) struct Streaming {
    pub(super) head: Response,
    pub(super) body: RecvStream,
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

impl H2 {
    pub(super) fn connect(gateway: &Gateway) -> Self {
        Self::with(gateway.addr, &Builder::new())
    }

    /// Connects with settings of its own.
    pub(super) fn with(addr: SocketAddr, builder: &Builder) -> Self {
        let (shaken, client) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let builder = builder.clone();
        std::thread::spawn(move || {
            runtime().block_on(async {
                let socket = tokio::net::TcpStream::connect(addr).await.unwrap();
                socket.set_nodelay(true).unwrap();
                let (send, connection) = builder.handshake::<_, Bytes>(socket).await.unwrap();
                shaken.send(send).unwrap();
                let _ = end.send(connection.await.err());
            });
        });
        Self {
            runtime: runtime(),
            send: client.recv().unwrap(),
            ended,
        }
    }

    /// Waits for `work`, for as long as tests wait.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        let work = async { tokio::time::timeout(PATIENCE, work).await };
        self.runtime.block_on(work).expect("it came in time")
    }

    /// Begins a request; without `body` it ends with its head.
    pub(super) fn begin(&mut self, request: Request<()>, ends: bool) -> Result<Asked, h2::Error> {
        let send = self.send.clone();
        let mut send = self.wait(send.ready())?;
        let (response, stream) = send.send_request(request, ends)?;
        Ok(Asked { response, stream })
    }

    /// Asks with a whole body, as fast as the window lets it.
    pub(super) fn ask(&mut self, request: Request<()>, body: &[u8]) -> Asked {
        let mut asked = self.begin(request, body.is_empty()).unwrap();
        if !body.is_empty() {
            let sent = self.send(&mut asked.stream, body, true);
            sent.unwrap();
        }
        asked
    }

    /// Sends `body` as the window lets it.
    pub(super) fn send(
        &self,
        stream: &mut SendStream<Bytes>,
        mut body: &[u8],
        ends: bool,
    ) -> Result<(), h2::Error> {
        while !body.is_empty() {
            stream.reserve_capacity(body.len());
            let room = self.wait(std::future::poll_fn(|cx| stream.poll_capacity(cx)));
            // One that the server has ended takes no more.
            let Some(room) = room else { return Ok(()) };
            let room = room?;
            let (now, rest) = body.split_at(room.min(body.len()));
            let sent = stream.send_data(Bytes::copy_from_slice(now), ends && rest.is_empty());
            if let Err(error) = sent {
                // The server may end it between its room and what fills it.
                let room = self.wait(std::future::poll_fn(|cx| stream.poll_capacity(cx)));
                return room.map_or(Ok(()), |_| Err(error));
            }
            body = rest;
        }
        Ok(())
    }

    /// Waits for the head of a response.
    pub(super) fn head(&self, response: ResponseFuture) -> Result<Streaming, h2::Error> {
        let (parts, body) = self.wait(response)?.into_parts();
        let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
        let lines = parts.headers.iter();
        let head = Response {
            status: parts.status.as_u16(),
            headers: lines
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect(),
            body: Vec::new(),
        };
        Ok(Streaming { head, body })
    }

    /// The next piece of a body; `None` at its end.
    pub(super) fn data(&self, body: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
        let data = self.wait(body.data())?;
        if let Ok(data) = &data {
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        Some(data)
    }

    /// A whole response.
    pub(super) fn whole(&self, response: ResponseFuture) -> Result<Response, h2::Error> {
        let mut streaming = self.head(response)?;
        while let Some(data) = self.data(&mut streaming.body) {
            streaming.head.body.extend_from_slice(&data?);
        }
        Ok(streaming.head)
    }

    /// Asks and waits for the whole answer.
    pub(super) fn answer(&mut self, request: Request<()>, body: &[u8]) -> Response {
        let asked = self.ask(request, body);
        self.whole(asked.response).unwrap()
    }

    /// Waits for the end of the connection: what ended it, if not the client itself.
    pub(super) fn ended(&self) -> Option<h2::Error> {
        self.ended
            .recv_timeout(PATIENCE)
            .expect("the connection ends")
    }
}

/// A request with the caller's key.
pub(super) fn request(method: Method, path: &str) -> http::request::Builder {
    let uri = format!("http://gateway{path}");
    let request = Request::builder().method(method).uri(uri);
    request.header("authorization", format!("Bearer {CALLER_KEY}"))
}

pub(super) fn get(path: &str) -> Request<()> {
    request(Method::GET, path).body(()).unwrap()
}

/// A POST of JSON, of which the length is told.
pub(super) fn post(path: &str, body: &Value) -> (Request<()>, Vec<u8>) {
    let body = body.to_string().into_bytes();
    let request = request(Method::POST, path)
        .header("content-type", "application/json")
        .header("content-length", body.len());
    (request.body(()).unwrap(), body)
}

/// The same under an id of the caller's choice.
pub(super) fn named(
    id: &str,
    (mut request, body): (Request<()>, Vec<u8>),
) -> (Request<()>, Vec<u8>) {
    let id = id.parse().unwrap();
    request.headers_mut().insert("x-sluice-request-id", id);
    (request, body)
}
