//! Follows the script of one request. [cold]

use std::borrow::Cow;

use serde_json::json;

use crate::clock;
use crate::mock::Shared;
use crate::mock::ask::Ask;
use crate::mock::peer::Peer;
use crate::mock::plan::Plan;
use crate::mock::reply::{Answer, Endpoint};
use crate::mock::request::Request;
use crate::mock::script::{self, At, Bad, Framing, Script};
use crate::mock::stream::Events;
use crate::mock::wire::{Head, Response, Stop};
use crate::mock::{chat, messages, stream as events_of};

/// Bytes of events gathered before a send when the script asks for a firehose.
const FIREHOSE_SEND_BYTES: usize = 32 * 1024;
/// The whole answer to a request that was never sent.
const EARLY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nEARLY";

/// Whether the connection may carry another request.
pub(super) type KeepAlive = bool;

/// Answers `request`. `events` counts content events as they are written.
pub(super) async fn run(
    peer: &mut Peer,
    shared: &Shared,
    request: &Request,
    number: u64,
    events: &mut u64,
) -> Result<KeepAlive, Stop> {
    let endpoint = Endpoint::of(request.path()).filter(|_| request.method() == "POST");
    let ask = match endpoint {
        Some(_) => Ask::parse(request.body()),
        None => Ok(Ask::default()),
    };
    let plain = Script::default();
    let ask = match ask {
        Ok(ask) => ask,
        Err(error) => {
            let text = format!("mock: the body is not understood: {error}");
            let response = Response::new(peer, &plain, Framing::Length);
            return error_reply(response, endpoint, 400, number, &text).await;
        }
    };
    let script = match choose(shared, request, &ask) {
        Ok(script) => script,
        Err(error) => {
            let text = error.to_string();
            let response = Response::new(peer, &plain, Framing::Length);
            return error_reply(response, endpoint, 400, number, &text).await;
        }
    };
    before_head(peer, &script).await?;
    let answer = Answer {
        endpoint: endpoint.unwrap_or(Endpoint::Chat),
        ask: &ask,
        script: &script,
        plan: Plan::of(&script, &ask),
        number,
        connection: peer.connection,
        now_unix_us: clock::unix_micros(),
    };
    let streams = ask.streams() && endpoint.is_some_and(Endpoint::streams);
    let framing = if streams {
        Framing::Chunked
    } else {
        Framing::Length
    };
    let mut response = Response::new(peer, &script, framing);
    if let Some(bytes) = &script.fault.raw {
        response.raw_body(bytes).await?;
        return Ok(!script.wire.close);
    }
    if let Some(status @ 300..) = script.fault.status {
        let text = format!("mock status {status}");
        return error_reply(response, endpoint, status, number, &text).await;
    }
    match endpoint {
        None if request.path().ends_with("/models") && request.method() == "GET" => {
            let body = json!({"object": "list", "data": [{"id": "mock", "object": "model",
                "created": 1_700_000_000, "owned_by": "mock"}]});
            unary(response, &answer, body.to_string().as_bytes()).await
        }
        None => error_reply(response, None, 404, number, "mock: no such endpoint").await,
        Some(_) if streams => stream(response, &answer, events).await,
        Some(_) => {
            let mut body = Vec::with_capacity(script.shape.reply_bytes.unwrap_or(0) + 512);
            answer.body(&mut body);
            unary(response, &answer, &body).await
        }
    }
}

/// The script of this request; without its faults once `times` is used up.
fn choose<'s>(
    shared: &'s Shared,
    request: &Request,
    ask: &Ask<'_>,
) -> Result<Cow<'s, Script>, script::ScriptError> {
    let script = script::choose(request.script(), &ask.model, &shared.default)?;
    let Some(times) = script.fault.times else {
        return Ok(script);
    };
    let text = request.script().unwrap_or(&ask.model);
    if shared.recorder.uses(text) < times {
        return Ok(script);
    }
    Ok(Cow::Owned(script.without_faults()))
}

async fn before_head(peer: &mut Peer, script: &Script) -> Result<(), Stop> {
    if !script.pace.head.is_zero() {
        peer.wait_until(clock::now() + script.pace.head).await?;
    }
    point(peer, script, At::Head).await
}

/// Cuts or stalls if the script says so for this point.
async fn point(peer: &mut Peer, script: &Script, at: At) -> Result<(), Stop> {
    if script.fault.cut_at == Some(at) {
        return Err(Stop::Cut(script.fault.cut));
    }
    if script.fault.stall_at == Some(at) {
        return Err(peer.until_gone().await.into());
    }
    Ok(())
}

/// An error in the protocol of `endpoint`.
fn error_json(
    script: &Script,
    endpoint: Option<Endpoint>,
    status: u16,
    number: u64,
    message: &str,
) -> Vec<u8> {
    match endpoint {
        Some(Endpoint::Messages | Endpoint::CountTokens) => {
            let code = script.fault.error_code.as_deref();
            let error = messages::error(status, code, message, Some(number));
            error.to_string().into_bytes()
        }
        _ => chat::error_json(script, status, message),
    }
}

async fn error_reply(
    mut response: Response<'_>,
    endpoint: Option<Endpoint>,
    status: u16,
    number: u64,
    message: &str,
) -> Result<KeepAlive, Stop> {
    let script = response.script;
    let (content_type, body) = match script.fault.error_raw {
        true => ("text/plain", format!("{message}\n").into_bytes()),
        false => (
            "application/json",
            error_json(script, endpoint, status, number, message),
        ),
    };
    response.head(&Head {
        status,
        content_type,
        length: body.len(),
        retry_after: script.fault.retry_after.as_deref(),
        number,
    });
    response.body(&body).await?;
    finish(response).await
}

async fn unary(
    mut response: Response<'_>,
    answer: &Answer<'_>,
    body: &[u8],
) -> Result<KeepAlive, Stop> {
    let script = answer.script;
    response.head(&Head {
        status: script.fault.status.unwrap_or(200),
        content_type: content_type(script, "application/json"),
        length: body.len(),
        retry_after: None,
        number: answer.number,
    });
    let torn = script.fault.cut_at.is_some() || script.fault.stall_at.is_some();
    if torn || !script.pace.slow_body.is_zero() {
        let (first, second) = body.split_at(body.len() / 2);
        response.body(first).await?;
        response.flush().await?;
        response.pause(script.pace.slow_body).await?;
        for at in [script.fault.cut_at, script.fault.stall_at]
            .into_iter()
            .flatten()
        {
            point(response.peer, script, at).await?;
        }
        response.body(second).await?;
    } else {
        response.body(body).await?;
    }
    finish(response).await
}

async fn stream(
    mut response: Response<'_>,
    answer: &Answer<'_>,
    events: &mut u64,
) -> Result<KeepAlive, Stop> {
    let script = answer.script;
    let mut frames = events_of::of(answer);
    response.head(&Head {
        status: script.fault.status.unwrap_or(200),
        content_type: content_type(script, "text/event-stream"),
        length: if response.is_length_framed() {
            length(answer)
        } else {
            0
        },
        retry_after: None,
        number: answer.number,
    });
    response.flush().await?;
    response.pause(script.pace.first).await?;
    if let Some(bytes) = script.shape.firehose {
        firehose(&mut response, answer, &mut *frames, bytes, events).await?;
        return finish(response).await;
    }
    let start = clock::now();
    let mut batch = Vec::with_capacity(512);
    let total = answer.plan.events();
    for seq in 0..=total {
        if seq > 0 && !script.pace.gap.is_zero() {
            response.pause_until(start + script.pace.gap * seq).await?;
        }
        point(response.peer, script, At::Event(seq)).await?;
        batch.clear();
        if script.fault.error_at == Some(seq) {
            frames.error(&mut batch);
        } else if seq < total {
            frames.content(seq, clock::unix_micros(), &mut batch);
            events_of::comment(answer, &mut batch);
        } else {
            frames.tail(&mut batch);
        }
        response.body(&batch).await?;
        if script.fault.error_at == Some(seq) || seq == total {
            break;
        }
        response.flush().await?;
        *events += 1;
    }
    finish(response).await
}

/// Body bytes of the whole stream, which do not depend on when it is sent.
fn length(answer: &Answer<'_>) -> usize {
    let mut frames = events_of::of(answer);
    let (mut batch, mut total) = (Vec::new(), 0);
    for seq in 0..answer.plan.events() {
        batch.clear();
        if answer.script.fault.error_at == Some(seq) {
            frames.error(&mut batch);
            return total + batch.len();
        }
        frames.content(seq, answer.now_unix_us, &mut batch);
        events_of::comment(answer, &mut batch);
        total += batch.len();
    }
    batch.clear();
    if answer.script.fault.error_at == Some(answer.plan.events()) {
        frames.error(&mut batch);
    } else {
        frames.tail(&mut batch);
    }
    total + batch.len()
}

async fn firehose(
    response: &mut Response<'_>,
    answer: &Answer<'_>,
    frames: &mut dyn Events,
    bytes: u64,
    events: &mut u64,
) -> Result<(), Stop> {
    let (mut batch, mut sent, mut seq) = (Vec::new(), 0, 0);
    while sent < bytes {
        batch.clear();
        let now = clock::unix_micros();
        let begun = seq;
        while batch.len() < FIREHOSE_SEND_BYTES && sent + (batch.len() as u64) < bytes {
            frames.content(seq, now, &mut batch);
            events_of::comment(answer, &mut batch);
            seq += 1;
        }
        response.body(&batch).await?;
        response.flush().await?;
        sent += batch.len() as u64;
        *events += u64::from(seq - begun);
    }
    batch.clear();
    frames.tail(&mut batch);
    response.body(&batch).await
}

async fn finish(mut response: Response<'_>) -> Result<KeepAlive, Stop> {
    response.finish().await?;
    if response.script.fault.early {
        response.raw(EARLY);
        response.flush().await?;
    }
    Ok(!response.close)
}

fn content_type<'c>(script: &Script, usual: &'c str) -> &'c str {
    match script.fault.bad {
        Some(Bad::Html) => "text/html",
        _ => usual,
    }
}
