//! The response object around the output. [pure]

use super::Seed;
use super::output::Output;
use crate::canonical::Finish;
use crate::endpoint::Call;
use crate::json::text::write_escaped;
use crate::rejection::Rejection;
use crate::usage::Counts;

/// What is the same in every response object of one answer.
#[derive(Debug)]
pub(super) struct Answer {
    hex: [u8; 32],
    created_unix_s: i64,
    /// The requested name, escaped.
    model: Box<[u8]>,
    /// What is repeated of the request, a comma before each member.
    echo: Box<[u8]>,
}

/// How a response stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending<'r> {
    InProgress,
    Completed,
    /// With its reason.
    Incomplete(&'static str),
    Failed(&'r Rejection, &'r str),
}

impl From<&Finish> for Ending<'_> {
    fn from(finish: &Finish) -> Self {
        match finish {
            Finish::Length => Self::Incomplete("max_output_tokens"),
            Finish::ContentFilter => Self::Incomplete("content_filter"),
            Finish::Stop | Finish::ToolCalls | Finish::Other(_) => Self::Completed,
        }
    }
}

impl Ending<'_> {
    /// The event that says so.
    pub(super) fn event(&self) -> &'static str {
        match self {
            Self::InProgress => "response.in_progress",
            Self::Completed => "response.completed",
            Self::Incomplete(_) => "response.incomplete",
            Self::Failed(..) => "response.failed",
        }
    }

    fn status(&self) -> &'static [u8] {
        match self {
            Self::InProgress => b"in_progress",
            Self::Completed => b"completed",
            Self::Incomplete(_) => b"incomplete",
            Self::Failed(..) => b"failed",
        }
    }
}

impl Answer {
    pub(super) fn new(call: &Call, seed: Seed, echo: Box<[u8]>) -> Self {
        let mut model = Vec::with_capacity(call.model.len());
        write_escaped(&call.model, &mut model);
        Self {
            hex: seed.hex,
            created_unix_s: seed.created_unix_s,
            model: model.into(),
            echo,
        }
    }

    /// Appends the response object.
    pub(super) fn write(
        &self,
        ending: Ending<'_>,
        output: &Output,
        counts: Option<Counts>,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(b"{\"id\":\"resp_");
        out.extend_from_slice(&self.hex);
        out.extend_from_slice(b"\",\"object\":\"response\",\"created_at\":");
        out.extend_from_slice(itoa::Buffer::new().format(self.created_unix_s).as_bytes());
        out.extend_from_slice(b",\"status\":\"");
        out.extend_from_slice(ending.status());
        out.extend_from_slice(b"\",\"error\":");
        match ending {
            Ending::Failed(rejection, request_id) => error(rejection, request_id, out),
            _ => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"incomplete_details\":");
        match ending {
            Ending::Incomplete(reason) => {
                out.extend_from_slice(b"{\"reason\":\"");
                out.extend_from_slice(reason.as_bytes());
                out.extend_from_slice(b"\"}");
            }
            _ => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"model\":\"");
        out.extend_from_slice(&self.model);
        out.extend_from_slice(b"\",\"output\":[");
        output.write(out);
        out.push(b']');
        out.extend_from_slice(&self.echo);
        out.extend_from_slice(b",\"usage\":");
        match counts {
            Some(counts) => usage(counts, out),
            None => out.extend_from_slice(b"null"),
        }
        out.push(b'}');
    }
}

/// The error of a failed response; its codes are a closed list.
fn error(rejection: &Rejection, request_id: &str, out: &mut Vec<u8>) {
    let code: &[u8] = match rejection.status() {
        429 => b"rate_limit_exceeded",
        _ => b"server_error",
    };
    out.extend_from_slice(b"{\"code\":\"");
    out.extend_from_slice(code);
    out.extend_from_slice(b"\",\"message\":\"");
    rejection.write_message(request_id, out);
    out.extend_from_slice(b"\"}");
}

fn usage(counts: Counts, out: &mut Vec<u8>) {
    let total = match counts.total {
        0 => counts.prompt.saturating_add(counts.completion),
        total => total,
    };
    let mut number = |name: &[u8], count: u64| {
        out.extend_from_slice(name);
        out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    };
    let cached = counts.cached_prompt.max(counts.cache_read);
    number(b"{\"input_tokens\":", counts.prompt);
    number(b",\"input_tokens_details\":{\"cached_tokens\":", cached);
    number(b"},\"output_tokens\":", counts.completion);
    let reasoning = b",\"output_tokens_details\":{\"reasoning_tokens\":";
    number(reasoning, counts.reasoning);
    number(b"},\"total_tokens\":", total);
    out.push(b'}');
}
