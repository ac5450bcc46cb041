//! What a certificate says of itself: names and dates. [pure]

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Longest client name that is kept, in characters.
const CLIENT_NAME_CHARS_MAX: usize = 256;

/// Names and dates of a server's certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Facts {
    /// DNS names, in lower case; a first label `*` stands for any one label.
    pub names: Vec<Box<str>>,
    /// First second of its time, Unix.
    pub not_before: i64,
    /// Last second of its time, Unix.
    pub not_after: i64,
}

/// Reads the certificate `der`; `None` where it is none.
pub(crate) fn facts(der: &[u8]) -> Option<Facts> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    let names = alternatives(&certificate).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into()),
        _ => None,
    });
    Some(Facts {
        names: names.collect(),
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
    })
}

/// What the verified certificate `der` calls its holder: the first DNS name, else URI, else mail
/// address of its alternative names, else its common name. Cut to 256 characters.
pub(crate) fn client_name(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let first =
        |pick: fn(&GeneralName<'_>) -> Option<String>| alternatives(&certificate).find_map(pick);
    let dns = first(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    let uri = || {
        first(|name| match name {
            GeneralName::URI(name) => Some((*name).to_owned()),
            _ => None,
        })
    };
    let mail = || {
        first(|name| match name {
            GeneralName::RFC822Name(name) => Some((*name).to_owned()),
            _ => None,
        })
    };
    let common = || {
        let mut names = certificate.subject().iter_common_name();
        Some(names.next()?.as_str().ok()?.to_owned())
    };
    let name = dns.or_else(uri).or_else(mail).or_else(common)?;
    let name: String = name.chars().take(CLIENT_NAME_CHARS_MAX).collect();
    Some(name).filter(|name| !name.is_empty())
}

fn alternatives<'c>(
    certificate: &'c X509Certificate<'_>,
) -> impl Iterator<Item = &'c GeneralName<'c>> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension.map(|extension| &extension.value.general_names);
    names.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

    fn made(names: Vec<SanType>, common: &str) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.distinguished_name.push(DnType::CommonName, common);
        params.not_after = date_time_ymd(2030, 1, 1);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("signed").der().to_vec()
    }

    #[test]
    fn a_client_is_called_by_its_most_telling_name() {
        let dns = || SanType::DnsName("svc.test".try_into().expect("ASCII"));
        let uri = || SanType::URI("spiffe://a/b".try_into().expect("ASCII"));
        let mail = || SanType::Rfc822Name("ann@a.test".try_into().expect("ASCII"));
        let address = || SanType::IpAddress([127, 0, 0, 1].into());
        let long = "x".repeat(300);
        let cases = [
            (vec![mail(), uri(), dns()], "cn", Some("svc.test")),
            (vec![mail(), uri()], "cn", Some("spiffe://a/b")),
            (vec![address(), mail()], "cn", Some("ann@a.test")),
            (vec![address()], "cn", Some("cn")),
            (Vec::new(), &long, Some(&long[..256])),
        ];
        for (names, common, want) in cases {
            let der = made(names.clone(), common);
            assert_eq!(client_name(&der).as_deref(), want, "{names:?}");
        }
        assert_eq!(client_name(b"junk"), None);
    }

    #[test]
    fn names_are_in_lower_case_and_dates_in_unix_seconds() {
        let names = ["A.test", "*.b.test"];
        let sans = names.map(|name| SanType::DnsName(name.try_into().expect("ASCII")));
        let facts = facts(&made(sans.to_vec(), "cn")).expect("a certificate");
        assert_eq!(facts.names, [Box::from("a.test"), Box::from("*.b.test")]);
        assert_eq!(facts.not_after, 1_893_456_000);
        assert!(facts.not_before < facts.not_after);
    }
}
