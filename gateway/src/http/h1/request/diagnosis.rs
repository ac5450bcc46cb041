//! What to call a head that the tokeniser refused. Runs on refusals only. [pure]

use super::error::HeadError;
use crate::http::h1::grammar::{is_token, is_value_byte, trim};
use crate::http::h1::limits::{Limits, METHOD_BYTES_MAX};

/// Names the first fault of `head`, which ends in a blank line and holds no bare LF.
///
/// `refused` is what the tokeniser said; it stands when no line looks wrong by itself.
pub(super) fn of(head: &[u8], refused: httparse::Error, limits: &Limits) -> HeadError {
    // The tokeniser stops at the first fault, so every line before the surplus one is well-formed.
    if refused == httparse::Error::TooManyHeaders {
        return HeadError::TooManyHeaders;
    }
    let mut lines = head
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let start_line = lines.next().unwrap_or_default();
    request_line(start_line, limits)
        .or_else(|| lines.take_while(|line| !line.is_empty()).find_map(header))
        .unwrap_or(match refused {
            httparse::Error::HeaderName => HeadError::HeaderName,
            httparse::Error::HeaderValue => HeadError::HeaderValue,
            httparse::Error::TooManyHeaders => HeadError::TooManyHeaders,
            httparse::Error::NewLine
            | httparse::Error::Status
            | httparse::Error::Token
            | httparse::Error::Version => HeadError::RequestLine,
        })
}

fn request_line(line: &[u8], limits: &Limits) -> Option<HeadError> {
    if line.contains(&b'\r') {
        return Some(HeadError::BareCr);
    }
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Some(HeadError::RequestLine);
    };
    if !is_token(method) || target.is_empty() {
        return Some(HeadError::RequestLine);
    }
    if method.len() > METHOD_BYTES_MAX {
        return Some(HeadError::MethodTooLong);
    }
    if target.len() > limits.uri_bytes_max {
        return Some(HeadError::TargetTooLong);
    }
    if !target.iter().all(u8::is_ascii_graphic) {
        return Some(HeadError::Target);
    }
    match version {
        b"HTTP/1.0" | b"HTTP/1.1" => None,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Some(HeadError::Version)
        }
        _ => Some(HeadError::RequestLine),
    }
}

fn header(line: &[u8]) -> Option<HeadError> {
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return Some(HeadError::FoldedLine);
    }
    let colon = line.iter().position(|&byte| byte == b':');
    let Some((name, value)) = colon.and_then(|at| line.split_at_checked(at)) else {
        return Some(HeadError::HeaderName);
    };
    if !is_token(name) {
        return Some(if is_token(trim(name)) {
            HeadError::SpaceBeforeColon
        } else {
            HeadError::HeaderName
        });
    }
    if value.contains(&b'\r') {
        return Some(HeadError::BareCr);
    }
    (!value.iter().all(|&byte| is_value_byte(byte))).then_some(HeadError::HeaderValue)
}
