//! What the header lines say about a message as a whole: its length, its connection. [pure]

use httparse::Header;

use super::grammar::{digits, is_token, members};

/// How the body of a message is delimited.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyLength {
    /// No body, and no bytes on the wire.
    None,
    /// So many bytes, from `Content-Length`.
    Exact(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// All bytes until the connection closes. Responses only.
    UntilClose,
}

/// The minor version of HTTP/1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// HTTP/1.0: no chunks, and closed after each message unless kept alive on request.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// What `Content-Length` says, over all its lines and all members of each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ContentLength {
    Absent,
    Once(u64),
    /// Said more than once, each time the same.
    Repeated(u64),
    Conflicting,
    /// Not `1*DIGIT` within 64 bits.
    Malformed,
}

impl ContentLength {
    fn add(self, value: &[u8]) -> Self {
        if let (Self::Absent, Some(length)) = (self, digits(value)) {
            return Self::Once(length);
        }
        members(value).fold(self, |sum, member| match (sum, digits(member)) {
            (Self::Malformed, _) | (_, None) => Self::Malformed,
            (Self::Absent, Some(length)) => Self::Once(length),
            (Self::Once(seen) | Self::Repeated(seen), Some(length)) if seen == length => {
                Self::Repeated(length)
            }
            (_, Some(_)) => Self::Conflicting,
        })
    }
}

/// What `Transfer-Encoding` says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TransferEncoding {
    Absent,
    /// Exactly `chunked`, on one line.
    Chunked,
    /// More than one line: parties differ on which of them counts.
    Repeated,
    /// `identity`, an empty member, or no list of tokens.
    Malformed,
    /// A list of codings that is not exactly `chunked`.
    Unsupported,
}

impl TransferEncoding {
    fn add(self, value: &[u8]) -> Self {
        if self != Self::Absent {
            return Self::Repeated;
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            return Self::Chunked;
        }
        let is_coding = |member: &[u8]| {
            let name = member.split(|&byte| byte == b';').next();
            let name = super::grammar::trim(name.unwrap_or_default());
            is_token(name) && !name.eq_ignore_ascii_case(b"identity")
        };
        if members(value).all(is_coding) {
            Self::Unsupported
        } else {
            Self::Malformed
        }
    }
}

/// The header lines that decide about a message, gathered in one pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Framing<'a> {
    pub(super) length: ContentLength,
    pub(super) coding: TransferEncoding,
    /// `Connection: close`, on any line.
    pub(super) close: bool,
    /// `Connection: keep-alive`, on any line.
    pub(super) keep_alive: bool,
    /// `Connection: upgrade` and an `Upgrade` line.
    pub(super) upgrade: bool,
    pub(super) hosts: u32,
    /// The first `Host`.
    pub(super) host: &'a [u8],
    /// `Expect: 100-continue`.
    pub(super) expects_continue: bool,
    /// An `Expect` that is anything else.
    pub(super) expects_other: bool,
}

impl<'a> Framing<'a> {
    pub(super) fn of(headers: &[Header<'a>]) -> Self {
        let mut framing = Self {
            length: ContentLength::Absent,
            coding: TransferEncoding::Absent,
            close: false,
            keep_alive: false,
            upgrade: false,
            hosts: 0,
            host: &[],
            expects_continue: false,
            expects_other: false,
        };
        let (mut names_upgrade, mut offers_upgrade) = (false, false);
        for Header { name, value } in headers {
            // Most headers are told apart by length alone.
            match name.len() {
                4 if name.eq_ignore_ascii_case("host") => framing.add_host(value),
                6 if name.eq_ignore_ascii_case("expect") => framing.add_expect(value),
                7 if name.eq_ignore_ascii_case("upgrade") => offers_upgrade = true,
                10 if name.eq_ignore_ascii_case("connection") => {
                    names_upgrade |= framing.add_connection(value);
                }
                14 if name.eq_ignore_ascii_case("content-length") => {
                    framing.length = framing.length.add(value);
                }
                17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                    framing.coding = framing.coding.add(value);
                }
                _ => {}
            }
        }
        framing.upgrade = names_upgrade && offers_upgrade;
        framing
    }

    fn add_host(&mut self, value: &'a [u8]) {
        if self.hosts == 0 {
            self.host = value;
        }
        self.hosts += 1;
    }

    fn add_expect(&mut self, value: &[u8]) {
        if value.eq_ignore_ascii_case(b"100-continue") {
            self.expects_continue = true;
        } else {
            self.expects_other = true;
        }
    }

    /// Returns whether `upgrade` is among the options.
    fn add_connection(&mut self, value: &[u8]) -> bool {
        let mut upgrade = false;
        for option in members(value) {
            match option.len() {
                5 => self.close |= option.eq_ignore_ascii_case(b"close"),
                7 => upgrade |= option.eq_ignore_ascii_case(b"upgrade"),
                10 => self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive"),
                _ => {}
            }
        }
        upgrade
    }

    /// Whether the connection outlives the message, as far as its version and options say.
    pub(super) fn persists(&self, version: Version) -> bool {
        match version {
            Version::Http11 => !self.close,
            Version::Http10 => self.keep_alive && !self.close,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(lines: &[(&'static str, &'static str)]) -> Framing<'static> {
        let header = |&(name, value): &(&'static str, &'static str)| Header {
            name,
            value: value.as_bytes(),
        };
        Framing::of(&lines.iter().map(header).collect::<Vec<_>>())
    }

    #[test]
    fn a_length_is_one_number_said_once() {
        use ContentLength::{Absent, Conflicting, Malformed, Once, Repeated};
        let cases: [(&[&str], ContentLength); 13] = [
            (&[], Absent),
            (&["0"], Once(0)),
            (&["3"], Once(3)),
            (&["3", "3"], Repeated(3)),
            (&["3,3"], Repeated(3)),
            (&["3", "03, 3"], Repeated(3)),
            (&["3", "4"], Conflicting),
            (&["3,4"], Conflicting),
            (&["3,4,3"], Conflicting),
            (&["3,"], Malformed),
            (&["3", "x"], Malformed),
            (&["3", "4", ""], Malformed),
            (&["+3"], Malformed),
        ];
        for (values, want) in cases {
            let lines: Vec<_> = values.iter().map(|&v| ("Content-Length", v)).collect();
            assert_eq!(framing(&lines).length, want, "{values:?}");
        }
    }

    #[test]
    fn only_exactly_chunked_is_a_coding_we_speak() {
        use TransferEncoding::{Absent, Chunked, Malformed, Repeated, Unsupported};
        let cases: [(&[&str], TransferEncoding); 16] = [
            (&[], Absent),
            (&["chunked"], Chunked),
            (&["Chunked"], Chunked),
            (&["gzip, chunked"], Unsupported),
            (&["chunked, chunked"], Unsupported),
            (&["chunked, gzip"], Unsupported),
            (&["xchunked"], Unsupported),
            (&["chunked;q=1"], Unsupported),
            (&["identity"], Malformed),
            (&["identity, chunked"], Malformed),
            (&[""], Malformed),
            (&[",chunked"], Malformed),
            (&["chunked,"], Malformed),
            (&["\"chunked\""], Malformed),
            (&["chunked", "chunked"], Repeated),
            (&["identity", "chunked"], Repeated),
        ];
        for (values, want) in cases {
            let lines: Vec<_> = values.iter().map(|&v| ("transfer-encoding", v)).collect();
            assert_eq!(framing(&lines).coding, want, "{values:?}");
        }
    }

    #[test]
    fn close_wins_over_keep_alive_wherever_it_stands() {
        let cases: [(&[&str], bool, bool); 8] = [
            (&[], true, false),
            (&["close"], false, false),
            (&["CLOSE"], false, false),
            (&["keep-alive"], true, true),
            (&["te, Keep-Alive"], true, true),
            (&["keep-alive", "x, close"], false, false),
            (&["close-not"], true, false),
            (&["upgrade"], true, false),
        ];
        for (values, on_11, on_10) in cases {
            let lines: Vec<_> = values.iter().map(|&v| ("Connection", v)).collect();
            let framing = framing(&lines);
            assert_eq!(framing.persists(Version::Http11), on_11, "{values:?}");
            assert_eq!(framing.persists(Version::Http10), on_10, "{values:?}");
        }
    }

    #[test]
    fn an_upgrade_takes_both_the_option_and_the_header() {
        assert!(framing(&[("Upgrade", "h2c"), ("Connection", "te, Upgrade")]).upgrade);
        assert!(!framing(&[("Upgrade", "h2c")]).upgrade);
        assert!(!framing(&[("Connection", "upgrade")]).upgrade);
    }
}
