//! The phases of a request, shared by all endpoints. [ring]
//!
//! Runs on the worker that accepted the connection and never leaves it. Bounded by the body limit,
//! the clocks of the attempt and the client's hang-up, whichever comes first.

use std::rc::Rc;

use config_sync::model::ApiKey;
use config_sync::snapshot::Snapshot;

use super::answer::{cut_begun, model_list, reject, token_count, write_rejection, writer};
use super::attempts;
use super::context::{Context, Place};
use super::job::Job;
use super::{passthrough, probe};
use crate::auth;
use crate::bridge::domain::{AuthDecision, Overload};
use crate::dialect::Dialect;
use crate::endpoint::{self, Endpoint, Routed};
use crate::http::h1::{BodyLength, RequestHead};
use crate::listener::client::{BodyFailure, Client};
use crate::rejection::Rejection;
use crate::relay::{Marks, Replay, ResponseWriter, Stop};
use crate::request_id;
use crate::route::Asking;
use crate::short_text::ShortText;
use crate::sys::Pooled;
use crate::worker::Worker;
use crate::worker::admission::Admitted;

/// Serves one request; `true` where the connection can carry another.
pub(crate) async fn serve(worker: &Rc<Worker>, head: &RequestHead, client: &mut Client) -> bool {
    let by_host = passthrough::by_host(worker, head);
    let rewritten = match by_host {
        Some(_) => None,
        None => rewritten_path(worker, head),
    };
    let path = rewritten.as_deref().unwrap_or(head.path());
    let routed = endpoint::route(head.method(), path);
    let passage = by_host.or_else(|| passthrough::by_path(worker, &routed, path));
    let id = request_id_of(worker, head);
    if passage.is_none()
        && let Routed::Endpoint(endpoint @ (Endpoint::Livez | Endpoint::Readyz), _) = routed
    {
        return Box::pin(probed(worker, endpoint, (head, &id), client)).await;
    }
    let (dialect, label) = match &routed {
        _ if passage.is_some() => (Dialect::Openai, passthrough::ENDPOINT),
        Routed::Endpoint(endpoint, _) => (routed.dialect(), endpoint.label()),
        _ => (routed.dialect(), "other"),
    };
    let mut ctx = {
        let place = Place {
            endpoint: label,
            dialect,
            path,
        };
        Context::new(worker, head, id, client.peer(), &place)
    };
    ctx.record().client_identity = client.identity().cloned();
    let outcome = match passage {
        Some(passage) => Box::pin(passage.forward(&mut ctx, head, path, client)).await,
        None => forward(&mut ctx, head, &routed, client).await,
    };
    let kept = match &outcome {
        Ok(kept) => *kept,
        Err(Stop::Rejected(rejection)) => reject(&mut ctx, head, rejection, client).await,
        Err(Stop::Cut(_) | Stop::HungUp) => false,
    };
    ctx.record().bytes_in = head.bytes_len() as u64 + client.body_received();
    ctx.finish(outcome.as_ref().err());
    kept && client.finish().await
}

/// Answers a probe; `true` where the connection can carry another request.
async fn probed(
    worker: &Worker,
    endpoint: Endpoint,
    (head, id): (&RequestHead, &ShortText),
    client: &mut Client,
) -> bool {
    let writer = writer(worker, head, client, id);
    let sent = probe::answer(worker, endpoint, head, &writer, client).await;
    sent.is_ok() && writer.keep_alive && client.finish().await
}

/// Answers bytes that are no request; the connection closes afterwards.
pub(crate) async fn refuse(worker: &Worker, rejection: &Rejection, client: &mut Client) {
    let writer = ResponseWriter {
        request_id: mint(worker),
        keep_alive: false,
        chunks: false,
        head_only: false,
        marks: Marks::default(),
    };
    if let Rejection::Overloaded(what) = rejection {
        worker.shard().overloaded(*what);
    }
    let mut out = worker.buffers.take();
    write_rejection(worker, &writer, (rejection, Dialect::Openai), &mut out);
    // The client may be gone already; there is nobody else to tell.
    let _ = client.send(&out).await;
    worker.buffers.give(out);
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
    let is_list = matches!(endpoint, Endpoint::Models | Endpoint::Model);
    let _admitted = match is_list {
        true => None,
        // Before the key is looked at: a refusal costs as little as can be.
        false => Some(admit(&worker, client)?),
    };
    // Held until the upstream request is written, so that a long stream pins no old generation.
    let snapshot = worker.snapshot();
    let key = identify(ctx, &snapshot, head)?;
    if is_list {
        let list = model_list(ctx, &snapshot, key, parameter, (head, client));
        return Box::pin(list).await;
    }
    let (body, share) = client
        .read_body(head.body(), worker.settings.body_bytes_max)
        .await
        .map_err(|failure| body_stop(failure, &worker))?;
    let mut job = match check(ctx, &snapshot, key, (endpoint, head), &body) {
        Ok(job) => job,
        Err(rejection) => {
            worker.buffers.give(body);
            return Err(rejection.into());
        }
    };
    let mut replay = Replay::new(&worker.buffers, share);
    let first = job.next_target(ctx, key, (head, &body), &mut replay.request);
    let first = Pooled::new(first).await;
    if let Ok(Some(first)) = &first
        && job.needs_call_again(first)
    {
        replay.keep(snapshot, &body);
    }
    worker.buffers.give(body);
    let outcome = match first {
        Ok(Some(first)) => attempts::run(ctx, &mut job, first, &mut replay, (head, client)).await,
        // Its tokens are counted here: the target cannot.
        Ok(None) => Box::pin(token_count(ctx, &job.call, head, client)).await,
        Err(rejection) => Err(rejection.into()),
    };
    replay.give_up(&worker.buffers);
    match outcome {
        Err(Stop::Rejected(failure)) if replay.head_at.is_some() => {
            let told = cut_begun(ctx, (head, client), failure);
            Err(Box::pin(told).await)
        }
        outcome => outcome,
    }
}

/// Takes the request in, for as long as the result lives.
pub(super) fn admit<'w>(worker: &'w Worker, client: &Client) -> Result<Admitted<'w>, Rejection> {
    if let Some(why) = client.guest() {
        return Err(Rejection::Overloaded(why));
    }
    worker.admission.request().map_err(Rejection::Overloaded)
}

/// A length announced beyond the limit is refused before anything else is looked at.
pub(super) fn check_length(worker: &Worker, head: &RequestHead) -> Result<(), Rejection> {
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

pub(super) fn body_stop(failure: BodyFailure, worker: &Worker) -> Stop {
    match failure {
        BodyFailure::HungUp => Stop::HungUp,
        BodyFailure::NoRoom => Rejection::Overloaded(Overload::Bodies).into(),
        BodyFailure::Stalled => Rejection::BodyTimeout.into(),
        BodyFailure::Malformed => Rejection::BodyUnreadable.into(),
        BodyFailure::TooLarge => Rejection::BodyTooLarge {
            limit: worker.settings.body_bytes_max,
        }
        .into(),
    }
}

/// Checks the call and finds its targets.
fn check(
    ctx: &mut Context,
    snapshot: &Snapshot,
    key: &ApiKey,
    (endpoint, head): (Endpoint, &RequestHead),
    body: &[u8],
) -> Result<Box<Job>, Rejection> {
    let worker = Rc::clone(&ctx.worker);
    let call = endpoint::parse(endpoint, body)?;
    let record = ctx.record();
    record.requested_model.clone_from(&call.model);
    record.stream = call.stream;
    let asking = Asking {
        key,
        client_ip: record.client_ip,
        head,
        now_ms: worker.unix_ms().unsigned_abs(),
    };
    let candidates = worker.rows.resolve(snapshot, &asking, &call.model)?;
    let policies = worker.policies(snapshot);
    Ok(Box::new(Job::new(call, candidates, policies)))
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
