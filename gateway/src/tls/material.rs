//! One listener's files as one rustls configuration. [boot]

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

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

impl Material {
    /// Whether there is a certificate for clients whose name nobody else has.
    pub(crate) fn has_own(&self) -> bool {
        !self.certificates.is_empty()
    }
}

/// What metrics tell of a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Shown {
    /// Its first name; empty where it has none.
    pub name: Box<str>,
    /// Last second of its time, Unix.
    pub not_after: i64,
}

impl Shown {
    fn of(pair: &Pair) -> Self {
        Self {
            name: pair.facts.names.first().cloned().unwrap_or_default(),
            not_after: pair.facts.not_after,
        }
    }
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
    let identity = (Certificates::new(&pairs), client_roots(settings)?);
    Ok(Material {
        config: configure(settings, protocols, identity, tickets)?,
        certificates: pairs.iter().map(Shown::of).collect(),
    })
}

/// The roots of client certificates, and whether one must be shown.
pub(crate) type ClientRoots = (RootCertStore, ClientVerify);

/// Those of the listener.
///
/// # Errors
///
/// What is wrong, with the path.
pub(super) fn client_roots(settings: &ListenerTls) -> Result<Option<ClientRoots>, String> {
    let Some(client_ca) = &settings.client_ca else {
        return Ok(None);
    };
    Ok(Some((files::roots(&client_ca.file)?, client_ca.verify)))
}

/// One rustls configuration that presents `certificates` and asks for what `client_roots` say, with
/// the versions of `settings`. See [`load`] for `tickets`.
///
/// # Errors
///
/// What rustls has against it.
pub(super) fn configure(
    settings: &ListenerTls,
    protocols: Protocols,
    (certificates, client_roots): (Certificates, Option<ClientRoots>),
    tickets: &Tickets,
) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(settings))
        .map_err(|error| error.to_string())?;
    let (builder, tickets) = match client_roots {
        None => (builder.with_no_client_auth(), Arc::clone(&tickets.0)),
        Some((roots, verify)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match verify {
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
    let mut config = builder.with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.ticketer = tickets;
    // Sessions live in tickets: nothing is kept per client, and nothing locked.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
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
