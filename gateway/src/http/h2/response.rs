//! A response head of HTTP/1.1, as one of HTTP/2. [pure]

use ::http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::http::h1::ResponseHead;

/// Lines that end at this connection (RFC 9110 7.6.1), beside those that `connection` names.
const OF_A_CONNECTION: [&str; 6] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Status and header lines of `head`, names in lower case; lines of the connection are left out.
pub fn response_head(head: &ResponseHead) -> Response<()> {
    let mut response = Response::new(());
    // A status of our own parser has three digits.
    *response.status_mut() = StatusCode::from_u16(head.status()).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    for (name, value) in head.headers() {
        if OF_A_CONNECTION
            .iter()
            .any(|own| name.eq_ignore_ascii_case(own))
            || is_named(head, name)
        {
            continue;
        }
        let name = HeaderName::from_bytes(name.as_bytes());
        // What our parser lets pass is a name and a value; anything else would be left out.
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    response
}

/// Whether a `connection` line names `name`.
fn is_named(head: &ResponseHead, name: &str) -> bool {
    head.header_all("connection").any(|value| {
        let mut options = value.split(|byte| *byte == b',');
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h1::{Limits, Method, parse_response};

    #[test]
    fn lines_of_the_connection_stay_behind() {
        let text = b"HTTP/1.1 429 Too Many\r\nX-A: 1\r\nConnection: close, x-hop\r\nX-Hop: 1\r\n\
                     Keep-Alive: 5\r\nTransfer-Encoding: chunked\r\nUpgrade: x\r\nx-a: 2\r\n\r\n";
        let parsed = parse_response(text, &Method::Get, &Limits::default());
        let (head, _) = parsed.unwrap().unwrap();
        let response = response_head(&head);
        assert_eq!(response.status(), 429);
        let lines: Vec<_> = response.headers().iter().collect();
        let lines = lines
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        assert_eq!(
            lines.collect::<Vec<_>>(),
            [("x-a", &b"1"[..]), ("x-a", b"2")]
        );
    }
}
