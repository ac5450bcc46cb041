//! From where an address is reached. [pure]

use std::net::IpAddr;

/// From where a bound address is reached, as far as the address itself tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// This host alone.
    Loopback,
    /// Networks that are not routed on the Internet.
    Private,
    /// Every network of the host, or an address of the Internet.
    Any,
}

/// Sorts `ip`. Link-local addresses count as private, the unspecified address as any.
///
/// # Source
///
/// RFC 1918, 4193 and 6598.
pub fn reach(ip: IpAddr) -> Reach {
    let ip = ip.to_canonical();
    let private = match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let shared = first == 100 && second & 0xc0 == 64;
            ip.is_private() || ip.is_link_local() || shared
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    match ip.is_loopback() {
        true => Reach::Loopback,
        false if private => Reach::Private,
        false => Reach::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart_by_who_reaches_them() {
        let cases = [
            ("127.0.0.1", Reach::Loopback),
            ("::1", Reach::Loopback),
            ("::ffff:127.0.0.1", Reach::Loopback),
            ("10.1.2.3", Reach::Private),
            ("172.16.0.1", Reach::Private),
            ("172.32.0.1", Reach::Any),
            ("100.64.0.1", Reach::Private),
            ("100.128.0.1", Reach::Any),
            ("169.254.1.1", Reach::Private),
            ("fd00::1", Reach::Private),
            ("fe80::1", Reach::Private),
            ("0.0.0.0", Reach::Any),
            ("::", Reach::Any),
            ("8.8.8.8", Reach::Any),
            ("2001:4860::1", Reach::Any),
        ];
        for (ip, want) in cases {
            assert_eq!(reach(ip.parse().expect(ip)), want, "{ip}");
        }
    }
}
