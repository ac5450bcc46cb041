//! Decoder of the chunked transfer coding, incremental. [pure]

use std::ops::Range;

/// Where the decoder stands inside one chunked body.
#[derive(Debug, Default)]
pub struct Chunked {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailer,
    Done,
}

/// Longest size line or trailer line, extensions included, in bytes.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// What one call used of its input.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of input used up, framing included. Zero: more bytes are needed, or the body is over.
    pub consumed: usize,
    /// Body bytes inside the input.
    pub data: Range<usize>,
}

/// The bytes are not a chunked body.
#[derive(Debug, PartialEq, Eq)]
pub struct BadChunk;

impl Chunked {
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Looks at `input` from its start; call again with the rest until nothing is consumed.
    ///
    /// # Errors
    ///
    /// [`BadChunk`] for a malformed or overlong line, or data not followed by CRLF.
    pub fn next(&mut self, input: &[u8]) -> Result<Piece, BadChunk> {
        match self.state {
            State::Size => match httparse::parse_chunk_size(input) {
                Ok(httparse::Status::Complete((used, 0))) => self.framing(used, State::Trailer),
                Ok(httparse::Status::Complete((used, left))) => {
                    self.framing(used, State::Data(left))
                }
                Ok(httparse::Status::Partial) => self.partial(input),
                Err(_) => Err(BadChunk),
            },
            State::Data(left) => {
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                self.state = match left - length as u64 {
                    0 => State::DataEnd,
                    left => State::Data(left),
                };
                Ok(Piece {
                    consumed: length,
                    data: 0..length,
                })
            }
            State::DataEnd => match input {
                [b'\r', b'\n', ..] => self.framing(2, State::Size),
                [] | [b'\r'] => self.partial(input),
                _ => Err(BadChunk),
            },
            State::Trailer => match memchr::memchr(b'\n', input) {
                Some(end) if end <= 1 => self.framing(end + 1, State::Done),
                Some(end) => self.framing(end + 1, State::Trailer),
                None => self.partial(input),
            },
            State::Done => self.framing(0, State::Done),
        }
    }

    fn framing(&mut self, consumed: usize, state: State) -> Result<Piece, BadChunk> {
        self.state = state;
        Ok(Piece {
            consumed,
            data: 0..0,
        })
    }

    fn partial(&mut self, input: &[u8]) -> Result<Piece, BadChunk> {
        if input.len() > LINE_BYTES_MAX {
            return Err(BadChunk);
        }
        Ok(Piece {
            consumed: 0,
            data: 0..0,
        })
    }
}

/// Appends one chunk holding `data`, which must not be empty.
pub fn write_chunk(data: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles = (usize::BITS - data.len().leading_zeros()).div_ceil(4);
    for nibble in (0..nibbles).rev() {
        out.push(DIGITS[(data.len() >> (nibble * 4)) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// What ends a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `wire` in pieces of `step` bytes; the decoded body and what was left over.
    fn decode(wire: &[u8], step: usize) -> Result<(Vec<u8>, usize), BadChunk> {
        let (mut decoder, mut body, mut held) = (Chunked::default(), Vec::new(), Vec::new());
        for bytes in wire.chunks(step) {
            held.extend_from_slice(bytes);
            loop {
                let piece = decoder.next(&held)?;
                body.extend_from_slice(&held[piece.data]);
                held.drain(..piece.consumed);
                if piece.consumed == 0 {
                    break;
                }
            }
        }
        assert!(decoder.is_done());
        Ok((body, held.len()))
    }

    #[test]
    fn a_body_is_the_same_wherever_it_is_cut() {
        let mut wire = Vec::new();
        write_chunk(b"hello ", &mut wire);
        write_chunk(&[b'x'; 300], &mut wire);
        wire.extend_from_slice(b"5;name=value\r\nworld\r\n0\r\nTrailer: 1\r\n\r\nNEXT");
        for step in 1..wire.len() {
            let (body, rest) = decode(&wire, step).unwrap();
            assert_eq!(body.len(), 311, "step {step}");
            assert!(body.starts_with(b"hello x") && body.ends_with(b"xworld"));
            assert_eq!(rest, 4);
        }
    }

    #[test]
    fn sizes_are_written_in_hex_without_leading_zeros() {
        let cases = [
            (1, "1\r\n"),
            (15, "f\r\n"),
            (16, "10\r\n"),
            (4096, "1000\r\n"),
        ];
        for (length, want) in cases {
            let mut out = Vec::new();
            write_chunk(&vec![b'.'; length], &mut out);
            assert!(out.starts_with(want.as_bytes()), "{length}");
        }
    }

    #[test]
    fn malformed_chunks_are_errors() {
        for wire in [&b"zz\r\n"[..], b"3\r\nabcXX", b"-1\r\n", b"3\r\nabc\n\n"] {
            let mut decoder = Chunked::default();
            let mut held = wire;
            let error = loop {
                match decoder.next(held) {
                    Ok(piece) if piece.consumed == 0 => break false,
                    Ok(piece) => held = &held[piece.consumed..],
                    Err(BadChunk) => break true,
                }
            };
            assert!(error, "{wire:?}");
        }
    }
}
