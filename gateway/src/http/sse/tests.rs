//! Streams cut anywhere: the same events, the same payloads, every byte accounted for.

use proptest::prelude::*;

use super::*;

/// Feeds `stream` in reads that end at `cuts`; returns the events, then what is left.
fn events(stream: &[u8], cuts: &[usize], max: usize) -> Result<(Vec<Vec<u8>>, Vec<u8>), SseError> {
    let mut scanner = EventScanner::new(max);
    let (mut found, mut start) = (Vec::new(), 0);
    for &cut in cuts.iter().chain([&stream.len()]) {
        while let Some(end) = scanner.next_event(&stream[start..cut])? {
            found.push(stream[start..start + end].to_vec());
            start += end;
        }
    }
    Ok((found, stream[start..].to_vec()))
}

fn split(stream: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let whole = events(stream, &[], EVENT_BYTES_MAX).unwrap();
    for cut in 0..stream.len() {
        let got = events(stream, &[cut], EVENT_BYTES_MAX).unwrap();
        assert_eq!(got, whole, "cut at {cut}");
    }
    let every: Vec<usize> = (0..stream.len()).collect();
    assert_eq!(
        events(stream, &every, EVENT_BYTES_MAX).unwrap(),
        whole,
        "byte by byte"
    );
    assert_eq!(
        [whole.0.concat(), whole.1.clone()].concat(),
        stream,
        "every byte once"
    );
    whole
}

/// The payloads of a stream, its unfinished tail included.
fn payloads(stream: &[u8]) -> Vec<Vec<u8>> {
    let (events, tail) = split(stream);
    let all = events.iter().chain([&tail]);
    all.filter_map(|event| data_of(event).bytes().map(<[u8]>::to_vec))
        .collect()
}

#[test]
fn events_end_with_their_blank_line_in_any_mix_of_line_ends() {
    let cases: [(&str, &[&str], &str); 18] = [
        ("LF", &["data: a\n\n", "data: b\n\n"], ""),
        ("CRLF", &["data: a\r\n\r\n", "data: b\r\n\r\n"], "x"),
        ("CR", &["data: a\r\r", "data: b\r\r"], ""),
        ("LF, then CRLF", &["data: a\n\r\n", "data: b\n\n"], ""),
        ("CRLF, then LF", &["data: a\r\n\n", "data: b\n\n"], ""),
        ("CR, then LF", &["a\rb\n\n", "c\n\n"], ""),
        ("LF, then CR", &["a\nb\n\r", "c\n\n"], ""),
        ("CRLF, then CR", &["a\r\n\r", "c\n\n"], ""),
        (
            "CR, then CRLF: the LF is a blank line of its own",
            &["a\r\r", "\n", "c\r\r"],
            "",
        ),
        (
            "CR CR LF, what text mode makes of CRLF",
            &["a\r\r", "\n", "\r", "\r\n"],
            "",
        ),
        (
            "several lines",
            &["event: x\ndata: a\ndata: b\nid: 1\n\n"],
            "data",
        ),
        ("comment", &[": hi\n\n", ":\n\n"], ":"),
        ("blank lines ahead", &["\n", "\n", "a\n\n"], ""),
        ("blank CRLF lines ahead", &["\r\n", "\r\n", "a\r\n\r\n"], ""),
        ("byte order mark", &["\u{feff}data: a\n\n"], ""),
        ("nothing", &[], ""),
        ("CRLF without its last LF", &["a\r\n\r\n"], "b\r\n\r"),
        ("no blank line", &[], "data: a\n"),
    ];
    for (name, want, tail) in cases {
        let (got, rest) = split([&want.concat(), tail].concat().as_bytes());
        let got: Vec<&[u8]> = got.iter().map(Vec::as_slice).collect();
        let want: Vec<&[u8]> = want.iter().map(|event| event.as_bytes()).collect();
        assert_eq!((got, rest), (want, tail.as_bytes().to_vec()), "{name}");
    }
}

#[test]
fn an_event_is_found_as_soon_as_its_stream_allows() {
    let ready = |bytes: &[u8]| EventScanner::new(64).next_event(bytes).unwrap().is_some();
    assert!(ready(b"data: a\n\n") && ready(b"data: a\r\r") && ready(b"data: a\r\n\r\n"));
    assert!(
        !ready(b"data: a\r\n\r"),
        "the LF of the CRLF belongs to the event"
    );
}

#[test]
fn the_three_line_ends_say_the_same() {
    let stream = "event: x\ndata: {\"a\":1}\n\n: beat\n\ndata: b\ndata: c\n\ndata: [DONE]\n\n";
    let want = payloads(stream.as_bytes());
    assert_eq!(want, [&b"{\"a\":1}"[..], b"b\nc", b"[DONE]"]);
    for end in ["\r\n", "\r"] {
        assert_eq!(
            payloads(stream.replace('\n', end).as_bytes()),
            want,
            "{end:?}"
        );
    }
}

#[test]
fn payloads_follow_the_event_stream_format() {
    let cases: [(&str, Option<&str>); 19] = [
        ("data: a\n\n", Some("a")),
        ("data:a\n\n", Some("a")),
        ("data:  a \n\n", Some(" a ")),
        ("data:\n\n", Some("")),
        ("data\n\n", Some("")),
        ("data: \n\n", Some("")),
        ("data: a: b\n\n", Some("a: b")),
        ("data: a\ndata: b\n\n", Some("a\nb")),
        ("data: a\r\ndata:\r\ndata: b\r\n\r\n", Some("a\n\nb")),
        ("data: a\rid: 1\rdata: b\r\r", Some("a\nb")),
        ("\u{feff}data: a\n\n", Some("a")),
        ("\n\ndata: a\n\n", Some("a")),
        (": c\ndata: a\n", Some("a")),
        ("data: a", Some("a")),
        (": data: a\n\n", None),
        (" data: a\n\n", None),
        ("Data: a\n\n", None),
        ("database: a\n\n", None),
        ("\n", None),
    ];
    for (event, want) in cases {
        let data = data_of(event.as_bytes());
        assert_eq!(data.bytes(), want.map(str::as_bytes), "{event:?}");
    }
}

#[test]
fn a_single_data_line_is_not_copied() {
    let event = b"event: x\r\ndata: abc\r\n\r\n";
    let EventData::One(data) = data_of(event) else {
        panic!("one line")
    };
    assert!(std::ptr::eq(data, &event[16..19]));
}

#[test]
fn the_last_event_field_names_the_event() {
    let cases: [(&str, Option<&str>); 6] = [
        ("event: error\ndata: {}\n\n", Some("error")),
        ("data: {}\r\nevent:ping\r\n\r\n", Some("ping")),
        ("event: a\nevent: b\n\n", Some("b")),
        ("event: a\nevent:\n\n", None),
        ("data: event: x\n\n", None),
        ("", None),
    ];
    for (event, want) in cases {
        assert_eq!(
            name_of(event.as_bytes()),
            want.map(str::as_bytes),
            "{event:?}"
        );
    }
}

#[test]
fn an_event_past_the_cap_is_refused_wherever_it_is_cut() {
    let cases: [(&[u8], bool); 8] = [
        (b"123456\n\n1", true),
        (b"1234567\n\n", false),
        (b"12345678", true),
        (b"123456789", false),
        (b"1234\r\n\r\n", true),
        (b"12345\r\n\r", true),
        (b"12345\r\n\r\n", false),
        (b"123456\n\n123456\n\n", true),
    ];
    for (stream, fits) in cases {
        let whole = events(stream, &[], 8);
        assert_eq!(whole.is_ok(), fits, "{stream:?}");
        for cut in 0..stream.len() {
            assert_eq!(events(stream, &[cut], 8), whole, "{stream:?} cut at {cut}");
        }
    }
    let endless = vec![b'x'; EVENT_BYTES_MAX + 1];
    assert_eq!(
        EventScanner::new(EVENT_BYTES_MAX).next_event(&endless),
        Err(SseError::TooLong)
    );
}

proptest! {
    #[test]
    fn random_streams_give_the_same_events_however_cut(
        parts in prop::collection::vec(prop::sample::select(FRAGMENTS), 0..24),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        max in 1usize..40,
    ) {
        let stream = parts.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len().max(1))).collect();
        cuts.sort_unstable();
        prop_assert_eq!(events(&stream, &cuts, max), events(&stream, &[], max));
        let (found, tail) = events(&stream, &cuts, usize::MAX).unwrap();
        prop_assert_eq!([found.concat(), tail].concat(), stream);
    }

    /// Against a naive reader of the whole text.
    #[test]
    fn payloads_agree_with_a_line_by_line_reading(
        parts in prop::collection::vec(prop::sample::select(FRAGMENTS), 0..24),
    ) {
        let stream = parts.concat();
        prop_assert_eq!(payloads(&stream), naive(&stream));
    }
}

/// The payloads of a stream, by normalising its line ends first.
fn naive(stream: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8(stream.to_vec()).unwrap();
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let events = text.split("\n\n").map(|event| {
        let values: Vec<&str> = event
            .lines()
            .filter_map(|line| {
                line.strip_prefix("data:")
                    .or((line == "data").then_some(""))
            })
            .map(|value| value.strip_prefix(' ').unwrap_or(value))
            .collect();
        (!values.is_empty()).then(|| values.join("\n").into_bytes())
    });
    events.flatten().collect()
}

const FRAGMENTS: &[&[u8]] = &[
    b"\r",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"data: ",
    b"data:",
    b"data",
    b"x",
    b":",
    b" ",
    b"event: y\n",
    b"data: z\n\n",
];
