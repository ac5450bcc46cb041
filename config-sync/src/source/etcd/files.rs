//! The files and the variable that connecting needs, read anew each time. [cold]

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::error::StoreError;
use super::options::{EtcdOptions, Login, TlsFiles};
use crate::secret::Secret;

/// Largest file of PEM, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the TLS files hold, as PEM.
pub(super) struct Material {
    pub(super) roots: Option<Vec<u8>>,
    pub(super) identity: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}

/// Reads everything that connecting will read, so that a boot can refuse what cannot work.
///
/// # Errors
///
/// [`StoreError::Options`], which names the setting and the file or variable.
pub fn check(options: &EtcdOptions) -> Result<(), StoreError> {
    if let Some(login) = &options.login {
        password(login)?;
    }
    read(&options.tls).map(drop)
}

/// The password of `login`.
pub(super) fn password(login: &Login) -> Result<Secret, StoreError> {
    let name = &login.password_env;
    match std::env::var(&**name) {
        Ok(text) => Ok(Secret::from(text)),
        Err(_) => Err(StoreError::Options(format!(
            "etcd.password_env: the variable `{name}` is not set, or is not UTF-8"
        ))),
    }
}

/// Reads and checks the files of `tls`.
pub(super) fn read(tls: &TlsFiles) -> Result<Material, StoreError> {
    let mut material = Material {
        roots: None,
        identity: None,
    };
    if let Some(path) = &tls.ca_cert_file {
        let pem = certificates("etcd.tls.ca_cert_file", path)?;
        material.roots = Some(pem);
    }
    if let Some((chain, key)) = &tls.identity {
        let chain = certificates("etcd.tls.client_cert_file", chain)?;
        let setting = "etcd.tls.client_key_file";
        let pem = Zeroizing::new(whole(setting, key)?);
        if PrivateKeyDer::from_pem_slice(&pem).is_err() {
            return Err(problem(setting, key, "holds no private key in PEM"));
        }
        material.identity = Some((chain, pem));
    }
    Ok(material)
}

/// The file's text, which holds at least one certificate and no broken one.
fn certificates(setting: &str, path: &Path) -> Result<Vec<u8>, StoreError> {
    let pem = whole(setting, path)?;
    let mut found = CertificateDer::pem_slice_iter(&pem).peekable();
    if found.peek().is_none() || found.any(|certificate| certificate.is_err()) {
        return Err(problem(setting, path, "holds no certificates in PEM"));
    }
    Ok(pem)
}

fn whole(setting: &str, path: &Path) -> Result<Vec<u8>, StoreError> {
    let cannot = |error: std::io::Error| problem(setting, path, &error.to_string());
    let file = File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    let mut start = file.take(FILE_BYTES_MAX + 1);
    start.read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(problem(setting, path, "is larger than 1 MiB"));
    }
    Ok(bytes)
}

fn problem(setting: &str, path: &Path, what: &str) -> StoreError {
    StoreError::Options(format!("{setting}: {}: {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_named_by_its_setting_and_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/root.pem");
        let (garbage, large) = (file("garbage", b"x"), file("large", &[b'x'; (1 << 20) + 1]));
        let missing = dir.path().join("missing");
        let ca = |path: &Path| TlsFiles {
            ca_cert_file: Some(path.to_owned()),
            ..TlsFiles::default()
        };
        let identity = |key: &Path| TlsFiles {
            identity: Some((root.into(), key.to_owned())),
            ..TlsFiles::default()
        };
        assert!(read(&TlsFiles::default()).is_ok());
        assert!(read(&ca(Path::new(root))).is_ok());
        let refused = [
            (ca(&missing), "etcd.tls.ca_cert_file", "No such file"),
            (ca(&garbage), "etcd.tls.ca_cert_file", "no certificates"),
            (ca(&large), "etcd.tls.ca_cert_file", "1 MiB"),
            (identity(&missing), "client_key_file", "No such file"),
            (identity(&garbage), "client_key_file", "no private key"),
        ];
        for (files, setting, what) in refused {
            let text = read(&files).err().unwrap().to_string();
            assert!(text.contains(setting) && text.contains(what), "{text}");
        }
    }

    #[test]
    fn a_password_comes_from_the_variable_that_is_named() {
        let login = |variable: &str| Login {
            user: "root".into(),
            password_env: variable.into(),
        };
        // Any variable that is there will do.
        assert!(!password(&login("PATH")).unwrap().expose().is_empty());
        let text = password(&login("SLUICE_NO_SUCH_VARIABLE")).unwrap_err();
        assert!(text.to_string().contains("SLUICE_NO_SUCH_VARIABLE"));
    }
}
