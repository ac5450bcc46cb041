//! What of a request is hashed. [pure]

use std::fmt::Write;
use std::net::IpAddr;
use std::ops::Deref;

use arrayvec::ArrayString;
use config_sync::model::routing::HashSource;

/// Longest text of an address: eight groups of four digits.
const ADDRESS_BYTES_MAX: usize = 39;

/// Where a request keeps what can be hashed.
pub trait KeySource {
    /// The header of this name, which is in lower case.
    fn header(&self, name: &str) -> Option<&[u8]>;

    /// The cookie of this name, case-sensitive, in the header `cookie`.
    fn cookie(&self, name: &str) -> Option<&[u8]> {
        cookie(self.header("cookie")?, name)
    }

    /// Id of the caller's key; `None` where the caller has none.
    fn api_key_id(&self) -> Option<&str>;

    /// The caller's address.
    fn client_ip(&self) -> IpAddr;
}

/// The key of one request.
#[derive(Clone, Debug)]
pub enum HashKey<'r> {
    /// Bytes of the request.
    Bytes(&'r [u8]),
    /// An address, written out.
    Address(ArrayString<ADDRESS_BYTES_MAX>),
}

impl Deref for HashKey<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Address(text) => text.as_bytes(),
        }
    }
}

/// The key that the first of `sources` yields, white space around it removed; the empty key where
/// none does. Allocates nothing.
///
/// IPv4-mapped addresses count as IPv4.
pub fn hash_key<'r>(sources: &[HashSource], request: &'r impl KeySource) -> HashKey<'r> {
    for source in sources {
        let found = match source {
            HashSource::Header(name) => request.header(name),
            HashSource::Cookie(name) => request.cookie(name),
            HashSource::ApiKey => request.api_key_id().map(str::as_bytes),
            HashSource::ClientIp => return address(request.client_ip()),
        };
        let found = found.unwrap_or_default().trim_ascii();
        if !found.is_empty() {
            return HashKey::Bytes(found);
        }
    }
    HashKey::Bytes(b"")
}

fn address(ip: IpAddr) -> HashKey<'static> {
    let mut text = ArrayString::new();
    write!(text, "{}", ip.to_canonical()).expect("no address is longer than its groups");
    HashKey::Address(text)
}

/// The first cookie called `name` in the value of a `cookie` header, verbatim.
fn cookie<'h>(header: &'h [u8], name: &str) -> Option<&'h [u8]> {
    header.split(|byte| *byte == b';').find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        value.strip_prefix(b"=")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Request(&'static [(&'static str, &'static str)], &'static str);

    impl KeySource for Request {
        fn header(&self, name: &str) -> Option<&[u8]> {
            let mut headers = self.0.iter().filter(|header| header.0 == name);
            headers.next().map(|header| header.1.as_bytes())
        }

        fn api_key_id(&self) -> Option<&str> {
            let key = self.0.iter().find(|header| header.0 == "key");
            key.map(|header| header.1)
        }

        fn client_ip(&self) -> IpAddr {
            self.1.parse().unwrap()
        }
    }

    #[test]
    fn the_first_source_with_a_value_is_the_key() {
        use HashSource::{ApiKey, ClientIp, Cookie, Header};
        let header = || Header("x-user".into());
        let session = || Cookie("sid".into());
        let request = |headers| Request(headers, "192.0.2.1");
        let cases = [
            (vec![header()], request(&[("x-user", " ann ")]), "ann"),
            (vec![header()], request(&[]), ""),
            (vec![header()], request(&[("x-user", " \t")]), ""),
            (vec![], request(&[("x-user", "ann")]), ""),
            (
                vec![header(), ApiKey],
                request(&[("x-user", " "), ("key", "k-1")]),
                "k-1",
            ),
            (
                vec![session(), header()],
                request(&[("cookie", "xsid=1; sidx=2;sid=3; sid=4"), ("x-user", "ann")]),
                "3",
            ),
            (
                vec![session(), header()],
                request(&[("cookie", "sid=; SID=3; sid"), ("x-user", "ann")]),
                "ann",
            ),
            (vec![ApiKey, ClientIp, header()], request(&[]), "192.0.2.1"),
            (
                vec![ClientIp],
                Request(&[], "::ffff:192.0.2.1"),
                "192.0.2.1",
            ),
            (vec![ClientIp], Request(&[], "2001:db8::1"), "2001:db8::1"),
        ];
        for (sources, request, want) in cases {
            let key = hash_key(&sources, &request);
            assert_eq!(str::from_utf8(&key).unwrap(), want, "{sources:?}");
        }
    }

    #[test]
    fn the_longest_address_fits() {
        let longest = "1111:2222:3333:4444:5555:6666:7777:8888";
        assert_eq!(longest.len(), ADDRESS_BYTES_MAX);
        let key = address(longest.parse().unwrap());
        assert_eq!(&*key, longest.as_bytes());
    }
}
