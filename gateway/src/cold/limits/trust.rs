//! The certificates that redis is met with. [cold]

use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redis::{ClientTlsConfig, TlsCertificates};
use rustls::RootCertStore;

use super::servers::ServersError;
use crate::settings::TrustSettings;

/// The platform's roots with those of `trust` added, and our own certificate.
pub(super) fn certificates(trust: &TrustSettings) -> Result<TlsCertificates, ServersError> {
    // The client takes either the platform's roots or others, so that both are put together here.
    let root_cert = match &trust.ca_file {
        Some(file) => {
            let mut all = read(file)?;
            all.push(b'\n');
            all.extend(platform_roots().into_bytes());
            Some(all)
        }
        None => None,
    };
    let client_tls = match &trust.identity {
        Some(identity) => Some(ClientTlsConfig {
            client_cert: read(&identity.cert_file)?,
            client_key: read(&identity.key_file)?,
        }),
        None => None,
    };
    Ok(TlsCertificates {
        client_tls,
        root_cert,
    })
}

fn read(file: &Path) -> Result<Vec<u8>, ServersError> {
    std::fs::read(file).map_err(|error| ServersError::File(file.to_owned(), error.kind()))
}

/// As PEM. What the platform cannot read is left out.
fn platform_roots() -> String {
    let mut pem = String::new();
    let mut accepted = RootCertStore::empty();
    for certificate in rustls_native_certs::load_native_certs().certs {
        // One that is no root would make the client refuse all of them.
        if accepted.add(certificate.clone()).is_err() {
            continue;
        }
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in STANDARD.encode(&certificate).as_bytes().chunks(64) {
            let _ = writeln!(pem, "{}", String::from_utf8_lossy(line));
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}
