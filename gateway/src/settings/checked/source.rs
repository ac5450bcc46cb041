//! Where resources come from: a file, etcd, or a control plane. [boot]

use std::path::PathBuf;
use std::time::Duration;

use config_sync::tree::Fields;

use super::tls::{Holds, Identity, pair, pem};
use crate::settings::Secret;
use crate::settings::field::{
    Context, HttpUrl, choice, flag, host_port, http_url, millis, path, text, whole,
};

/// Port of etcd where an endpoint names none.
const ETCD_PORT: u16 = 2379;
/// Where a managed gateway keeps its last configuration.
const SNAPSHOT_CACHE: &str = "/var/lib/sluice/config_cache.json";
/// Bounds of the heartbeat; values outside are brought inside, with a warning.
const HEARTBEAT_SECS: (u64, u64) = (5, 300);

/// The one source of resources.
#[derive(Clone, Debug)]
pub enum SourceSettings {
    /// `resources_file`.
    File(PathBuf),
    /// `etcd`.
    Etcd(EtcdSettings),
    /// `managed`.
    Managed(ManagedSettings),
}

/// An etcd store.
#[derive(Clone, Debug)]
pub struct EtcdSettings {
    /// `endpoints`: at least one.
    pub endpoints: Vec<EtcdEndpoint>,
    /// Keys below it are read: `prefix` (default `/sluice`), then `env_id` where set. No trailing `/`.
    pub prefix: Box<str>,
    /// `user` with the name of the variable that holds the password, `password_env`. Default none.
    pub login: Option<EtcdLogin>,
    /// `dial_timeout_ms`. Default 5000 ms, which 0 stands for too.
    pub dial_timeout: Option<Duration>,
    /// `request_timeout_ms`. Default 5000 ms, which 0 stands for too.
    pub request_timeout: Option<Duration>,
    /// `tls`. Default: platform roots, no identity, the endpoint's name.
    pub tls: EtcdTls,
}

/// One server of the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EtcdEndpoint {
    /// Whether TLS is spoken.
    pub https: bool,
    /// Without brackets.
    pub host: Box<str>,
    /// Default 2379.
    pub port: u16,
}

/// Credentials for the store.
#[derive(Clone, Debug)]
pub struct EtcdLogin {
    /// `user`.
    pub user: Box<str>,
    /// Name of the variable, read again at each connect.
    pub password_env: Box<str>,
}

/// TLS to the store.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EtcdTls {
    /// `ca_cert_file`: PEM roots in place of the platform's. Default none.
    pub ca_cert_file: Option<PathBuf>,
    /// `client_cert_file` and `client_key_file`. Default none.
    pub identity: Option<Identity>,
    /// `domain_name`: SNI and name to verify. Default: the host of each endpoint.
    pub domain_name: Option<Box<str>>,
}

/// A control plane.
#[derive(Clone, Debug)]
pub struct ManagedSettings {
    /// `cp_base_url`: addresses to try, by commas; empty: no heartbeat.
    pub cp_base_urls: Vec<Box<str>>,
    /// `cp_etcd_endpoint`: host and port. Default: the host of `cp_base_url`.
    pub cp_etcd_endpoint: Option<(Box<str>, Option<u16>)>,
    /// `cp_ca_cert_file`: a trust root beside the bundle's. Default none.
    pub cp_ca_cert_file: Option<PathBuf>,
    /// `cp_cert_pem` or `cp_cert_file`. Default none.
    pub cert: Option<Material>,
    /// `cp_key_pem` or `cp_key_file`. Default none.
    pub key: Option<Material>,
    /// `cp_ca_pem` or `cp_ca_file`. Default none.
    pub ca: Option<Material>,
    /// `enrollment_token` or `enrollment_token_file`. Default none.
    pub enrollment_token: Option<Material>,
    /// `mtls_dir`: where the bundle is kept. Default `/var/lib/sluice/mtls`.
    pub mtls_dir: PathBuf,
    /// `dp_id_file`. Default `/var/lib/sluice/dp_id`.
    pub dp_id_file: PathBuf,
    /// `heartbeat_interval_secs`. Default 15 s; 5 to 300.
    pub heartbeat_interval: Duration,
    /// `transport`. Default `etcd` with an explicit `cp_etcd_endpoint`, else `long_poll`.
    pub transport: Transport,
    /// `metrics_push`. Default true.
    pub metrics_push: bool,
    /// `snapshot_max_age_hours`: age at which a stored configuration is no longer served. Default
    /// none.
    pub snapshot_max_age: Option<Duration>,
}

/// A piece of an identity: in the file, or beside it.
#[derive(Clone, Debug)]
pub enum Material {
    /// As text.
    Inline(Secret),
    /// In a file.
    File(PathBuf),
}

/// How a managed gateway learns of changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    /// The control plane's own long poll.
    LongPoll,
    /// An etcd watch.
    Etcd,
}

/// What [`source`] reads.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    pub(super) source: SourceSettings,
    pub(super) env_id: Box<str>,
    pub(super) snapshot_cache: Option<PathBuf>,
    pub(super) managed: bool,
}

/// Reads `resources_file`, `etcd` and `managed`, and chooses.
pub(super) fn source(root: &Fields<'_>, context: &Context<'_>) -> Sources {
    let file = path(root, "resources_file");
    let (etcd, env_id) = etcd(root, context);
    let block = root.take_block("managed");
    let is_managed = flag(&block, "enabled", false);
    let managed = managed(&block, is_managed, context);
    let snapshot_cache = match block.take_str("snapshot_cache_path") {
        None => is_managed.then(|| SNAPSHOT_CACHE.into()),
        Some(path) => Some(path)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
    };
    block.finish();

    let has_file = root.take("resources_file").is_some();
    let has_etcd = etcd.is_some();
    if has_file && is_managed {
        root.problem(
            "resources_file",
            "must not be set with `managed.enabled: true`",
        );
    } else if has_file && has_etcd {
        root.problem(
            "resources_file",
            "and `etcd.endpoints` are mutually exclusive",
        );
    } else if !(has_file || has_etcd || is_managed) {
        root.problem("resources_file", "required (or `etcd.endpoints`)");
    }
    let source = match (etcd, file) {
        _ if is_managed => SourceSettings::Managed(managed),
        (Some(etcd), None) => SourceSettings::Etcd(etcd),
        (_, file) => SourceSettings::File(file.unwrap_or_default()),
    };
    Sources {
        source,
        env_id,
        snapshot_cache,
        managed: is_managed,
    }
}

/// The store, where it has endpoints, and `env_id`, which has a meaning without them.
fn etcd(root: &Fields<'_>, context: &Context<'_>) -> (Option<EtcdSettings>, Box<str>) {
    let block = root.take_block("etcd");
    let list = block.take_strings("endpoints").unwrap_or_default();
    let mut endpoints = Vec::new();
    for (index, endpoint) in list.iter().enumerate() {
        match http_url(endpoint) {
            Some(HttpUrl {
                https,
                host,
                port,
                path: "" | "/",
            }) => endpoints.push(EtcdEndpoint {
                https,
                host: host.into(),
                port: port.unwrap_or(ETCD_PORT),
            }),
            _ => block.problem(
                &format!("endpoints[{index}]"),
                "must be `http://host:port` or `https://host:port`",
            ),
        }
    }
    let env_id = block.take_str("env_id").unwrap_or_default();
    if env_id.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
        block.problem("env_id", "must not contain `/` or white space");
    }
    let settings = EtcdSettings {
        endpoints,
        prefix: prefix(&block, env_id),
        login: login(&block, context),
        dial_timeout: millis(&block, "dial_timeout_ms", 5000),
        request_timeout: millis(&block, "request_timeout_ms", 5000),
        tls: etcd_tls(&block),
    };
    block.finish();
    ((!list.is_empty()).then_some(settings), env_id.into())
}

fn prefix(block: &Fields<'_>, env_id: &str) -> Box<str> {
    let prefix = block.take_str("prefix").unwrap_or("/sluice");
    let prefix = prefix.trim_end_matches('/');
    if prefix.is_empty() {
        block.problem("prefix", "must not be blank");
    }
    match env_id {
        "" => prefix.into(),
        _ => format!("{prefix}/{env_id}").into(),
    }
}

fn login(block: &Fields<'_>, context: &Context<'_>) -> Option<EtcdLogin> {
    let (user, password_env) = (text(block, "user"), text(block, "password_env"));
    match (user, password_env) {
        (Some(user), Some(password_env)) => {
            if !context.variables.contains_key(password_env) {
                block.problem(
                    "password_env",
                    format!("names the variable `{password_env}`, which is not set"),
                );
            }
            Some(EtcdLogin {
                user: user.into(),
                password_env: password_env.into(),
            })
        }
        (Some(_), None) => {
            block.problem("password_env", "required with `user`");
            None
        }
        (None, Some(_)) => {
            block.problem("user", "required with `password_env`");
            None
        }
        (None, None) => None,
    }
}

fn etcd_tls(parent: &Fields<'_>) -> EtcdTls {
    let block = parent.take_block("tls");
    let tls = EtcdTls {
        ca_cert_file: pem(&block, "ca_cert_file", Holds::Certificates),
        identity: pair(&block, "client_cert_file", "client_key_file"),
        domain_name: text(&block, "domain_name").map(Box::from),
    };
    block.finish();
    tls
}

fn managed(block: &Fields<'_>, enabled: bool, context: &Context<'_>) -> ManagedSettings {
    let cp_base_urls = base_urls(block);
    let cp_etcd_endpoint = etcd_endpoint(block);
    if enabled && cp_base_urls.is_empty() && cp_etcd_endpoint.is_none() {
        block.problem("cp_base_url", "required (or `cp_etcd_endpoint`)");
    }
    let transport = match cp_etcd_endpoint {
        Some(_) => Transport::Etcd,
        None => Transport::LongPoll,
    };
    let transports = [
        ("long_poll", Transport::LongPoll),
        ("etcd", Transport::Etcd),
    ];
    ManagedSettings {
        cp_base_urls,
        cp_etcd_endpoint,
        cp_ca_cert_file: match enabled {
            true => pem(block, "cp_ca_cert_file", Holds::Certificates),
            false => path(block, "cp_ca_cert_file"),
        },
        cert: material(block, "cp_cert_pem", "cp_cert_file"),
        key: material(block, "cp_key_pem", "cp_key_file"),
        ca: material(block, "cp_ca_pem", "cp_ca_file"),
        enrollment_token: material(block, "enrollment_token", "enrollment_token_file"),
        mtls_dir: path(block, "mtls_dir").unwrap_or_else(|| "/var/lib/sluice/mtls".into()),
        dp_id_file: path(block, "dp_id_file").unwrap_or_else(|| "/var/lib/sluice/dp_id".into()),
        heartbeat_interval: heartbeat(block, context),
        transport: choice(block, "transport", transport, &transports),
        metrics_push: flag(block, "metrics_push", true),
        snapshot_max_age: block
            .take_u64_in("snapshot_max_age_hours", 1, 24 * 365)
            .map(|hours| Duration::from_secs(hours * 3600)),
    }
}

fn base_urls(block: &Fields<'_>) -> Vec<Box<str>> {
    let Some(list) = text(block, "cp_base_url") else {
        return Vec::new();
    };
    let urls: Vec<_> = list
        .split(',')
        .map(|url| url.trim().trim_end_matches('/'))
        .collect();
    if urls.iter().any(|url| http_url(url).is_none()) {
        block.problem(
            "cp_base_url",
            "must be `https://host:port`, or several by commas",
        );
    }
    urls.into_iter().map(Box::from).collect()
}

fn etcd_endpoint(block: &Fields<'_>) -> Option<(Box<str>, Option<u16>)> {
    let endpoint = host_port(text(block, "cp_etcd_endpoint")?);
    if endpoint.is_none() {
        block.problem("cp_etcd_endpoint", "must be `host:port`, without a scheme");
    }
    endpoint.map(|(host, port)| (host.into(), port))
}

fn material<'a>(block: &Fields<'a>, inline: &'a str, file: &'a str) -> Option<Material> {
    let (text, path) = (text(block, inline), path(block, file));
    if block.take(inline).is_some() && block.take(file).is_some() {
        block.problem(file, format!("must not be set beside `{inline}`"));
    }
    let text = text.map(|text| Material::Inline(Secret::from(text.to_owned())));
    text.or_else(|| path.map(Material::File))
}

fn heartbeat(block: &Fields<'_>, context: &Context<'_>) -> Duration {
    let wanted = whole(block, "heartbeat_interval_secs", 15, (0, u64::MAX));
    let (min, max) = HEARTBEAT_SECS;
    let used = wanted.clamp(min, max);
    if used != wanted {
        context.warn(format!(
            "managed.heartbeat_interval_secs is taken as {used}"
        ));
    }
    Duration::from_secs(used)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::field::reading::{Read, read};
    use serde_json::{Value, json};

    fn read_etcd(block: &Value, variables: &[(&str, &str)]) -> (EtcdSettings, Vec<String>) {
        let mut doc = json!({ "etcd": block });
        if doc.pointer("/etcd/endpoints").is_none() {
            doc["etcd"]["endpoints"] = json!(["http://a"]);
        }
        let read = read(&doc, variables, |root, _, context| source(root, context));
        match read.got.source {
            SourceSettings::Etcd(etcd) => (etcd, read.problems),
            other => panic!("not etcd: {other:?}"),
        }
    }

    fn read_managed(mut block: Value) -> (Sources, ManagedSettings, Vec<String>, Vec<String>) {
        block["enabled"] = json!(true);
        let doc = json!({ "managed": block });
        let Read {
            got,
            problems,
            warnings,
        } = read(&doc, &[], |root, _, context| source(root, context));
        match got.source.clone() {
            SourceSettings::Managed(managed) => (got, managed, problems, warnings),
            other => panic!("not managed: {other:?}"),
        }
    }

    #[test]
    fn endpoints_are_urls_with_a_default_port() {
        let list = json!(["http://a", "https://b:1/", "http://[::1]:2"]);
        let (got, problems) = read_etcd(&json!({ "endpoints": list }), &[]);
        assert_eq!(problems, [""; 0]);
        let endpoint = |https, host: &str, port| EtcdEndpoint {
            https,
            host: host.into(),
            port,
        };
        let want = [
            endpoint(false, "a", 2379),
            endpoint(true, "b", 1),
            endpoint(false, "::1", 2),
        ];
        assert_eq!(got.endpoints, want);
        for text in ["a:2379", "http://a/x", "http://u:p@a", ""] {
            let (_, problems) = read_etcd(&json!({"endpoints": [text]}), &[]);
            let want = "etcd.endpoints[0]: must be `http://host:port` or `https://host:port`";
            assert_eq!(problems, [want], "{text}");
        }
    }

    #[test]
    fn the_prefix_ends_with_the_environment() {
        let prefix = |block: Value| String::from(read_etcd(&block, &[]).0.prefix);
        assert_eq!(prefix(json!({})), "/sluice");
        assert_eq!(prefix(json!({"prefix": "/aisix/"})), "/aisix");
        assert_eq!(prefix(json!({"prefix": "/a/", "env_id": "e1"})), "/a/e1");
        for block in [json!({"prefix": "/"}), json!({"env_id": "a/b"})] {
            assert_eq!(read_etcd(&block, &[]).1.len(), 1, "{block}");
        }
    }

    #[test]
    fn defaults_of_the_store_are_the_documented_ones() {
        let (got, _) = read_etcd(&json!({}), &[]);
        let five = Some(Duration::from_secs(5));
        assert_eq!((got.dial_timeout, got.request_timeout), (five, five));
        assert!(got.login.is_none() && got.tls == EtcdTls::default());
        let (got, _) = read_etcd(&json!({"tls": {"domain_name": "etcd.example"}}), &[]);
        assert_eq!(got.tls.domain_name.as_deref(), Some("etcd.example"));
    }

    #[test]
    fn user_and_password_come_together_and_the_variable_is_set() {
        let both = json!({"user": "u", "password_env": "PW"});
        let (got, problems) = read_etcd(&both, &[("PW", "")]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(got.login.map(|login| login.password_env), Some("PW".into()));
        let cases = [
            (
                both,
                "etcd.password_env: names the variable `PW`, which is not set",
            ),
            (
                json!({"user": "u"}),
                "etcd.password_env: required with `user`",
            ),
            (
                json!({"password_env": "PW"}),
                "etcd.user: required with `password_env`",
            ),
        ];
        for (block, want) in cases {
            assert_eq!(read_etcd(&block, &[]).1, [want]);
        }
    }

    #[test]
    fn defaults_of_a_managed_gateway_are_the_documented_ones() {
        let (sources, got, problems, warnings) =
            read_managed(json!({"cp_base_url": "https://a, https://b:1/"}));
        assert_eq!(
            (problems.len(), warnings.len(), sources.managed),
            (0, 0, true)
        );
        assert_eq!(
            got.cp_base_urls,
            [Box::from("https://a"), Box::from("https://b:1")]
        );
        assert_eq!(got.mtls_dir, PathBuf::from("/var/lib/sluice/mtls"));
        assert_eq!(got.dp_id_file, PathBuf::from("/var/lib/sluice/dp_id"));
        assert_eq!(sources.snapshot_cache, Some(SNAPSHOT_CACHE.into()));
        assert_eq!(got.heartbeat_interval, Duration::from_secs(15));
        assert!(got.metrics_push && got.snapshot_max_age.is_none());
        assert_eq!(got.transport, Transport::LongPoll);
        assert!(got.cert.is_none() && got.key.is_none() && got.ca.is_none());
    }

    #[test]
    fn an_explicit_store_of_the_control_plane_means_etcd() {
        let (_, got, problems, _) = read_managed(json!({"cp_etcd_endpoint": "cp:2379"}));
        assert_eq!(problems, [""; 0]);
        assert_eq!(got.cp_etcd_endpoint, Some(("cp".into(), Some(2379))));
        assert_eq!(got.transport, Transport::Etcd);
        let block = json!({"cp_etcd_endpoint": "cp", "transport": "long_poll"});
        assert_eq!(read_managed(block).1.transport, Transport::LongPoll);
    }

    #[test]
    fn what_a_managed_gateway_cannot_do_with_is_named() {
        let cases = [
            (
                json!({}),
                "managed.cp_base_url: required (or `cp_etcd_endpoint`)",
            ),
            (
                json!({"cp_base_url": "a"}),
                "managed.cp_base_url: must be `https://host:port`, or several by commas",
            ),
            (
                json!({"cp_etcd_endpoint": "https://cp", "cp_base_url": "https://a"}),
                "managed.cp_etcd_endpoint: must be `host:port`, without a scheme",
            ),
            (
                json!({"cp_base_url": "https://a", "cp_key_pem": "k", "cp_key_file": "/k"}),
                "managed.cp_key_file: must not be set beside `cp_key_pem`",
            ),
            (
                json!({"cp_base_url": "https://a", "transport": "grpc"}),
                "managed.transport: must be one of: long_poll, etcd",
            ),
            (
                json!({"cp_base_url": "https://a", "snapshot_max_age_hours": 0}),
                "managed.snapshot_max_age_hours: must be 1 to 8760",
            ),
        ];
        for (block, want) in cases {
            assert_eq!(read_managed(block).2, [want]);
        }
    }

    #[test]
    fn the_heartbeat_is_brought_into_its_bounds() {
        for (secs, want, warned) in [(1, 5, 1), (5, 5, 0), (300, 300, 0), (301, 300, 1)] {
            let block = json!({"cp_base_url": "https://a", "heartbeat_interval_secs": secs});
            let (_, got, _, warnings) = read_managed(block);
            assert_eq!(got.heartbeat_interval, Duration::from_secs(want));
            assert_eq!(warnings.len(), warned);
        }
    }

    #[test]
    fn the_snapshot_cache_is_on_by_default_only_when_managed() {
        let cache = |doc: Value| {
            read(&doc, &[], |root, _, context| source(root, context))
                .got
                .snapshot_cache
        };
        assert_eq!(
            cache(json!({"managed": {"snapshot_cache_path": "/c"}})),
            Some("/c".into())
        );
        assert_eq!(
            cache(json!({"managed": {"enabled": true, "snapshot_cache_path": ""}})),
            None
        );
        assert_eq!(cache(json!({})), None);
    }
}
