//! A call on its way: its targets, and what it holds of its limits. [ring]

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config_sync::model::ApiKey;
use config_sync::model::routing::HoldBack;
use monoio::time::Instant;

use super::context::Context;
use super::held::{Held, Refused};
use super::tried;
use crate::bridge::health::{Failure, FailureClass, InFlight};
use crate::bridge::record::UsageSource;
use crate::dialect::Seed;
use crate::endpoint::{Call, Endpoint};
use crate::http::h1::RequestHead;
use crate::limit::{Claim, Headroom, Part, Policies};
use crate::provider::{Asker, Exchange, Outbound};
use crate::rejection::Rejection;
use crate::relay::{Marks, Stop};
use crate::route::{Candidates, Route, Rules};
use crate::upstream::clocks::Clocks;
use crate::usage::tokens_of;
use crate::worker::Worker;

/// A checked call, and what it holds until its answer has ended.
pub(crate) struct Job {
    pub(super) call: Call,
    pub(super) candidates: Candidates,
    policies: Rc<Policies>,
    /// Of a call to a group: the caller's part of the limits.
    caller: Option<Held>,
    /// Whether a second target was, or was not to be, asked beside a slow one.
    pub(super) is_hedged: bool,
}

/// Which of the call's attempts one is.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    /// Position of its target in the group.
    pub(super) position: usize,
    /// Targets that were given before it.
    pub(super) before: u16,
    /// Whether it began beside another one.
    pub(super) is_hedge: bool,
}

/// A target, its turn, and what the call holds of its limits.
pub(super) type To = (Route, Turn, Held);

/// One try at one target.
pub(crate) struct Attempt {
    pub(super) route: Route,
    pub(super) turn: Turn,
    /// The limits of its target; of a direct model all of them.
    pub(super) held: Held,
    pub(super) clocks: Clocks,
    /// The way out and back.
    pub(super) exchange: Exchange,
    pub(super) started: Instant,
    /// When the response head came.
    pub(super) answered: Option<Instant>,
    /// When the whole request must have ended, attempts together.
    pub(super) deadline: Option<Instant>,
    /// How much of its stream is held back; `None`: nothing beyond the first content.
    pub(super) hold_back: Option<HoldBack>,
    /// Tokens that were held back and never sent, because the stream failed; `None` where there were
    /// none.
    pub(super) discarded_tokens: Option<u64>,
    /// Where loads are looked at.
    _in_flight: Option<InFlight>,
}

impl Job {
    pub(super) fn new(call: Call, candidates: Candidates, policies: Rc<Policies>) -> Self {
        Self {
            call,
            candidates,
            policies,
            caller: None,
            is_hedged: false,
        }
    }

    /// Prepares an attempt at the next target whose limits admit the call, and appends its request to
    /// `request`; `None` where nobody needs
    /// to be asked, because the target cannot count tokens.
    ///
    /// # Errors
    ///
    /// The limit that stands in the way, of the last target that had one; else what is wrong with the
    /// target or with the call for it.
    pub(super) async fn next_target(
        &mut self,
        ctx: &mut Context,
        key: &ApiKey,
        (head, body): (&RequestHead, &[u8]),
        request: &mut Vec<u8>,
    ) -> Result<Option<Box<Attempt>>, Rejection> {
        let mut refused = None;
        while let Some(route) = self.candidates.take_next() {
            let route = route?;
            ctx.record().target = Some(Arc::clone(&route.labels));
            match self.admit(&ctx.worker, key, &route).await? {
                Ok(_) if Exchange::is_spared(&self.call, &route)? => return Ok(None),
                Ok(held) => {
                    let to = (route, self.turn(), held);
                    return self.attempt(ctx, key, to, (head, body), request).map(Some);
                }
                Err(by_target) => {
                    tried::passed_over(ctx, self, &route.labels, &by_target);
                    refused = Some(by_target);
                }
            }
        }
        Err(match refused {
            Some(why) => why.into(),
            None => Rejection::Internal {
                detail: "a call has no target left".to_owned(),
            },
        })
    }

    /// Counts the call against its limits: the caller's once, the target's for each target. The inner
    /// error is the target's, where another one may do.
    async fn admit(
        &mut self,
        worker: &Worker,
        key: &ApiKey,
        route: &Route,
    ) -> Result<Result<Held, Refused>, Refused> {
        let tokens = match self.call.endpoint {
            Endpoint::CountTokens => 0,
            _ => tokens_of(self.call.prompt_bytes).saturating_add(self.call.max_tokens),
        };
        let claim = Claim::new(&self.policies, key).reserving(tokens);
        let Some(group) = self.candidates.group() else {
            let claim = claim.to(&route.target);
            return Ok(Ok(Held::take(worker, &claim, Part::Whole).await?));
        };
        let claim = claim.through(&group.model);
        if self.caller.is_none() {
            self.caller = Some(Held::take(worker, &claim, Part::Caller).await?);
        }
        let claim = claim.to(&route.target);
        Ok(Held::take(worker, &claim, Part::Target).await)
    }

    /// That of the target given last.
    fn turn(&self) -> Turn {
        let before = self.candidates.given().saturating_sub(1);
        Turn {
            position: self.candidates.position(),
            before: u16::try_from(before).unwrap_or(u16::MAX),
            is_hedge: false,
        }
    }

    /// Says in the record who serves.
    pub(super) fn name(&self, ctx: &mut Context, route: &Route, turn: Turn) {
        ctx.record().target = Some(Arc::clone(&route.labels));
        self.name_turn(ctx, route, turn);
    }

    fn name_turn(&self, ctx: &mut Context, route: &Route, turn: Turn) {
        let record = ctx.record();
        record.upstream_model.clone_from(&route.upstream_model);
        if let Some(group) = self.candidates.group() {
            record.group = Some(Arc::clone(&group.model.display_name));
            record.fallbacks = turn.before;
        }
    }

    /// Whether anything but `first`'s request, sent again, may have to follow it.
    pub(super) fn needs_call_again(&self, first: &Attempt) -> bool {
        self.candidates.has_next() || first.exchange.is_translated()
    }

    /// Prepares an attempt, and appends its request to `request`.
    pub(super) fn attempt(
        &self,
        ctx: &mut Context,
        key: &ApiKey,
        (route, turn, held): To,
        (head, body): (&RequestHead, &[u8]),
        request: &mut Vec<u8>,
    ) -> Result<Box<Attempt>, Rejection> {
        let worker = Rc::clone(&ctx.worker);
        self.name_turn(ctx, &route, turn);
        let record = ctx.record();
        let asker = Asker {
            head,
            key,
            request_id: &record.request_id,
        };
        let outbound = Outbound {
            route: &route,
            call: &self.call,
            asker: &asker,
        };
        let seed = || Seed {
            created_unix_s: worker.unix_ms() / 1000,
            hex: worker.ids.hex(),
        };
        let exchange = Exchange::begin(&outbound, body, seed, request)?;
        Ok(self.timed(ctx, exchange, (route, turn, held)))
    }

    /// An attempt that begins now.
    pub(super) fn timed(
        &self,
        ctx: &Context,
        exchange: Exchange,
        (route, turn, held): To,
    ) -> Box<Attempt> {
        let worker = &ctx.worker;
        let group = self.candidates.group();
        let group = group.map(|group| &**group.model);
        let upstream = &worker.settings.upstream;
        let clocks = Clocks::of(&route.target, group, upstream, self.call.stream);
        let now = worker.now();
        let deadline =
            overall(&clocks, upstream.timeout, self.call.stream).map(|limit| ctx.started + limit);
        let clocks = match deadline {
            Some(deadline) => clocks.within(deadline.saturating_duration_since(now)),
            None => clocks,
        };
        let keeps_samples = worker.rows.keeps_samples();
        let in_flight = keeps_samples.then(|| InFlight::enter(&route.health));
        Box::new(Attempt {
            clocks,
            exchange,
            started: now,
            answered: None,
            deadline,
            hold_back: None,
            discarded_tokens: None,
            _in_flight: in_flight,
            route,
            turn,
            held,
        })
    }

    /// Notes how the target did.
    pub(super) fn health(&self, worker: &Worker, attempt: &Attempt, outcome: &Result<bool, Stop>) {
        let now_ms = worker.unix_ms().unsigned_abs();
        let (health, target) = (&attempt.route.health, &attempt.route.target);
        let failure = match outcome {
            Ok(_) => {
                // Of a stream: until it was established.
                let established = attempt.answered.filter(|_| self.call.stream);
                let end = established.unwrap_or(worker.now());
                let latency = end.saturating_duration_since(attempt.started);
                let is_sampled = worker.rows.keeps_samples();
                return health.succeeded(now_ms, is_sampled.then_some(latency));
            }
            Err(Stop::HungUp) => return,
            Err(Stop::Rejected(failure) | Stop::Cut(failure)) => failure,
        };
        let Some(class) = class_of(failure) else {
            return;
        };
        let routing = self.candidates.group().and_then(|group| group.routing());
        let rules = Rules::of(target, routing, 0);
        let failure = Failure {
            class,
            is_retryable: rules.is_retryable(failure),
            retry_after_secs: failure.retry_after_secs(),
        };
        let cooled = health.failed(failure, &target.cooldown, now_ms);
        if let Some(cooled) = cooled.filter(|cooled| cooled.is_new) {
            worker.shard().cooled_down(&attempt.route.labels);
            let detail = format!(
                "{} for {} s: {}",
                target.display_name,
                cooled.seconds,
                cooled.reason.label()
            );
            worker.warn("a target failed and is left alone for a while", &detail);
        }
    }

    /// Charges the tokens of the request in the place of those reserved.
    pub(super) fn settle(&mut self, ctx: &mut Context, attempt: &mut Attempt) {
        let now_ms = ctx.worker.unix_ms().unsigned_abs();
        let tokens = match self.call.endpoint {
            Endpoint::CountTokens => 0,
            // The caller left before an answer said what it took; the upstream has read the prompt.
            _ if ctx.record().usage.source == UsageSource::Absent => {
                tokens_of(self.call.prompt_bytes)
            }
            _ => ctx.record().usage.charged(),
        };
        for permit in self.caller.iter_mut().chain([&mut attempt.held]) {
            permit.settle(tokens, now_ms);
        }
    }

    /// What the answer of `route` says about the call.
    pub(super) fn marks(&self, route: &Route, held: &Held) -> Marks {
        let permits = self.caller.iter().chain([held]);
        let headroom = |all: Headroom, held: &Held| all.and(held.headroom());
        let is_group = self.candidates.group().is_some();
        Marks {
            call_id: self.call.endpoint == Endpoint::ChatCompletions,
            served_by: is_group.then(|| Rc::clone(&route.target)),
            headroom: permits.fold(Headroom::default(), headroom),
        }
    }
}

/// How long all attempts of a request may take: what one of them may, and the deployment's clock if
/// that is longer. Streams have a clock of their own for it.
fn overall(clocks: &Clocks, deployment: Option<Duration>, stream: bool) -> Option<Duration> {
    if stream {
        return clocks.total;
    }
    Some(clocks.total?.max(deployment?))
}

/// What a failure says of its target; `None` where it says nothing.
fn class_of(failure: &Rejection) -> Option<FailureClass> {
    match failure {
        Rejection::UpstreamTimeout { .. } => Some(FailureClass::Timeout),
        Rejection::Transport { .. } | Rejection::StreamAborted => Some(FailureClass::Transport),
        Rejection::Decode { .. } => Some(FailureClass::Decode),
        Rejection::Upstream(error) if error.in_band => {
            Some(FailureClass::InBand(error.upstream_status))
        }
        Rejection::Upstream(error) => Some(FailureClass::Status(error.upstream_status)),
        _ => None,
    }
}
