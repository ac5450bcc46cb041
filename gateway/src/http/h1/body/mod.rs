//! One message body, taken off the wire piece by piece. [pure]

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use super::framing::BodyLength;
use super::grammar::{is_token_byte, is_value_byte};

/// Longest extension of one chunk, in bytes from its semicolon. Nobody sends any; RFC 9112 7.1.1
/// asks for a limit.
pub const CHUNK_EXTENSION_BYTES_MAX: u32 = 256;
/// Most extension bytes in one body, so that a stream of tiny chunks cannot burn CPU on them.
pub const CHUNK_EXTENSION_BYTES_TOTAL_MAX: u32 = 8 * 1024;
/// Longest trailer section, in bytes with its final CRLF. Trailers are checked and dropped.
pub const TRAILER_BYTES_MAX: u32 = 8 * 1024;
/// Most trailer lines.
pub const TRAILERS_MAX: u32 = 64;
/// Hex digits of a chunk size: all that fit 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

const _: () = assert!(CHUNK_EXTENSION_BYTES_MAX <= CHUNK_EXTENSION_BYTES_TOTAL_MAX);

/// Reads one body. Knows where it ends, and hands its bytes out as ranges of the caller's buffer.
///
/// Every byte is looked at once, whatever the cuts; nothing is copied or kept. After an error each
/// further call returns the same error: what follows on the connection is unknown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BodyReader {
    state: State,
    /// Size of the chunk whose size line is being read.
    size: u64,
    extension_bytes_total: u32,
    trailer_bytes: u32,
    trailers: u32,
}

/// What one call used up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Piece {
    /// Bytes of the input that are done with, framing included.
    pub consumed: usize,
    /// Body bytes, inside `input[..consumed]`. Empty when only framing was there.
    pub data: Range<usize>,
}

/// Why a body cannot be read to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyError {
    /// A chunk size that is not 1 to 16 hex digits, or its line does not end in CRLF.
    ChunkSize,
    /// A chunk extension with control bytes.
    ChunkExtension,
    /// A chunk extension past [`CHUNK_EXTENSION_BYTES_MAX`], or all of them past
    /// [`CHUNK_EXTENSION_BYTES_TOTAL_MAX`].
    ChunkExtensionTooLong,
    /// Chunk data that no CRLF follows.
    ChunkEnd,
    /// A trailer line that is no header line.
    Trailer,
    /// Trailers past [`TRAILER_BYTES_MAX`] or [`TRAILERS_MAX`].
    TrailersTooLong,
    /// The connection ended inside the body.
    Truncated,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// So many bytes to come, more than none.
    Exact(u64),
    UntilClose,
    /// In the hex digits of a size line, after so many of them.
    Size(u8),
    /// In an extension, after so many bytes.
    Extension(u32),
    /// After the CR of a size line.
    SizeLf,
    /// So many bytes of a chunk to come, more than none.
    Data(u64),
    DataCr,
    DataLf,
    /// At the start of a trailer line or of the final CRLF.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    FinalLf,
    Done,
    Failed(BodyError),
}

impl BodyReader {
    /// A reader at the start of a body of this length.
    pub fn new(length: BodyLength) -> Self {
        let state = match length {
            BodyLength::None | BodyLength::Exact(0) => State::Done,
            BodyLength::Exact(length) => State::Exact(length),
            BodyLength::Chunked => State::Size(0),
            BodyLength::UntilClose => State::UntilClose,
        };
        Self {
            state,
            size: 0,
            extension_bytes_total: 0,
            trailer_bytes: 0,
            trailers: 0,
        }
    }

    /// Bytes of the body still to come: `None` where only its end will tell.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Exact(left) => Some(left),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// Whether the whole body, its last framing byte included, was consumed.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the next piece off the start of `input`.
    ///
    /// Consumes framing, then body bytes up to the end of the chunk or of `input`. Call again with
    /// the rest until nothing is consumed or the body is done; bytes past the body are not touched.
    ///
    /// # Errors
    ///
    /// [`BodyError`], always after all body bytes ahead of the fault were handed out.
    pub fn next(&mut self, input: &[u8]) -> Result<Piece, BodyError> {
        let mut used = 0;
        while let Some(&byte) = input.get(used) {
            let left = match self.state {
                State::Done => break,
                State::Failed(error) => return Err(error),
                State::UntilClose => u64::MAX,
                State::Exact(left) | State::Data(left) => left,
                _ => {
                    self.step(byte)?;
                    used += 1;
                    continue;
                }
            };
            let available = input.len() - used;
            let taken = usize::try_from(left).map_or(available, |left| left.min(available));
            self.take(taken as u64);
            let end = used + taken;
            return Ok(Piece {
                consumed: end,
                data: used..end,
            });
        }
        match self.state {
            State::Failed(error) => Err(error),
            _ => Ok(Piece {
                consumed: used,
                data: used..used,
            }),
        }
    }

    /// Notes that the connection was closed: the proper end of [`BodyLength::UntilClose`].
    ///
    /// # Errors
    ///
    /// [`BodyError::Truncated`] for any other body that is not done, or the error it failed with.
    pub fn at_eof(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            State::Failed(error) => Err(error),
            _ => Err(self.fail(BodyError::Truncated)),
        }
    }

    /// Counts `taken` body bytes off.
    fn take(&mut self, taken: u64) {
        self.state = match self.state {
            State::Exact(left) if left == taken => State::Done,
            State::Exact(left) => State::Exact(left - taken),
            State::Data(left) if left == taken => State::DataCr,
            State::Data(left) => State::Data(left - taken),
            other => other,
        };
    }

    /// Consumes one byte of chunk framing.
    fn step(&mut self, byte: u8) -> Result<(), BodyError> {
        let next = match (self.state, byte) {
            (State::Size(digits), _) => self.size_byte(digits, byte),
            (State::Extension(_), b'\r') => Ok(State::SizeLf),
            (State::Extension(bytes), _) => self.extension_byte(bytes, byte),
            (State::SizeLf, b'\n') if self.size == 0 => Ok(State::Trailer),
            (State::SizeLf, b'\n') => Ok(State::Data(self.size)),
            (State::SizeLf, _) => Err(BodyError::ChunkSize),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => {
                self.size = 0;
                Ok(State::Size(0))
            }
            (State::DataCr | State::DataLf, _) => Err(BodyError::ChunkEnd),
            _ => self.trailer_byte(byte),
        };
        match next {
            Ok(state) => {
                self.state = state;
                Ok(())
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    /// At least one digit, no sign, no white space (RFC 9112 7.1).
    fn size_byte(&mut self, digits: u8, byte: u8) -> Result<State, BodyError> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if digits > 0 => return Ok(State::SizeLf),
            b';' if digits > 0 => return self.extension_byte(0, byte),
            _ => return Err(BodyError::ChunkSize),
        };
        if digits == SIZE_DIGITS_MAX {
            return Err(BodyError::ChunkSize);
        }
        self.size = self.size << 4 | u64::from(digit);
        Ok(State::Size(digits + 1))
    }

    fn extension_byte(&mut self, bytes: u32, byte: u8) -> Result<State, BodyError> {
        if !is_value_byte(byte) {
            return Err(BodyError::ChunkExtension);
        }
        self.extension_bytes_total += 1;
        if bytes == CHUNK_EXTENSION_BYTES_MAX
            || self.extension_bytes_total > CHUNK_EXTENSION_BYTES_TOTAL_MAX
        {
            return Err(BodyError::ChunkExtensionTooLong);
        }
        Ok(State::Extension(bytes + 1))
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<State, BodyError> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(BodyError::TrailersTooLong);
        }
        match (self.state, byte) {
            (State::Trailer, b'\r') => Ok(State::FinalLf),
            (State::Trailer, _) if is_token_byte(byte) => {
                self.trailers += 1;
                if self.trailers > TRAILERS_MAX {
                    return Err(BodyError::TrailersTooLong);
                }
                Ok(State::TrailerName)
            }
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerName, _) if is_token_byte(byte) => Ok(State::TrailerName),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) if is_value_byte(byte) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::Trailer),
            (State::FinalLf, b'\n') => Ok(State::Done),
            _ => Err(BodyError::Trailer),
        }
    }

    fn fail(&mut self, error: BodyError) -> BodyError {
        self.state = State::Failed(error);
        error
    }
}

impl BodyError {
    /// A sentence for the error envelope or the log.
    pub fn message(&self) -> &'static str {
        match self {
            Self::ChunkSize => "malformed chunk size",
            Self::ChunkExtension => "malformed chunk extension",
            Self::ChunkExtensionTooLong => "chunk extensions are too long",
            Self::ChunkEnd => "chunk data without CRLF after it",
            Self::Trailer => "malformed trailer",
            Self::TrailersTooLong => "trailers are too long",
            Self::Truncated => "the connection was closed inside the body",
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for BodyError {}
