//! Clients of the gateway's own TLS: whom they trust, and who they are.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use super::tls::Leaf;

/// Every version that the gateway may speak.
pub const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

/// A kind of client.
#[derive(Clone, Debug)]
pub struct Caller {
    /// PEM of whom it trusts.
    pub trusts: String,
    pub shows: Option<Leaf>,
    pub versions: Vec<&'static SupportedProtocolVersion>,
    pub alpn: Vec<&'static str>,
}

impl Caller {
    /// Trusts `pem`, shows nothing, speaks all versions and asks for no protocol.
    pub fn trusting(pem: &str) -> Self {
        Self {
            trusts: pem.to_owned(),
            shows: None,
            versions: VERSIONS.to_vec(),
            alpn: Vec::new(),
        }
    }

    /// Speaks `version` only.
    #[must_use]
    pub fn only(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    /// Shows `leaf` where it is asked.
    #[must_use]
    pub fn showing(mut self, leaf: Option<&Leaf>) -> Self {
        self.shows = leaf.cloned();
        self
    }

    /// Offers these protocols.
    #[must_use]
    pub fn offering(mut self, alpn: &[&'static str]) -> Self {
        self.alpn = alpn.to_vec();
        self
    }

    /// Remembers sessions, as long as the result lives.
    pub fn config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.trusts.as_bytes()).unwrap();
        roots.add(root).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match &self.shows {
            None => builder.with_no_client_auth(),
            Some(leaf) => {
                let chain = vec![CertificateDer::from_pem_slice(leaf.cert.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = self
            .alpn
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Arc::new(config)
    }
}
