//! Certificates and keys of a listener, from files and from PEM texts. [boot]

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use config_sync::model::ssl::CertificatePair;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

use super::facts::{Facts, facts};
use crate::settings::Identity;

/// A certificate chain with its key, ready to be presented.
#[derive(Debug)]
pub(crate) struct Pair {
    pub key: Arc<CertifiedKey>,
    pub facts: Facts,
}

/// Why a file cannot be used, and which: ready to be shown behind the name of its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// The certificate's.
    Certificate(String),
    /// The private key's.
    Key(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Certificate(what) | Self::Key(what)) = self;
        f.write_str(what)
    }
}

/// What a PEM file must hold.
#[derive(Clone, Copy, Debug)]
enum Holds {
    Certificates,
    Key,
}

/// The certificates in the PEM file `file`: one or more.
///
/// # Errors
///
/// What is wrong, with the path.
pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(|found| {
        let all = found.collect::<Result<Vec<_>, _>>()?;
        match all.is_empty() {
            true => Err(pem::Error::NoItemsFound),
            false => Ok(all),
        }
    });
    read.map_err(|error| told(file, Holds::Certificates, &error))
}

/// The private key in the PEM file `file`, which is not encrypted.
///
/// # Errors
///
/// What is wrong, with the path; never any of the content.
pub(crate) fn key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| told(file, Holds::Key, &error))
}

/// The trust anchors in the PEM file `file`: one or more.
///
/// # Errors
///
/// What is wrong, with the path.
pub(crate) fn roots(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(roots)
}

/// A chain and its key that belong together.
///
/// # Errors
///
/// [`Fault`], naming the file.
pub(crate) fn pair(files: &Identity) -> Result<Pair, Fault> {
    let chain = certificates(&files.cert_file).map_err(Fault::Certificate)?;
    let private = key(&files.key_file).map_err(Fault::Key)?;
    let (cert, key) = (files.cert_file.display(), files.key_file.display());
    let unusable = || Fault::Certificate(format!("{cert} holds no valid certificate"));
    let facts = chain.first().and_then(|leaf| facts(leaf));
    let facts = facts.ok_or_else(unusable)?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let certified =
        CertifiedKey::from_der(chain, private, &provider).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                Fault::Key(format!("{key} is not the key of the certificate in {cert}"))
            }
            Error::InvalidCertificate(_) => unusable(),
            _ => Fault::Key(format!(
                "{key} must be RSA of 2048 bits or more, ECDSA or Ed25519"
            )),
        })?;
    Ok(Pair {
        key: Arc::new(certified),
        facts,
    })
}

/// A chain and its key as PEM texts that belong together: those of a checked row.
///
/// # Errors
///
/// They are not what they were checked to be; never says anything of the content.
pub(crate) fn pair_of(texts: &CertificatePair) -> Result<Pair, &'static str> {
    let chain = CertificateDer::pem_slice_iter(texts.cert.expose().as_bytes());
    let chain: Vec<_> = chain
        .collect::<Result<_, _>>()
        .map_err(|_| "cert is no PEM")?;
    let private = PrivateKeyDer::from_pem_slice(texts.key.expose().as_bytes());
    let private = private.map_err(|_| "key is no PEM")?;
    let facts = chain.first().and_then(|leaf| facts(leaf));
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let certified = CertifiedKey::from_der(chain, private, &provider);
    Ok(Pair {
        key: Arc::new(certified.map_err(|_| "cert and key do not belong together")?),
        facts: facts.ok_or("cert holds no valid certificate")?,
    })
}

/// The trust anchors in a PEM text: those of a checked row.
///
/// # Errors
///
/// One that is none.
pub(crate) fn roots_of(text: &str) -> Result<RootCertStore, &'static str> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = certificate.map_err(|_| "client_ca is no PEM")?;
        roots.add(certificate).map_err(|_| "client_ca is no root")?;
    }
    Ok(roots)
}

/// Whether users other than owner and group may read `file`.
pub(crate) fn is_open_to_all(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|meta| meta.mode() & 0o004 != 0)
}

fn told(file: &Path, holds: Holds, error: &pem::Error) -> String {
    let what = match holds {
        Holds::Certificates => "certificate",
        Holds::Key => "private key",
    };
    match error {
        pem::Error::Io(error) => format!("cannot read {}: {error}", file.display()),
        pem::Error::NoItemsFound => format!("{} holds no PEM {what}", file.display()),
        _ => format!("{} is no valid PEM", file.display()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A self-signed pair for `names`, in memory.
    pub(crate) fn pair_for(names: &[&str]) -> Pair {
        let dir = tempfile::tempdir().expect("a directory");
        pair(&write(dir.path(), "pair", names)).expect("a pair")
    }

    /// Writes a self-signed pair for `names`.
    pub(crate) fn write(dir: &Path, stem: &str, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("made");
        let files = Identity {
            cert_file: dir.join(format!("{stem}.crt")),
            key_file: dir.join(format!("{stem}.key")),
        };
        std::fs::write(&files.cert_file, made.cert.pem()).expect("written");
        std::fs::write(&files.key_file, made.signing_key.serialize_pem()).expect("written");
        files
    }

    #[test]
    fn a_pair_must_be_there_parse_and_belong_together() {
        let dir = tempfile::tempdir().expect("a directory");
        let one = write(dir.path(), "one", &["a.test"]);
        let other = write(dir.path(), "other", &["a.test"]);
        let junk = dir.path().join("junk");
        std::fs::write(
            &junk,
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        )
        .expect("written");
        let nowhere = dir.path().join("nowhere");
        let said = |cert: &Path, key: &Path| {
            let files = Identity {
                cert_file: cert.to_owned(),
                key_file: key.to_owned(),
            };
            pair(&files).map(|_| ()).map_err(|fault| match fault {
                Fault::Certificate(what) => format!("cert: {what}"),
                Fault::Key(what) => format!("key: {what}"),
            })
        };
        let (cert, key) = (one.cert_file.display(), one.key_file.display());
        let cases = [
            (&one.cert_file, &one.key_file, Ok(())),
            (
                &nowhere,
                &one.key_file,
                Err(format!(
                    "cert: cannot read {}: No such file or directory (os error 2)",
                    nowhere.display()
                )),
            ),
            (
                &one.cert_file,
                &nowhere,
                Err(format!(
                    "key: cannot read {}: No such file or directory (os error 2)",
                    nowhere.display()
                )),
            ),
            (
                &one.key_file,
                &one.key_file,
                Err(format!("cert: {key} holds no PEM certificate")),
            ),
            (
                &one.cert_file,
                &one.cert_file,
                Err(format!("key: {cert} holds no PEM private key")),
            ),
            (
                &junk,
                &one.key_file,
                Err(format!(
                    "cert: {} holds no valid certificate",
                    junk.display()
                )),
            ),
            (
                &one.cert_file,
                &other.key_file,
                Err(format!(
                    "key: {} is not the key of the certificate in {cert}",
                    other.key_file.display()
                )),
            ),
        ];
        for (cert, key, want) in cases {
            assert_eq!(said(cert, key), want);
        }
    }
}
