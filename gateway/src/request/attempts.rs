//! Tries at the targets of one call, until one of them serves it. [ring]
//!
//! An attempt counts as failed until the first byte of its answer was sent: a stream that breaks
//! before its first event is tried again like a connection that was refused.

use std::future::pending;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use config_sync::model::routing::HoldBack;
use monoio::time::Instant;

use super::answer::{cut_begun, relay_stream, relay_whole};
use super::context::Context;
use super::job::{Attempt, Job, at_next_target, at_same_target};
use super::tried;
use crate::bridge::memory::Share;
use crate::http::h1::{RequestHead, ResponseHead};
use crate::listener::client::{Client, HungUp};
use crate::provider::{ERROR_BODY_BYTES_MAX, ErrorAnswer};
use crate::rejection::Rejection;
use crate::relay::unary::{self, Excess};
use crate::relay::{Replay, Stop};
use crate::route::{JITTER_MAX, Next, Rules};
use crate::short_text::ShortText;
use crate::upstream::attempt::{self, Reply};
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

/// Tries targets in order; `true` where the connection can carry another request.
pub(super) async fn run(
    ctx: &mut Context,
    job: &mut Job,
    first: Attempt,
    replay: &mut Replay,
    (head, client): (&RequestHead, &mut Client),
) -> Result<bool, Stop> {
    match try_all(ctx, job, first, replay, (head, client)).await {
        Err(Stop::Rejected(failure)) if replay.head_at.is_some() => {
            Err(cut_begun(ctx, (head, client), failure).await)
        }
        outcome => outcome,
    }
}

async fn try_all(
    ctx: &mut Context,
    job: &mut Job,
    first: Attempt,
    replay: &mut Replay,
    (head, client): (&RequestHead, &mut Client),
) -> Result<bool, Stop> {
    let worker = Rc::clone(&ctx.worker);
    worker.retries.earn();
    let mut attempt = first;
    let mut tries = 1;
    loop {
        attempt.hold_back = hold_back(job, &attempt, tries, &worker);
        let outcome = once(ctx, job, &mut attempt, replay, (head, client)).await;
        job.health(&worker, &attempt, &outcome);
        tried::note(ctx, job, &attempt, &outcome, tries);
        let failure = match outcome {
            Err(Stop::Rejected(failure)) => failure,
            done => {
                job.settle(ctx);
                return done;
            }
        };
        let next = next(job, &attempt, &failure, tries, &worker);
        let pause = match next {
            Next::SameTarget(pause) => pause,
            Next::NextTarget => Duration::ZERO,
            Next::Stop => return Err(failure.into()),
        };
        let ready = worker.now() + pause;
        let left = attempt.deadline.map(|at| at.checked_duration_since(ready));
        if left == Some(None) || !replay.is_there() {
            return Err(failure.into());
        }
        if next == Next::NextTarget {
            tries = 1;
            attempt = at_next_target(replay, ctx, job, head, failure).await?;
        } else {
            tries += 1;
            rest(client, ready).await?;
            attempt = at_same_target(replay, ctx, (job, attempt), head, failure)?;
        }
        ctx.forget_answer();
    }
}

/// How much of a stream is held back during the `tries`th try of a target: nothing where no other
/// attempt could follow.
fn hold_back(job: &Job, attempt: &Attempt, tries: u32, worker: &Worker) -> Option<HoldBack> {
    let hold_back = job.candidates.group()?.routing()?.hold_back?;
    let broken = rules(job, attempt, worker).after(
        &Rejection::StreamAborted,
        tries,
        job.candidates.has_next(),
    );
    (job.call.stream && broken != Next::Stop).then_some(hold_back)
}

fn rules<'j>(job: &'j Job, attempt: &Attempt, worker: &Worker) -> Rules<'j> {
    let group = job.candidates.group();
    let routing = group.and_then(|group| group.routing());
    let default = worker.settings.upstream.retries;
    Rules::of(&attempt.route.target, routing, default)
}

/// What follows `failure`, the last of `tries` tries of a target.
fn next(job: &Job, attempt: &Attempt, failure: &Rejection, tries: u32, worker: &Worker) -> Next {
    let has_next = job.candidates.has_next();
    match rules(job, attempt, worker).after(failure, tries, has_next) {
        Next::SameTarget(pause) if worker.retries.spend() => {
            let jitter_ms = worker.ids.next() % (JITTER_MAX.as_millis() as u64 + 1);
            Next::SameTarget(pause + Duration::from_millis(jitter_ms))
        }
        Next::SameTarget(_) if has_next => Next::NextTarget,
        Next::SameTarget(_) => Next::Stop,
        next => next,
    }
}

/// Waits until `ready`, or until the client leaves.
async fn rest(client: &mut Client, ready: Instant) -> Result<(), HungUp> {
    let never = pin!(pending::<()>());
    client.until_hangup_or(Some(ready), never).await.map(drop)
}

/// One attempt, from the request to the answer's last byte.
async fn once(
    ctx: &mut Context,
    job: &mut Job,
    attempt: &mut Attempt,
    replay: &mut Replay,
    (head, client): (&RequestHead, &mut Client),
) -> Result<bool, Stop> {
    let sent = send(ctx, attempt, &replay.request, client).await;
    replay.sent(&ctx.worker.buffers);
    let reply = sent?;
    attempt.answered = Some(ctx.worker.now());
    if job.call.stream && is_event_stream(&reply) {
        if !replay.is_there() {
            attempt.hold_back = None;
        }
        relay_stream(ctx, job, attempt, (replay, reply), (head, client)).await
    } else if replay.head_at.is_some() {
        let detail = "a document in answer to a request for a stream".into();
        Err(Rejection::Decode { detail }.into())
    } else {
        relay_whole(ctx, job, attempt, reply, (head, client)).await
    }
}

/// Gets a response head from the target, or its error.
async fn send(
    ctx: &mut Context,
    attempt: &Attempt,
    request: &[u8],
    client: &mut Client,
) -> Result<Reply, Stop> {
    let worker = Rc::clone(&ctx.worker);
    ctx.record().attempts += 1;
    ctx.record().upstream_request_id = None;
    let provider_key = &attempt.route.provider_key;
    let mut alarm = client.lend_alarm();
    let clocks = &attempt.clocks;
    let sending = attempt::send(&worker, provider_key, request, clocks, &mut alarm);
    let sent = client.until_hangup(pin!(sending)).await?;
    client.return_alarm(alarm);
    let upstream_us = ctx.micros_to(worker.tick());
    ctx.record().upstream_us = Some(upstream_us);
    let reply = sent.map_err(Rejection::from)?;
    ctx.record().upstream_request_id = transport_id(&reply.head);
    let status = reply.head.status();
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
    Err(attempt.exchange.error(&answer, &attempt.route).into())
}

/// What comes of an error's body in time; the status says enough without it.
async fn error_body(worker: &Worker, reply: Reply, client: &mut Client) -> Result<Vec<u8>, HungUp> {
    let deadline = Some(worker.now() + ERROR_BODY_WAIT);
    // Small, and dealt with at once.
    let mut share = Share::default();
    let bound = (ERROR_BODY_BYTES_MAX, Excess::Cut);
    let reading = unary::read_body(worker, reply, bound, &mut share);
    let read = client.until_hangup_or(deadline, pin!(reading)).await?;
    Ok(read.ok().and_then(Result::ok).unwrap_or_default())
}

/// The id under which the provider logs this exchange.
pub(super) fn transport_id(head: &ResponseHead) -> Option<ShortText> {
    let value = head.header_of(&TRANSPORT_IDS)?;
    let id = value.get(..TRANSPORT_ID_BYTES_MAX).unwrap_or(value);
    Some(ShortText::lossy(id))
}

pub(super) fn is_event_stream(reply: &Reply) -> bool {
    let kind = reply.head.header("content-type").unwrap_or_default();
    kind.get(..17)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"text/event-stream"))
}
