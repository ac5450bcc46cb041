//! One request over a connection of its own, and its answer. [cold]
//!
//! Bounded in memory by [`ANSWER_BYTES_MAX`]; in time by whoever waits for it.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use config_sync::model::ProviderKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use super::ClientTls;
use super::ask::Answer;
use crate::cold::dns::{self, SystemResolver};
use crate::http::h1::{BodyReader, Limits, Method, ResponseHead, parse_response};

/// Longest answer that is read: a check asks for a few tokens.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Interim responses skipped before the final one.
const INTERIM_MAX: usize = 8;
const READ_BYTES: usize = 16 * 1024;

/// Sends `request` to the upstream of `key` and reads its answer.
///
/// # Errors
///
/// What went wrong, for the log.
pub(super) async fn exchange(
    key: &ProviderKey,
    request: &[u8],
    tls: &ClientTls,
    lookups: Arc<Semaphore>,
) -> Result<Answer, String> {
    let Some(base) = &key.base else {
        return Err("the provider key has no api_base".to_owned());
    };
    let addresses = match base.host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => dns::run(SystemResolver, &base.host, lookups)
            .await
            .map_err(|error| format!("name resolution failed: {}", error.message()))?,
    };
    let mut stream = connect(&addresses, base.port)
        .await
        .map_err(|error| format!("connect failed: {error}"))?;
    if !base.https {
        return talk(&mut stream, request).await;
    }
    let (config, name) =
        tls(&base.host, &key.tls).map_err(|error| format!("unusable TLS settings: {error}"))?;
    let mut stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|error| format!("TLS handshake failed: {error}"))?;
    talk(&mut stream, request).await
}

/// The first address that takes the connection.
async fn connect(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::NotFound.into();
    for address in addresses {
        match TcpStream::connect((*address, port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn talk<S>(stream: &mut S, request: &[u8]) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // An upstream that refuses early stops reading: its answer counts, not the failed send.
    let sent = async {
        stream.write_all(request).await?;
        stream.flush().await
    };
    let sent = sent.await;
    let mut inbox = Vec::new();
    let head = match read_head(stream, &mut inbox).await {
        Ok(head) => head,
        Err(why) => {
            return Err(sent
                .err()
                .map_or(why, |error| format!("sending failed: {error}")));
        }
    };
    let status = head.status();
    let body = match status {
        200..300 => read_body(stream, &head, inbox).await?,
        // The status says enough.
        _ => Vec::new(),
    };
    Ok(Answer { status, body })
}

async fn read_head<S>(stream: &mut S, inbox: &mut Vec<u8>) -> Result<ResponseHead, String>
where
    S: AsyncRead + Unpin,
{
    let mut interims = 0;
    loop {
        let parsed = parse_response(inbox, &Method::Post, &Limits::default());
        match parsed.map_err(|error| format!("malformed response head: {error:?}"))? {
            Some((head, used)) => {
                inbox.drain(..used);
                if !head.is_interim() {
                    return Ok(head);
                }
                interims += 1;
                if interims > INTERIM_MAX {
                    return Err("too many interim responses".to_owned());
                }
            }
            None if fill(stream, inbox).await? == 0 => {
                return Err("closed before a response head came".to_owned());
            }
            None => {}
        }
    }
}

async fn read_body<S>(
    stream: &mut S,
    head: &ResponseHead,
    mut inbox: Vec<u8>,
) -> Result<Vec<u8>, String>
where
    S: AsyncRead + Unpin,
{
    let mut reader = BodyReader::new(head.body());
    let mut body = Vec::new();
    loop {
        let mut used = 0;
        while !reader.is_done() {
            let rest = &inbox[used..];
            let piece = reader
                .next(rest)
                .map_err(|error| format!("malformed response body: {error:?}"))?;
            if piece.consumed == 0 {
                break;
            }
            body.extend_from_slice(&rest[piece.data]);
            used += piece.consumed;
        }
        if reader.is_done() {
            return Ok(body);
        }
        inbox.drain(..used);
        if body.len() > ANSWER_BYTES_MAX {
            return Err("the answer is larger than the bound".to_owned());
        }
        if fill(stream, &mut inbox).await? == 0 {
            let end = reader.at_eof();
            return end
                .map(|()| body)
                .map_err(|_| "the response ended in the middle".to_owned());
        }
    }
}

/// Appends what has arrived, waiting for something; 0 is the end.
async fn fill<S>(stream: &mut S, inbox: &mut Vec<u8>) -> Result<usize, String>
where
    S: AsyncRead + Unpin,
{
    inbox.reserve(READ_BYTES);
    let read = stream.read_buf(inbox).await;
    read.map_err(|error| format!("connection failed: {error}"))
}
