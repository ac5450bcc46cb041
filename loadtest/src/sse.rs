//! Server-sent events as a client reads them. [pure]

use std::sync::LazyLock;

use memchr::{memchr2, memmem};

/// Finds events in a stream that arrives in pieces.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Bytes of an event whose end has not come.
    held: Vec<u8>,
    /// Bytes of `held` that were looked at, up to a line start.
    line: usize,
    /// The last event ended with CR: an LF that follows belongs to it.
    skip_lf: bool,
}

impl Scanner {
    /// Appends `bytes` and calls `each` with every event that is complete, blank line included.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        self.held.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(end) = self.next_end(&mut start) {
            each(self.held.get(start..end).unwrap_or_default());
            start = end;
            self.line = end;
        }
        self.held.drain(..start);
        self.line -= start;
    }

    /// What came after the last complete event.
    pub fn rest(&self) -> &[u8] {
        &self.held
    }

    fn next_end(&mut self, start: &mut usize) -> Option<usize> {
        loop {
            if self.skip_lf && self.line == *start {
                if *self.held.get(*start)? == b'\n' {
                    *start += 1;
                    self.line = *start;
                }
                self.skip_lf = false;
            }
            let rest = self.held.get(self.line..)?;
            let at = memchr2(b'\n', b'\r', rest)?;
            let cr = rest.get(at) == Some(&b'\r');
            let next = match rest.get(at + 1) {
                Some(b'\n') if cr => 2,
                // A CR that may be the first half of CRLF. An empty line ends an event either way.
                None if cr && at > 0 => return None,
                None if cr => {
                    self.skip_lf = true;
                    1
                }
                _ => 1,
            };
            self.line += at + next;
            if at == 0 {
                return Some(self.line);
            }
        }
    }
}

/// What the client looks for in an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Text of the mock: its number, and when it was sent in unix microseconds.
    Content {
        seq: u32,
        sent_unix_us: u64,
    },
    Done,
    Error,
    /// A comment, a finish reason, usage, or text of another server.
    Other,
}

/// Where the text of the mock begins. Prepared once: it is looked for in every event.
static CONTENT: LazyLock<memmem::Finder<'static>> =
    LazyLock::new(|| memmem::Finder::new(b"\"content\":\"e"));

/// Reads one event as [`Scanner`] found it.
pub fn read(event: &[u8]) -> Event {
    if let Some(at) = CONTENT.find(event) {
        let text = event.get(at + CONTENT.needle().len()..);
        return content(text.unwrap_or_default()).unwrap_or(Event::Other);
    }
    let mut lines = event.split(|byte| matches!(byte, b'\n' | b'\r'));
    let found = lines.find_map(|line| {
        if line == b"event: error" || line == b"event:error" {
            return Some(Event::Error);
        }
        let data = line.strip_prefix(b"data:")?.trim_ascii();
        match data {
            b"[DONE]" => Some(Event::Done),
            _ if data.starts_with(b"{\"error\"") => Some(Event::Error),
            _ => None,
        }
    });
    found.unwrap_or(Event::Other)
}

/// `17 1699999999123456…`, after the `e`.
fn content(text: &[u8]) -> Option<Event> {
    let (seq, rest) = number(text)?;
    let (sent_unix_us, _) = number(rest.strip_prefix(b" ")?)?;
    Some(Event::Content {
        seq: u32::try_from(seq).ok()?,
        sent_unix_us,
    })
}

fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(digits)?;
    let number = str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(stream: &str, step: usize) -> Vec<String> {
        let (mut scanner, mut events) = (Scanner::default(), Vec::new());
        for bytes in stream.as_bytes().chunks(step) {
            scanner.feed(bytes, |event| {
                events.push(String::from_utf8_lossy(event).trim().to_owned());
            });
        }
        assert!(
            scanner.rest().is_empty() || scanner.rest() == b"\n",
            "{:?}",
            scanner.rest()
        );
        events
    }

    #[test]
    fn events_are_the_same_wherever_the_stream_is_cut() {
        for eol in ["\n", "\r\n", "\r"] {
            let stream = "event: x|data: 1||: ping||data: 2|data: 3||".replace('|', eol);
            for step in 1..=stream.len() {
                let want = [
                    &*format!("event: x{eol}data: 1"),
                    ": ping",
                    &*format!("data: 2{eol}data: 3"),
                ];
                assert_eq!(events(&stream, step), want, "{eol:?} by {step}");
            }
        }
    }

    #[test]
    fn line_ends_may_be_mixed() {
        for step in 1..20 {
            assert_eq!(
                events("data: 1\r\n\ndata: 2\n\r\ndata: 3\r\r\n", step).len(),
                3
            );
        }
    }

    #[test]
    fn an_event_without_its_blank_line_is_not_given_out() {
        let mut scanner = Scanner::default();
        scanner.feed(b"data: 1\n", |_| panic!("not complete"));
        assert_eq!(scanner.rest(), b"data: 1\n");
    }

    #[test]
    fn events_are_told_apart() {
        let content = Event::Content {
            seq: 17,
            sent_unix_us: 1_699_999_999_123_456,
        };
        let cases = [
            (
                r#"data: {"choices":[{"delta":{"content":"e17 1699999999123456 xx"}}]}"#,
                content,
            ),
            ("data: [DONE]", Event::Done),
            ("data:[DONE]", Event::Done),
            ("event: error\ndata: {}", Event::Error),
            (r#"data: {"error":{"message":"m"}}"#, Event::Error),
            (
                r#"data: {"choices":[{"delta":{"content":"every word"}}]}"#,
                Event::Other,
            ),
            (": ping", Event::Other),
        ];
        for (event, want) in cases {
            assert_eq!(read(event.as_bytes()), want, "{event}");
        }
    }
}
