//! The validator of streams refuses what it should. [pure]

use super::validate::{checked, validate};

const TOOLS_STREAM: &str = include_str!("../../../../tests/fixtures/messages/tools_stream.txt");

#[test]
fn a_good_stream_passes_however_its_lines_end() {
    for line_end in ["\n", "\r\n", "\r"] {
        let stream = TOOLS_STREAM.replace('\n', line_end);
        let message = validate(stream.as_bytes());
        assert_eq!((message.content.len(), message.model.as_str()), (3, "team"));
    }
    let pinged = TOOLS_STREAM.replace(
        "\n\nevent: content_block_stop",
        "\n\n:\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\nevent: content_block_stop",
    );
    validate(pinged.as_bytes());
    validate(format!("{TOOLS_STREAM}:\n\n").as_bytes());
}

/// The stream without its event number `index`.
fn without(index: usize) -> String {
    let events = TOOLS_STREAM.split_inclusive("\n\n").enumerate();
    events
        .filter(|(at, _)| *at != index)
        .map(|(_, event)| event)
        .collect()
}

#[test]
fn no_event_that_frames_others_may_be_missing() {
    let count = TOOLS_STREAM.matches("\n\n").count();
    for index in 0..count {
        let event = TOOLS_STREAM.split_inclusive("\n\n").nth(index).unwrap();
        let optional = event.contains("\"text_delta\"") || event.contains("{\\\"b\\\"");
        assert_eq!(
            checked(without(index).as_bytes()).is_ok(),
            optional,
            "{event}"
        );
        // Twice is once too often.
        let doubled = TOOLS_STREAM.replacen(event, &event.repeat(2), 1);
        let optional = event.contains("\"text_delta\"");
        assert_eq!(checked(doubled.as_bytes()).is_ok(), optional, "{event}");
    }
}

#[test]
fn broken_streams_are_refused_where_they_break() {
    let cases = [
        (
            "event: message_stop\n",
            "event: message_end\n",
            "with another type",
        ),
        ("event: message_stop\n", "", "without name"),
        ("data: {\"type\":\"message_stop\"}\n", "", "without data"),
        (
            "data: {\"type\":\"message_stop\"}\n\n",
            "data: {\"type\":\"message_stop\"}\n",
            "blank line",
        ),
        ("\"message_stop\"}", "\"message_stop\"", "no JSON"),
        (
            "\"index\":2,\"content_block\"",
            "\"index\":3,\"content_block\"",
            "out of order",
        ),
        ("\"index\":1,\"delta\"", "\"index\":0,\"delta\"", "not open"),
        (
            "\"text_delta\",\"text\"",
            "\"thinking_delta\",\"thinking\"",
            "thinking_delta in a",
        ),
        ("\"text_delta\"", "\"word_delta\"", "unknown delta"),
        (
            "\"partial_json\":\"1}\"",
            "\"partial_json\":\"1\"",
            "no JSON object",
        ),
        ("\"input\":{}", "\"input\":{\"a\":1}", "begins with input"),
        ("\"id\":\"call_1\"", "\"id\":\"\"", "without id"),
        ("\"id\":\"msg_", "\"id\":\"chatcmpl-", "no message's"),
        (
            "\"role\":\"assistant\"",
            "\"role\":\"user\"",
            "role of the message",
        ),
        (
            "\"stop_reason\":null",
            "\"stop_reason\":\"end_turn\"",
            "not null",
        ),
        ("\"content\":[]", "\"content\":[{}]", "not an empty list"),
        (
            "\"stop_reason\":\"tool_use\"",
            "\"stop_reason\":\"tool_calls\"",
            "unknown stop_reason",
        ),
        ("\"output_tokens\":4,", "", "no usage.output_tokens"),
        ("\"output_tokens\":4", "\"output_tokens\":-4", "no count"),
        (
            "\"usage\":{\"input_tokens\":0,",
            "\"usage\":{",
            "no usage.input_tokens",
        ),
        (
            "data: {\"type\":\"message_stop\"}\n\n",
            "data: {\"type\":\"message_stop\"}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n",
            "after the end",
        ),
        (
            "event: message_stop\n",
            "event: message_stop\nid: 7\n",
            "unexpected line",
        ),
    ];
    for (from, to, want) in cases {
        assert!(TOOLS_STREAM.contains(from), "{from}");
        let broken = TOOLS_STREAM.replacen(from, to, 1);
        let (at, problem) = checked(broken.as_bytes()).unwrap_err();
        assert!(problem.contains(want), "{problem} instead of {want}");
        assert!(at <= broken.len());
    }
    assert!(checked(b"").is_err());
    assert!(checked(b"\xff\n\n").is_err());
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\"}}\n\n";
    assert!(checked(error.as_bytes()).is_err());
    let error = error.replace("\"}}", "\",\"message\":\"m\"}}");
    assert!(checked(error.as_bytes()).is_ok());
    assert!(checked(error.repeat(2).as_bytes()).is_err());
}
