//! Answers of the Messages API, forwarded. [pure]

use std::sync::Arc;

use config_sync::model::provider_key::ProviderKey;

use crate::bridge::record::Usage;
use crate::dialect::Dialect;
use crate::endpoint::Call;
use crate::provider::{Answered, Seen, StreamReader};
use crate::rejection::Rejection;
use crate::route::Route;
use crate::usage::Meter;

/// Reads the body of an answer with status success.
///
/// # Errors
///
/// As [`crate::provider::Adapter::forwarded`].
pub(super) fn read<'c>(
    _call: &'c Call,
    _route: &Route,
    _body: &[u8],
) -> Result<Answered<'c>, Rejection> {
    Err(Rejection::NotImplemented)
}

/// Follows a stream.
#[derive(Debug)]
pub(super) struct MessagesReader {
    meter: Meter,
}

impl MessagesReader {
    pub(super) fn new(call: &Call, _key: &Arc<ProviderKey>) -> Self {
        Self {
            meter: Meter::new(call.prompt_bytes),
        }
    }
}

impl StreamReader for MessagesReader {
    fn event(&mut self, _event: &[u8], _out: &mut Vec<u8>) -> Result<Seen, Rejection> {
        Err(Rejection::NotImplemented)
    }

    fn finish(&mut self, _out: &mut Vec<u8>) -> Result<(), Rejection> {
        Err(Rejection::StreamAborted)
    }

    fn cut(&mut self, rejection: &Rejection, request_id: &str, out: &mut Vec<u8>) {
        rejection.write_stream_error(Dialect::Anthropic, request_id, out);
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
