//! Tries at the targets of one call, until one of them serves it. [ring]
//!
//! An attempt counts as failed until the first byte of its answer was sent: a stream that breaks
//! before its first event is tried again like a connection that was refused.

use std::future::pending;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use config_sync::model::ProviderKey;
use config_sync::model::routing::HoldBack;
use monoio::time::Instant;

use super::answer::{relay_begun, relay_whole};
use super::context::Context;
use super::follow::{at_next_target, at_same_target};
use super::job::{Attempt, Job};
use super::{hedge, tried};
use crate::bridge::memory::Share;
use crate::http::h1::{RequestHead, ResponseHead, Version};
use crate::listener::client::{Client, HungUp};
use crate::provider::{ERROR_BODY_BYTES_MAX, ErrorAnswer};
use crate::rejection::Rejection;
use crate::relay::unary::{self, Excess};
use crate::relay::{Begun, Replay, Source, Stop, another_comment};
use crate::route::{Hedging, JITTER_MAX, Next, Rules};
use crate::short_text::ShortText;
use crate::sys::Pooled;
use crate::upstream::attempt::{self, Reply};
use crate::upstream::clocks::Clocks;
use crate::upstream::failure::Failure;
use crate::worker::Worker;
use crate::worker::alarm::{Alarm, Elapsed, within};

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
///
/// # Errors
///
/// [`Stop`]; [`Stop::Rejected`] may come although the client has the head of a stream, which `replay`
/// knows.
pub(super) async fn run(
    ctx: &mut Context,
    job: &mut Job,
    first: Box<Attempt>,
    replay: &mut Replay,
    (head, client): (&RequestHead, &mut Client),
) -> Result<bool, Stop> {
    let worker = Rc::clone(&ctx.worker);
    worker.retries.earn();
    let hedging = hedging(job);
    let mut attempt = first;
    let mut tries = 1;
    loop {
        // What is only looked at here has no room beside what is awaited.
        let failure = {
            let outcome = match &hedging {
                None => {
                    attempt.hold_back = hold_back(job, &attempt, tries, &worker);
                    once(ctx, job, &mut attempt, replay, (head, client)).await
                }
                Some(hedging) => {
                    let before = (attempt, tries);
                    let race = hedge::race(ctx, job, before, (replay, hedging), (head, client));
                    let outcome;
                    ((attempt, tries), outcome) = Box::pin(race).await;
                    outcome
                }
            };
            job.health(&worker, &attempt, &outcome);
            tried::note(ctx, &attempt, &outcome, tries);
            match outcome {
                Err(Stop::Rejected(failure)) => failure,
                done => {
                    job.settle(ctx, &mut attempt);
                    return done;
                }
            }
        };
        let pause = match next(job, &attempt, &failure, tries, &worker) {
            Next::SameTarget(pause) => Some(pause),
            Next::NextTarget => None,
            Next::Stop => return Err(failure.into()),
        };
        let ready = worker.now() + pause.unwrap_or_default();
        let is_late = attempt.deadline.is_some_and(|at| at < ready);
        if is_late || !replay.is_there() {
            return Err(failure.into());
        }
        match pause {
            None => {
                tries = 1;
                let next = at_next_target(replay, ctx, (job, attempt), head, failure);
                attempt = Box::pin(next).await?;
            }
            Some(_) => {
                tries += 1;
                rest(client, ready).await?;
                attempt = at_same_target(replay, ctx, (job, attempt), head, failure)?;
            }
        }
        ctx.forget_answer();
    }
}

/// How the call's group hedges, where the call is one that may be: a stream.
fn hedging(job: &Job) -> Option<Rc<Hedging>> {
    let hedging = job.candidates.group()?.hedging()?;
    job.call.stream.then(|| {
        hedging.earn();
        Rc::clone(hedging)
    })
}

/// How much of a stream is held back during the `tries`th try of a target: nothing where no other
/// attempt could follow.
pub(super) fn hold_back(
    job: &Job,
    attempt: &Attempt,
    tries: u32,
    worker: &Worker,
) -> Option<HoldBack> {
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

/// What comes of a reply.
enum Phase<R, D> {
    Relay(R),
    Document(D),
}

/// One attempt, from the request to the answer's last byte.
async fn once(
    ctx: &mut Context,
    job: &mut Job,
    attempt: &mut Attempt,
    replay: &mut Replay,
    (head, client): (&RequestHead, &mut Client),
) -> Result<bool, Stop> {
    let sent = Pooled::new(send(ctx, attempt, replay, (head, client))).await;
    replay.sent(&ctx.worker.buffers);
    // The reply is in the phase's block alone.
    let phase = {
        let reply = sent?;
        if job.call.stream && is_event_stream(&reply) {
            let reader = attempt.exchange.stream(&job.call, &attempt.route);
            let begun = Box::new(Begun::new(Source::new(reply), reader));
            let relay = relay_begun(ctx, job, attempt, (replay, begun), (head, client));
            Phase::Relay(Pooled::new(relay))
        } else {
            let document = document(ctx, job, attempt, (replay, reply), (head, client));
            Phase::Document(Pooled::new(document))
        }
    };
    match phase {
        Phase::Relay(relay) => relay.await,
        Phase::Document(document) => document.await,
    }
}

/// Relays an answer that is no stream, where the client has not got the head of one.
pub(super) async fn document(
    ctx: &mut Context,
    job: &Job,
    attempt: &mut Attempt,
    (replay, reply): (&Replay, Reply),
    (head, client): (&RequestHead, &mut Client),
) -> Result<bool, Stop> {
    if replay.head_at.is_some() {
        let detail = "a document in answer to a request for a stream".into();
        return Err(Rejection::Decode { detail }.into());
    }
    relay_whole(ctx, job, attempt, reply, (head, client)).await
}

/// Gets a response head from the target, or its error.
async fn send(
    ctx: &mut Context,
    attempt: &mut Attempt,
    replay: &Replay,
    (head, client): (&RequestHead, &mut Client),
) -> Result<Reply, Stop> {
    let worker = Rc::clone(&ctx.worker);
    ctx.record().attempts += 1;
    ctx.record().upstream_request_id = None;
    let mut alarm = Alarm::default();
    let asked = {
        let provider_key = &attempt.route.provider_key;
        let request = &replay.request;
        let asking = ask(&worker, provider_key, request, &attempt.clocks, &mut alarm);
        let mut asking = pin!(asking);
        loop {
            // Who has the head of a stream is kept waiting no longer without a word.
            let every = worker.settings.keepalive_comment;
            let every = every.filter(|_| replay.head_at.is_some());
            let due = every.map(|every| worker.now() + every);
            match client.until_hangup_or(due, asking.as_mut()).await? {
                Ok(asked) => break asked,
                Err(Elapsed) => {
                    worker.tick();
                    let chunks = head.version() == Version::Http11;
                    let comment = another_comment(&worker, client, chunks);
                    ctx.record().bytes_out += Box::pin(comment).await?;
                }
            }
        }
    };
    ctx.record().upstream_us = Some(ctx.micros_to(asked.at));
    ctx.record().upstream_request_id = asked.id;
    Ok(attempt.answered(asked.reply, asked.at)?)
}

/// What came of a request.
pub(super) struct Asked {
    /// When its head came, or none would.
    pub(super) at: Instant,
    /// The upstream's id of the exchange.
    pub(super) id: Option<ShortText>,
    pub(super) reply: Result<Reply, Unanswered>,
}

/// Why there is no response with status success.
pub(super) enum Unanswered {
    Failure(Failure),
    Status {
        status: u16,
        retry_after: Option<Box<[u8]>>,
        /// As much as came in time; the status says enough without it.
        body: Vec<u8>,
        now_unix_s: i64,
    },
}

/// Sends a request and waits for the head of its response; of an error also for the body.
pub(super) async fn ask(
    worker: &Worker,
    provider_key: &ProviderKey,
    request: &[u8],
    clocks: &Clocks,
    alarm: &mut Alarm,
) -> Asked {
    let sent = attempt::send(worker, provider_key, request, clocks, alarm).await;
    let at = worker.tick();
    let reply = match sent {
        Ok(reply) => reply,
        Err(failure) => {
            let reply = Err(Unanswered::Failure(failure));
            return Asked {
                at,
                id: None,
                reply,
            };
        }
    };
    let id = transport_id(&reply.head);
    let status = reply.head.status();
    if (200..300).contains(&status) {
        let reply = Ok(reply);
        return Asked { at, id, reply };
    }
    let retry_after = reply.head.header("retry-after").map(Box::<[u8]>::from);
    let deadline = Some(worker.now() + ERROR_BODY_WAIT);
    // Small, and dealt with at once.
    let mut share = Share::default();
    let bound = (ERROR_BODY_BYTES_MAX, Excess::Cut);
    let reading = unary::read_body(worker, reply, bound, &mut share);
    let read = within(alarm, deadline, pin!(reading)).await;
    let reply = Err(Unanswered::Status {
        status,
        retry_after,
        body: read.ok().and_then(Result::ok).unwrap_or_default(),
        now_unix_s: worker.unix_ms() / 1000,
    });
    Asked { at, id, reply }
}

impl Attempt {
    /// Takes note of what came of its request at `at`.
    ///
    /// # Errors
    ///
    /// What that is to the caller, where it is no success.
    pub(super) fn answered(
        &mut self,
        reply: Result<Reply, Unanswered>,
        at: Instant,
    ) -> Result<Reply, Rejection> {
        match reply {
            Ok(reply) => {
                self.answered = Some(at);
                Ok(reply)
            }
            Err(Unanswered::Failure(failure)) => Err(failure.into()),
            Err(Unanswered::Status {
                status,
                retry_after,
                body,
                now_unix_s,
            }) => {
                let answer = ErrorAnswer {
                    status,
                    retry_after: retry_after.as_deref(),
                    body: &body,
                    now_unix_s,
                };
                Err(self.exchange.error(&answer, &self.route))
            }
        }
    }
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
