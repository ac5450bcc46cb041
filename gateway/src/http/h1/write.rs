//! The bytes of a message, appended to a buffer. [pure]
//!
//! No formatting machinery: numbers go through `itoa` or a hex table, the rest is copied.

use memchr::memchr3;

/// The interim response that lets a caller send its body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Hex digits that [`chunk_open`] reserves; leading zeros are legal (RFC 9112 7.1).
const SIZE_DIGITS: usize = 8;
/// What every chunk starts with until its size is known.
const SIZE_BLANK: &[u8; SIZE_DIGITS + 2] = b"00000000\r\n";
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `HTTP/1.1 <status> <reason>` and CRLF. A status without a known reason gets an empty
/// one; only the last three digits count.
pub fn status_line(out: &mut Vec<u8>, status: u16) {
    if status == 200 {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    let [hundreds, tens, ones] = [status / 100 % 10, status / 10 % 10, status % 10]
        .map(|digit| b'0' + u8::try_from(digit).unwrap_or_default());
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&[hundreds, tens, ones, b' ']);
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The reason phrase of a status (RFC 9110 15, RFC 6585); empty for others.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}

/// Appends one header line. `name` is a token that the caller wrote down, never outside bytes.
///
/// A CR, LF or NUL in `value` is written as a space: no value can start another line.
pub fn header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    debug_assert!(
        super::grammar::is_token(name.as_bytes()),
        "not a token: {name}"
    );
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let from = out.len();
    out.extend_from_slice(value);
    if memchr3(b'\r', b'\n', b'\0', value).is_some() {
        for byte in out.iter_mut().skip(from) {
            if matches!(*byte, b'\r' | b'\n' | b'\0') {
                *byte = b' ';
            }
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends one header line whose value is a decimal number.
pub fn header_u64(out: &mut Vec<u8>, name: &str, value: u64) {
    header(out, name, itoa::Buffer::new().format(value).as_bytes());
}

/// Ends a head.
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Appends `data` as one chunk; nothing when it is empty, since an empty chunk ends the body.
pub fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    let mark = chunk_open(out);
    out.extend_from_slice(data);
    chunk_close(out, mark);
}

/// Ends a chunked body, without trailers.
pub fn last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

/// A chunk under construction: where its size will go.
#[derive(Debug)]
#[must_use = "a chunk must be closed"]
pub struct ChunkMark {
    at: usize,
}

/// Starts a chunk of unknown size. Append its bytes to `out`, then call [`chunk_close`].
pub fn chunk_open(out: &mut Vec<u8>) -> ChunkMark {
    let at = out.len();
    out.extend_from_slice(SIZE_BLANK);
    ChunkMark { at }
}

/// Ends the chunk that [`chunk_open`] started: writes its size in place, or takes the chunk back
/// when nothing was appended. The chunk must be smaller than 4 GiB.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a mark is good for one chunk"
)]
pub fn chunk_close(out: &mut Vec<u8>, mark: ChunkMark) {
    let ChunkMark { at } = mark;
    let data = at + SIZE_BLANK.len();
    debug_assert!(
        data <= out.len(),
        "a chunk's bytes are appended to its own buffer"
    );
    let size = out.len().saturating_sub(data);
    if size == 0 {
        out.truncate(at);
        return;
    }
    let mut rest = u32::try_from(size).expect("one chunk is one buffer of a bounded pool");
    for digit in out.iter_mut().skip(at).take(SIZE_DIGITS).rev() {
        *digit = HEX[(rest & 0xf) as usize];
        rest >>= 4;
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"<".to_vec();
        write(&mut out);
        String::from_utf8(out.split_off(1)).unwrap()
    }

    #[test]
    fn status_lines_have_their_reason_or_none() {
        let cases = [
            (200, "HTTP/1.1 200 OK\r\n"),
            (413, "HTTP/1.1 413 Content Too Large\r\n"),
            (429, "HTTP/1.1 429 Too Many Requests\r\n"),
            (504, "HTTP/1.1 504 Gateway Timeout\r\n"),
            (499, "HTTP/1.1 499 \r\n"),
            (65_535, "HTTP/1.1 535 \r\n"),
        ];
        for (status, want) in cases {
            assert_eq!(written(|out| status_line(out, status)), want);
        }
        let head_errors = [400, 414, 417, 431, 501, 505];
        assert!(head_errors.iter().all(|&status| !reason(status).is_empty()));
    }

    #[test]
    fn a_header_value_cannot_start_another_line() {
        assert_eq!(written(|out| header(out, "x-a", b"b c")), "x-a: b c\r\n");
        assert_eq!(written(|out| header(out, "x-a", b"")), "x-a: \r\n");
        let split = b"b\r\nset-cookie: c\r\n\r\n\0";
        assert_eq!(
            written(|out| header(out, "x-a", split)),
            "x-a: b  set-cookie: c     \r\n"
        );
    }

    #[test]
    fn numbers_are_decimal_over_their_whole_range() {
        assert_eq!(written(|out| header_u64(out, "n", 0)), "n: 0\r\n");
        let most = written(|out| header_u64(out, "n", u64::MAX));
        assert_eq!(most, "n: 18446744073709551615\r\n");
    }

    #[test]
    fn a_chunk_states_its_size_in_place() {
        assert_eq!(written(|out| chunk(out, b"abc")), "00000003\r\nabc\r\n");
        let long = written(|out| chunk(out, &[b'x'; 0xabc]));
        assert!(long.starts_with("00000abc\r\nx"), "{}", &long[..12]);
        assert_eq!(written(last_chunk), "0\r\n\r\n");
    }

    #[test]
    fn an_empty_chunk_is_no_chunk() {
        assert_eq!(written(|out| chunk(out, b"")), "");
        let nothing = written(|out| {
            let mark = chunk_open(out);
            chunk_close(out, mark);
        });
        assert_eq!(nothing, "");
    }

    #[test]
    fn a_whole_head_parses_back() {
        let head = written(|out| {
            status_line(out, 200);
            header(out, "content-type", b"text/event-stream");
            header_u64(out, "content-length", 12);
            end(out);
        });
        let want =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 12\r\n\r\n";
        assert_eq!(head, want);
    }
}
