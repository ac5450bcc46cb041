//! A stream asked of one target and, where that is slow, of a second one beside it: the first to say
//! something is relayed. [ring]
//!
//! Both run within the request's own task. The one that is not relayed is dropped, which closes its
//! connection and frees its slots.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use monoio::time::Instant;

use super::answer::{relay_begun, writer};
use super::attempts::{Asked, ask, document, hold_back, is_event_stream};
use super::context::Context;
use super::follow::beside;
use super::job::{Attempt, Job};
use super::tried;
use crate::bridge::rare::HedgeEvent;
use crate::http::h1::RequestHead;
use crate::listener::client::{Client, HungUp};
use crate::rejection::Rejection;
use crate::relay::{Begun, Replay, Source, Stop, comment};
use crate::route::Hedging;
use crate::short_text::ShortText;
use crate::upstream::attempt::Reply;
use crate::worker::Worker;
use crate::worker::alarm::Alarm;

/// An attempt, and the how manieth try of its target it is.
type Tried = (Box<Attempt>, u32);

/// Makes the attempt `first`, another one beside it where that is slow, and relays what is first to
/// say something. Returns the attempt that was left in the end, with what came of it; others are
/// accounted for.
pub(super) async fn race(
    ctx: &mut Context,
    job: &mut Job,
    first: Tried,
    (replay, hedging): (&mut Replay, &Hedging),
    (head, client): (&RequestHead, &mut Client),
) -> (Tried, Result<bool, Stop>) {
    let (attempt, _) = &first;
    let may_hedge = !job.is_hedged && job.candidates.has_next() && replay.may_be_sent_again();
    let delay = hedging.delay(attempt.turn.position).filter(|_| may_hedge);
    let hedge_at = delay.map(|delay| attempt.started + delay);
    // Who has the head of a stream is kept waiting no longer without a word.
    let quiet_since = replay.head_at.map(|_| ctx.worker.now());
    let request = std::mem::take(&mut replay.request);
    let legs = vec![Leg::start(ctx, first, request)];
    let race = Race {
        worker: Rc::clone(&ctx.worker),
        ctx,
        job,
        replay,
        hedging,
        head,
        client,
        legs,
        hedge_at,
        quiet_since,
    };
    race.run().await
}

/// An attempt on its way to its first content.
struct Leg {
    tried: Tried,
    /// The upstream request, once it was sent.
    request: Vec<u8>,
    /// When the head of the response came.
    asked_at: Option<Instant>,
    /// The upstream's id of the exchange.
    id: Option<ShortText>,
    doing: Pin<Box<dyn Future<Output = Step>>>,
}

/// What a leg has done.
enum Step {
    /// It was answered; with the request.
    Asked(Asked, Vec<u8>),
    Begun(Result<Begun, Rejection>),
}

/// What a step leads to.
enum Next {
    Goes,
    Won(Won),
    Failed(Rejection),
}

enum Won {
    Stream(Box<Begun>),
    /// The answer to a request for a stream that is none.
    Document(Reply),
}

struct Race<'r> {
    worker: Rc<Worker>,
    ctx: &'r mut Context,
    job: &'r mut Job,
    replay: &'r mut Replay,
    hedging: &'r Hedging,
    head: &'r RequestHead,
    client: &'r mut Client,
    /// One or two.
    legs: Vec<Leg>,
    /// When the second one begins.
    hedge_at: Option<Instant>,
    /// When the first head of a response came, or the client last got a comment.
    quiet_since: Option<Instant>,
}

impl Leg {
    /// Sends `request`.
    fn start(ctx: &mut Context, tried: Tried, request: Vec<u8>) -> Self {
        ctx.record().attempts += 1;
        ctx.record().upstream_request_id = None;
        let worker = Rc::clone(&ctx.worker);
        let (attempt, _) = &tried;
        let provider_key = Rc::clone(&attempt.route.provider_key);
        let clocks = attempt.clocks.clone();
        let doing = async move {
            let mut alarm = Alarm::default();
            let asked = ask(&worker, &provider_key, &request, &clocks, &mut alarm).await;
            Step::Asked(asked, request)
        };
        Self {
            tried,
            request: Vec::new(),
            asked_at: None,
            id: None,
            doing: Box::pin(doing),
        }
    }

    /// Reads the stream of `reply` up to its first content.
    fn begin(&mut self, begun: Begun, ctx: &Context) {
        let worker = Rc::clone(&ctx.worker);
        let (attempt, _) = &self.tried;
        let clocks = attempt.clocks.clone();
        let started = ctx.started;
        self.doing =
            Box::pin(
                async move { Step::Begun(begun.until_content(worker, clocks, started).await) },
            );
    }
}

impl Race<'_> {
    async fn run(mut self) -> (Tried, Result<bool, Stop>) {
        loop {
            let (at, step) = match self.step().await {
                Ok(Some(step)) => step,
                Ok(None) => match self.at_due().await {
                    Ok(()) => continue,
                    Err(HungUp) => return self.left(),
                },
                Err(HungUp) => return self.left(),
            };
            match self.advance(at, step) {
                Next::Goes => {}
                Next::Won(won) => {
                    let winner = self.legs.swap_remove(at);
                    return self.relay(winner, won).await;
                }
                Next::Failed(failure) => {
                    let mut leg = self.legs.remove(at);
                    self.note_answer(&mut leg);
                    let outcome = Err(Stop::Rejected(failure));
                    if self.legs.is_empty() {
                        self.keep(leg.request);
                        return (leg.tried, outcome);
                    }
                    // The other one is what follows it.
                    let (attempt, tries) = &leg.tried;
                    self.job.health(&self.worker, attempt, &outcome);
                    tried::note(self.ctx, attempt, &outcome, *tries);
                }
            }
        }
    }

    /// The next step of a leg, and which one's; `None` where something is due before.
    async fn step(&mut self) -> Result<Option<(usize, Step)>, HungUp> {
        let deadline = [self.hedge_at, self.comment_at()]
            .into_iter()
            .flatten()
            .min();
        let Self { legs, client, .. } = self;
        poll_fn(|cx| {
            for (at, leg) in legs.iter_mut().enumerate() {
                if let Poll::Ready(step) = leg.doing.as_mut().poll(cx) {
                    return Poll::Ready(Ok(Some((at, step))));
                }
            }
            if client.poll_hangup(cx).is_ready() {
                return Poll::Ready(Err(HungUp));
            }
            client.poll_alarm(cx, deadline).map(|()| Ok(None))
        })
        .await
    }

    fn comment_at(&self) -> Option<Instant> {
        let every = self.worker.settings.keepalive_comment?;
        let withheld = |leg: &Leg| leg.tried.0.clocks.withhold_head;
        let is_withheld = self.replay.head_at.is_none() && self.legs.iter().any(withheld);
        self.quiet_since
            .filter(|_| !is_withheld)
            .map(|since| since + every)
    }

    /// Takes the leg at `at` on.
    fn advance(&mut self, at: usize, step: Step) -> Next {
        let leg = &mut self.legs[at];
        let (asked, request) = match step {
            Step::Asked(asked, request) => (asked, request),
            Step::Begun(Ok(begun)) => return Next::Won(Won::Stream(Box::new(begun))),
            Step::Begun(Err(failure)) => return Next::Failed(failure),
        };
        leg.request = request;
        leg.asked_at = Some(asked.at);
        leg.id = asked.id;
        let (attempt, _) = &mut leg.tried;
        match attempt.answered(asked.reply, asked.at) {
            Ok(reply) if is_event_stream(&reply) => {
                let reader = attempt.exchange.stream(&self.job.call, &attempt.route);
                leg.begin(Begun::new(Source::new(reply), reader), self.ctx);
                self.quiet_since.get_or_insert(asked.at);
                Next::Goes
            }
            Ok(reply) => Next::Won(Won::Document(reply)),
            Err(failure) => Next::Failed(failure),
        }
    }

    /// Gives the others up and relays the answer of `winner`.
    async fn relay(mut self, mut winner: Leg, won: Won) -> (Tried, Result<bool, Stop>) {
        for loser in std::mem::take(&mut self.legs) {
            self.give_up(loser);
        }
        self.note_answer(&mut winner);
        self.keep(std::mem::take(&mut winner.request));
        let (mut attempt, tries) = winner.tried;
        self.job.name(self.ctx, &attempt.route, attempt.turn);
        if attempt.turn.is_hedge {
            self.count(HedgeEvent::Won);
        }
        attempt.hold_back = hold_back(self.job, &attempt, tries, &self.worker);
        let asker = (self.head, self.client);
        let outcome = match won {
            Won::Document(reply) => {
                let answer = (&*self.replay, reply);
                document(self.ctx, self.job, &mut attempt, answer, asker).await
            }
            Won::Stream(begun) => {
                if let Some(said_at) = begun.tally.said_at {
                    let time = said_at.saturating_duration_since(attempt.started);
                    self.hedging.sample(attempt.turn.position, time);
                }
                let stream = (&mut *self.replay, begun);
                relay_begun(self.ctx, self.job, &mut attempt, stream, asker).await
            }
        };
        ((attempt, tries), outcome)
    }

    /// Ends an attempt that another one was faster than.
    fn give_up(&mut self, loser: Leg) {
        let (attempt, tries) = &loser.tried;
        if !attempt.turn.is_hedge {
            // It would have taken longer, nobody knows how long. Left out, the slow ones would be
            // missing from what is known of the target, and the next ones be given up sooner.
            let time = self.worker.now().saturating_duration_since(attempt.started);
            self.hedging.sample(attempt.turn.position, time);
        }
        tried::lost(self.ctx, attempt, loser.id, *tries);
        self.worker.buffers.give(loser.request);
    }

    /// The caller left.
    fn left(mut self) -> (Tried, Result<bool, Stop>) {
        for other in self.legs.drain(1..) {
            let (attempt, _) = &other.tried;
            self.worker.shard().attempt_left(&attempt.route.labels);
        }
        let first = self.legs.swap_remove(0);
        (first.tried, Err(Stop::HungUp))
    }

    /// Does what is due now.
    async fn at_due(&mut self) -> Result<(), HungUp> {
        let now = self.worker.tick();
        if self.hedge_at.is_some_and(|at| now >= at) {
            self.hedge_at = None;
            self.job.is_hedged = true;
            self.hedge().await;
        }
        if self.comment_at().is_some_and(|at| now >= at) {
            let id = self.ctx.record().request_id.clone();
            let (attempt, _) = &self.legs[0].tried;
            let writer = writer(&self.worker, self.head, self.client, &id)
                .with(self.job.marks(&attempt.route, &attempt.held))
                .for_stream();
            let sent = comment(&self.worker, self.client, &writer, self.replay).await?;
            self.ctx.record().bytes_out += sent;
            self.quiet_since = Some(now);
        }
        Ok(())
    }

    /// Asks the next target beside the first one, if the group's share of hedges allows it.
    async fn hedge(&mut self) {
        if !self.job.candidates.has_next() {
            return;
        }
        if !self.hedging.spend() {
            return self.count(HedgeEvent::Refused);
        }
        self.replay.request = self.worker.buffers.take();
        match beside(self.replay, self.ctx, self.job, self.head).await {
            Some(attempt) => {
                self.count(HedgeEvent::Started);
                let request = std::mem::take(&mut self.replay.request);
                self.legs.push(Leg::start(self.ctx, (attempt, 1), request));
            }
            None => {
                self.hedging.refund();
                let (attempt, _) = &self.legs[0].tried;
                self.job.name(self.ctx, &attempt.route, attempt.turn);
            }
        }
    }

    /// Says in the record what came of the request of `leg`.
    fn note_answer(&mut self, leg: &mut Leg) {
        let upstream_us = leg.asked_at.map(|at| self.ctx.micros_to(at));
        let record = self.ctx.record();
        record.upstream_us = upstream_us;
        record.upstream_request_id = leg.id.take();
    }

    /// Keeps `request` for another attempt.
    fn keep(&mut self, request: Vec<u8>) {
        let buffers = &self.worker.buffers;
        buffers.give(std::mem::replace(&mut self.replay.request, request));
        self.replay.sent(buffers);
    }

    fn count(&self, event: HedgeEvent) {
        if let Some(group) = self.job.candidates.group() {
            let name = Arc::clone(&group.model.display_name);
            self.worker.shard().hedge(&name, event);
        }
    }
}
