//! Whom to trust upstream: one client configuration per distinct setting, shared by all workers. [boot]

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use config_sync::model::KeyTls;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::settings::TrustSettings;

/// Sessions remembered for resumption, per trust setting.
const SESSIONS_MAX: usize = 1024;
/// Distinct trust settings of provider keys that are kept prepared. Past it they are made anew for
/// each connection, which costs time, never correctness.
const CONFIGS_MAX: usize = 256;

/// The trust anchors of the deployment, and what provider keys add to them.
///
/// What the files hold is swapped whole: connections that are open keep what they were made with.
#[derive(Debug)]
pub(crate) struct Trust {
    provider: Arc<CryptoProvider>,
    verify: bool,
    anchors: ArcSwap<Anchors>,
}

/// What `upstream.tls` says at a time.
#[derive(Debug)]
struct Anchors {
    roots: RootCertStore,
    identity: Option<Identity>,
    /// Prepared configurations by provider key setting. Taken for a new TLS connection only.
    prepared: Mutex<HashMap<KeyTls, Arc<ClientConfig>>>,
}

#[derive(Debug)]
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Trust {
    /// Loads the platform's roots and what `upstream.tls` adds.
    ///
    /// # Errors
    ///
    /// The setting at fault with the reason, ready to print.
    pub(crate) fn load(settings: &TrustSettings) -> Result<Self, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verify = !settings.accept_any_certificate;
        let anchors = Anchors::load(settings, &provider, verify)?;
        Ok(Self {
            provider,
            verify,
            anchors: ArcSwap::from_pointee(anchors),
        })
    }

    /// Loads the same again, for connections from here on.
    ///
    /// # Errors
    ///
    /// As [`Trust::load`]; what was there before stays in use.
    pub(crate) fn reload(&self, settings: &TrustSettings) -> Result<(), String> {
        let anchors = Anchors::load(settings, &self.provider, self.verify)?;
        self.anchors.store(Arc::new(anchors));
        Ok(())
    }

    /// Whether certificates are verified where a provider key does not say otherwise.
    pub(crate) fn verifies(&self) -> bool {
        self.verify
    }

    /// The configuration and server name for a connection to `host`.
    ///
    /// # Errors
    ///
    /// The reason, where the key's `tls` or the host name is unusable.
    pub(crate) fn client_for(
        &self,
        host: &str,
        key: &KeyTls,
    ) -> Result<(Arc<ClientConfig>, ServerName<'static>), Box<str>> {
        let name = key.server_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
        let anchors = self.anchors.load();
        let prepared = anchors.prepared.lock();
        let mut prepared = prepared.unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = prepared.get(key) {
            return Ok((Arc::clone(config), name));
        }
        let config = anchors.build(key, &self.provider, self.verify);
        let config = Arc::new(config.map_err(|error| error.to_string())?);
        if prepared.len() < CONFIGS_MAX {
            prepared.insert(key.clone(), Arc::clone(&config));
        }
        Ok((config, name))
    }
}

impl Anchors {
    fn load(
        settings: &TrustSettings,
        provider: &Arc<CryptoProvider>,
        verify: bool,
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let platform = rustls_native_certs::load_native_certs();
        // A platform bundle may hold certificates that are no usable anchors; the rest still serve.
        roots.add_parsable_certificates(platform.certs);
        if let Some(path) = &settings.ca_file {
            for certificate in certificates(path, "upstream.tls.ca_file")? {
                roots
                    .add(certificate)
                    .map_err(|error| fault("upstream.tls.ca_file", path, &error))?;
            }
        }
        let identity = match &settings.identity {
            None => None,
            Some(files) => Some(Identity {
                chain: certificates(&files.cert_file, "upstream.tls.client_cert_file")?,
                key: PrivateKeyDer::from_pem_file(&files.key_file).map_err(|error| {
                    fault("upstream.tls.client_key_file", &files.key_file, &error)
                })?,
            }),
        };
        let anchors = Self {
            roots,
            identity,
            prepared: Mutex::default(),
        };
        // Finds a client key that does not fit its certificate now, not at the first request.
        anchors
            .build(&KeyTls::default(), provider, verify)
            .map_err(|error| format!("upstream.tls: {error}"))?;
        Ok(anchors)
    }

    fn build(
        &self,
        key: &KeyTls,
        provider: &Arc<CryptoProvider>,
        verify: bool,
    ) -> Result<ClientConfig, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()?;
        let builder = if verify && key.verify {
            let verifier = WebPkiServerVerifier::builder_with_provider(
                Arc::new(self.roots_with(key)?),
                Arc::clone(provider),
            )
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
            builder.with_webpki_verifier(verifier)
        } else {
            builder
                .dangerous()
                .with_custom_certificate_verifier(any_certificate(Arc::clone(provider)))
        };
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Ok(config)
    }

    fn roots_with(&self, key: &KeyTls) -> Result<RootCertStore, rustls::Error> {
        let mut roots = self.roots.clone();
        if let Some(pem) = &key.ca_cert {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate =
                    certificate.map_err(|error| rustls::Error::General(error.to_string()))?;
                roots.add(certificate)?;
            }
        }
        Ok(roots)
    }
}

fn certificates(path: &Path, setting: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = fs::read(path).map_err(|error| fault(setting, path, &error))?;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = parsed.map_err(|error| fault(setting, path, &error))?;
    if certificates.is_empty() {
        let nothing = io::Error::other("holds no PEM certificate");
        return Err(fault(setting, path, &nothing));
    }
    Ok(certificates)
}

fn fault(setting: &str, path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{setting}: {}: {error}", path.display())
}

/// A verifier that accepts every certificate.
pub(crate) fn any_certificate(provider: Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
    Arc::new(AnyCertificate(provider))
}

/// Accepts every certificate: `verify: false`, which is warned about at each load. Signatures are
/// still checked, so that a broken handshake shows.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
