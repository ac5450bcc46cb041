//! The caller's address behind trusted proxies. [pure]

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

/// Leading zero bits of an IPv4-mapped IPv6 network (`::ffff:0:0/96`).
const MAPPED_PREFIX_BITS: u8 = 96;

/// How the caller's address is found; see `proxy.real_ip`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RealIp {
    /// Networks whose word about the address is taken. Default none: the peer is the caller.
    pub trusted: Box<[IpNet]>,
    /// False (default): the rightmost address of the header. True: the rightmost that is not
    /// itself trusted.
    pub recursive: bool,
    /// The forwarded header, in lower case. Default `x-forwarded-for`.
    pub header: Box<str>,
}

impl RealIp {
    /// The caller's address, IPv4-mapped ones as IPv4.
    ///
    /// `values` are all instances of [`RealIp::header`] in order; they are not looked at when the
    /// peer is not trusted. An entry that is no address ends the walk: what stands left of it
    /// was written by somebody unknown. Empty list elements do not count (RFC 9110 §5.6.1.2).
    /// Allocates nothing.
    pub fn resolve<'h>(&self, peer: IpAddr, values: impl Iterator<Item = &'h [u8]>) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        // One pass from the left: whatever stands further right overrules.
        let mut found = None;
        for token in values.flat_map(|value| value.split(|byte| *byte == b',')) {
            let token = token.trim_ascii();
            if token.is_empty() {
                continue;
            }
            match address(token) {
                None => found = None,
                Some(ip) if self.recursive && found.is_some() && self.trusts(ip) => {}
                Some(ip) => found = Some(ip),
            }
        }
        found.unwrap_or(peer)
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&ip))
    }
}

/// Reads a network or a bare address; IPv4-mapped ones become IPv4.
///
/// # Errors
///
/// [`NotANetwork`] for anything else.
pub fn network(text: &str) -> Result<IpNet, NotANetwork> {
    let net = match text.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => IpNet::from(text.parse::<IpAddr>().map_err(|_| NotANetwork)?),
    };
    let mapped = match net {
        IpNet::V6(net) if net.prefix_len() >= MAPPED_PREFIX_BITS => net
            .addr()
            .to_ipv4_mapped()
            .and_then(|v4| Ipv4Net::new(v4, net.prefix_len() - MAPPED_PREFIX_BITS).ok()),
        _ => None,
    };
    Ok(mapped.map_or(net, IpNet::V4).trunc())
}

/// Neither a CIDR block nor an IP address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotANetwork;

impl fmt::Display for NotANetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be a CIDR block or an IP address")
    }
}

/// `ip`, `ip:port`, `[v6]` or `[v6]:port`.
fn address(token: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(token).ok()?;
    let ip = if let Ok(ip) = text.parse::<IpAddr>() {
        ip
    } else if let Ok(socket) = text.parse::<SocketAddr>() {
        socket.ip()
    } else {
        let bare = text.strip_prefix('[')?.strip_suffix(']')?;
        IpAddr::V6(bare.parse().ok()?)
    };
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real_ip(recursive: bool) -> RealIp {
        RealIp {
            trusted: ["10.0.0.0/8", "::1", "::ffff:192.168.0.0/112"]
                .map(|net| network(net).expect("a network"))
                .into(),
            recursive,
            header: "x-forwarded-for".into(),
        }
    }

    fn check(recursive: bool, cases: &[(&str, &[&str], &str)]) {
        for (peer, values, want) in cases {
            let got = real_ip(recursive).resolve(
                peer.parse().expect("an address"),
                values.iter().map(|value| value.as_bytes()),
            );
            assert_eq!(got.to_string(), *want, "{peer} {values:?}");
        }
    }

    #[test]
    fn the_header_of_an_untrusted_peer_is_not_read() {
        for recursive in [false, true] {
            check(
                recursive,
                &[
                    ("203.0.113.9", &["1.2.3.4"], "203.0.113.9"),
                    ("::ffff:203.0.113.9", &["1.2.3.4"], "203.0.113.9"),
                    ("2001:db8::1", &["1.2.3.4"], "2001:db8::1"),
                ],
            );
        }
    }

    #[test]
    fn without_recursion_the_rightmost_address_counts() {
        check(
            false,
            &[
                ("10.0.0.1", &[], "10.0.0.1"),
                ("10.0.0.1", &["1.2.3.4"], "1.2.3.4"),
                ("::ffff:10.0.0.1", &["1.2.3.4"], "1.2.3.4"),
                ("192.168.3.4", &["1.2.3.4"], "1.2.3.4"),
                ("10.0.0.1", &["1.2.3.4, 5.6.7.8"], "5.6.7.8"),
                ("10.0.0.1", &["1.2.3.4", "5.6.7.8"], "5.6.7.8"),
                ("10.0.0.1", &["1.2.3.4, 10.0.0.7"], "10.0.0.7"),
                ("10.0.0.1", &["1.2.3.4, garbage"], "10.0.0.1"),
                ("10.0.0.1", &["1.2.3.4, ,"], "1.2.3.4"),
            ],
        );
    }

    #[test]
    fn with_recursion_the_walk_passes_trusted_addresses_and_ends_at_garbage() {
        check(
            true,
            &[
                ("10.0.0.1", &["1.2.3.4, 5.6.7.8, 10.0.0.7"], "5.6.7.8"),
                ("10.0.0.1", &["1.2.3.4", "10.0.0.8, 10.0.0.7"], "1.2.3.4"),
                ("10.0.0.1", &["10.0.0.9, 10.0.0.8"], "10.0.0.9"),
                ("10.0.0.1", &["1.2.3.4, garbage, 10.0.0.8"], "10.0.0.8"),
                ("10.0.0.1", &["1.2.3.4, 10.0.0.8, garbage"], "10.0.0.1"),
                ("10.0.0.1", &["::ffff:1.2.3.4, ::1"], "1.2.3.4"),
                ("::1", &["6.6.6.6, 1.2.3.4, ::ffff:10.0.0.3"], "1.2.3.4"),
            ],
        );
    }

    #[test]
    fn ports_and_brackets_are_dropped() {
        check(
            false,
            &[
                ("10.0.0.1", &["1.2.3.4:5678"], "1.2.3.4"),
                ("10.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
                ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
                ("10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
                ("10.0.0.1", &["[1.2.3.4]"], "10.0.0.1"),
                ("10.0.0.1", &["1.2.3.4:x"], "10.0.0.1"),
                ("10.0.0.1", &["1.2.3.4:99999"], "10.0.0.1"),
                ("10.0.0.1", &["\"1.2.3.4\""], "10.0.0.1"),
                ("10.0.0.1", &["unknown"], "10.0.0.1"),
            ],
        );
        let bytes: [&[u8]; 1] = [b"\xFF\xFE"];
        let got = real_ip(true).resolve([10, 0, 0, 1].into(), bytes.into_iter());
        assert_eq!(got, IpAddr::from([10, 0, 0, 1]));
    }

    #[test]
    fn networks_are_read_canonically() {
        let cases = [
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("10.1.2.3", Some("10.1.2.3/32")),
            ("2001:db8::/32", Some("2001:db8::/32")),
            ("::1", Some("::1/128")),
            ("::ffff:10.0.0.0/104", Some("10.0.0.0/8")),
            ("::ffff:10.0.0.1", Some("10.0.0.1/32")),
            ("10.0.0.0/33", None),
            ("localhost", None),
            ("", None),
        ];
        for (text, want) in cases {
            let got = network(text).ok().map(|net| net.to_string());
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }
}
