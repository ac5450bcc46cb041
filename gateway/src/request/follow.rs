//! What follows an attempt, or goes beside it: made of what was kept of the request. [ring]

use config_sync::model::ApiKey;
use config_sync::snapshot::Snapshot;

use super::context::Context;
use super::job::{Attempt, Job, Turn};
use crate::auth;
use crate::http::h1::RequestHead;
use crate::rejection::Rejection;
use crate::relay::Replay;
use crate::worker::Worker;

/// Prepares an attempt at the next target that the call of `replay` may be sent to.
///
/// # Errors
///
/// `last` where there is none, or that target's rejection.
pub(super) async fn at_next_target(
    replay: &mut Replay,
    ctx: &mut Context,
    (job, before): (&mut Job, Box<Attempt>),
    head: &RequestHead,
    last: Rejection,
) -> Result<Box<Attempt>, Rejection> {
    // Its slots are free before others are asked for.
    drop(before);
    let Some((snapshot, body, request)) = replay.parts() else {
        return Err(last);
    };
    let key = known(snapshot, head, &ctx.worker)?;
    match job.next_target(ctx, key, (head, body), request).await {
        Ok(Some(attempt)) => Ok(attempt),
        // What was tried and failed says more than what could not be tried.
        Ok(None) | Err(Rejection::RateLimited(_)) => Err(last),
        Err(why) => Err(why),
    }
}

/// Prepares an attempt at the next target beside the one under way, with its request in the place of
/// `replay`'s; `None` where no other target may be asked.
pub(super) async fn beside(
    replay: &mut Replay,
    ctx: &mut Context,
    job: &mut Job,
    head: &RequestHead,
) -> Option<Box<Attempt>> {
    let (snapshot, body, request) = replay.parts()?;
    let key = known(snapshot, head, &ctx.worker).ok()?;
    let mut attempt = job
        .next_target(ctx, key, (head, body), request)
        .await
        .ok()??;
    attempt.turn.is_hedge = true;
    Some(attempt)
}

/// Prepares another attempt at the target of `before`, which ended with `last`: what was forwarded is
/// sent again as it was.
///
/// # Errors
///
/// `last` where the request was not kept, or what is wrong with the target by now.
pub(super) fn at_same_target(
    replay: &mut Replay,
    ctx: &mut Context,
    (job, before): (&Job, Box<Attempt>),
    head: &RequestHead,
    last: Rejection,
) -> Result<Box<Attempt>, Rejection> {
    let before = *before;
    let turn = Turn {
        is_hedge: false,
        ..before.turn
    };
    if !before.exchange.is_translated() {
        return Ok(job.timed(ctx, before.exchange, (before.route, turn, before.held)));
    }
    let Some((snapshot, body, request)) = replay.parts() else {
        return Err(last);
    };
    let key = known(snapshot, head, &ctx.worker)?;
    let to = (before.route, turn, before.held);
    job.attempt(ctx, key, to, (head, body), request)
}

/// The caller once more: nothing of it was kept beside the request's head.
fn known<'s>(
    snapshot: &'s Snapshot,
    head: &RequestHead,
    worker: &Worker,
) -> Result<&'s ApiKey, Rejection> {
    match auth::identify(snapshot, head, worker.unix_ms()) {
        Ok(key) => Ok(key),
        Err((rejection, _)) => Err(rejection),
    }
}
