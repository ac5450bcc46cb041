//! Accepts connections and carries requests over them, one after the other. [cold]

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use crate::clock;
use crate::mock::peer::Peer;
use crate::mock::record::Outcome;
use crate::mock::request::{NoRequest, Request};
use crate::mock::script::Cut;
use crate::mock::wire::Stop;
use crate::mock::{Shared, answer};

/// Pause after a failed accept, which is nearly always a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Serves connections until the runtime ends.
pub(super) async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return eprintln!("mock: cannot watch the listener: {error}"),
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, Arc::clone(&shared)));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let mut peer = Peer::new(stream, shared.recorder.connection_opened());
    let mut admin = false;
    while serve(&mut peer, &shared, &mut admin).await {}
    if !admin {
        shared.recorder.connection_closed();
    }
}

/// Serves one request; `false` ends the connection.
async fn serve(peer: &mut Peer, shared: &Shared, admin: &mut bool) -> bool {
    let request = match Request::read(peer).await {
        Ok(request) => request,
        Err(NoRequest::Closed) => return false,
        Err(NoRequest::Malformed) => {
            let _ = peer
                .send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                .await;
            return false;
        }
    };
    if request.path().starts_with("/__mock/") {
        if !*admin {
            *admin = true;
            shared.recorder.connection_is_admin();
        }
        return inspect(peer, shared, &request).await;
    }
    let request = Arc::new(request);
    let number = shared.recorder.received(peer.connection, &request);
    let (sent, mut events) = (peer.sent, 0);
    let result = match request.complete {
        true => answer::run(peer, shared, &request, number, &mut events).await,
        false => Err(Stop::Gone),
    };
    let now = clock::unix_millis();
    shared.recorder.ended(
        number,
        Outcome {
            events,
            bytes: peer.sent - sent,
            completed: result.is_ok(),
            hung_up_unix_ms: (result == Err(Stop::Gone)).then_some(now),
            ended_unix_ms: Some(now),
        },
    );
    match result {
        Ok(keep_alive) => keep_alive && request.keep_alive(),
        Err(Stop::Cut(Cut::Rst)) => {
            peer.reset_on_close();
            false
        }
        Err(Stop::Cut(Cut::Fin) | Stop::Gone) => false,
    }
}

/// Answers a question about what was recorded.
async fn inspect(peer: &mut Peer, shared: &Shared, request: &Request) -> bool {
    let answer = match (request.method(), request.path()) {
        ("GET", "/__mock/requests") => Some(shared.recorder.requests()),
        ("DELETE", "/__mock/requests") => {
            shared.recorder.clear();
            Some(Value::Array(Vec::new()))
        }
        ("GET", "/__mock/connections") => Some(shared.recorder.connections()),
        _ => None,
    };
    let (status, body) = match answer {
        Some(answer) => ("200 OK", answer.to_string()),
        None => ("404 Not Found", String::from("{}")),
    };
    let length = body.len();
    let response = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    peer.send(response.as_bytes()).await.is_ok() && request.keep_alive()
}
