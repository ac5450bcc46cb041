//! Bodies whole and cut anywhere: same bytes, same end, same error.

use proptest::prelude::*;

use super::*;
use crate::http::h1::write;

/// Body bytes, bytes consumed, and how it ended.
#[derive(Debug, Eq, PartialEq)]
struct Read {
    data: Vec<u8>,
    consumed: usize,
    end: Result<bool, BodyError>,
}

/// Feeds `bytes` in reads that end at `cuts`, keeping what was not consumed as a connection would.
fn read(length: BodyLength, bytes: &[u8], cuts: &[usize]) -> Read {
    let mut reader = BodyReader::new(length);
    let (mut data, mut consumed) = (Vec::new(), 0);
    for &cut in cuts.iter().chain([&bytes.len()]) {
        loop {
            let input = &bytes[consumed..cut];
            match reader.next(input) {
                Ok(piece) => {
                    assert!(piece.data.end <= piece.consumed && piece.consumed <= input.len());
                    data.extend_from_slice(&input[piece.data]);
                    consumed += piece.consumed;
                    if piece.consumed == 0 || reader.is_done() {
                        break;
                    }
                }
                Err(error) => {
                    assert_eq!(reader.next(b"0\r\n\r\n"), Err(error), "errors are final");
                    assert_eq!(reader.next(b""), Err(error), "errors are final");
                    // How much framing went by before the fault is nobody's business.
                    return Read {
                        data,
                        consumed: 0,
                        end: Err(error),
                    };
                }
            }
        }
        assert!(reader.is_done() || consumed == cut, "all input is consumed");
    }
    Read {
        data,
        consumed,
        end: Ok(reader.is_done()),
    }
}

fn chunked(bytes: &[u8]) -> Read {
    let want = read(BodyLength::Chunked, bytes, &[]);
    if bytes.len() < 200 {
        for cut in 0..bytes.len() {
            assert_eq!(
                read(BodyLength::Chunked, bytes, &[cut]),
                want,
                "cut at {cut}"
            );
        }
        let every: Vec<usize> = (0..bytes.len()).collect();
        assert_eq!(
            read(BodyLength::Chunked, bytes, &every),
            want,
            "byte by byte"
        );
    }
    want
}

#[test]
fn good_chunked_bodies_give_their_bytes_and_stop_at_their_end() {
    let cases: [(&str, &[u8], &[u8]); 14] = [
        ("empty", b"0\r\n\r\n", b""),
        ("one chunk", b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        ("two chunks", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (
            "hex, both cases",
            b"A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n",
            b"01234567890123456789a",
        ),
        ("leading zeros", b"0003\r\nabc\r\n00000000\r\n\r\n", b"abc"),
        (
            "sixteen digits",
            b"0000000000000003\r\nabc\r\n0\r\n\r\n",
            b"abc",
        ),
        ("extension", b"3;a=b\r\nabc\r\n0;x\r\n\r\n", b"abc"),
        (
            "quoted extension",
            b"3;a=\"b;c\"\t\r\nabc\r\n0\r\n\r\n",
            b"abc",
        ),
        ("empty extension", b"3;\r\nabc\r\n0\r\n\r\n", b"abc"),
        ("trailer", b"3\r\nabc\r\n0\r\nX: y\r\n\r\n", b"abc"),
        ("two trailers", b"0\r\nX: y\r\nZ:\r\n\r\n", b""),
        (
            "trailers that would matter in a head",
            b"0\r\nContent-Length: 5\r\nHost: b\r\n\r\n",
            b"",
        ),
        (
            "CRLF inside data",
            b"4\r\n\r\n\r\n\r\n0\r\n\r\n",
            b"\r\n\r\n",
        ),
        (
            "data that looks like an end",
            b"5\r\n0\r\n\r\n\r\n0\r\n\r\n",
            b"0\r\n\r\n",
        ),
    ];
    for (name, bytes, want) in cases {
        let next = [bytes, b"GET / HTTP/1.1\r\n"].concat();
        let got = chunked(&next);
        assert_eq!(got.data, want, "{name}");
        assert_eq!((got.consumed, got.end), (bytes.len(), Ok(true)), "{name}");
    }
}

#[test]
fn bad_chunked_bodies_are_refused_after_the_data_ahead_of_the_fault() {
    use BodyError::{ChunkEnd, ChunkExtension, ChunkSize, Trailer};
    let cases: [(&str, &[u8], BodyError, &[u8]); 35] = [
        ("empty size line", b"\r\n", ChunkSize, b""),
        (
            "empty size line after a chunk",
            b"3\r\nabc\r\n\r\n",
            ChunkSize,
            b"abc",
        ),
        ("plus", b"+3\r\nabc\r\n", ChunkSize, b""),
        ("minus", b"-1\r\n", ChunkSize, b""),
        ("0x", b"0x3\r\nabc\r\n", ChunkSize, b""),
        ("space ahead", b" 3\r\nabc\r\n", ChunkSize, b""),
        ("space behind", b"3 \r\nabc\r\n", ChunkSize, b""),
        ("tab behind", b"3\t\r\nabc\r\n", ChunkSize, b""),
        (
            "space before the extension",
            b"3 ;a\r\nabc\r\n",
            ChunkSize,
            b"",
        ),
        ("underscore", b"1_0\r\n", ChunkSize, b""),
        ("no hex", b"g\r\n", ChunkSize, b""),
        ("extension without size", b";a\r\n", ChunkSize, b""),
        ("17 digits", b"00000000000000003\r\nabc\r\n", ChunkSize, b""),
        (
            "more than 64 bits",
            b"10000000000000000\r\n",
            ChunkSize,
            b"",
        ),
        ("LF ends the size line", b"3\nabc\r\n", ChunkSize, b""),
        ("CR ends the size line", b"3\rabc\r\n", ChunkSize, b""),
        (
            "CR CR LF ends the size line",
            b"3\r\r\nabc\r\n",
            ChunkSize,
            b"",
        ),
        ("NUL in the size", b"3\0\r\nabc\r\n", ChunkSize, b""),
        ("LF in an extension", b"3;a\nabc\r\n", ChunkExtension, b""),
        (
            "NUL in an extension",
            b"3;\0\r\nabc\r\n",
            ChunkExtension,
            b"",
        ),
        ("CR in an extension", b"3;a\rb\r\nabc\r\n", ChunkSize, b""),
        ("data too long", b"3\r\nabcd\r\n0\r\n\r\n", ChunkEnd, b"abc"),
        ("data too short", b"3\r\nab\r\n0\r\n\r\n", ChunkEnd, b"ab\r"),
        ("LF after data", b"3\r\nabc\n0\r\n\r\n", ChunkEnd, b"abc"),
        ("CR after data", b"3\r\nabc\r0\r\n\r\n", ChunkEnd, b"abc"),
        ("nothing after data", b"3\r\nabc0\r\n\r\n", ChunkEnd, b"abc"),
        ("LF ends the body", b"0\r\n\n", Trailer, b""),
        ("CR CR ends the body", b"0\r\n\r\r", Trailer, b""),
        (
            "request in place of trailers",
            b"0\r\nGET / HTTP/1.1\r\n\r\n",
            Trailer,
            b"",
        ),
        ("trailer without colon", b"0\r\nX\r\n\r\n", Trailer, b""),
        (
            "trailer with a space before the colon",
            b"0\r\nX : y\r\n\r\n",
            Trailer,
            b"",
        ),
        ("folded trailer", b"0\r\nX: y\r\n z\r\n\r\n", Trailer, b""),
        (
            "LF ends a trailer",
            b"0\r\nX: y\nZ: y\r\n\r\n",
            Trailer,
            b"",
        ),
        ("NUL in a trailer", b"0\r\nX: \0\r\n\r\n", Trailer, b""),
        ("empty trailer name", b"0\r\n: y\r\n\r\n", Trailer, b""),
    ];
    for (name, bytes, error, data) in cases {
        let got = chunked(bytes);
        assert_eq!((got.end, &got.data[..]), (Err(error), data), "{name}");
    }
}

#[test]
fn extensions_and_trailers_are_bounded() {
    use BodyError::{ChunkExtensionTooLong, TrailersTooLong};
    let line_max = CHUNK_EXTENSION_BYTES_MAX as usize;
    let extension = |bytes: usize| format!("1;{}\r\na\r\n", "x".repeat(bytes - 1));
    let end = "0\r\n\r\n";
    assert_eq!(
        chunked((extension(line_max) + end).as_bytes()).end,
        Ok(true)
    );
    let long = extension(line_max + 1) + end;
    assert_eq!(chunked(long.as_bytes()).end, Err(ChunkExtensionTooLong));

    let lines = CHUNK_EXTENSION_BYTES_TOTAL_MAX as usize / 4;
    let full = extension(4).repeat(lines);
    assert_eq!(chunked(format!("{full}{end}").as_bytes()).end, Ok(true));
    let over = chunked(format!("{full}{}{end}", extension(1)).as_bytes());
    assert_eq!(
        (over.data.len(), over.end),
        (lines, Err(ChunkExtensionTooLong))
    );

    let trailers = |bytes: usize| format!("0\r\nX: {}\r\n\r\n", "x".repeat(bytes - 7));
    let max = TRAILER_BYTES_MAX as usize;
    assert_eq!(chunked(trailers(max).as_bytes()).end, Ok(true));
    assert_eq!(
        chunked(trailers(max + 1).as_bytes()).end,
        Err(TrailersTooLong)
    );

    let count = |lines: u32| format!("0\r\n{}\r\n", "X:\r\n".repeat(lines as usize));
    assert_eq!(chunked(count(TRAILERS_MAX).as_bytes()).end, Ok(true));
    assert_eq!(
        chunked(count(TRAILERS_MAX + 1).as_bytes()).end,
        Err(TrailersTooLong)
    );
}

#[test]
fn a_chunk_of_any_size_is_handed_out_as_it_comes() {
    let got = chunked(b"ffffffffffffffff\r\nabc");
    assert_eq!((&got.data[..], got.end), (&b"abc"[..], Ok(false)));
}

#[test]
fn chunk_data_is_a_range_of_the_input() {
    let mut reader = BodyReader::new(BodyLength::Chunked);
    let input = b"3\r\nabc\r\n2\r\nd";
    assert_eq!(
        reader.next(input),
        Ok(Piece {
            consumed: 6,
            data: 3..6
        })
    );
    assert_eq!(
        reader.next(&input[6..]),
        Ok(Piece {
            consumed: 6,
            data: 5..6
        })
    );
    assert_eq!(
        reader.next(b"e\r\n0\r\n\r\n"),
        Ok(Piece {
            consumed: 1,
            data: 0..1
        })
    );
    assert_eq!(
        reader.next(b"\r\n0\r\n\r\n"),
        Ok(Piece {
            consumed: 7,
            data: 7..7
        })
    );
    assert!(reader.is_done());
}

#[test]
fn exact_bodies_leave_what_follows_them() {
    for cut in 0..5 {
        let got = read(BodyLength::Exact(3), b"abcGE", &[cut]);
        assert_eq!(
            (&got.data[..], got.consumed, got.end),
            (&b"abc"[..], 3, Ok(true))
        );
    }
    for length in [BodyLength::None, BodyLength::Exact(0)] {
        let got = read(length, b"GET", &[]);
        assert_eq!((got.consumed, got.end), (0, Ok(true)));
    }
}

#[test]
fn a_closed_connection_ends_only_bodies_that_it_delimits() {
    let after = |length, bytes: &[u8]| {
        let mut reader = BodyReader::new(length);
        let mut used = 0;
        while let Ok(Piece { consumed: 1.., .. }) = reader
            .next(&bytes[used..])
            .inspect(|piece| used += piece.consumed)
        {}
        (reader.at_eof(), reader.is_done())
    };
    let truncated = (Err(BodyError::Truncated), false);
    assert_eq!(after(BodyLength::UntilClose, b"abc"), (Ok(()), true));
    assert_eq!(after(BodyLength::UntilClose, b""), (Ok(()), true));
    assert_eq!(after(BodyLength::None, b""), (Ok(()), true));
    assert_eq!(after(BodyLength::Exact(3), b"abc"), (Ok(()), true));
    assert_eq!(after(BodyLength::Exact(3), b"ab"), truncated);
    assert_eq!(
        after(BodyLength::Chunked, b"3\r\nabc\r\n0\r\n\r\n"),
        (Ok(()), true)
    );
    for cut in 0..12 {
        assert_eq!(
            after(BodyLength::Chunked, &b"3\r\nabc\r\n0\r\n\r\n"[..cut]),
            truncated
        );
    }
    assert_eq!(
        after(BodyLength::Chunked, b"x"),
        (Err(BodyError::ChunkSize), false)
    );
}

proptest! {
    #[test]
    fn written_chunks_read_back_however_cut(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let mut bytes = Vec::new();
        for (index, chunk) in chunks.iter().enumerate() {
            if index % 2 == 0 {
                write::chunk(&mut bytes, chunk);
            } else {
                let mark = write::chunk_open(&mut bytes);
                bytes.extend_from_slice(chunk);
                write::chunk_close(&mut bytes, mark);
            }
        }
        write::last_chunk(&mut bytes);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.sort_unstable();
        let got = read(BodyLength::Chunked, &bytes, &cuts);
        prop_assert_eq!(got.data, chunks.concat());
        prop_assert_eq!((got.consumed, got.end), (bytes.len(), Ok(true)));
    }

    #[test]
    fn random_framing_is_answered_alike_however_cut(
        parts in prop::collection::vec(prop::sample::select(FRAGMENTS), 0..16),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let bytes = parts.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len().max(1))).collect();
        cuts.sort_unstable();
        let whole = read(BodyLength::Chunked, &bytes, &[]);
        prop_assert_eq!(read(BodyLength::Chunked, &bytes, &cuts), whole);
    }
}

const FRAGMENTS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n",
    b"0",
    b"1",
    b"2\r\nab\r\n",
    b"a",
    b";",
    b"x",
    b":",
    b"\r",
    b"\n",
    b" ",
    b"0\r\n",
];
