//! A stream between protocols: what the upstream's events say, and what the caller gets. [pure]

use std::fmt;

use super::{Escaped, Finish, Reply};
use crate::bridge::record::Usage;
use crate::provider::{Seen, StreamReader};
use crate::rejection::Rejection;
use crate::usage::Counts;

/// Shows the caller that the upstream is alive, where its sign of life has no counterpart.
const COMMENT: &[u8] = b":\n\n";

/// One thing that a stream says. Borrows from the event.
#[derive(Debug, PartialEq)]
pub enum Delta<'e> {
    Text(Escaped<'e>),
    Refusal(Escaped<'e>),
    Thinking(Escaped<'e>),
    /// Signature of the thinking before it, whole or a part.
    Signature(Escaped<'e>),
    /// Thinking that only the provider can read, whole.
    RedactedThinking(Escaped<'e>),
    /// A tool call begins. `index` counts calls from 0; id and name are not empty.
    ToolCall {
        index: u32,
        id: Escaped<'e>,
        name: Escaped<'e>,
    },
    /// More of the arguments of call `index`, which has begun.
    Arguments {
        index: u32,
        json: Escaped<'e>,
    },
    /// The model stopped. Once at most; only usage follows.
    Finish(Finish),
    /// Running totals; merged by maximum ([`Counts::max`]).
    Usage(Counts),
}

/// Reads the events of one upstream stream.
pub trait Decoder: fmt::Debug {
    /// Takes one event as the upstream sent it and emits what it says, in order.
    ///
    /// # Errors
    ///
    /// [`Rejection::Upstream`] for an error inside the stream, [`Rejection::Decode`] for an event that
    /// cannot be understood. The stream is over.
    fn event(&mut self, event: &[u8], emit: &mut dyn FnMut(Delta<'_>)) -> Result<Seen, Rejection>;

    /// The upstream closed the stream: emits what was held back.
    ///
    /// # Errors
    ///
    /// [`Rejection::StreamAborted`] where the stream was not complete.
    fn finish(&mut self, emit: &mut dyn FnMut(Delta<'_>)) -> Result<(), Rejection>;

    /// Whether the event that ends the stream was seen.
    fn is_done(&self) -> bool;

    /// The tokens so far.
    fn usage(&self) -> Usage;

    /// The id of the answer.
    fn provider_request_id(&self) -> Option<&str>;

    /// The upstream's own word for why the model stopped.
    fn finish_reason(&self) -> Option<&str>;
}

/// Shows one answer to its caller, in the caller's protocol: whole or as a stream.
///
/// Made from the request, and holds what of it the answer needs.
pub trait Renderer: fmt::Debug {
    /// Appends the body of a whole answer.
    fn reply(&mut self, reply: &Reply<'_>, out: &mut Vec<u8>);

    /// Appends the events for one delta; often none or several.
    fn delta(&mut self, delta: Delta<'_>, out: &mut Vec<u8>);

    /// Why the caller's protocol cannot show what was said, once it cannot: the stream has failed.
    fn failure(&self) -> Option<Rejection> {
        None
    }

    /// Appends what ends a complete stream.
    fn end(&mut self, out: &mut Vec<u8>);

    /// Appends what ends a stream that failed after it had begun.
    fn cut(&mut self, rejection: &Rejection, request_id: &str, out: &mut Vec<u8>);
}

/// A stream that is translated: an upstream's decoder and a caller's renderer.
#[derive(Debug)]
pub struct Translated {
    decoder: Box<dyn Decoder>,
    renderer: Box<dyn Renderer>,
    /// Whether what ends the caller's stream was written.
    ended: bool,
}

impl Translated {
    pub fn new(decoder: Box<dyn Decoder>, renderer: Box<dyn Renderer>) -> Self {
        Self {
            decoder,
            renderer,
            ended: false,
        }
    }

    fn check(&self) -> Result<(), Rejection> {
        self.renderer.failure().map_or(Ok(()), Err)
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.ended, true) {
            self.renderer.end(out);
        }
    }
}

impl StreamReader for Translated {
    fn event(&mut self, event: &[u8], out: &mut Vec<u8>) -> Result<Seen, Rejection> {
        if self.decoder.is_done() {
            return Ok(Seen::Late);
        }
        let renderer = &mut self.renderer;
        let mut emit = |delta: Delta<'_>| renderer.delta(delta, out);
        let seen = self.decoder.event(event, &mut emit)?;
        self.check()?;
        if seen == Seen::Comment {
            out.extend_from_slice(COMMENT);
        }
        if self.decoder.is_done() {
            self.end(out);
        }
        Ok(seen)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Rejection> {
        let renderer = &mut self.renderer;
        self.decoder
            .finish(&mut |delta| renderer.delta(delta, out))?;
        self.check()?;
        self.end(out);
        Ok(())
    }

    fn cut(&mut self, rejection: &Rejection, request_id: &str, out: &mut Vec<u8>) {
        self.renderer.cut(rejection, request_id, out);
    }

    fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    fn usage(&self) -> Usage {
        self.decoder.usage()
    }

    fn provider_request_id(&self) -> Option<&str> {
        self.decoder.provider_request_id()
    }

    fn finish_reason(&self) -> Option<&str> {
        self.decoder.finish_reason()
    }
}
