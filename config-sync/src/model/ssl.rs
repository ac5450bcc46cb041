//! Certificates of the proxy listener, by the name that a client asks for. [pure]

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

use super::field;
use crate::secret::Secret;
use crate::tree::{Fields, Problems, Unknown, Value};

/// The certificates for some names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ssl {
    /// Name.
    pub name: Arc<str>,
    /// At least one, distinct.
    pub snis: Vec<Sni>,
    /// At least one, each known to parse and to belong together; several for several kinds of keys.
    pub pairs: Vec<CertificatePair>,
    /// PEM roots of client certificates, known to parse; `None`: no certificate is asked for.
    pub client_ca: Option<Arc<str>>,
    /// Whether a client must show a certificate, where roots are given. Default: it must.
    pub client_verify: ClientVerify,
    /// Whether it is used. Default: yes.
    pub enabled: bool,
}

/// A name that a client may ask for, in lower case.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Sni {
    /// This name.
    Exact(Arc<str>),
    /// Any one label before `.` and this name.
    Wildcard(Arc<str>),
}

/// A certificate chain and its private key, as PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificatePair {
    /// The chain, leaf first. Not shown either: reads of the document leave it out.
    pub cert: Secret,
    /// The key of the leaf.
    pub key: Secret,
}

/// What is asked of clients.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ClientVerify {
    /// A certificate of one of the roots.
    #[default]
    Require,
    /// None, or one of the roots.
    Optional,
}

impl Ssl {
    /// Reads a document. The result is usable only if no problem was noted.
    pub fn read(value: &Value, problems: &Problems, unknown: Unknown) -> Option<Self> {
        let fields = Fields::new(value, "", problems, unknown);
        fields.refuse_null(&["extra", "client_verify", "enabled"]);
        let verify = [
            ("require", ClientVerify::Require),
            ("optional", ClientVerify::Optional),
        ];
        let name = field::text(&fields, "name");
        let snis = read_snis(&fields);
        let mut pairs: Vec<CertificatePair> = read_pair(&fields).into_iter().collect();
        for (path, item) in fields.take_list("extra").unwrap_or_default() {
            if let Some(block) = field::mapping(&fields, &path, item) {
                pairs.extend(read_pair(&block));
                block.finish();
            }
        }
        let client_ca = fields.take_nonempty_str("client_ca");
        if client_ca.is_some_and(|pem| !holds_roots(pem)) {
            let message = "must be certificates in PEM, each usable as a root";
            fields.problem("client_ca", message);
        }
        let client_verify = fields.take_choice("client_verify", &verify);
        let enabled = fields.take_bool("enabled").unwrap_or(true);
        fields.finish();
        Some(Self {
            name: name?,
            snis,
            pairs,
            client_ca: client_ca.map(Arc::from),
            client_verify: client_verify.unwrap_or_default(),
            enabled,
        })
    }
}

fn read_snis(fields: &Fields<'_>) -> Vec<Sni> {
    let mut known = HashSet::new();
    let mut snis = Vec::new();
    for (path, item) in field::items(fields, "snis") {
        let problem = |message: &str| fields.problems().push(path.as_str(), message);
        match item.as_str().and_then(parse_sni) {
            None => problem(
                "must be a host name in lower case, where `*` may only be the whole first label",
            ),
            Some(sni) if known.insert(sni.clone()) => snis.push(sni),
            Some(_) => problem("is there already"),
        }
    }
    snis
}

/// Labels of letters, digits and hyphens (RFC 1123, 2.1); no address, which no client asks for.
fn parse_sni(text: &str) -> Option<Sni> {
    let wildcard = text.strip_prefix("*.");
    let name = wildcard.unwrap_or(text);
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| {
        let edges = label.starts_with('-') || label.ends_with('-');
        (1..=63).contains(&label.len()) && !edges && label.bytes().all(legal)
    };
    if text.len() > 253 || !name.split('.').all(is_label) || name.parse::<IpAddr>().is_ok() {
        return None;
    }
    Some(match wildcard {
        Some(name) => Sni::Wildcard(name.into()),
        None => Sni::Exact(name.into()),
    })
}

fn read_pair(fields: &Fields<'_>) -> Option<CertificatePair> {
    let (cert, key) = (
        fields.take_required_str("cert"),
        fields.take_required_str("key"),
    );
    let (cert, key) = (cert?, key?);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert.as_bytes()).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    if chain.is_none() {
        fields.problem(
            "cert",
            "must be certificates in PEM, that of the server first",
        );
    }
    let private = PrivateKeyDer::from_pem_slice(key.as_bytes()).ok();
    if private.is_none() {
        fields.problem("key", "must be a private key in PEM, not encrypted");
    }
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    match CertifiedKey::from_der(chain?, private?, &provider) {
        Ok(_) => {}
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            fields.problem("key", "must be the key of the first certificate");
        }
        Err(Error::InvalidCertificate(_)) => {
            fields.problem("cert", "must be valid certificates");
        }
        Err(_) => fields.problem("key", "must be RSA of 2048 bits or more, ECDSA or Ed25519"),
    }
    Some(CertificatePair {
        cert: cert.into(),
        key: key.into(),
    })
}

/// Whether `pem` holds at least one certificate, and every one of them can be a trust anchor.
fn holds_roots(pem: &str) -> bool {
    let mut roots = RootCertStore::empty();
    let all_usable = CertificateDer::pem_slice_iter(pem.as_bytes())
        .all(|certificate| certificate.is_ok_and(|der| roots.add(der).is_ok()));
    all_usable && !roots.is_empty()
}

#[cfg(test)]
mod tests;
