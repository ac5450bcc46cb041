//! Upstream credentials and what goes with them. [pure]

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use zeroize::Zeroizing;

use super::base_url::{self, BaseUrl};
use super::glob::Glob;
use super::template::Template;
use super::{credential, header};
use crate::secret::Secret;
use crate::tree::{Fields, Problems, Unknown, Value, kind};

/// The wire protocol and authentication of an upstream.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Adapter {
    /// OpenAI and whoever copied its wire.
    Openai,
    /// Anthropic Messages.
    Anthropic,
    /// AWS Bedrock.
    Bedrock,
    /// Google Vertex AI.
    Vertex,
    /// Azure OpenAI deployments.
    AzureOpenai,
}

const ADAPTERS: [(&str, Adapter); 5] = [
    ("openai", Adapter::Openai),
    ("anthropic", Adapter::Anthropic),
    ("bedrock", Adapter::Bedrock),
    ("vertex", Adapter::Vertex),
    ("azure-openai", Adapter::AzureOpenai),
];

/// Whether a stream must end with `[DONE]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DoneMarker {
    /// Its absence is logged.
    Required,
    /// Either way.
    Optional,
    /// Its presence is logged.
    None,
}

const DONE_MARKERS: [(&str, DoneMarker); 3] = [
    ("required", DoneMarker::Required),
    ("optional", DoneMarker::Optional),
    ("none", DoneMarker::None),
];

/// Caller headers that passthrough routes do not relay unless the key says otherwise.
const STRIPPED_HEADERS: [&str; 4] = ["authorization", "cookie", "set-cookie", "x-api-key"];

/// Body fields that are the gateway's own and must not be renamed, from or to.
const BODY_FIELDS_KEPT: [&str; 3] = ["model", "messages", "stream"];

/// One upstream credential, ready to use.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderKey {
    /// Resource id.
    pub id: Arc<str>,
    /// Display name.
    pub name: Arc<str>,
    /// Vendor id as written; may be empty.
    pub vendor: Arc<str>,
    /// The adapter that serves it on every surface; `None`: no dispatch is possible.
    pub adapter: Option<Adapter>,
    /// The credential: plain, or JSON text for some adapters (its shape is checked).
    pub api_key: Secret,
    /// Where requests go; `None`: no base was given and the vendor has no default.
    pub base: Option<BaseUrl>,
    /// Headers of upstream requests.
    pub headers: HeaderPolicy,
    /// Lower-case names of caller headers that passthrough routes do not relay.
    pub strip_headers: Box<[Box<str>]>,
    /// Edits of request bodies.
    pub body: BodyPolicy,
    /// What is expected of the end of a stream; `None`: nothing.
    pub stream_done_marker: Option<DoneMarker>,
    /// Dotted path, starting with `delta.`, of reasoning text to copy to `delta.reasoning_content`.
    pub reasoning_field: Option<Box<str>>,
    /// Trust for this upstream.
    pub tls: KeyTls,
}

/// Headers that an operator adds or lets through.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HeaderPolicy {
    /// Lower-case name and value of headers added where the gateway sets none.
    pub defaults: Vec<(Box<str>, Template)>,
    /// Lower-cased names of caller headers relayed.
    pub forward: Vec<Glob>,
}

/// Edits of the request body, in the order of the fields.
#[derive(Clone, Default, PartialEq)]
pub struct BodyPolicy {
    /// Top-level keys: the value moves from the left name to the right.
    pub renames: Vec<(Box<str>, Box<str>)>,
    /// Lower bound of `temperature`.
    pub temperature_min: Option<f64>,
    /// Upper bound of `temperature`.
    pub temperature_max: Option<f64>,
    /// Top-level key and JSON text of fields added where absent. May hold credentials.
    pub defaults: Vec<(Box<str>, Zeroizing<Box<str>>)>,
    /// Text-part lists in `messages[].content` become one string.
    pub content_list_to_string: bool,
}

impl fmt::Debug for BodyPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let defaults: Vec<&str> = self.defaults.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("BodyPolicy")
            .field("renames", &self.renames)
            .field("temperature_min", &self.temperature_min)
            .field("temperature_max", &self.temperature_max)
            .field("defaults (values ***)", &defaults)
            .field("content_list_to_string", &self.content_list_to_string)
            .finish()
    }
}

/// Trust settings of one provider key, on top of the deployment's.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct KeyTls {
    /// PEM roots added for this upstream; each is known to parse. `None` where blank.
    pub ca_cert: Option<Box<str>>,
    /// `false` accepts any certificate.
    pub verify: bool,
    /// Name that is asked for and that the certificate must hold, in the place of the host of the
    /// base URL; known to be a host name or an address. `None` where blank.
    pub server_name: Option<Box<str>>,
}

impl Default for KeyTls {
    /// The deployment's own trust, and the host's own name.
    fn default() -> Self {
        Self {
            ca_cert: None,
            verify: true,
            server_name: None,
        }
    }
}

/// A provider key as read from its document, not yet given its id.
#[derive(Clone, Debug)]
pub struct ProviderKeyDocument {
    key: ProviderKey,
    /// Fields that are set and have no effect in this version.
    pub unenforced: Vec<&'static str>,
    /// `provider` names a vendor with an adapter of its own, and `adapter` says another.
    pub adapter_disagrees: bool,
}

impl ProviderKeyDocument {
    /// Reads a document. The result is usable only if no problem was noted.
    pub fn read(value: &Value, problems: &Problems, unknown: Unknown) -> Self {
        let fields = Fields::new(value, "", problems, unknown);
        fields.refuse_null(&["provider", "strip_headers"]);
        let name: Arc<str> = fields
            .take_required_str("display_name")
            .unwrap_or("")
            .into();
        let vendor = fields.take_str("provider").unwrap_or("");
        let (adapter, adapter_disagrees) = read_adapter(&fields, vendor);
        let api_key = read_api_key(&fields, adapter);
        let tls = read_tls(fields.take_block("tls"));
        let api_base = fields.take_str("api_base");
        let base = base_url::resolve(api_base, vendor, adapter, &tls).unwrap_or_else(|error| {
            fields.problem("api_base", error.to_string());
            None
        });
        let mut unenforced = Vec::new();
        if fields.take("telemetry_tags").is_some() {
            read_telemetry_tags(fields.take_block("telemetry_tags"));
            unenforced.push("telemetry_tags");
        }
        let (headers, mut body) = read_request(fields.take_block("request"));
        let response = fields.take_block("response");
        response.refuse_null(&["content_list_to_string"]);
        body.content_list_to_string = response
            .take_bool("content_list_to_string")
            .unwrap_or(false);
        let stream_done_marker = response.take_choice("stream_done_marker", &DONE_MARKERS);
        let reasoning_field = read_reasoning_field(&response);
        response.take_str("error_envelope");
        response.finish();
        let strip_headers = read_strip_headers(&fields);
        fields.finish();
        Self {
            key: ProviderKey {
                id: "".into(),
                name,
                vendor: vendor.into(),
                adapter,
                api_key,
                base,
                headers,
                strip_headers,
                body,
                stream_done_marker,
                reasoning_field,
                tls,
            },
            unenforced,
            adapter_disagrees,
        }
    }

    /// Whether the upstream must prove who it is.
    pub fn verifies_certificates(&self) -> bool {
        self.key.tls.verify
    }

    /// Whether a request can be sent at all: adapters with a resolver need a base.
    pub fn is_usable(&self) -> bool {
        match self.key.adapter {
            Some(Adapter::Openai | Adapter::Anthropic) => self.key.base.is_some(),
            Some(Adapter::Bedrock | Adapter::Vertex | Adapter::AzureOpenai) => true,
            None => false,
        }
    }

    /// The key under its id.
    pub fn into_key(self, id: Arc<str>) -> ProviderKey {
        ProviderKey { id, ..self.key }
    }
}

/// `adapter` decides where present; else the vendors with an adapter of their name imply it.
fn read_adapter(fields: &Fields<'_>, vendor: &str) -> (Option<Adapter>, bool) {
    let written = fields.take_choice("adapter", &ADAPTERS);
    let implied = match vendor {
        "openai" => Some(Adapter::Openai),
        "anthropic" => Some(Adapter::Anthropic),
        _ => None,
    };
    let disagrees = written.is_some() && implied.is_some() && written != implied;
    (written.or(implied), disagrees)
}

fn read_api_key(fields: &Fields<'_>, adapter: Option<Adapter>) -> Secret {
    let Some(value) = fields.take_renamed("api_key", "secret") else {
        fields.problem("api_key", "is required");
        return Secret::from("");
    };
    let name = match fields.take("api_key") {
        Some(_) => "api_key",
        None => "secret",
    };
    credential::read(value, adapter).unwrap_or_else(|message| {
        fields.problem(name, message);
        Secret::from("")
    })
}

fn read_tls(fields: Fields<'_>) -> KeyTls {
    fields.refuse_null(&["verify"]);
    let verify = fields.take_bool("verify").unwrap_or(true);
    let ca_cert = fields
        .take_str("ca_cert")
        .filter(|pem| !pem.trim().is_empty());
    if ca_cert.is_some_and(|pem| !holds_roots(pem)) {
        fields.problem(
            "ca_cert",
            "must be certificates in PEM, each usable as a root",
        );
    }
    let server_name = fields
        .take_str("server_name")
        .map(str::trim)
        .filter(|name| !name.is_empty());
    if server_name.is_some_and(|name| ServerName::try_from(name).is_err()) {
        fields.problem("server_name", "must be a host name or an address");
    }
    fields.finish();
    KeyTls {
        ca_cert: ca_cert.map(Into::into),
        verify,
        server_name: server_name.map(Into::into),
    }
}

/// Whether `pem` holds at least one certificate, and every one of them can be a trust anchor.
fn holds_roots(pem: &str) -> bool {
    let mut roots = RootCertStore::empty();
    let all_usable = CertificateDer::pem_slice_iter(pem.as_bytes())
        .all(|certificate| certificate.is_ok_and(|der| roots.add(der).is_ok()));
    all_usable && !roots.is_empty()
}

fn read_telemetry_tags(fields: Fields<'_>) {
    fields.refuse_null(&["featured"]);
    fields.take_choice("kind", &[("catalog", ()), ("byo", ())]);
    fields.take_bool("featured");
    for key in ["branded_provider", "pk_label", "byo_label"] {
        fields.take_str(key);
    }
    fields.finish();
}

fn read_request(fields: Fields<'_>) -> (HeaderPolicy, BodyPolicy) {
    fields.refuse_null(&[
        "param_renames",
        "default_headers",
        "forward_client_headers",
        "default_body_fields",
    ]);
    let headers = HeaderPolicy {
        defaults: read_default_headers(&fields),
        forward: read_forwarded_headers(&fields),
    };
    let (temperature_min, temperature_max) = read_clamp(fields.take_block("param_constraints"));
    let body = BodyPolicy {
        renames: read_renames(&fields),
        temperature_min,
        temperature_max,
        defaults: fields
            .take_entries("default_body_fields")
            .into_iter()
            .map(|(_, name, value)| {
                let json = value.to_string().into_boxed_str();
                (name.into(), Zeroizing::new(json))
            })
            .collect(),
        content_list_to_string: false,
    };
    fields.finish();
    (headers, body)
}

fn read_default_headers(fields: &Fields<'_>) -> Vec<(Box<str>, Template)> {
    let mut headers: Vec<(Box<str>, Template)> = Vec::new();
    for (path, name, value) in fields.take_entries("default_headers") {
        let problem = |message: String| fields.problems().push(path.as_str(), message);
        let lower = name.to_ascii_lowercase();
        if !header::is_name(name) {
            problem("is not a legal header name".to_owned());
            continue;
        }
        if header::is_reserved(&lower) {
            // Older rows carry such names; they were never sent.
            if fields.unknown() == Unknown::Refused {
                problem("is a header that only the gateway sets".to_owned());
            }
            continue;
        }
        if headers.iter().any(|(known, _)| **known == *lower) {
            problem("is written twice (header names ignore case)".to_owned());
            continue;
        }
        match value.as_str().map(Template::parse) {
            None => problem(format!("must be a string, not {}", kind(value))),
            Some(Err(error)) => problem(error.to_string()),
            Some(Ok(template)) => headers.push((lower.into(), template)),
        }
    }
    headers
}

fn read_forwarded_headers(fields: &Fields<'_>) -> Vec<Glob> {
    super::read_globs(fields, "forward_client_headers", str::to_ascii_lowercase)
}

/// Trimmed, lower-cased and distinct; a list replaces the default, an empty one too.
fn read_strip_headers(fields: &Fields<'_>) -> Box<[Box<str>]> {
    let Some(written) = fields.take_strings("strip_headers") else {
        return STRIPPED_HEADERS.map(Box::from).into();
    };
    let mut names: Vec<Box<str>> = Vec::new();
    for name in written {
        let name = name.trim().to_ascii_lowercase();
        if !name.is_empty() && !names.iter().any(|known| **known == *name) {
            names.push(name.into());
        }
    }
    names.into()
}

fn read_clamp(fields: Fields<'_>) -> (Option<f64>, Option<f64>) {
    let min = fields.take_f64("temperature_min");
    let max = fields.take_f64("temperature_max");
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        fields.problem("temperature_min", "must not be above temperature_max");
    }
    fields.finish();
    (min, max)
}

fn read_renames(fields: &Fields<'_>) -> Vec<(Box<str>, Box<str>)> {
    let mut renames = Vec::new();
    for (path, from, to) in fields.take_entries("param_renames") {
        let problem = |message: String| fields.problems().push(path.as_str(), message);
        match to {
            Value::String(to) if to.is_empty() => problem("must not be empty".to_owned()),
            Value::String(to) => {
                let kept = [from, to.as_str()];
                if kept.iter().any(|name| BODY_FIELDS_KEPT.contains(name)) {
                    problem("must not rename model, messages or stream, nor to them".to_owned());
                } else if from != to {
                    renames.push((from.into(), to.as_str().into()));
                }
            }
            other => problem(format!("must be a string, not {}", kind(other))),
        }
    }
    renames
}

fn read_reasoning_field(fields: &Fields<'_>) -> Option<Box<str>> {
    let path = fields.take_str("reasoning_field")?;
    let lifted = path
        .strip_prefix("delta.")
        .is_some_and(|rest| rest.split('.').all(|segment| !segment.is_empty()));
    if lifted {
        return Some(path.into());
    }
    // An older row with another path loads; nothing was ever lifted from there.
    if fields.unknown() == Unknown::Refused {
        fields.problem(
            "reasoning_field",
            "must be a dotted path that starts with `delta.`",
        );
    }
    None
}

#[cfg(test)]
mod tests;
