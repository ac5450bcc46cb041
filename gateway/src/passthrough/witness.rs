//! What is learned from an answer while it passes. [pure]

use super::understand::{Shape, Understood};
use super::usage::of_document;
use crate::bridge::record::Usage;
use crate::dialect::Dialect;
use crate::http::sse::data_of;
use crate::provider::{Seen, StreamReader};
use crate::rejection::Rejection;
use crate::usage::{Counts, Meter};

/// Longest answer whose tokens are looked for, in bytes: a longer one is no completion.
pub const OBSERVED_BYTES_MAX: usize = 1024 * 1024;

/// The tokens of a whole answer to a request that was understood.
pub fn whole_usage(understood: &Understood, body: &[u8]) -> Usage {
    match understood.shape {
        Shape::Opaque => Usage::default(),
        Shape::Chat | Shape::Responses | Shape::Completions => usage(of_document(body)),
    }
}

fn usage(counts: Option<Counts>) -> Usage {
    let Some(counts) = counts else {
        return Usage::default();
    };
    // Without text there is nothing to estimate: what is not reported stays absent.
    let mut meter = Meter::new(0);
    meter.report(counts);
    meter.usage()
}

/// Sees the events of a stream pass. Holds nothing back and changes nothing.
#[derive(Debug)]
pub struct EventWitness {
    shape: Shape,
    /// The protocol in which the stream is told that it failed.
    dialect: Dialect,
    counts: Option<Counts>,
    done: bool,
}

impl EventWitness {
    /// A witness of the stream that answers the request of `understood` at `path`.
    pub fn new(understood: &Understood, path: &str) -> Self {
        Self {
            shape: understood.shape,
            dialect: understood.dialect(path),
            counts: None,
            done: false,
        }
    }

    fn sees(&mut self, payload: &[u8]) -> Seen {
        if self.shape == Shape::Opaque {
            return Seen::Content;
        }
        if payload == b"[DONE]" {
            self.done = true;
            return Seen::Done;
        }
        if let Some(counts) = of_document(payload) {
            self.counts = Some(self.counts.unwrap_or_default().max(counts));
        }
        Seen::Content
    }
}

impl StreamReader for EventWitness {
    fn event(&mut self, event: &[u8], out: &mut Vec<u8>) -> Result<Seen, Rejection> {
        out.extend_from_slice(event);
        Ok(match data_of(event).bytes() {
            Some(payload) => self.sees(payload),
            None => Seen::Comment,
        })
    }

    fn finish(&mut self, _: &mut Vec<u8>) -> Result<(), Rejection> {
        Ok(())
    }

    fn cut(&mut self, rejection: &Rejection, request_id: &str, out: &mut Vec<u8>) {
        rejection.write_stream_error(self.dialect, request_id, out);
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn usage(&self) -> Usage {
        usage(self.counts)
    }

    fn provider_request_id(&self) -> Option<&str> {
        None
    }

    fn finish_reason(&self) -> Option<&str> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::record::UsageSource;
    use crate::passthrough::understand;

    fn pass(body: &[u8], path: &str, events: &[&str]) -> (EventWitness, String, Vec<Seen>) {
        let mut witness = EventWitness::new(&understand(body), path);
        let mut out = Vec::new();
        let seen = events
            .iter()
            .map(|event| witness.event(event.as_bytes(), &mut out).unwrap());
        let seen = seen.collect();
        witness.finish(&mut out).unwrap();
        (witness, String::from_utf8(out).unwrap(), seen)
    }

    #[test]
    fn events_pass_as_they_are_and_their_tokens_are_noted() {
        let events = [
            ": ping\n\n",
            "data: {\"choices\":[]}\r\n\r\n",
            "event: x\ndata: {\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":0}}\n\n",
            "data: {\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4}}\n\n",
            "data: [DONE]\n\n",
            "data: late",
        ];
        let (witness, out, seen) = pass(b"{\"messages\":[]}", "/x", &events);
        assert_eq!(out, events.concat());
        assert_eq!(seen[..2], [Seen::Comment, Seen::Content]);
        assert_eq!(seen[4], Seen::Done);
        assert!(witness.is_done());
        let usage = witness.usage();
        assert_eq!((usage.source, usage.prompt), (UsageSource::Reported, 9));
        assert_eq!((usage.completion, usage.total), (4, 13));
    }

    #[test]
    fn a_stream_that_is_not_understood_ends_with_its_body_and_has_no_tokens() {
        let events = [
            "data: [DONE]\n\n",
            "data: {\"usage\":{\"prompt_tokens\":9}}\n\n",
        ];
        let (witness, out, _) = pass(b"", "/x", &events);
        assert_eq!(out, events.concat());
        assert!(!witness.is_done());
        assert_eq!(witness.usage().source, UsageSource::Absent);
    }

    #[test]
    fn a_whole_answer_has_tokens_where_the_request_was_understood() {
        let answer = b"{\"usage\":{\"input_tokens\":3,\"output_tokens\":2}}";
        let chat = whole_usage(&understand(b"{\"messages\":[]}"), answer);
        assert_eq!((chat.source, chat.total), (UsageSource::Reported, 5));
        let opaque = whole_usage(&understand(b"{}"), answer);
        assert_eq!(opaque.source, UsageSource::Absent);
        let none = whole_usage(&understand(b"{\"prompt\":1}"), b"{}");
        assert_eq!(none.source, UsageSource::Absent);
    }

    #[test]
    fn a_failure_is_told_in_the_requests_protocol() {
        let cut = |body: &[u8], path| {
            let mut out = Vec::new();
            let (mut witness, ..) = pass(body, path, &[]);
            witness.cut(&Rejection::StreamAborted, "r", &mut out);
            String::from_utf8(out).unwrap()
        };
        assert!(
            cut(b"{\"messages\":[]}", "/v1/messages").contains("{\"type\":\"error\",\"error\"")
        );
        assert!(cut(b"{\"input\":[]}", "/x").contains("{\"type\":\"error\",\"code\""));
        assert!(cut(b"", "/x").contains("{\"error\":{"));
    }
}
