//! The chunks of a chat completions stream in canonical form. [pure]

use std::sync::Arc;

use config_sync::model::provider_key::ProviderKey;

use crate::bridge::record::Usage;
use crate::canonical::{Decoder, Delta};
use crate::endpoint::Call;
use crate::provider::Seen;
use crate::rejection::Rejection;
use crate::usage::Meter;

/// Follows a stream.
#[derive(Debug)]
pub(super) struct ChatDecoder {
    meter: Meter,
}

impl ChatDecoder {
    pub(super) fn new(call: &Call, _key: &Arc<ProviderKey>) -> Self {
        Self {
            meter: Meter::new(call.prompt_bytes),
        }
    }
}

impl Decoder for ChatDecoder {
    fn event(
        &mut self,
        _event: &[u8],
        _emit: &mut dyn FnMut(Delta<'_>),
    ) -> Result<Seen, Rejection> {
        Err(Rejection::NotImplemented)
    }

    fn finish(&mut self, _emit: &mut dyn FnMut(Delta<'_>)) -> Result<(), Rejection> {
        Err(Rejection::StreamAborted)
    }

    fn is_done(&self) -> bool {
        false
    }

    fn usage(&self) -> Usage {
        self.meter.usage()
    }

    fn provider_request_id(&self) -> Option<&str> {
        None
    }

    fn finish_reason(&self) -> Option<&str> {
        None
    }
}
