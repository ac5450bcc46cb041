//! What becomes known of each attempt: its counters, and its place in the record's list. [ring]

use std::rc::Rc;
use std::sync::Arc;

use config_sync::model::labels::TargetLabels;

use super::context::Context;
use super::held::Refused;
use super::job::{Attempt, Job};
use crate::bridge::tried::{AttemptKind, TRIED_MAX, Tried};
use crate::rejection::Rejection;
use crate::relay::Stop;
use crate::short_text::ShortText;

/// Status of an attempt that nobody waits for any more: that of a caller who left.
const GIVEN_UP: u16 = 499;

/// Counts the attempt that ended with `outcome`, the `tries`th of its target, and lists it where it
/// failed, or others before it did. Costs a few stores where nothing failed.
pub(super) fn note(ctx: &mut Context, attempt: &Attempt, outcome: &Result<bool, Stop>, tries: u32) {
    let worker = Rc::clone(&ctx.worker);
    let labels = &attempt.route.labels;
    let failure = match outcome {
        Ok(_) => None,
        // The upstream had answered, or was not given the time to.
        Err(Stop::HungUp) if attempt.answered.is_none() => {
            return worker.shard().attempt_left(labels);
        }
        Err(Stop::HungUp) => None,
        Err(Stop::Rejected(failure) | Stop::Cut(failure)) => Some(failure),
    };
    worker.shard().attempt(labels, failure.is_none());
    if failure.is_none() && ctx.record().tried.is_empty() {
        return;
    }
    let spent = worker.tick().saturating_duration_since(attempt.started);
    let tried = Tried {
        target: Arc::clone(labels),
        kind: kind_of(attempt, tries),
        status: failure.map_or(200, status_of),
        error_class: failure.map(class_of),
        spent_us: Some(u64::try_from(spent.as_micros()).unwrap_or(u64::MAX)),
        upstream_request_id: ctx.record().upstream_request_id.clone(),
        discarded_tokens: attempt.discarded_tokens,
    };
    list(ctx, tried);
}

/// Counts and lists an attempt that was given up because the one beside it was first to say something;
/// the upstream's `id` of it is known.
pub(super) fn lost(ctx: &mut Context, attempt: &Attempt, id: Option<ShortText>, tries: u32) {
    let labels = &attempt.route.labels;
    ctx.worker.shard().attempt_left(labels);
    let spent = ctx.worker.now().saturating_duration_since(attempt.started);
    let tried = Tried {
        target: Arc::clone(labels),
        kind: kind_of(attempt, tries),
        status: GIVEN_UP,
        error_class: Some("hedge_lost"),
        spent_us: Some(u64::try_from(spent.as_micros()).unwrap_or(u64::MAX)),
        upstream_request_id: id,
        discarded_tokens: None,
    };
    list(ctx, tried);
}

fn kind_of(attempt: &Attempt, tries: u32) -> AttemptKind {
    match tries {
        2.. => AttemptKind::Retry,
        _ if attempt.turn.is_hedge => AttemptKind::Hedge,
        _ if attempt.turn.before > 0 => AttemptKind::Fallback,
        _ => AttemptKind::Initial,
    }
}

/// Lists a target that was passed over because it is at a limit.
pub(super) fn passed_over(
    ctx: &mut Context,
    job: &Job,
    labels: &Arc<TargetLabels>,
    refused: &Refused,
) {
    let (status, error_class) = match refused {
        Refused::Limited(_) => (429, "rate_limit_exceeded"),
        Refused::Unchecked => (503, "provider_unavailable"),
    };
    let is_first = job.candidates.given() == 1;
    let tried = Tried {
        target: Arc::clone(labels),
        kind: if is_first {
            AttemptKind::Initial
        } else {
            AttemptKind::Fallback
        },
        status,
        error_class: Some(error_class),
        spent_us: None,
        upstream_request_id: None,
        discarded_tokens: None,
    };
    list(ctx, tried);
}

fn list(ctx: &mut Context, tried: Tried) {
    let list = &mut ctx.record().tried;
    if list.len() < TRIED_MAX {
        list.push(tried);
    }
}

/// The upstream's own status, where it named one.
fn status_of(failure: &Rejection) -> u16 {
    match failure {
        Rejection::Upstream(error) if error.upstream_status != 0 => error.upstream_status,
        other => other.status(),
    }
}

/// Value of `error_class`: the upstream's failures by their kind, others by the envelope's type.
fn class_of(failure: &Rejection) -> &'static str {
    match failure {
        Rejection::UpstreamTimeout { .. } => "timeout",
        Rejection::Upstream(error) if error.in_band => "upstream_in_band",
        Rejection::Upstream(_) => "upstream_status",
        Rejection::Decode { .. } => "upstream_decode",
        Rejection::Transport { .. } => "transport",
        Rejection::StreamAborted => "stream_aborted",
        Rejection::Config { .. } => "config",
        Rejection::UpstreamUnusable(_) => "invalid_config",
        Rejection::CredentialUnusable => "invalid_credentials",
        other => other.kind(),
    }
}
