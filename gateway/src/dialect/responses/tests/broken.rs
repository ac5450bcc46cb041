//! The reader of streams must refuse what breaks the protocol. [pure]

use super::validate;

const STREAM: &str = include_str!("../../../../tests/fixtures/responses/text_stream.out.txt");

/// The event at fault; `None` where there is none.
fn fault(stream: &str) -> Option<usize> {
    validate::read(stream).err().map(|(event, _)| event)
}

#[test]
fn every_broken_stream_is_refused_at_the_event_at_fault() {
    assert_eq!(fault(STREAM), None);
    let cases = [
        ("\"sequence_number\":4", "\"sequence_number\":5", 4),
        (
            "event: response.output_text.delta",
            "event: response.output_text.done",
            4,
        ),
        (
            "\"type\":\"response.created\"",
            "\"type\":\"response.queued\"",
            0,
        ),
        ("\"delta\":\"4\"", "\"delta\":\"5\"", 5),
        ("\"delta\":\"4\"", "\"delta\":\"\"", 4),
        (
            "\"status\":\"in_progress\",\"role\"",
            "\"status\":\"completed\",\"role\"",
            2,
        ),
        (
            "\"text\":\"4\",\"annotations\":[]}}",
            "\"text\":\"3\",\"annotations\":[]}}",
            6,
        ),
        (
            "\"text\":\"4\",\"annotations\":[]}]}}",
            "\"text\":\"3\",\"annotations\":[]}]}}",
            7,
        ),
        (
            "\"text\":\"4\",\"annotations\":[]}]}],",
            "\"text\":\"3\",\"annotations\":[]}]}],",
            8,
        ),
        (
            "\"output_index\":0,\"item\"",
            "\"output_index\":1,\"item\"",
            2,
        ),
        ("\"total_tokens\":13", "\"total\":13", 8),
        (
            "\"status\":\"completed\",\"error\"",
            "\"status\":\"incomplete\",\"error\"",
            8,
        ),
        (
            "data: {\"type\":\"response.in_progress\"",
            "data:{\"type\":\"response.in_progress\"",
            1,
        ),
    ];
    for (sound, broken, event) in cases {
        assert!(STREAM.contains(sound), "{sound}");
        assert_eq!(
            fault(&STREAM.replacen(sound, broken, 1)),
            Some(event),
            "{broken}"
        );
    }
}

#[test]
fn events_that_are_missing_doubled_or_after_the_end_are_noticed() {
    let events: Vec<&str> = STREAM.split_inclusive("\n\n").collect();
    // Numbered anew, so that the gap itself does not give it away.
    let numbered = |events: &[&str]| -> String {
        let renumber = |(index, event): (usize, &&str)| {
            let (before, after) = event.split_once("\"sequence_number\":").unwrap();
            let after = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
            format!("{before}\"sequence_number\":{index}{after}")
        };
        events.iter().enumerate().map(renumber).collect()
    };
    assert_eq!(numbered(&events), STREAM);
    for at in 0..events.len() {
        let mut fewer = events.clone();
        fewer.remove(at);
        assert!(fault(&numbered(&fewer)).is_some(), "without event {at}");
        let mut more = events.clone();
        more.insert(at, events[at]);
        assert!(fault(&numbered(&more)).is_some(), "event {at} twice");
    }
    assert!(
        fault(STREAM.trim_end()).is_some(),
        "no blank line at the end"
    );
    assert_eq!(
        fault(&format!(":\n\n{STREAM}")),
        None,
        "comments are no events"
    );
}
