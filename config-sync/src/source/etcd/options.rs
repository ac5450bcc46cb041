//! Where etcd is, how it is spoken to, which keys are ours. [pure]

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The port of etcd's clients, where an endpoint names none.
pub const DEFAULT_PORT: u16 = 2379;
/// How long connecting may take, TLS included, where the settings say nothing.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one request may take, where the settings say nothing.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything needed to follow a prefix of an etcd cluster.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// The members, tried one at a time, in this order.
    pub endpoints: Vec<Endpoint>,
    /// What every key starts with, `env_id` included, without the last `/`.
    pub prefix: Box<str>,
    /// Who we are, where etcd asks.
    pub login: Option<Login>,
    /// How long connecting may take; [`DIAL_TIMEOUT`] if absent.
    pub dial_timeout: Option<Duration>,
    /// How long one request may take; [`REQUEST_TIMEOUT`] if absent.
    pub request_timeout: Option<Duration>,
    /// Files of `https` endpoints; read again at each connect.
    pub tls: TlsFiles,
    /// Times and sizes that tests shorten.
    pub clocks: Clocks,
}

/// One member of the cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// Whether TLS is spoken.
    pub https: bool,
    /// A name or an address; IPv6 without brackets.
    pub host: Box<str>,
    /// The port of its clients.
    pub port: u16,
}

/// A user of etcd.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Login {
    /// The name.
    pub user: Box<str>,
    /// The *name* of the environment variable that holds the password; read at each connect.
    pub password_env: Box<str>,
}

/// Files of PEM. Each at most 1 MiB.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TlsFiles {
    /// Roots for the servers' certificates; the platform's if absent.
    pub ca_cert_file: Option<PathBuf>,
    /// Our certificate chain and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that servers must prove; the endpoint's own host if absent.
    pub domain_name: Option<Box<str>>,
}

/// Times and sizes of the follower; the defaults are the specified ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Clocks {
    /// How often a quiet watch is asked for its progress. 10 s.
    pub progress_interval: Duration,
    /// How long a watch may say nothing before it counts as dead. 30 s.
    pub silence_limit: Duration,
    /// The first wait after a failure; later ones are multiples. 1 s.
    pub backoff_unit: Duration,
    /// The wait before listing again where nothing failed. 100 ms.
    pub relist_delay: Duration,
    /// How often HTTP/2 pings are sent, and how long their answer may take. 10 s; servers refuse
    /// pings more often than every 5 s.
    pub ping_interval: Duration,
    /// Rows of one page of a listing, at least 1. 1,000.
    pub page_rows: u32,
}

impl Default for Clocks {
    fn default() -> Self {
        Self {
            progress_interval: Duration::from_secs(10),
            silence_limit: Duration::from_secs(30),
            backoff_unit: Duration::from_secs(1),
            relist_delay: Duration::from_millis(100),
            ping_interval: Duration::from_secs(10),
            page_rows: 1000,
        }
    }
}

impl EtcdOptions {
    /// Options with every default.
    pub fn new(endpoints: Vec<Endpoint>, prefix: &str) -> Self {
        Self {
            endpoints,
            prefix: prefix.into(),
            login: None,
            dial_timeout: None,
            request_timeout: None,
            tls: TlsFiles::default(),
            clocks: Clocks::default(),
        }
    }

    /// How long connecting may take.
    pub(super) fn dial_limit(&self) -> Duration {
        self.dial_timeout.unwrap_or(DIAL_TIMEOUT)
    }

    /// How long one request may take.
    pub(super) fn request_limit(&self) -> Duration {
        self.request_timeout.unwrap_or(REQUEST_TIMEOUT)
    }

    /// The first key that is ours, and the first that no longer is.
    ///
    /// `/sluice` gives `/sluice/` and `/sluice0`: `0` follows `/`, so that `/sluice2` and
    /// `/sluice-staging` are outside.
    pub(super) fn range(&self) -> (Vec<u8>, Vec<u8>) {
        const AFTER_SLASH: u8 = b'/' + 1;
        let mut first = self.prefix.trim_end_matches('/').as_bytes().to_vec();
        let mut end = first.clone();
        first.push(b'/');
        end.push(AFTER_SLASH);
        (first, end)
    }
}

impl Endpoint {
    /// Reads `http://host:port` or `https://host:port`; the port may be left out, and so may
    /// `http://`.
    ///
    /// # Errors
    ///
    /// A text for the operator that does not repeat `text`: it may hold a credential by mistake.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const SHAPE: &str = "must be `http://host:port` or `https://host:port`";
        let (https, rest) = match text.split_once("://") {
            None => (false, text),
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err(SHAPE),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']').ok_or(SHAPE)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| SHAPE)?;
                match after {
                    "" => (host, None),
                    _ => (host, Some(after.strip_prefix(':').ok_or(SHAPE)?)),
                }
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let is_ipv6 = authority.starts_with('[');
        let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if host.is_empty() || !(is_ipv6 || host.chars().all(of_name)) {
            return Err(SHAPE);
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
                port.parse().map_err(|_| SHAPE)?
            }
            Some(_) => return Err(SHAPE),
        };
        if port == 0 {
            return Err(SHAPE);
        }
        let host = host.into();
        Ok(Self { https, host, port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        let (host, port) = (&self.host, self.port);
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_a_scheme_a_host_and_a_port_and_nothing_else() {
        let cases = [
            ("http://10.0.0.5:2379", Some("http://10.0.0.5:2379")),
            (
                "https://etcd-0.etcd:4001/",
                Some("https://etcd-0.etcd:4001"),
            ),
            ("https://etcd.example", Some("https://etcd.example:2379")),
            ("etcd_1:2379", Some("http://etcd_1:2379")),
            ("https://[::1]:2379", Some("https://[::1]:2379")),
            ("http://[fe80::1]", Some("http://[fe80::1]:2379")),
            ("http://user:pass@etcd:2379", None),
            ("http://etcd:2379/path", None),
            ("http://etcd:2379?x=1", None),
            ("ftp://etcd:2379", None),
            ("http://", None),
            ("http://:2379", None),
            ("http://etcd:", None),
            ("http://etcd:0", None),
            ("http://etcd:+79", None),
            ("http://etcd:65536", None),
            ("http://[::1", None),
            ("http://[etcd]:1", None),
            ("http://::1:2379", None),
            ("", None),
        ];
        for (text, want) in cases {
            let parsed = Endpoint::parse(text).ok().map(|it| it.to_string());
            assert_eq!(parsed.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn the_range_is_the_prefix_with_its_slash_and_no_neighbour() {
        let cases = [
            ("/sluice", "/sluice/models/a", true),
            ("/sluice", "/sluice/", true),
            ("/sluice/", "/sluice/models/a", true),
            ("/sluice/blue", "/sluice/blue/models/a", true),
            ("", "/models/a", true),
            ("/sluice", "/sluice", false),
            ("/sluice", "/sluice2/models/a", false),
            ("/sluice", "/sluice-staging/models/a", false),
            ("/sluice", "/sluice0", false),
            ("/sluice/blue", "/sluice/blue2/models/a", false),
        ];
        for (prefix, key, want) in cases {
            let (first, end) = EtcdOptions::new(Vec::new(), prefix).range();
            let inside = (first.as_slice()..end.as_slice()).contains(&key.as_bytes());
            assert_eq!(inside, want, "{key} below {prefix}");
        }
    }
}
