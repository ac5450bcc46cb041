//! Questions and answers about host names. [bridge]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A worker asks for the addresses of a host.
#[derive(Clone, Debug)]
pub struct DnsRequest {
    /// Where the answer goes.
    pub worker: u16,
    /// Name or address literal, without brackets or port.
    pub host: Arc<str>,
}

/// The addresses of a host, or why there are none.
///
/// Durations instead of instants: the receiver adds them to its own clock. A worker asks again
/// after `fresh_for`, dials what it has meanwhile, and must not dial it after `usable_for`.
#[derive(Clone, Debug)]
pub struct DnsAnswer {
    /// As asked.
    pub host: Arc<str>,
    /// At least one address, families alternating, IPv6 first if the resolver put it first.
    pub addrs: Result<Arc<[IpAddr]>, DnsError>,
    /// Ask again after this.
    pub fresh_for: Duration,
    /// Forget it after this.
    pub usable_for: Duration,
}

/// Why a host has no address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DnsError {
    /// The resolver knows no address, or could not be asked.
    NotFound,
    /// No answer within the limit.
    Timeout,
    /// Too many lookups are under way.
    Busy,
}

impl DnsError {
    /// A sentence for the log.
    pub fn message(self) -> &'static str {
        match self {
            Self::NotFound => "no address found",
            Self::Timeout => "name resolution timed out",
            Self::Busy => "too many name resolutions under way",
        }
    }
}
