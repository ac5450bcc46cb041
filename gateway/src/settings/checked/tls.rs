//! TLS blocks: what to trust, whom to be, what to present. [boot]

use std::path::{Path, PathBuf};

use config_sync::tree::Fields;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::settings::field::{Context, flag, path};

/// How the server at the other end is verified, and who we are to it.
///
/// Files were readable PEM when the settings were read; they are read again to be used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TrustSettings {
    /// `ca_file`: PEM bundle added to the platform's roots. Default none.
    pub ca_file: Option<PathBuf>,
    /// `client_cert_file` and `client_key_file`: our certificate and its key. Default none.
    pub identity: Option<Identity>,
    /// `verify: false`: accept whatever certificate is presented. Default false, as `verify` is
    /// true; each start with it warns.
    pub accept_any_certificate: bool,
}

/// A certificate chain and its private key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// PEM, leaf first.
    pub cert_file: PathBuf,
    /// PEM.
    pub key_file: PathBuf,
}

/// TLS of a listener.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ListenerTls {
    /// `cert_file` and `key_file`. `None` only with `dynamic`.
    pub identity: Option<Identity>,
    /// `client_ca_file`: PEM roots; when set, clients must present a certificate of theirs.
    pub client_ca_file: Option<PathBuf>,
    /// `dynamic` (proxy only): certificates come with the configuration, by server name. Default
    /// false.
    pub dynamic: bool,
}

/// What a PEM file must hold.
#[derive(Clone, Copy, Debug)]
pub(super) enum Holds {
    Certificates,
    Key,
}

/// Reads a trust block named `tls`.
pub(super) fn trust(parent: &Fields<'_>, context: &Context<'_>) -> TrustSettings {
    let block = parent.take_block("tls");
    let accept_any_certificate = !flag(&block, "verify", true);
    if accept_any_certificate {
        let key = block.path_of("verify");
        context.warn(format!(
            "{key} is false: certificates are not verified, \
             anybody in between can read and change the traffic"
        ));
    }
    let ca_file = pem(&block, "ca_file", Holds::Certificates);
    let identity = pair(&block, "client_cert_file", "client_key_file");
    block.finish();
    TrustSettings {
        ca_file,
        identity,
        accept_any_certificate,
    }
}

/// Reads a listener's block named `tls`; `None` where it is absent.
pub(super) fn listener(parent: &Fields<'_>, may_be_dynamic: bool) -> Option<ListenerTls> {
    parent.take("tls")?;
    let block = parent.take_block("tls");
    let dynamic = may_be_dynamic && flag(&block, "dynamic", false);
    for key in ["cert_file", "key_file"] {
        if !dynamic && block.take(key).is_none() {
            block.problem(key, "required");
        }
    }
    let tls = ListenerTls {
        identity: pair(&block, "cert_file", "key_file"),
        client_ca_file: pem(&block, "client_ca_file", Holds::Certificates),
        dynamic,
    };
    block.finish();
    Some(tls)
}

/// A certificate and its key: both or neither.
pub(super) fn pair<'a>(block: &Fields<'a>, cert: &'a str, key: &'a str) -> Option<Identity> {
    let files = (
        pem(block, cert, Holds::Certificates),
        pem(block, key, Holds::Key),
    );
    match (block.take(cert).is_some(), block.take(key).is_some()) {
        (true, false) => block.problem(key, format!("required with `{cert}`")),
        (false, true) => block.problem(cert, format!("required with `{key}`")),
        _ => {}
    }
    let (Some(cert_file), Some(key_file)) = files else {
        return None;
    };
    Some(Identity {
        cert_file,
        key_file,
    })
}

/// The path of a PEM file that holds what it should.
pub(super) fn pem<'a>(block: &Fields<'a>, key: &'a str, holds: Holds) -> Option<PathBuf> {
    let file = path(block, key)?;
    match look_into(&file, holds) {
        Ok(()) => Some(file),
        Err(message) => {
            block.problem(key, message);
            None
        }
    }
}

fn look_into(file: &Path, holds: Holds) -> Result<(), String> {
    let read = match holds {
        Holds::Certificates => CertificateDer::pem_file_iter(file).and_then(|certificates| {
            let all = certificates.collect::<Result<Vec<_>, _>>()?;
            all.first().map(|_| ()).ok_or(pem::Error::NoItemsFound)
        }),
        Holds::Key => PrivateKeyDer::from_pem_file(file).map(|_| ()),
    };
    let what = match holds {
        Holds::Certificates => "certificate",
        Holds::Key => "private key",
    };
    read.map_err(|error| match error {
        pem::Error::Io(error) => format!("cannot read {}: {error}", file.display()),
        pem::Error::NoItemsFound => format!("{} holds no PEM {what}", file.display()),
        _ => format!("{} is no valid PEM", file.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::field::reading;
    use serde_json::{Value, json};

    fn read<T>(doc: &Value, reader: impl Fn(&Fields<'_>, &Context<'_>) -> T) -> (T, Vec<String>) {
        let read = reading::read(doc, &[], |root, _, context| reader(root, context));
        (read.got, [read.problems, read.warnings].concat())
    }

    fn files() -> (tempfile::TempDir, String, String, String) {
        let dir = tempfile::tempdir().expect("a directory");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        let write = |name: &str, text: String| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("written");
            path.to_str().expect("UTF-8").to_owned()
        };
        let cert = write("cert.pem", made.cert.pem());
        let key = write("key.pem", made.signing_key.serialize_pem());
        let junk = write("junk.pem", "not PEM".into());
        (dir, cert, key, junk)
    }

    #[test]
    fn a_trust_block_takes_readable_pem_files_in_pairs() {
        let (_dir, cert, key, junk) = files();
        let doc =
            json!({"tls": {"ca_file": cert, "client_cert_file": cert, "client_key_file": key}});
        let (got, said) = read(&doc, trust);
        assert_eq!(said, [""; 0]);
        assert!(got.ca_file.is_some() && got.identity.is_some() && !got.accept_any_certificate);

        let cases = [
            (json!({"ca_file": "/nowhere/x"}), "tls.ca_file: cannot read /nowhere/x: No such file or directory (os error 2)".to_owned()),
            (json!({"ca_file": junk}), format!("tls.ca_file: {junk} holds no PEM certificate")),
            (json!({"ca_file": key}), format!("tls.ca_file: {key} holds no PEM certificate")),
            (json!({"ca_file": " "}), "tls.ca_file: must not be blank".to_owned()),
            (json!({"client_cert_file": cert}), "tls.client_key_file: required with `client_cert_file`".to_owned()),
            (json!({"client_key_file": key}), "tls.client_cert_file: required with `client_key_file`".to_owned()),
            (json!({"client_cert_file": cert, "client_key_file": cert}), format!("tls.client_key_file: {cert} holds no PEM private key")),
            (json!({"ca": cert}), "tls.ca: unknown key `ca` (known here: ca_file, client_cert_file, client_key_file, verify)".to_owned()),
        ];
        for (block, want) in cases {
            let (_, said) = read(&json!({"tls": block}), trust);
            assert_eq!(said, [want], "{block}");
        }
    }

    #[test]
    fn unverified_certificates_warn_at_every_start() {
        let (got, said) = read(&json!({"tls": {"verify": false}}), trust);
        assert!(got.accept_any_certificate);
        assert!(said[0].starts_with("tls.verify is false: "), "{said:?}");
    }

    #[test]
    fn a_listener_needs_its_pair_unless_certificates_come_later() {
        let (_dir, cert, key, _) = files();
        let proxy = |fields: &Fields<'_>, _: &Context<'_>| listener(fields, true);
        assert_eq!(read(&json!({}), proxy).0, None);
        let (got, said) = read(&json!({"tls": {"cert_file": cert, "key_file": key}}), proxy);
        assert_eq!(said, [""; 0]);
        assert!(got.expect("a block").identity.is_some());
        let (got, said) = read(&json!({"tls": {"dynamic": true}}), proxy);
        assert_eq!(said, [""; 0]);
        assert!(got.expect("a block").dynamic);
        let (_, said) = read(&json!({"tls": {}}), proxy);
        assert_eq!(said, ["tls.cert_file: required", "tls.key_file: required"]);
        let (_, said) = read(&json!({"tls": {"dynamic": true}}), |fields, _| {
            listener(fields, false)
        });
        assert_eq!(said.len(), 3, "{said:?}");
    }
}
