//! One listener's files as one rustls configuration. [boot]

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::certificates::Certificates;
use super::files::{self, Pair};
use crate::http::h2;
use crate::settings::{ClientVerify, ListenerTls, TlsVersion};

/// What a listener offers by ALPN (RFC 7301), best first.
pub(crate) type Protocols = &'static [&'static [u8]];

/// HTTP/1.1 alone.
pub(crate) const HTTP1: Protocols = &[b"http/1.1"];
/// HTTP/2, and HTTP/1.1 for those without it.
pub(crate) const HTTP2: Protocols = &[h2::ALPN, b"http/1.1"];

/// What a listener presents and asks for.
#[derive(Debug)]
pub(crate) struct Material {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) certificates: Vec<Shown>,
}

/// What metrics tell of a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Shown {
    /// Its first name; empty where it has none.
    pub name: Box<str>,
    /// Last second of its time, Unix.
    pub not_after: i64,
}

/// Seals sessions for their resumption. One for all workers: a client comes back to any of them.
#[derive(Debug)]
pub(crate) struct Tickets(Arc<dyn ProducesTickets>);

impl Tickets {
    /// With keys of their own, which change every six hours.
    ///
    /// # Errors
    ///
    /// There is no randomness to be had.
    pub(crate) fn new() -> Result<Self, String> {
        Ticketer::new().map(Self).map_err(|error| error.to_string())
    }
}

/// Reads the files that `settings` name. A session resumes what was verified when it began: where
/// clients are verified, `tickets` are not used but fresh ones, so that no session outlives a change
/// of whom to trust.
///
/// # Errors
///
/// What is wrong, with the path.
pub(crate) fn load(
    settings: &ListenerTls,
    protocols: Protocols,
    tickets: &Tickets,
) -> Result<Material, String> {
    let pairs = settings.pairs.iter().map(files::pair);
    let pairs: Vec<Pair> = pairs
        .collect::<Result<_, _>>()
        .map_err(|fault| fault.to_string())?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(settings))
        .map_err(|error| error.to_string())?;
    let (builder, tickets) = match &settings.client_ca {
        None => (builder.with_no_client_auth(), Arc::clone(&tickets.0)),
        Some(client_ca) => {
            let roots = Arc::new(files::roots(&client_ca.file)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = match client_ca.verify {
                ClientVerify::Require => verifier,
                ClientVerify::Optional => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build().map_err(|error| error.to_string())?;
            (
                builder.with_client_cert_verifier(verifier),
                Tickets::new()?.0,
            )
        }
    };
    let certificates = pairs.iter().map(|pair| Shown {
        name: pair.facts.names.first().cloned().unwrap_or_default(),
        not_after: pair.facts.not_after,
    });
    let certificates = certificates.collect();
    let mut config = builder.with_cert_resolver(Arc::new(Certificates::new(&pairs)));
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.ticketer = tickets;
    // Sessions live in tickets: nothing is kept per client, and nothing locked.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Material {
        config: Arc::new(config),
        certificates,
    })
}

fn versions(settings: &ListenerTls) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] =
        [&rustls::version::TLS13, &rustls::version::TLS12];
    match (settings.min_version, settings.max_version) {
        (TlsVersion::V12, TlsVersion::V13) => &BOTH,
        (TlsVersion::V13, _) => &BOTH[..1],
        (TlsVersion::V12, TlsVersion::V12) => &BOTH[1..],
    }
}
