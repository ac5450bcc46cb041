use super::*;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use serde_json::json;

/// A certificate and its key, as PEM.
struct Material {
    cert: String,
    key: String,
}

impl Material {
    fn new(algorithm: &'static rcgen::SignatureAlgorithm) -> Self {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let names = vec!["api.example.com".to_owned()];
        let cert = rcgen::CertificateParams::new(names)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        Self {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// The document of the format, with real certificates.
fn example(first: &Material, second: &Material) -> Value {
    json!({"name":"api-example","snis":["api.example.com","*.ai.example.com"],
           "cert":first.cert,"key":first.key,"extra":[{"cert":second.cert,"key":second.key}],
           "client_ca":null,"client_verify":"require","enabled":true})
}

#[test]
fn the_example_of_the_format_is_read_and_not_printed() {
    let (first, second) = (
        Material::new(&PKCS_ECDSA_P256_SHA256),
        Material::new(&PKCS_ED25519),
    );
    let doc = example(&first, &second);
    for unknown in [Unknown::Refused, Unknown::Ignored] {
        let problems = Problems::default();
        let ssl = Ssl::read(&doc, &problems, unknown).unwrap();
        assert!(problems.is_empty(), "{:?}", problems.into_vec());
        let want = [
            Sni::Exact("api.example.com".into()),
            Sni::Wildcard("ai.example.com".into()),
        ];
        assert_eq!(ssl.snis, want);
        assert_eq!(ssl.pairs.len(), 2);
        assert_eq!(ssl.pairs[1].key.expose(), second.key);
        assert_eq!(
            (ssl.client_ca.as_deref(), ssl.client_verify, ssl.enabled),
            (None, ClientVerify::Require, true)
        );
        assert!(!format!("{ssl:?}").contains("BEGIN"));
    }
}

#[test]
fn each_mistake_is_named_by_its_field() {
    let (first, second) = (
        Material::new(&PKCS_ECDSA_P256_SHA256),
        Material::new(&PKCS_ED25519),
    );
    let pem = "-----BEGIN CERTIFICATE-----\ncanary\n-----END CERTIFICATE-----\n";
    let no_certificate = "-----BEGIN CERTIFICATE-----\nY2FuYXJ5\n-----END CERTIFICATE-----\n";
    let no_key = "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n";
    let chain = format!("{}{}", first.cert, second.cert);
    let label = format!("{}.example.com", "a".repeat(64));
    // Fields, paths of problems: strict, lenient.
    let cases = [
        (json!({"cert": chain}), "", ""),
        (
            json!({"client_ca": first.cert, "client_verify": "optional", "enabled": false}),
            "",
            "",
        ),
        (json!({"name": ""}), "name", "name"),
        (json!({"snis": []}), "snis", "snis"),
        (
            json!({"snis": ["a.example", "a.example", "*.a.example"]}),
            "snis[1]",
            "snis[1]",
        ),
        (
            json!({"snis": ["A.example", "*", "*.", "a.*.b", "a*.b", "", 1]}),
            "snis[0] snis[1] snis[2] snis[3] snis[4] snis[5] snis[6]",
            "snis[0] snis[1] snis[2] snis[3] snis[4] snis[5] snis[6]",
        ),
        (
            json!({"snis": ["127.0.0.1", "a..b", "-a.b", label, "a_b.c", "é.de", "localhost"]}),
            "snis[0] snis[1] snis[2] snis[3] snis[4] snis[5]",
            "snis[0] snis[1] snis[2] snis[3] snis[4] snis[5]",
        ),
        (json!({"cert": "canary"}), "cert", "cert"),
        (json!({"cert": pem}), "cert", "cert"),
        (json!({"cert": no_certificate}), "cert", "cert"),
        (json!({"cert": null, "key": ""}), "cert key", "cert key"),
        (json!({"key": "canary"}), "key", "key"),
        (json!({"key": no_key}), "key", "key"),
        (json!({"key": second.key}), "key", "key"),
        (json!({"cert": second.cert}), "key", "key"),
        (json!({"extra": null}), "extra", "extra"),
        (
            json!({"extra": [{"cert": first.cert, "key": second.key}, {}]}),
            "extra[0].key extra[1].cert extra[1].key",
            "extra[0].key extra[1].cert extra[1].key",
        ),
        (json!({"extra": ["canary"]}), "extra[0]", "extra[0]"),
        (json!({"client_ca": "canary"}), "client_ca", "client_ca"),
        (
            json!({"client_verify": "canary"}),
            "client_verify",
            "client_verify",
        ),
        (
            json!({"client_verify": null}),
            "client_verify",
            "client_verify",
        ),
        (json!({"novel": null}), "novel", ""),
    ];
    for (extra, strict, lenient) in cases {
        let mut doc = example(&first, &second);
        for (key, value) in extra.as_object().unwrap() {
            doc[key] = value.clone();
        }
        for (unknown, want) in [(Unknown::Refused, strict), (Unknown::Ignored, lenient)] {
            let problems = Problems::default();
            Ssl::read(&doc, &problems, unknown);
            assert_eq!(problems.paths().join(" "), want, "{unknown:?} {extra}");
            for problem in problems.into_vec() {
                assert!(!problem.message.contains("canary"), "{problem}");
            }
        }
    }
}
