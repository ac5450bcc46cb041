use super::*;
use serde_json::json;

/// Texts of problems, which hold no value of the document.
fn read_as(doc: &Value, unknown: Unknown) -> (Option<Exporter>, Vec<String>) {
    let problems = Problems::default();
    let exporter = Exporter::read(doc, &problems, unknown);
    let paths = problems.paths();
    for problem in problems.into_vec() {
        assert!(!problem.message.contains("canary"), "{problem}");
    }
    (exporter, paths)
}

fn accepted(doc: &Value) -> ExporterKind {
    let (strict, said) = read_as(doc, Unknown::Refused);
    assert!(said.is_empty(), "{doc}: {said:?}");
    let (lenient, said) = read_as(doc, Unknown::Ignored);
    assert!(said.is_empty(), "{doc}: {said:?}");
    assert_eq!(strict, lenient, "{doc}");
    strict.unwrap().sink
}

/// Documents, paths of problems: strict, lenient.
fn check(base: &Value, cases: &[(Value, &str, &str)]) {
    for (extra, strict, lenient) in cases {
        let mut doc = base.clone();
        for (key, value) in extra.as_object().unwrap() {
            doc[key] = value.clone();
        }
        for (unknown, want) in [(Unknown::Refused, strict), (Unknown::Ignored, lenient)] {
            let (_, said) = read_as(&doc, unknown);
            assert_eq!(&said.join(" "), want, "{unknown:?} {doc}");
        }
    }
}

fn otlp() -> Value {
    json!({"name":"traces","kind":"otlp_http","endpoint":"https://otel.example.net/v1/traces"})
}

fn sls() -> Value {
    json!({"name": "l", "kind": "aliyun_sls", "endpoint": "cn-hangzhou.log.aliyuncs.com", "project": "p",
           "logstore": "s", "credential_ref": "prod"})
}

fn datadog() -> Value {
    json!({"name": "d", "kind": "datadog", "site": "us5.datadoghq.com", "credential_ref": "prod-eu", "service": "gw"})
}

fn object_store() -> Value {
    json!({"name": "o", "kind": "object_store", "provider": "s3", "bucket": "b", "prefix": "usage/", "credential_ref": "prod"})
}

#[test]
fn what_all_kinds_share_is_checked() {
    for base in [otlp(), sls(), datadog(), object_store()] {
        check(
            &base,
            &[
                (json!({}), "", ""),
                (json!({"enabled": false, "name": "x".repeat(120)}), "", ""),
                (json!({"name": "x".repeat(121)}), "name", "name"),
                (json!({"name": ""}), "name", "name"),
                (json!({"enabled": "canary"}), "enabled", "enabled"),
                (json!({"enabled": null}), "enabled", "enabled"),
                (json!({"kind": "kafka"}), "kind", "kind"),
                (json!({"novel": null}), "novel", ""),
            ],
        );
    }
    check(&json!({}), &[(json!({}), "name kind", "name kind")]);
}

#[test]
fn a_field_of_another_kind_is_unknown() {
    check(&otlp(), &[(json!({"site": "datadoghq.com"}), "site", "")]);
    check(&sls(), &[(json!({"headers": {}}), "headers", "")]);
    check(
        &datadog(),
        &[(json!({"sample_rate": 1}), "sample_rate", "")],
    );
    check(
        &object_store(),
        &[(json!({"content_mode": "full"}), "content_mode", "")],
    );
}

#[test]
fn content_is_sent_only_where_asked_for() {
    let cases = [
        (json!({}), Content::MetadataOnly),
        (
            json!({"content_mode": "metadata_only", "content_max_bytes": 7}),
            Content::MetadataOnly,
        ),
        (
            json!({"content_mode": "full"}),
            Content::Full { bytes_max: 131_072 },
        ),
        (
            json!({"content_mode": "full", "content_max_bytes": 1_048_576}),
            Content::Full {
                bytes_max: 1_048_576,
            },
        ),
    ];
    for (extra, want) in cases {
        let mut doc = otlp();
        for (key, value) in extra.as_object().unwrap() {
            doc[key] = value.clone();
        }
        let ExporterKind::OtlpHttp(found) = accepted(&doc) else {
            panic!("{doc}")
        };
        assert_eq!(found.content, want, "{extra}");
    }
    for base in [otlp(), sls(), datadog()] {
        check(
            &base,
            &[
                (
                    json!({"content_mode": "canary"}),
                    "content_mode",
                    "content_mode",
                ),
                (
                    json!({"content_max_bytes": 0}),
                    "content_max_bytes",
                    "content_max_bytes",
                ),
                (
                    json!({"content_max_bytes": 1_048_577}),
                    "content_max_bytes",
                    "content_max_bytes",
                ),
            ],
        );
    }
}

#[test]
fn a_collector_is_read_and_its_headers_are_not_printed() {
    let mut doc = otlp();
    doc["endpoint"] = json!("https://Otel.example.net:4318/v1/traces?key=canary");
    doc["headers"] = json!({"Authorization": "Bearer canary"});
    doc["header_refs"] = json!({"x-tenant": "prod-eu"});
    doc["sample_rate"] = json!(0.25);
    let sink = accepted(&doc);
    assert!(!format!("{sink:?}").contains("canary"));
    let ExporterKind::OtlpHttp(found) = sink else {
        panic!("otlp")
    };
    assert_eq!(
        (
            &*found.endpoint.host,
            found.endpoint.port,
            found.endpoint.https
        ),
        ("otel.example.net", 4318, true)
    );
    assert_eq!(
        found.headers,
        [("authorization".into(), Secret::from("Bearer canary"))]
    );
    assert_eq!(
        found.header_refs[0].1.variable("OTLP_CRED", ""),
        "OTLP_CRED_PROD_EU"
    );
    assert_eq!(found.sample_rate, 0.25);
    // The example of the format.
    let mut doc = otlp();
    doc["sample_rate"] = json!(0.1);
    assert!(matches!(accepted(&doc), ExporterKind::OtlpHttp(_)));
    check(
        &otlp(),
        &[
            (json!({"sample_rate": 1.5}), "sample_rate", "sample_rate"),
            (
                json!({"headers": {"a b": "canary"}}),
                "headers.a b",
                "headers.a b",
            ),
            (
                json!({"headers": {"a": "canary\n"}}),
                "headers.a",
                "headers.a",
            ),
            (json!({"headers": {"a": 1}}), "headers.a", "headers.a"),
            (
                json!({"headers": {"a": "x", "A": "canary"}}),
                "headers.A",
                "headers.A",
            ),
            (json!({"headers": "canary"}), "headers", "headers"),
            (
                json!({"headers": {"a": "x"}, "header_refs": {"A": "r"}}),
                "header_refs.A",
                "header_refs.A",
            ),
            (
                json!({"header_refs": {"a": "", "b": 1}}),
                "header_refs.a header_refs.b",
                "header_refs.a header_refs.b",
            ),
        ],
    );
}

#[test]
fn plain_http_stays_near() {
    let plain = |endpoint: &str, extra: Value| {
        let mut fields = json!({ "endpoint": endpoint });
        for (key, value) in extra.as_object().unwrap() {
            fields[key] = value.clone();
        }
        fields
    };
    let allowed = || json!({"allow_plaintext": true});
    check(
        &otlp(),
        &[
            (plain("http://127.0.0.1:4318/v1/traces", json!({})), "", ""),
            (plain("http://localhost/x", json!({})), "", ""),
            (plain("http://[::1]:4318", json!({})), "", ""),
            (plain("http://10.0.0.5", json!({})), "endpoint", "endpoint"),
            (plain("http://10.0.0.5", allowed()), "", ""),
            (plain("http://192.168.1.5", allowed()), "", ""),
            (plain("http://[fd00::5]", allowed()), "", ""),
            (plain("http://192.0.2.1", allowed()), "endpoint", "endpoint"),
            (
                plain("http://169.254.169.254", allowed()),
                "endpoint",
                "endpoint",
            ),
            (
                plain("http://example.net", allowed()),
                "endpoint",
                "endpoint",
            ),
            (
                plain("http://127.0.0.1@example.net", json!({})),
                "endpoint endpoint",
                "endpoint",
            ),
            (plain("http://mock-otlp:4318", json!({})), "endpoint", ""),
            (plain("http://otel-collector/v1", json!({})), "endpoint", ""),
            (plain("http://minio", json!({})), "endpoint", "endpoint"),
            (
                plain("https://u:canary@otel.example.net", json!({})),
                "endpoint",
                "",
            ),
            (plain("otel.example.net", json!({})), "endpoint", "endpoint"),
            (plain("ftp://localhost", json!({})), "endpoint", "endpoint"),
            (plain("https:///canary", json!({})), "endpoint", "endpoint"),
            (plain("https://a b", json!({})), "endpoint", "endpoint"),
            (plain("", json!({})), "endpoint", "endpoint"),
            (json!({"endpoint": null}), "endpoint", "endpoint"),
            (
                json!({"allow_plaintext": "yes"}),
                "allow_plaintext",
                "allow_plaintext",
            ),
        ],
    );
}

#[test]
fn a_log_store_is_within_its_vendor() {
    let at = |endpoint: &str| json!({ "endpoint": endpoint });
    check(
        &sls(),
        &[
            (at("https://cn-hangzhou.log.aliyuncs.com"), "", ""),
            (at("aliyuncs.com"), "endpoint", "endpoint"),
            (at("log.aliyuncs.com.example.net"), "endpoint", "endpoint"),
            (
                at("https://example.net/.aliyuncs.com"),
                "endpoint",
                "endpoint",
            ),
            (at("evilaliyuncs.com"), "endpoint", "endpoint"),
            (
                at("http://cn-hangzhou.log.aliyuncs.com"),
                "endpoint",
                "endpoint",
            ),
            (at("http://127.0.0.1:8080"), "", ""),
            (at("http://mock-sls"), "endpoint", ""),
            (
                json!({"project": "", "logstore": "", "credential_ref": ""}),
                "project logstore credential_ref",
                "project logstore credential_ref",
            ),
        ],
    );
    let ExporterKind::AliyunSls(found) = accepted(&sls()) else {
        panic!("sls")
    };
    assert_eq!((found.endpoint.https, found.endpoint.port), (true, 443));
    assert_eq!(
        found.credential_ref.variable("SLS_CRED", "AK_ID"),
        "SLS_CRED_PROD_AK_ID"
    );
}

#[test]
fn a_log_intake_is_one_of_the_sites_or_near() {
    let at = |site: &str| json!({ "site": site });
    check(
        &datadog(),
        &[
            (at("datadoghq.eu"), "", ""),
            (at("ddog-gov.com"), "", ""),
            (at("us4.datadoghq.com"), "site", "site"),
            (at("https://datadoghq.com"), "site", "site"),
            (at("127.0.0.1:8080"), "", ""),
            (at("localhost"), "", ""),
            (at("[::1]:80"), "", ""),
            (at("mock-datadog:8080"), "site", ""),
            (at("10.0.0.1"), "site", "site"),
            (
                json!({"site": "10.0.0.1:80", "allow_plaintext": true}),
                "",
                "",
            ),
            (at("127.0.0.1/x"), "site", "site"),
            (json!({"service": ""}), "service", "service"),
            (json!({"tags": ["env:prod", 1]}), "tags[1]", "tags[1]"),
        ],
    );
    let ExporterKind::Datadog(found) = accepted(&datadog()) else {
        panic!("datadog")
    };
    assert_eq!(
        (&*found.ddsource, found.plaintext),
        ("sluice-ai-gateway", false)
    );
}

#[test]
fn a_bucket_is_written_to_by_someone() {
    let ExporterKind::ObjectStore(found) = accepted(&object_store()) else {
        panic!("object store")
    };
    assert_eq!(
        (found.compression, found.endpoint),
        (Compression::Gzip, None)
    );
    let ObjectStoreAuth::CredentialRef(reference) = found.auth else {
        panic!("a reference")
    };
    assert_eq!(
        reference.variable("OBJSTORE_CRED", "AZURE_ACCOUNT"),
        "OBJSTORE_CRED_PROD_AZURE_ACCOUNT"
    );
    let mut bare = object_store();
    bare.as_object_mut().unwrap().shift_remove("credential_ref");
    check(
        &bare,
        &[
            (json!({}), "credential_ref", "credential_ref"),
            (json!({"auth_mode": "cloud_identity"}), "", ""),
            (
                json!({"auth_mode": "cloud_identity", "provider": "gcs"}),
                "",
                "",
            ),
            (
                json!({"auth_mode": "cloud_identity", "provider": "azure_blob"}),
                "auth_mode",
                "auth_mode",
            ),
            (
                json!({"auth_mode": "cloud_identity", "endpoint": "https://minio.example.net"}),
                "auth_mode",
                "",
            ),
        ],
    );
    check(
        &object_store(),
        &[
            (
                json!({"provider": "azure_blob", "region": "eu", "compression": "none", "prefix": ""}),
                "",
                "",
            ),
            (json!({"endpoint": "http://127.0.0.1:9000"}), "", ""),
            (json!({"endpoint": "http://minio:9000"}), "endpoint", ""),
            (
                json!({"endpoint": "http://fake-gcs-server"}),
                "endpoint",
                "",
            ),
            (
                json!({"endpoint": "http://example.net"}),
                "endpoint",
                "endpoint",
            ),
            (json!({"provider": "minio"}), "provider", "provider"),
            (
                json!({"bucket": "", "prefix": 1}),
                "bucket prefix",
                "bucket prefix",
            ),
            (json!({"prefix": null}), "prefix", "prefix"),
            (json!({"compression": "zstd"}), "compression", "compression"),
            (json!({"auth_mode": "key"}), "auth_mode", "auth_mode"),
            (
                json!({"credential_ref": ""}),
                "credential_ref",
                "credential_ref",
            ),
        ],
    );
}
