//! TLS blocks: what to trust, whom to be, what to present. [boot]

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use config_sync::tree::{Fields, Value};

use crate::settings::field::{Context, choice, flag, path};
use crate::tls::files::{self, Fault};

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
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListenerTls {
    /// `cert_file` and `key_file`, then `certificates`; the first answers clients that ask for no
    /// name, or for one that no certificate has. At most 64; empty only with `dynamic`.
    ///
    /// Files were usable when the settings were read; they are read again to be used, and whenever
    /// they change.
    pub pairs: Vec<Identity>,
    /// `client_ca_file` and `client_verify`. Default none: clients are not asked for a certificate.
    pub client_ca: Option<ClientCa>,
    /// `min_version`. Default 1.2.
    pub min_version: TlsVersion,
    /// `max_version`. Default 1.3.
    pub max_version: TlsVersion,
    /// `dynamic` (proxy only): certificates come with the configuration, by server name. Default
    /// false.
    pub dynamic: bool,
}

/// Whose certificates clients may show.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientCa {
    /// PEM roots.
    pub file: PathBuf,
    /// What becomes of clients that show none.
    pub verify: ClientVerify,
}

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientVerify {
    /// A certificate of one of the roots, or no connection.
    Require,
    /// None, or one of the roots.
    Optional,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum TlsVersion {
    /// TLS 1.2.
    V12,
    /// TLS 1.3.
    V13,
}

/// Most certificates of one listener: each is a series of the metrics, and a file to look at.
const PAIRS_MAX: usize = 64;

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
pub(super) fn listener(
    parent: &Fields<'_>,
    may_be_dynamic: bool,
    context: &Context<'_>,
) -> Option<ListenerTls> {
    parent.take("tls")?;
    let block = parent.take_block("tls");
    let dynamic = may_be_dynamic && flag(&block, "dynamic", false);
    let mut pairs: Vec<Identity> = own_pair(&block, !dynamic, context).into_iter().collect();
    for (path, item) in block.take_list("certificates").unwrap_or_default() {
        let entry = Fields::new(item, &path, block.problems(), block.unknown());
        pairs.extend(own_pair(&entry, true, context));
        entry.finish();
    }
    if pairs.len() > PAIRS_MAX {
        block.problem("certificates", format!("must be {} at most", PAIRS_MAX - 1));
    }
    let (min_version, max_version) = (
        version(&block, "min_version", TlsVersion::V12),
        version(&block, "max_version", TlsVersion::V13),
    );
    if min_version > max_version {
        block.problem("max_version", "must not be lower than `min_version`");
    }
    let tls = ListenerTls {
        pairs,
        client_ca: client_ca(&block),
        min_version,
        max_version,
        dynamic,
    };
    block.finish();
    Some(tls)
}

/// A pair to present: usable, and what is doubtful about it said.
fn own_pair(block: &Fields<'_>, required: bool, context: &Context<'_>) -> Option<Identity> {
    let keys = ["cert_file", "key_file"];
    if required && keys.iter().all(|&key| block.take(key).is_none()) {
        for key in keys {
            block.problem(key, "required");
        }
    }
    let files = pair(block, "cert_file", "key_file")?;
    let facts = match files::pair(&files) {
        Ok(pair) => pair.facts,
        Err(Fault::Certificate(what)) => {
            block.problem("cert_file", what);
            return None;
        }
        Err(Fault::Key(what)) => {
            block.problem("key_file", what);
            return None;
        }
    };
    let (cert, key) = (files.cert_file.display(), files.key_file.display());
    let now = unix_now();
    let time = match (now < facts.not_before, now > facts.not_after) {
        (true, _) => Some("is not valid yet"),
        (_, true) => Some("has expired"),
        _ => None,
    };
    if let Some(time) = time {
        let path = block.path_of("cert_file");
        context.warn(format!("{path}: the certificate in {cert} {time}"));
    }
    if files::is_open_to_all(&files.key_file) {
        let path = block.path_of("key_file");
        context.warn(format!("{path}: every user of this host can read {key}"));
    }
    Some(files)
}

fn client_ca(block: &Fields<'_>) -> Option<ClientCa> {
    let words = [
        ("require", Some(ClientVerify::Require)),
        ("optional", Some(ClientVerify::Optional)),
        ("none", None),
    ];
    let verify = choice(block, "client_verify", Some(ClientVerify::Require), &words);
    let file = pem(block, "client_ca_file", Holds::Certificates);
    let written = block.take("client_ca_file").is_some();
    if !written && verify.is_some() && block.take("client_verify").is_some() {
        block.problem("client_ca_file", "required with `client_verify`");
    }
    let file = file?;
    if let Err(what) = files::roots(&file) {
        block.problem("client_ca_file", what);
    }
    Some(ClientCa {
        file,
        verify: verify?,
    })
}

/// A version; as YAML reads it without quotes, it is a number.
fn version<'a>(block: &Fields<'a>, key: &'a str, default: TlsVersion) -> TlsVersion {
    let text = match block.take(key) {
        None => return default,
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    match text.as_str() {
        "1.2" => TlsVersion::V12,
        "1.3" => TlsVersion::V13,
        _ => {
            block.problem(key, "must be one of: 1.2, 1.3");
            default
        }
    }
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
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
    match holds {
        Holds::Certificates => files::certificates(file).map(|_| ()),
        Holds::Key => files::key(file).map(|_| ()),
    }
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
            set_mode(&path, 0o600);
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
        let proxy = |fields: &Fields<'_>, context: &Context<'_>| listener(fields, true, context);
        assert_eq!(read(&json!({}), proxy).0, None);
        let (got, said) = read(&json!({"tls": {"cert_file": cert, "key_file": key}}), proxy);
        assert_eq!(said, [""; 0]);
        let got = got.expect("a block");
        assert_eq!((got.pairs.len(), got.client_ca), (1, None));
        assert_eq!(
            (got.min_version, got.max_version),
            (TlsVersion::V12, TlsVersion::V13)
        );
        let (got, said) = read(&json!({"tls": {"dynamic": true}}), proxy);
        assert_eq!(said, [""; 0]);
        assert!(got.expect("a block").dynamic);
        let (_, said) = read(&json!({"tls": {}}), proxy);
        assert_eq!(said, ["tls.cert_file: required", "tls.key_file: required"]);
        let (_, said) = read(&json!({"tls": {"dynamic": true}}), |fields, context| {
            listener(fields, false, context)
        });
        assert_eq!(said.len(), 3, "{said:?}");
    }

    #[test]
    fn a_listener_takes_further_pairs_versions_and_whom_to_ask() {
        let (_dir, cert, key, _) = files();
        let (_other, cert2, key2, junk) = files();
        let with = |extra: Value| {
            let mut block = json!({"cert_file": cert, "key_file": key});
            let block_map = block.as_object_mut().expect("a mapping");
            block_map.extend(extra.as_object().expect("a mapping").clone());
            read(&json!({"tls": block}), |fields, context| {
                listener(fields, true, context).expect("a block")
            })
        };
        let (got, said) = with(
            json!({"certificates": [{"cert_file": cert2, "key_file": key2}],
            "client_ca_file": cert, "client_verify": "optional", "min_version": 1.3, "max_version": "1.3"}),
        );
        assert_eq!(said, [""; 0]);
        let verify = got.client_ca.map(|client_ca| client_ca.verify);
        assert_eq!((got.pairs.len(), verify), (2, Some(ClientVerify::Optional)));
        assert_eq!(got.min_version, TlsVersion::V13);
        let (got, _) = with(json!({"client_ca_file": cert}));
        let verify = got.client_ca.map(|client_ca| client_ca.verify);
        assert_eq!(verify, Some(ClientVerify::Require));
        let (got, said) = with(json!({"client_ca_file": cert, "client_verify": "none"}));
        assert_eq!((got.client_ca, said.len()), (None, 0));

        let many: Vec<_> = vec![json!({"cert_file": cert2, "key_file": key2}); PAIRS_MAX];
        let cases = [
            (
                json!({"certificates": [{"cert_file": cert2}]}),
                "tls.certificates[0].key_file: required with `cert_file`".to_owned(),
            ),
            (
                json!({"certificates": [{"cert_file": cert2, "key_file": key}]}),
                format!(
                    "tls.certificates[0].key_file: {key} is not the key of the certificate in {cert2}"
                ),
            ),
            (
                json!({"certificates": many}),
                "tls.certificates: must be 63 at most".to_owned(),
            ),
            (
                json!({"key_file": key2}),
                format!("tls.key_file: {key2} is not the key of the certificate in {cert}"),
            ),
            (
                json!({"client_ca_file": junk}),
                format!("tls.client_ca_file: {junk} holds no PEM certificate"),
            ),
            (
                json!({"client_verify": "require"}),
                "tls.client_ca_file: required with `client_verify`".to_owned(),
            ),
            (
                json!({"client_ca_file": cert, "client_verify": "maybe"}),
                "tls.client_verify: must be one of: require, optional, none".to_owned(),
            ),
            (
                json!({"min_version": "1.1"}),
                "tls.min_version: must be one of: 1.2, 1.3".to_owned(),
            ),
            (
                json!({"max_version": 1}),
                "tls.max_version: must be one of: 1.2, 1.3".to_owned(),
            ),
            (
                json!({"min_version": "1.3", "max_version": "1.2"}),
                "tls.max_version: must not be lower than `min_version`".to_owned(),
            ),
        ];
        for (extra, want) in cases {
            let mut said = with(extra.clone()).1;
            said.dedup();
            assert_eq!(said, [want], "{extra}");
        }
    }

    #[test]
    fn a_doubtful_pair_is_warned_about() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut params = rcgen::CertificateParams::new(["a.test".to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let signing_key = rcgen::KeyPair::generate().expect("a key");
        let made = params.self_signed(&signing_key).expect("signed");
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        std::fs::write(&cert, made.pem()).expect("written");
        std::fs::write(&key, signing_key.serialize_pem()).expect("written");
        set_mode(&key, 0o644);
        let doc = json!({"tls": {"cert_file": cert, "key_file": key}});
        let proxy = |fields: &Fields<'_>, context: &Context<'_>| listener(fields, true, context);
        let (got, said) = read(&doc, proxy);
        assert_eq!(got.expect("a block").pairs.len(), 1);
        let (cert, key) = (cert.display(), key.display());
        let want = [
            format!("tls.cert_file: the certificate in {cert} has expired"),
            format!("tls.key_file: every user of this host can read {key}"),
        ];
        assert_eq!(said, want);
    }

    fn set_mode(path: &Path, mode: u32) {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("ours");
    }
}
