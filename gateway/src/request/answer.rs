//! The answer to a request: relayed, listed or refused. [ring]

use std::pin::pin;
use std::rc::Rc;

use config_sync::model::ApiKey;
use config_sync::snapshot::Snapshot;
use monoio::time::Instant;

use super::context::Context;
use super::job::{Attempt, Job};
use crate::bridge::domain::{BodyLimitOutcome, Overload};
use crate::bridge::memory::Share;
use crate::dialect::{Dialect, messages, responses};
use crate::endpoint::{Call, models};
use crate::http::h1::{Method, RequestHead, Version, write};
use crate::listener::client::{Client, HungUp, Lingered};
use crate::rejection::Rejection;
use crate::relay::stream::Relay;
use crate::relay::unary::{self, Excess};
use crate::relay::{Begun, Header, Marks, Replay, ResponseWriter, Stop};
use crate::route::Window;
use crate::short_text::ShortText;
use crate::upstream::attempt::Reply;
use crate::upstream::clocks::Clocks;
use crate::upstream::failure::Failure;
use crate::usage;
use crate::worker::Worker;
use crate::worker::alarm::Elapsed;

const JSON: Header<'_> = ("content-type", b"application/json");
/// Marks numbers that are the gateway's own guess.
const ESTIMATED: Header<'_> = ("x-sluice-estimated", b"true");

/// Relays an event stream and notes what it was worth; `true` where the connection can carry another
/// request.
pub(super) async fn relay_begun(
    ctx: &mut Context,
    job: &Job,
    attempt: &mut Attempt,
    (replay, mut begun): (&mut Replay, Box<Begun>),
    (head, client): (&RequestHead, &mut Client),
) -> Result<bool, Stop> {
    let worker = Rc::clone(&ctx.worker);
    let writer = writer(&worker, head, client, &ctx.record().request_id)
        .with(job.marks(&attempt.route, &attempt.held))
        .for_stream();
    begun.tally.head_at = replay.head_at;
    let mut relay = Relay {
        worker: &worker,
        client,
        writer: &writer,
        head: None,
        reader: &mut *begun.reader,
        clocks: &attempt.clocks,
        started: ctx.started,
        tally: &mut begun.tally,
        // Nothing is held back for other attempts where there can be none.
        window: attempt
            .hold_back
            .filter(|_| replay.is_there())
            .map(Window::new),
        replay,
        held: std::mem::take(&mut begun.held),
    };
    let relayed = relay.run(&mut begun.source).await;
    let Begun {
        source,
        reader,
        tally,
        ..
    } = *begun;
    if relayed.is_ok() {
        source.give_back(&worker);
    }
    ctx.sent(&tally);
    if matches!(relayed, Err(Stop::Rejected(_))) && tally.said_at.is_some() {
        attempt.discarded_tokens = Some(reader.usage().completion);
    }
    let record = ctx.record();
    record.status = 200;
    record.usage = reader.usage();
    record.cost_micro_usd =
        usage::cost_micro_usd(attempt.route.target.cost.as_ref(), &record.usage);
    record.provider_request_id = reader.provider_request_id().map(ShortText::from);
    record.finish_reason = reader.finish_reason().map(ShortText::from);
    relayed.map(|()| writer.keep_alive)
}

/// Reads a whole response, edits it and sends it on; `true` where the connection can carry another
/// request.
pub(super) async fn relay_whole(
    ctx: &mut Context,
    job: &Job,
    attempt: &mut Attempt,
    reply: Reply,
    (head, client): (&RequestHead, &mut Client),
) -> Result<bool, Stop> {
    let worker = Rc::clone(&ctx.worker);
    let mut share = Share::default();
    let clocks = (&attempt.clocks, attempt.started);
    let body = read_whole(&worker, reply, clocks, &mut share, client).await?;
    let Attempt {
        exchange,
        route,
        held,
        ..
    } = attempt;
    let call = &job.call;
    let answer = exchange.answer(call, route, &body)?;
    let id = ctx.record().request_id.clone();
    let writer = writer(&worker, head, client, &id).with(job.marks(route, held));
    let mut out = worker.buffers.take();
    let length = answer.body_len(&body);
    writer.whole_head(&worker, 200, &[JSON], length, &mut out);
    // A small body goes out in one piece with its head.
    let mut apart = Vec::new();
    if length <= unary::JOINED_BYTES_MAX {
        answer.write_body(&body, &mut out);
    } else {
        apart = worker.buffers.take();
        answer.write_body(&body, &mut apart);
    }
    let record = ctx.record();
    record.status = 200;
    record.bytes_out = (out.len() + apart.len()) as u64;
    record.usage = answer.usage;
    record.cost_micro_usd = usage::cost_micro_usd(route.target.cost.as_ref(), &answer.usage);
    record.provider_request_id = answer.provider_request_id;
    record.finish_reason = answer.finish_reason;
    let sent = unary::send(client, &out, &apart).await;
    let head_us = ctx.ended(worker.tick());
    ctx.record().head_us = Some(head_us);
    for buffer in [body, out] {
        worker.buffers.give(buffer);
    }
    if !apart.is_empty() {
        worker.buffers.give(apart);
    }
    sent?;
    Ok(writer.keep_alive)
}

/// The whole body of a response, within the total clock; of one that answers a request for a stream
/// with a document, within a stream's longest silence where it has no total clock.
async fn read_whole(
    worker: &Worker,
    reply: Reply,
    (clocks, started): (&Clocks, Instant),
    share: &mut Share,
    client: &mut Client,
) -> Result<Vec<u8>, Stop> {
    let limit = clocks.total.or(clocks.gap);
    let deadline = limit.map(|limit| started + limit);
    let bound = (unary::RESPONSE_BYTES_MAX, Excess::Fails);
    let reading = unary::read_body(worker, reply, bound, share);
    match client.until_hangup_or(deadline, pin!(reading)).await? {
        Ok(read) => Ok(read?),
        Err(Elapsed) => Err(Failure::Timeout(limit.unwrap_or_default()).into()),
    }
}

/// Answers with the models that `key` may use, or with one of them.
pub(super) async fn model_list(
    ctx: &mut Context,
    snapshot: &Snapshot,
    key: &ApiKey,
    id: Option<&str>,
    (head, client): (&RequestHead, &mut Client),
) -> Result<bool, Stop> {
    let mut body = Vec::new();
    match id {
        None => models::write_list(snapshot, key, &mut body),
        Some(id) => models::write_one(snapshot, key, id, &mut body)?,
    }
    own(ctx, (&[JSON], &body), head, client).await
}

/// Answers with an estimate of the prompt's tokens, for targets that cannot be asked.
pub(super) async fn token_count(
    ctx: &mut Context,
    call: &Call,
    head: &RequestHead,
    client: &mut Client,
) -> Result<bool, Stop> {
    let body = messages::count(call);
    own(ctx, (&[JSON, ESTIMATED], &body), head, client).await
}

/// Sends an answer that no upstream has a part in.
async fn own(
    ctx: &mut Context,
    (headers, body): (&[Header<'_>], &[u8]),
    head: &RequestHead,
    client: &mut Client,
) -> Result<bool, Stop> {
    let worker = Rc::clone(&ctx.worker);
    let request_id = ctx.record().request_id.clone();
    let writer = writer(&worker, head, client, &request_id);
    let mut out = worker.buffers.take();
    writer.whole(&worker, 200, headers, body, &mut out);
    let sent = client.send(&out).await;
    let head_us = ctx.micros_to(worker.tick());
    let record = ctx.record();
    record.status = 200;
    record.head_us = Some(head_us);
    record.bytes_out = out.len() as u64;
    worker.buffers.give(out);
    sent?;
    Ok(writer.keep_alive)
}

/// Answers with the rejection's envelope; `true` where the connection can carry another request.
pub(super) async fn reject(
    ctx: &mut Context,
    head: &RequestHead,
    rejection: &Rejection,
    client: &mut Client,
) -> bool {
    let worker = Rc::clone(&ctx.worker);
    let id = ctx.record().request_id.clone();
    let mut writer = writer(&worker, head, client, &id);
    if let Rejection::RateLimited(limited) = rejection {
        writer.marks.headroom = limited.headroom;
    }
    // A body of the wrong size or framing is not read to its end.
    writer.keep_alive &= !matches!(
        rejection,
        Rejection::BodyTooLarge { .. }
            | Rejection::BodyUnreadable
            | Rejection::BodyTimeout
            // A connection that stays would hold memory.
            | Rejection::Overloaded(Overload::Memory)
    );
    let mut out = worker.buffers.take();
    write_rejection(&worker, &writer, (rejection, ctx.dialect), &mut out);
    let sent = client.send(&out).await;
    let head_us = ctx.micros_to(worker.tick());
    let record = ctx.record();
    record.bytes_out = out.len() as u64;
    record.head_us = sent.is_ok().then_some(head_us);
    worker.buffers.give(out);
    if sent.is_ok() && matches!(rejection, Rejection::BodyTooLarge { .. }) {
        let endpoint = ctx.record().endpoint;
        let outcome = match client.linger().await {
            Lingered::Completed => BodyLimitOutcome::Completed,
            Lingered::CapReached => BodyLimitOutcome::CapReached,
            Lingered::Expired => BodyLimitOutcome::Timeout,
            Lingered::ClientGone => BodyLimitOutcome::ClientReadError,
        };
        worker.shard().body_limit(endpoint, outcome);
    }
    sent.is_ok() && writer.keep_alive
}

/// Tells a client who has the head of an event stream, and no event, that none will come.
pub(super) async fn cut_begun(
    ctx: &mut Context,
    (head, client): (&RequestHead, &mut Client),
    rejection: Rejection,
) -> Stop {
    let worker = Rc::clone(&ctx.worker);
    let id = ctx.record().request_id.clone();
    let chunks = writer(&worker, head, client, &id).chunks;
    let (mut event, mut out) = (worker.buffers.take(), worker.buffers.take());
    match ctx.dialect {
        Dialect::Responses => responses::error_event(&rejection, &id, 0, &mut event),
        dialect => rejection.write_stream_error(dialect, &id, &mut event),
    }
    if chunks {
        write::chunk(&mut out, &event);
        write::last_chunk(&mut out);
    } else {
        out.extend_from_slice(&event);
    }
    let sent = client.send(&out).await;
    ctx.record().bytes_out += out.len() as u64;
    worker.buffers.give(event);
    worker.buffers.give(out);
    match sent {
        Ok(()) => Stop::Cut(rejection),
        Err(HungUp) => Stop::HungUp,
    }
}

/// Appends a whole answer with the rejection's envelope.
pub(super) fn write_rejection(
    worker: &Worker,
    writer: &ResponseWriter,
    (rejection, dialect): (&Rejection, Dialect),
    out: &mut Vec<u8>,
) {
    let mut body = worker.buffers.take();
    rejection.write_envelope(dialect, &writer.request_id, &mut body);
    let mut seconds = itoa::Buffer::new();
    let retry_after = rejection
        .retry_after_secs()
        .map(|secs| seconds.format(secs));
    let retry_after = retry_after.map(|secs| ("retry-after", secs.as_bytes()));
    let allow = rejection.allow().map(|allow| ("allow", allow.as_bytes()));
    let status = rejection.status();
    // No rejection has both.
    match retry_after.or(allow) {
        Some(one) => writer.whole(worker, status, &[JSON, one], &body, out),
        None => writer.whole(worker, status, &[JSON], &body, out),
    }
    worker.buffers.give(body);
}

/// What all answers to one request have in common, as things stand.
pub(super) fn writer(
    worker: &Worker,
    head: &RequestHead,
    client: &Client,
    id: &ShortText,
) -> ResponseWriter {
    ResponseWriter {
        request_id: id.clone(),
        keep_alive: head.keep_alive() && !worker.is_leaving() && client.can_be_kept(),
        chunks: head.version() == Version::Http11,
        head_only: *head.method() == Method::Head,
        marks: Marks::default(),
    }
}
