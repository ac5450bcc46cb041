//! Certificates of a test's own, as files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

/// A certification authority.
pub struct Authority {
    dir: PathBuf,
    name: &'static str,
    issuer: Issuer<'static, KeyPair>,
    signed: AtomicUsize,
}

impl Authority {
    /// A fresh one, which writes its files into `dir`.
    pub fn new(dir: &Path, name: &'static str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let authority = Self {
            dir: dir.to_owned(),
            name,
            issuer,
            signed: AtomicUsize::new(0),
        };
        authority.write("ca.pem", &pem);
        authority
    }

    /// Its own certificate.
    pub fn root(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A certificate for a server called `names`, and its key. etcd shows it to itself as a client.
    pub fn server(&self, names: &[&str]) -> (PathBuf, PathBuf) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.sign("server", &params)
    }

    /// A certificate for a client, and its key.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(["client".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign("client", &params)
    }

    fn sign(&self, role: &str, params: &CertificateParams) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let number = self.signed.fetch_add(1, Ordering::Relaxed);
        let role = format!("{role}-{number}");
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        (
            self.write(&format!("{role}.pem"), &cert),
            self.write(&format!("{role}.key"), &key.serialize_pem()),
        )
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.join(format!("{}-{file}", self.name))
    }

    fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.path(file);
        std::fs::write(&path, text).unwrap();
        path
    }
}
