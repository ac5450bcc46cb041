//! Server-sent events of a streamed answer, whatever the protocol. [pure]

use crate::mock::chat::ChatEvents;
use crate::mock::messages::MessagesEvents;
use crate::mock::reply::{Answer, Endpoint};
use crate::mock::responses::ResponsesEvents;

/// Writes the events of one answer, from the first to the last.
pub(super) trait Events: Send {
    /// Appends content event `seq`, and before it what is due before it. `sent_unix_us` goes into
    /// its text.
    fn content(&mut self, seq: u32, sent_unix_us: u64, out: &mut Vec<u8>);

    /// Appends what follows the content.
    fn tail(&mut self, out: &mut Vec<u8>);

    /// Appends an in-band error.
    fn error(&mut self, out: &mut Vec<u8>);
}

/// The events of `answer`.
pub(super) fn of<'a>(answer: &'a Answer<'a>) -> Box<dyn Events + 'a> {
    match answer.endpoint {
        Endpoint::Messages | Endpoint::CountTokens => Box::new(MessagesEvents::new(answer)),
        Endpoint::Responses => Box::new(ResponsesEvents::new(answer)),
        Endpoint::Chat | Endpoint::Completions | Endpoint::Embeddings => {
            Box::new(ChatEvents::new(answer))
        }
    }
}

/// Appends a comment event, if the script wants them.
pub(super) fn comment(answer: &Answer<'_>, out: &mut Vec<u8>) {
    if answer.script.shape.comment {
        let eol = answer.script.shape.eol.bytes();
        for part in [b": ping", eol, eol] {
            out.extend_from_slice(part);
        }
    }
}

/// Appends one named event.
pub(super) fn named(answer: &Answer<'_>, name: &str, data: &[u8], out: &mut Vec<u8>) {
    let eol = answer.script.shape.eol.bytes();
    for part in [b"event: ", name.as_bytes(), eol, b"data: ", data, eol, eol] {
        out.extend_from_slice(part);
    }
}
