//! Chat completions, for callers whose target speaks something else. [pure]

mod field;
mod messages;
mod parts;
mod reply;
mod request;
mod stream;

use super::Seed;
use crate::canonical::{Conversation, Delta, Renderer, Reply};
use crate::dialect::Dialect;
use crate::endpoint::Call;
use crate::json::text::write_escaped;
use crate::rejection::Rejection;
use crate::short_text::ShortText;

/// Reads the body of `call` and makes what will show its answer.
///
/// # Errors
///
/// [`Rejection::InvalidRequest`], naming the field at fault.
pub(super) fn open<'b>(
    call: &Call,
    body: &'b [u8],
    seed: Seed,
) -> Result<(Conversation<'b>, Box<dyn Renderer>), Rejection> {
    let conversation = request::read(call, body)?;
    Ok((conversation, Box::new(Chat::new(call, seed))))
}

/// Shows one answer.
#[derive(Debug)]
struct Chat {
    model: ShortText,
    seed: Seed,
    stream: stream::Chunks,
}

impl Chat {
    fn new(call: &Call, seed: Seed) -> Self {
        Self {
            model: call.model.clone(),
            seed,
            stream: stream::Chunks::new(call, seed),
        }
    }
}

impl Renderer for Chat {
    fn reply(&mut self, reply: &Reply<'_>, out: &mut Vec<u8>) {
        reply::write(reply, &self.model, self.seed, out);
    }

    fn delta(&mut self, delta: Delta<'_>, out: &mut Vec<u8>) {
        self.stream.delta(delta, out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.stream.end(out);
    }

    fn cut(&mut self, rejection: &Rejection, request_id: &str, out: &mut Vec<u8>) {
        rejection.write_stream_error(Dialect::Openai, request_id, out);
    }
}

/// Appends the members that every document begins with, `choices` not yet. `id` is the upstream's,
/// empty where it has none.
fn begin(object: &str, id: &str, model: &str, seed: Seed, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":\"");
    if id.is_empty() {
        out.extend_from_slice(b"chatcmpl-");
        out.extend_from_slice(&seed.hex);
    } else {
        write_escaped(id, out);
    }
    out.extend_from_slice(b"\",\"object\":\"");
    out.extend_from_slice(object.as_bytes());
    out.extend_from_slice(b"\",\"created\":");
    out.extend_from_slice(itoa::Buffer::new().format(seed.created_unix_s).as_bytes());
    out.extend_from_slice(b",\"model\":\"");
    write_escaped(model, out);
    out.push(b'"');
}
