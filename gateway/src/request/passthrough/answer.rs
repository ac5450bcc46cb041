//! The answer of a passthrough route's upstream, relayed as what it is. [ring]

use std::rc::Rc;

use crate::http::h1::RequestHead;
use crate::listener::client::Client;
use crate::passthrough::{EventWitness, OBSERVED_BYTES_MAX, Understood, whole_usage};
use crate::provider::StreamReader;
use crate::relay::passage::{Framing, Passage, write_head};
use crate::relay::stream::{Relay, Tally};
use crate::relay::{Replay, Source, Stop};
use crate::request::answer::writer;
use crate::request::attempts::is_event_stream;
use crate::request::context::Context;
use crate::upstream::attempt::Reply;
use crate::upstream::clocks::Clocks;

/// A response on its way back.
pub(super) struct Answer {
    pub(super) reply: Reply,
    /// Whether the upstream saw the gateway's credential.
    pub(super) injected: bool,
    pub(super) clocks: Clocks,
}

impl Answer {
    /// Relays the answer to the request of `understood` at `path`; `true` where the connection can
    /// carry another request.
    pub(super) async fn relay(
        self,
        ctx: &mut Context,
        (understood, path): (&Understood, &str),
        asker: (&RequestHead, &mut Client),
    ) -> Result<bool, Stop> {
        if is_plain_event_stream(&self.reply) {
            let mut witness = EventWitness::new(understood, path);
            relay_events(ctx, self, &mut witness, asker).await
        } else {
            relay_body(ctx, self, understood, asker).await
        }
    }
}

/// Whether events can be told apart: a stream of them that is not compressed.
fn is_plain_event_stream(reply: &Reply) -> bool {
    is_event_stream(reply) && is_plain(reply) && !reply.body.is_done()
}

fn is_plain(reply: &Reply) -> bool {
    let coding = reply.head.header("content-encoding");
    coding.is_none_or(|coding| coding.eq_ignore_ascii_case(b"identity"))
}

/// Whether the body is worth a look for tokens.
fn is_json(reply: &Reply) -> bool {
    let kind = reply.head.header("content-type").unwrap_or_default();
    let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/json") && is_plain(reply)
}

/// Relays an event stream, event by event and with comments where it is silent.
async fn relay_events(
    ctx: &mut Context,
    answer: Answer,
    witness: &mut EventWitness,
    (head, client): (&RequestHead, &mut Client),
) -> Result<bool, Stop> {
    let worker = Rc::clone(&ctx.worker);
    let id = ctx.record().request_id.clone();
    let writer = writer(&worker, head, client, &id).for_stream();
    let framing = Framing::unknown(&writer);
    let mut response_head = worker.buffers.take();
    let reply = answer.reply;
    let status = reply.head.status();
    write_head(
        &worker,
        &writer,
        (&reply, answer.injected),
        framing,
        &mut response_head,
    );
    let clocks = answer.clocks.for_events(&worker.settings.upstream);
    let mut tally = Tally::default();
    let mut source = Source::new(reply);
    let mut replay = Replay::default();
    let mut relay = Relay {
        worker: &worker,
        client,
        writer: &writer,
        head: Some(&response_head),
        reader: witness,
        clocks: &clocks,
        started: ctx.started,
        tally: &mut tally,
        replay: &mut replay,
        window: None,
        held: Vec::new(),
    };
    let relayed = Box::pin(relay.run(&mut source)).await;
    if relayed.is_ok() {
        source.give_back(&worker);
    }
    worker.buffers.give(response_head);
    ctx.sent(&tally);
    let record = ctx.record();
    record.status = status;
    record.stream = true;
    record.usage = witness.usage();
    relayed.map(|()| writer.keep_alive)
}

/// Relays any other response as it comes.
async fn relay_body(
    ctx: &mut Context,
    answer: Answer,
    understood: &Understood,
    (head, client): (&RequestHead, &mut Client),
) -> Result<bool, Stop> {
    let worker = Rc::clone(&ctx.worker);
    let id = ctx.record().request_id.clone();
    let mut writer = writer(&worker, head, client, &id);
    let Answer {
        reply,
        injected,
        clocks,
    } = answer;
    let framing = Framing::of(&reply, &writer);
    writer.keep_alive &= framing != Framing::Close;
    let mut response_head = worker.buffers.take();
    let status = reply.head.status();
    write_head(
        &worker,
        &writer,
        (&reply, injected),
        framing,
        &mut response_head,
    );
    let mut tally = Tally::default();
    let observed_max = if is_json(&reply) {
        OBSERVED_BYTES_MAX
    } else {
        0
    };
    let passage = Passage {
        worker: &worker,
        client,
        framing,
        // A compressed stream of events is one all the same.
        limit: clocks.total.filter(|_| !is_event_stream(&reply)),
        observed_max,
        observed: Vec::new(),
        tally: &mut tally,
    };
    let passed = Box::pin(passage.run(response_head, reply)).await;
    ctx.sent(&tally);
    let record = ctx.record();
    record.status = status;
    let observed = passed?;
    record.usage = whole_usage(understood, &observed);
    Ok(writer.keep_alive)
}
