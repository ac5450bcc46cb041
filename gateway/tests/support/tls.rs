//! An OpenAI-like upstream behind TLS: one thread per connection, blocking, rustls.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

use super::PATIENCE;

/// A certification authority of a test's own.
pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, PEM.
#[derive(Clone, Debug)]
pub struct Leaf {
    pub cert: String,
    pub key: String,
}

impl Authority {
    /// A fresh one.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        // A name that no leaf has: else OpenSSL takes leaves for self-signed.
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    /// A certificate for the server `name`.
    pub fn server(&self, name: &str) -> Leaf {
        self.sign(&CertificateParams::new([name.to_owned()]).unwrap())
    }

    /// A certificate for the server `name` whose time is over.
    pub fn expired(&self, name: &str) -> Leaf {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(&params)
    }

    /// A certificate for the server `name` whose time is over with the first of January of `year`.
    pub fn server_until(&self, name: &str, year: i32) -> Leaf {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        self.sign(&params)
    }

    /// A certificate for a client.
    pub fn client(&self) -> Leaf {
        self.client_named("client")
    }

    /// A certificate for the client `name`.
    pub fn client_named(&self, name: &str) -> Leaf {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        let key = key.serialize_pem();
        Leaf { cert, key }
    }
}

/// How the server behaves.
#[derive(Clone, Default)]
pub struct Behaviour {
    /// Every byte is a send of its own.
    pub drip: bool,
    /// Only this version of the protocol.
    pub only: Option<&'static rustls::SupportedProtocolVersion>,
    /// Clients must show a certificate of this authority, PEM.
    pub client_authority: Option<String>,
}

/// One request as the server saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Number of the connection, from 0.
    pub connection: usize,
    /// Whether the session was resumed.
    pub resumed: bool,
    pub version: ProtocolVersion,
    pub server_name: Option<String>,
    pub alpn: Option<Vec<u8>>,
    pub client_certificate: bool,
    pub head: String,
    pub body: Vec<u8>,
}

/// The running server. Its threads end with the test process.
pub struct TlsUpstream {
    pub addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    failures: Arc<Mutex<Vec<String>>>,
}

impl TlsUpstream {
    /// Serves with `leaf` on a port of the kernel's choice. What is answered is chosen by the model
    /// of the body, see [`answer`].
    pub fn start(leaf: &Leaf, behaviour: &Behaviour) -> Self {
        let config = Arc::new(config(leaf, behaviour));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let failures: Arc<Mutex<Vec<String>>> = Arc::default();
        let (sink, failed) = (Arc::clone(&seen), Arc::clone(&failures));
        let drip = behaviour.drip;
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (sink, failed) = (Arc::clone(&sink), Arc::clone(&failed));
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                let wire = Wire {
                    stream: stream.unwrap(),
                    drip,
                };
                std::thread::spawn(move || {
                    if let Err(error) = serve(connection, session, wire, &sink) {
                        failed.lock().unwrap().push(error.to_string());
                    }
                });
            }
        });
        Self {
            addr,
            seen,
            failures,
        }
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// What went wrong on its connections.
    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }
}

fn config(leaf: &Leaf, behaviour: &Behaviour) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions: Vec<_> = match behaviour.only {
        Some(version) => vec![version],
        None => rustls::ALL_VERSIONS.to_vec(),
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .unwrap();
    let builder = match &behaviour.client_authority {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
                .unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(leaf.cert.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// The socket, which may send each byte alone.
struct Wire {
    stream: TcpStream,
    drip: bool,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = if self.drip { 1 } else { bytes.len() };
        self.stream.write(&bytes[..count.min(bytes.len())])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

fn serve(
    connection: usize,
    session: ServerConnection,
    wire: Wire,
    sink: &Mutex<Vec<Seen>>,
) -> std::io::Result<()> {
    wire.stream.set_read_timeout(Some(PATIENCE))?;
    wire.stream.set_nodelay(true)?;
    let mut stream = BufReader::new(StreamOwned::new(session, wire));
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length:")?
                    .trim()
                    .parse()
                    .ok()
            })
            .unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let model = value["model"].as_str().unwrap_or_default().to_owned();
        let session = &stream.get_ref().conn;
        sink.lock().unwrap().push(Seen {
            connection,
            resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
            version: session.protocol_version().expect("shaken hands"),
            server_name: session.server_name().map(str::to_owned),
            alpn: session.alpn_protocol().map(<[u8]>::to_vec),
            client_certificate: session.peer_certificates().is_some(),
            head,
            body,
        });
        let (answer, then) = answer(&model);
        let out = stream.get_mut();
        out.write_all(&answer)?;
        out.flush()?;
        match then {
            Then::Keep => {}
            Then::Notify => {
                out.conn.send_close_notify();
                return out.flush();
            }
            Then::Vanish => return Ok(()),
        }
    }
}

enum Then {
    Keep,
    /// Close as the protocol wants.
    Notify,
    /// Close the socket alone.
    Vanish,
}

/// The content of an answer to the model `large`, bytes.
pub const LARGE_BYTES: usize = 1 << 20;

/// The answer to `model`, and what becomes of the connection.
fn answer(model: &str) -> (Vec<u8>, Then) {
    let whole = |content: &str, extra: &str| {
        let body = serde_json::json!({"id": "c-1", "object": "chat.completion", "created": 1, "model": model,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": content},
                "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}})
        .to_string();
        let length = match extra {
            "" | "connection: close\r\n" => format!("content-length: {}\r\n", body.len()),
            _ => String::new(),
        };
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{length}{extra}\r\n{body}")
            .into_bytes()
    };
    let until_close = "connection: close\r\nx-until: close\r\n";
    match model {
        "large" => (whole(&"x".repeat(LARGE_BYTES), ""), Then::Keep),
        "close" => (whole("hi", "connection: close\r\n"), Then::Notify),
        "length-then-vanish" => (whole("hi", "connection: close\r\n"), Then::Vanish),
        "until-close" => (whole("hi", until_close), Then::Notify),
        "until-vanish" => (whole("hi", until_close), Then::Vanish),
        "stream" => (stream_of(true), Then::Keep),
        "stream-vanish" => (stream_of(false), Then::Vanish),
        _ => (whole("hi", ""), Then::Keep),
    }
}

fn stream_of(complete: bool) -> Vec<u8> {
    let mut out =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
    let mut event = |data: &str| {
        let event = format!("data: {data}\n\n");
        write!(out, "{:x}\r\n{event}\r\n", event.len()).unwrap();
    };
    for number in 0..5 {
        let delta = serde_json::json!({"id": "c-1", "object": "chat.completion.chunk", "created": 1,
            "model": "stream", "choices": [{"index": 0, "delta": {"content": format!("e{number} ")},
                "finish_reason": null}]});
        event(&delta.to_string());
    }
    if complete {
        event(
            r#"{"id":"c-1","object":"chat.completion.chunk","created":1,"model":"stream","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        );
        event("[DONE]");
        out.extend_from_slice(b"0\r\n\r\n");
    }
    out
}
