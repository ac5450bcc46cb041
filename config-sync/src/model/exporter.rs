//! Where usage and traces are sent. [pure]

use std::sync::Arc;

use super::{field, header, refuse_nulls, template};
use crate::secret::Secret;
use crate::tree::{Fields, Problems, Unknown, Value, kind};

mod content;
mod credential_ref;
mod endpoint;
mod object_store;

pub use content::Content;
pub use credential_ref::CredentialRef;
pub use endpoint::Endpoint;
pub use object_store::{Compression, ObjectStore, ObjectStoreAuth, ObjectStoreProvider};

/// Longest name in characters.
const NAME_CHARS_MAX: usize = 120;
/// Sites of Datadog.
const DATADOG_SITES: [&str; 7] = [
    "datadoghq.com",
    "us3.datadoghq.com",
    "us5.datadoghq.com",
    "datadoghq.eu",
    "ap1.datadoghq.com",
    "ap2.datadoghq.com",
    "ddog-gov.com",
];

/// One exporter.
#[derive(Clone, Debug, PartialEq)]
pub struct Exporter {
    /// Name, in metrics and health.
    pub name: Arc<str>,
    /// Whether it runs. Default: yes.
    pub enabled: bool,
    /// Where it sends.
    pub sink: ExporterKind,
}

/// The kinds of exporters.
#[derive(Clone, Debug, PartialEq)]
pub enum ExporterKind {
    /// Traces as OTLP over HTTP.
    OtlpHttp(OtlpHttp),
    /// Logs to Aliyun SLS.
    AliyunSls(AliyunSls),
    /// Logs to Datadog.
    Datadog(Datadog),
    /// Objects of usage events.
    ObjectStore(ObjectStore),
}

/// An OTLP collector.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpHttp {
    /// The full URL for traces.
    pub endpoint: Endpoint,
    /// Headers of every request, by lower-case name.
    pub headers: Vec<(Box<str>, Secret)>,
    /// Headers whose values are in environment variables, by lower-case name. No name is in `headers` too.
    pub header_refs: Vec<(Box<str>, CredentialRef)>,
    /// Share of requests that are traced, 0 to 1. Default 1.
    pub sample_rate: f64,
    /// Whether prompts and answers are sent.
    pub content: Content,
}

/// A log store of Aliyun SLS.
#[derive(Clone, Debug, PartialEq)]
pub struct AliyunSls {
    /// The service; the project is put before its host.
    pub endpoint: Endpoint,
    /// Project.
    pub project: Arc<str>,
    /// Store in the project.
    pub logstore: Arc<str>,
    /// Whose `SLS_CRED_<SLUG>_AK_ID` and `…_AK_SECRET` sign.
    pub credential_ref: CredentialRef,
    /// Whether prompts and answers are sent.
    pub content: Content,
}

/// The log intake of Datadog.
#[derive(Clone, Debug, PartialEq)]
pub struct Datadog {
    /// One of Datadog's sites in lower case, or the `host` or `host:port` of a stand-in.
    pub site: Arc<str>,
    /// Whether the site is a stand-in that is spoken to in plain HTTP.
    pub plaintext: bool,
    /// Whose `DD_CRED_<SLUG>_API_KEY` is sent.
    pub credential_ref: CredentialRef,
    /// Service name.
    pub service: Arc<str>,
    /// Source name. Default `sluice-ai-gateway`.
    pub ddsource: Arc<str>,
    /// Tags of every entry.
    pub tags: Vec<Arc<str>>,
    /// Whether prompts and answers are sent.
    pub content: Content,
}

#[derive(Clone, Copy)]
enum KindName {
    OtlpHttp,
    AliyunSls,
    Datadog,
    ObjectStore,
}

const KINDS: [(&str, KindName); 4] = [
    ("otlp_http", KindName::OtlpHttp),
    ("aliyun_sls", KindName::AliyunSls),
    ("datadog", KindName::Datadog),
    ("object_store", KindName::ObjectStore),
];

impl Exporter {
    /// Reads a document. The result is usable only if no problem was noted.
    pub fn read(value: &Value, problems: &Problems, unknown: Unknown) -> Option<Self> {
        let fields = Fields::new(value, "", problems, unknown);
        let name = field::required_text_within(&fields, "name", 1, NAME_CHARS_MAX);
        let enabled = fields.take_bool("enabled").unwrap_or(true);
        // Which other fields are known is said by the kind.
        let sink = match field::required_choice(&fields, "kind", &KINDS)? {
            KindName::OtlpHttp => read_otlp(&fields).map(ExporterKind::OtlpHttp),
            KindName::AliyunSls => read_sls(&fields).map(ExporterKind::AliyunSls),
            KindName::Datadog => read_datadog(&fields).map(ExporterKind::Datadog),
            KindName::ObjectStore => ObjectStore::read(&fields).map(ExporterKind::ObjectStore),
        };
        fields.finish();
        refuse_nulls(value, "", problems);
        Some(Self {
            name: name?.into(),
            enabled,
            sink: sink?,
        })
    }
}

fn read_otlp(fields: &Fields<'_>) -> Option<OtlpHttp> {
    let plain = endpoint::PlainHosts::read(fields, &["mock-otlp", "otel-collector"]);
    field::required(fields, "endpoint");
    let endpoint = Endpoint::read(fields, "endpoint", &plain);
    let headers = read_headers(fields);
    let header_refs = read_header_refs(fields, &headers);
    let sample_rate = field::number_within(fields, "sample_rate", 0.0, 1.0).unwrap_or(1.0);
    let content = Content::read(fields);
    Some(OtlpHttp {
        endpoint: endpoint?,
        headers,
        header_refs,
        sample_rate,
        content,
    })
}

fn read_headers(fields: &Fields<'_>) -> Vec<(Box<str>, Secret)> {
    let mut headers: Vec<(Box<str>, Secret)> = Vec::new();
    for (path, name, value) in fields.take_entries("headers") {
        let taken = |lower: &str| headers.iter().any(|(known, _)| **known == *lower);
        let Some(lower) = read_header_name(fields, &path, name, taken) else {
            continue;
        };
        let problem = |message: String| fields.problems().push(path.as_str(), message);
        match value.as_str() {
            None => problem(format!("must be a string, not {}", kind(value))),
            Some(text) if !template::is_header_value(text.as_bytes()) => {
                problem("must not hold line breaks or other control characters".to_owned());
            }
            Some(text) => headers.push((lower, text.into())),
        }
    }
    headers
}

fn read_header_refs(
    fields: &Fields<'_>,
    headers: &[(Box<str>, Secret)],
) -> Vec<(Box<str>, CredentialRef)> {
    let mut refs: Vec<(Box<str>, CredentialRef)> = Vec::new();
    for (path, name, value) in fields.take_entries("header_refs") {
        let taken = |lower: &str| {
            headers.iter().any(|(known, _)| **known == *lower)
                || refs.iter().any(|(known, _)| **known == *lower)
        };
        let Some(lower) = read_header_name(fields, &path, name, taken) else {
            continue;
        };
        match value.as_str().filter(|text| !text.is_empty()) {
            Some(text) => refs.push((lower, CredentialRef::new(text))),
            None => {
                let message = "must be the name of a credential, not empty";
                fields.problems().push(path, message);
            }
        }
    }
    refs
}

fn read_header_name(
    fields: &Fields<'_>,
    path: &str,
    name: &str,
    is_taken: impl Fn(&str) -> bool,
) -> Option<Box<str>> {
    let lower = name.to_ascii_lowercase();
    if !header::is_name(name) {
        fields.problems().push(path, "is not a legal header name");
        return None;
    }
    if is_taken(&lower) {
        let message = "is written twice (header names ignore case)";
        fields.problems().push(path, message);
        return None;
    }
    Some(lower.into())
}

fn read_sls(fields: &Fields<'_>) -> Option<AliyunSls> {
    let plain = endpoint::PlainHosts::read(fields, &["mock-sls"]);
    field::required(fields, "endpoint");
    let endpoint = Endpoint::read_within(fields, "endpoint", &plain, ".aliyuncs.com");
    let project = field::text(fields, "project");
    let logstore = field::text(fields, "logstore");
    let credential_ref = CredentialRef::read(fields);
    let content = Content::read(fields);
    Some(AliyunSls {
        endpoint: endpoint?,
        project: project?,
        logstore: logstore?,
        credential_ref: credential_ref?,
        content,
    })
}

fn read_datadog(fields: &Fields<'_>) -> Option<Datadog> {
    let plain = endpoint::PlainHosts::read(fields, &["mock-datadog"]);
    let site = read_site(fields, &plain);
    let credential_ref = CredentialRef::read(fields);
    let service = field::text(fields, "service");
    let ddsource = fields.take_str("ddsource").unwrap_or("sluice-ai-gateway");
    let tags = fields.take_strings("tags").unwrap_or_default();
    let content = Content::read(fields);
    let (site, plaintext) = site?;
    Some(Datadog {
        site,
        plaintext,
        credential_ref: credential_ref?,
        service: service?,
        ddsource: ddsource.into(),
        tags: tags.into_iter().map(Arc::from).collect(),
        content,
    })
}

/// The site, and whether it is a stand-in.
fn read_site(fields: &Fields<'_>, plain: &endpoint::PlainHosts) -> Option<(Arc<str>, bool)> {
    let text = fields.take_required_str("site")?;
    if DATADOG_SITES.contains(&text) {
        return Some((text.into(), false));
    }
    if !plain.admits_text(text) {
        let sites = DATADOG_SITES.join(", ");
        let message = format!(
            "must be one of {sites}, or a loopback address with or without a port (private ones with \
             `allow_plaintext: true`)"
        );
        fields.problem("site", message);
        return None;
    }
    Some((text.to_ascii_lowercase().into(), true))
}

#[cfg(test)]
mod tests;
