//! How one call reaches one target, decided once: forwarded, or translated both ways. [pure]

use super::openai::recorded_text;
use super::{Adapter, AnswerBody, Answered, ErrorAnswer, Outbound, StreamReader, adapter_for};
use crate::canonical::{Renderer, Translated};
use crate::dialect::{self, Seed};
use crate::endpoint::{Call, Endpoint};
use crate::rejection::Rejection;
use crate::route::Route;
use crate::usage::Meter;

/// An attempt's way out and back.
#[derive(Debug)]
pub struct Exchange {
    adapter: &'static dyn Adapter,
    /// Shows the answer to the caller; `None` where it is forwarded, and once a stream has it.
    renderer: Option<Box<dyn Renderer>>,
    is_translated: bool,
}

impl Exchange {
    /// Decides how `outbound` reaches its target and appends the upstream request to `out`.
    ///
    /// # Errors
    ///
    /// [`Rejection::ProviderUnavailable`], [`Rejection::NotImplemented`] where the target cannot serve
    /// the endpoint, and those of [`Adapter::forward`] and [`Adapter::converse`]; `out` is as before.
    pub fn begin(
        outbound: &Outbound<'_>,
        body: &[u8],
        seed: impl FnOnce() -> Seed,
        out: &mut Vec<u8>,
    ) -> Result<Self, Rejection> {
        let adapter = adapter_for(&outbound.route.provider_key)?;
        let call = outbound.call;
        if adapter.speaks(call.endpoint, &outbound.route.provider_key) {
            adapter.forward(outbound, body, out)?;
            return Ok(Self {
                adapter,
                renderer: None,
                is_translated: false,
            });
        }
        if !adapter.translates(call.endpoint) {
            return Err(Rejection::NotImplemented);
        }
        let (conversation, renderer) = dialect::open(call, body, seed())?;
        adapter.converse(outbound, &conversation, out)?;
        Ok(Self {
            adapter,
            renderer: Some(renderer),
            is_translated: true,
        })
    }

    /// Whether the answer is shown in another protocol than the target's: such an exchange serves one
    /// attempt only.
    pub fn is_translated(&self) -> bool {
        self.is_translated
    }

    /// Whether nobody is asked: `call` wants tokens counted, and the target cannot.
    ///
    /// # Errors
    ///
    /// [`Rejection::ProviderUnavailable`].
    pub fn is_spared(call: &Call, route: &Route) -> Result<bool, Rejection> {
        if call.endpoint != Endpoint::CountTokens {
            return Ok(false);
        }
        let adapter = adapter_for(&route.provider_key)?;
        Ok(!adapter.speaks(call.endpoint, &route.provider_key))
    }

    /// Reads a whole answer with status success.
    ///
    /// # Errors
    ///
    /// Those of [`Adapter::forwarded`].
    pub fn answer<'c>(
        &mut self,
        call: &'c Call,
        route: &Route,
        body: &[u8],
    ) -> Result<Answered<'c>, Rejection> {
        let Some(renderer) = &mut self.renderer else {
            return self.adapter.forwarded(call, route, body);
        };
        let reply = self.adapter.reply(&route.provider_key, body)?;
        let mut meter = Meter::new(call.prompt_bytes);
        if let Some(counts) = reply.counts {
            meter.report(counts);
        }
        meter.wrote(reply.text_bytes());
        let mut rendered = Vec::with_capacity(body.len());
        renderer.reply(&reply, &mut rendered);
        let recorded = |text: &str| (!text.is_empty()).then(|| recorded_text(text));
        Ok(Answered {
            usage: meter.usage(),
            provider_request_id: recorded(&reply.id),
            finish_reason: reply.finish_reason.as_deref().and_then(recorded),
            body: AnswerBody::Rendered(rendered),
        })
    }

    /// Follows a stream.
    pub fn stream(&mut self, call: &Call, route: &Route) -> Box<dyn StreamReader> {
        match self.renderer.take() {
            None => self.adapter.forwarding(call, route),
            Some(renderer) => {
                let decoder = self.adapter.decoder(call, &route.provider_key);
                Box::new(Translated::new(decoder, renderer))
            }
        }
    }

    /// The rejection for an answer with a status other than success.
    pub fn error(&self, answer: &ErrorAnswer<'_>, route: &Route) -> Rejection {
        self.adapter.error(answer, &route.provider_key)
    }
}
