//! The phases of a request, shared by all endpoints. [ring]
//!
//! Runs on the worker that accepted the connection and never leaves it. Bounded by the body limit,
//! the clocks of the attempt and the client's hang-up, whichever comes first.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config_sync::model::ApiKey;
use config_sync::snapshot::Snapshot;

use super::answer::{
    model_list, reject, relay_stream, relay_whole, token_count, write_rejection, writer,
};
use super::context::{Context, Place};
use super::probe;
use crate::auth;
use crate::bridge::domain::AuthDecision;
use crate::dialect::{Dialect, Seed};
use crate::endpoint::{self, Call, Endpoint, Routed};
use crate::http::h1::{BodyLength, RequestHead, ResponseHead};
use crate::listener::client::{BodyFailure, Client, HungUp};
use crate::provider::{Asker, ERROR_BODY_BYTES_MAX, ErrorAnswer, Exchange, Outbound};
use crate::rejection::Rejection;
use crate::relay::unary::{self, Excess};
use crate::relay::{ResponseWriter, Stop};
use crate::request_id;
use crate::route::Route;
use crate::short_text::ShortText;
use crate::upstream::attempt::{self, Reply};
use crate::upstream::clocks::Clocks;
use crate::worker::Worker;

/// How long the body of an upstream's error may take.
const ERROR_BODY_WAIT: Duration = Duration::from_secs(10);
/// Where providers put the id of an exchange, first one wins.
const TRANSPORT_IDS: [&str; 5] = [
    "x-request-id",
    "request-id",
    "x-amzn-requestid",
    "apim-request-id",
    "x-goog-request-id",
];
const TRANSPORT_ID_BYTES_MAX: usize = 256;

/// Serves one request; `true` where the connection can carry another.
pub(crate) async fn serve(worker: &Rc<Worker>, head: RequestHead, client: &mut Client) -> bool {
    let rewritten = rewritten_path(worker, &head);
    let path = rewritten.as_deref().unwrap_or(head.path());
    let routed = endpoint::route(head.method(), path);
    let id = request_id_of(worker, &head);
    if let Routed::Endpoint(endpoint @ (Endpoint::Livez | Endpoint::Readyz), _) = routed {
        let writer = writer(worker, &head, client, &id);
        let sent = probe::answer(worker, endpoint, &head, &writer, client).await;
        return sent.is_ok() && writer.keep_alive && client.finish().await;
    }
    let dialect = routed.dialect();
    let label = match &routed {
        Routed::Endpoint(endpoint, _) => endpoint.label(),
        _ => "other",
    };
    let place = Place {
        endpoint: label,
        dialect,
        path,
    };
    let mut ctx = Context::new(worker, &head, id, client.peer(), &place);
    let outcome = forward(&mut ctx, &head, &routed, client).await;
    let kept = match &outcome {
        Ok(kept) => *kept,
        Err(Stop::Rejected(rejection)) => reject(&mut ctx, &head, rejection, client).await,
        Err(Stop::Cut(_) | Stop::HungUp) => false,
    };
    ctx.record().bytes_in = head.bytes_len() as u64 + client.body_received();
    ctx.finish(outcome.as_ref().err());
    kept && client.finish().await
}

/// Answers bytes that are no request; the connection closes afterwards.
pub(crate) async fn refuse(worker: &Worker, rejection: &Rejection, client: &mut Client) {
    let writer = ResponseWriter {
        request_id: mint(worker),
        keep_alive: false,
        chunks: false,
        head_only: false,
        call_id: false,
    };
    let mut out = worker.buffers.take();
    write_rejection(worker, &writer, (rejection, Dialect::Openai), &mut out);
    // The client may be gone already; there is nobody else to tell.
    let _ = client.send(&out).await;
    worker.buffers.give(out);
}

/// What is left of a request once it was checked: all that the rest of its life needs.
pub(super) struct Admitted {
    pub(super) call: Call,
    pub(super) route: Route,
    pub(super) clocks: Clocks,
    /// The way out and back.
    pub(super) exchange: Exchange,
    /// The complete upstream request.
    request: Vec<u8>,
}

/// What becomes of a request that was checked.
#[expect(
    clippy::large_enum_variant,
    reason = "lives once per request; a box would be an allocation of each"
)]
enum Admission {
    /// Its target is asked.
    Sent(Admitted),
    /// Its tokens are counted here: the target cannot.
    Counted(Call),
}

/// Every phase from the checked head to the response's last byte; `true` where the connection can
/// carry another request.
async fn forward(
    ctx: &mut Context,
    head: &RequestHead,
    routed: &Routed<'_>,
    client: &mut Client,
) -> Result<bool, Stop> {
    let worker = Rc::clone(&ctx.worker);
    check_length(&worker, head)?;
    let (endpoint, parameter) = known(routed)?;
    // Held until the upstream request is written, so that a long stream pins no old generation.
    let snapshot = worker.snapshot();
    let key = identify(ctx, &snapshot, head)?;
    if matches!(endpoint, Endpoint::Models | Endpoint::Model) {
        return model_list(ctx, &snapshot, key, parameter, (head, client)).await;
    }
    let body = client
        .read_body(head.body(), worker.settings.body_bytes_max)
        .await
        .map_err(|failure| body_stop(failure, &worker))?;
    let admitted = admit(ctx, &snapshot, key, (endpoint, head), &body);
    worker.buffers.give(body);
    drop(snapshot);
    let mut admitted = match admitted? {
        Admission::Sent(admitted) => admitted,
        Admission::Counted(call) => return token_count(ctx, &call, head, client).await,
    };
    let sent = attempt(ctx, &admitted, client).await;
    // A long stream keeps nothing of the request.
    worker.buffers.give(std::mem::take(&mut admitted.request));
    let reply = sent?;
    if admitted.call.stream && is_event_stream(&reply) {
        relay_stream(ctx, &mut admitted, head, reply, client).await
    } else {
        relay_whole(ctx, &mut admitted, head, reply, client).await
    }
}

/// A length announced beyond the limit is refused before anything else is looked at.
fn check_length(worker: &Worker, head: &RequestHead) -> Result<(), Rejection> {
    let limit = worker.settings.body_bytes_max;
    match head.body() {
        BodyLength::Exact(bytes) if bytes > limit => Err(Rejection::BodyTooLarge { limit }),
        _ => Ok(()),
    }
}

fn known<'p>(routed: &Routed<'p>) -> Result<(Endpoint, Option<&'p str>), Rejection> {
    match *routed {
        Routed::Endpoint(endpoint, parameter) => Ok((endpoint, parameter)),
        Routed::MethodNotAllowed { allow, .. } => Err(Rejection::MethodNotAllowed { allow }),
        Routed::NotFound => Err(Rejection::UnknownUrl),
        Routed::Gone => Err(Rejection::EndpointRemoved),
    }
}

fn identify<'s>(
    ctx: &mut Context,
    snapshot: &'s Snapshot,
    head: &RequestHead,
) -> Result<&'s ApiKey, Rejection> {
    let worker = Rc::clone(&ctx.worker);
    match auth::identify(snapshot, head, worker.unix_ms()) {
        Ok(key) => {
            worker.shard().auth(AuthDecision::ApiKeyAllowed);
            ctx.record().caller = Some(key.labels.clone());
            Ok(key)
        }
        Err((rejection, denial)) => {
            worker.shard().auth(denial.into());
            Err(rejection)
        }
    }
}

fn body_stop(failure: BodyFailure, worker: &Worker) -> Stop {
    match failure {
        BodyFailure::HungUp => Stop::HungUp,
        BodyFailure::Stalled => Rejection::BodyTimeout.into(),
        BodyFailure::Malformed => Rejection::BodyUnreadable.into(),
        BodyFailure::TooLarge => Rejection::BodyTooLarge {
            limit: worker.settings.body_bytes_max,
        }
        .into(),
    }
}

/// Checks the call, finds its target and writes the upstream request, if there is to be one.
fn admit(
    ctx: &mut Context,
    snapshot: &Snapshot,
    key: &ApiKey,
    (endpoint, head): (Endpoint, &RequestHead),
    body: &[u8],
) -> Result<Admission, Rejection> {
    let worker = Rc::clone(&ctx.worker);
    let call = endpoint::parse(endpoint, body)?;
    let record = ctx.record();
    record.requested_model.clone_from(&call.model);
    record.stream = call.stream;
    let route = worker
        .rows
        .resolve(snapshot, key, &call.model, record.client_ip)?;
    record.target = Some(Arc::clone(&route.labels));
    if Exchange::is_spared(&call, &route)? {
        return Ok(Admission::Counted(call));
    }
    record.upstream_model.clone_from(&route.upstream_model);
    let mut request = worker.buffers.take();
    let asker = Asker {
        head,
        key,
        request_id: &record.request_id,
    };
    let outbound = Outbound {
        route: &route,
        call: &call,
        asker: &asker,
    };
    let seed = || Seed {
        created_unix_s: worker.unix_ms() / 1000,
        hex: worker.ids.hex(),
    };
    let exchange = Exchange::begin(&outbound, body, seed, &mut request)?;
    Ok(Admission::Sent(Admitted {
        exchange,
        clocks: Clocks::of(&route.target, &worker.settings.upstream, call.stream),
        call,
        route,
        request,
    }))
}

/// Gets a response head from the target, or its error.
async fn attempt(
    ctx: &mut Context,
    admitted: &Admitted,
    client: &mut Client,
) -> Result<Reply, Stop> {
    let worker = Rc::clone(&ctx.worker);
    ctx.record().attempts += 1;
    let provider_key = &admitted.route.provider_key;
    let mut alarm = client.lend_alarm();
    let clocks = &admitted.clocks;
    let sending = attempt::send(&worker, provider_key, &admitted.request, clocks, &mut alarm);
    let sent = client.until_hangup(pin!(sending)).await?;
    client.return_alarm(alarm);
    let upstream_us = ctx.micros_to(worker.tick());
    ctx.record().upstream_us = Some(upstream_us);
    let labels = &admitted.route.labels;
    let reply = sent.map_err(|failure| {
        worker.shard().attempt(labels, false);
        Rejection::from(failure)
    })?;
    ctx.record().upstream_request_id = transport_id(&reply.head);
    let status = reply.head.status();
    worker.shard().attempt(labels, (200..300).contains(&status));
    if (200..300).contains(&status) {
        return Ok(reply);
    }
    let retry_after = reply.head.header("retry-after").map(Box::<[u8]>::from);
    let body = error_body(&worker, reply, client).await?;
    let answer = ErrorAnswer {
        status,
        retry_after: retry_after.as_deref(),
        body: &body,
        now_unix_s: worker.unix_ms() / 1000,
    };
    Err(admitted.exchange.error(&answer, &admitted.route).into())
}

/// What comes of an error's body in time; the status says enough without it.
async fn error_body(worker: &Worker, reply: Reply, client: &mut Client) -> Result<Vec<u8>, HungUp> {
    let deadline = Some(worker.now() + ERROR_BODY_WAIT);
    let reading = unary::read_body(worker, reply, ERROR_BODY_BYTES_MAX, Excess::Cut);
    let read = client.until_hangup_or(deadline, pin!(reading)).await?;
    Ok(read.ok().and_then(Result::ok).unwrap_or_default())
}

/// The id under which the provider logs this exchange.
fn transport_id(head: &ResponseHead) -> Option<ShortText> {
    let value = TRANSPORT_IDS.iter().find_map(|name| head.header(name))?;
    let id = value.get(..TRANSPORT_ID_BYTES_MAX).unwrap_or(value);
    Some(ShortText::lossy(id))
}

fn is_event_stream(reply: &Reply) -> bool {
    let kind = reply.head.header("content-type").unwrap_or_default();
    kind.get(..17)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"text/event-stream"))
}

/// The path after the operator's rules; `None` where no rule matches.
fn rewritten_path(worker: &Worker, head: &RequestHead) -> Option<String> {
    let rules = &worker.settings.rewrites;
    if rules.is_empty() {
        return None;
    }
    rules.apply(head.path()).unwrap_or_else(|not_a_path| {
        let rule = format!("proxy.url_rewrites[{}]", not_a_path.rule);
        worker.warn(
            "a URL rewrite gave no valid path; the request went on unrewritten",
            &rule,
        );
        None
    })
}

fn request_id_of(worker: &Worker, head: &RequestHead) -> ShortText {
    let names = &worker.settings.request_id_headers;
    match request_id::accept(names, |name| head.header(name)) {
        Some(id) => id.into(),
        None => mint(worker),
    }
}

fn mint(worker: &Worker) -> ShortText {
    let mut buffer = [0; request_id::MINTED_ID_BYTES];
    ShortText::from(worker.ids.mint(&mut buffer))
}
