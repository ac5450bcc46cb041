//! The edits that every forwarded body gets: the upstream's model name, and usage asked for. [pure]

use crate::endpoint::{Call, Endpoint, UsageAsk};
use crate::json::{Edits, Span, Text};
use crate::route::Route;

/// Notes the edits of `call`'s body.
pub(super) fn edits<'t>(route: &'t Route, call: &Call, edits: &mut Edits<'t>) {
    if *route.upstream_model != *call.model {
        let inside = Span {
            start: call.model_span.start + 1,
            end: call.model_span.end - 1,
        };
        edits.replace(inside, Text::Escaped(&route.upstream_model));
    }
    let streamed = matches!(
        call.endpoint,
        Endpoint::ChatCompletions | Endpoint::Completions
    );
    if call.stream && streamed {
        ask_for_usage(call.usage_ask, edits);
    }
}

/// Without a report at the end of the stream, tokens could only be estimated.
fn ask_for_usage(ask: UsageAsk, edits: &mut Edits<'_>) {
    match ask {
        UsageAsk::Asked => {}
        UsageAsk::Absent { insert_at } => {
            let member = br#","stream_options":{"include_usage":true}"#;
            edits.insert(insert_at, Text::Raw(member));
        }
        UsageAsk::Null(span) => edits.replace(span, Text::Raw(br#"{"include_usage":true}"#)),
        UsageAsk::Lacking { insert_at, empty } => {
            let member: &[u8] = if empty {
                br#""include_usage":true"#
            } else {
                br#""include_usage":true,"#
            };
            edits.insert(insert_at, Text::Raw(member));
        }
        UsageAsk::Declined(span) => edits.replace(span, Text::Raw(b"true")),
    }
}
