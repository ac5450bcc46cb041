//! What the checked settings say, as facts. [boot]

use std::net::IpAddr;
use std::path::Path;

use super::super::facts::{
    Etcd, Gateway, Holds, Keyring, Listener, ListenerTls as Protection, Wanted, Zone,
};
use super::files::Named;
use super::resources;
use crate::settings::{
    ClientVerify, EtcdEndpoint, EtcdSettings, IoEngine, KeyDigest, ListenerTls, Settings,
    SourceSettings, TrustSettings, store,
};

/// Admin keys that stand in a documentation.
const EXAMPLE_ADMIN_KEYS: [&str; 4] = [
    "use-a-long-random-value-here",
    "edd1c9f034335f136f87ad84b625c8f1",
    "changeme",
    "admin",
];

pub(super) fn wanted(settings: &Settings) -> Wanted {
    match settings.proxy.io_engine {
        IoEngine::Auto => Wanted::Auto,
        IoEngine::IoUring => Wanted::IoUring,
        IoEngine::Epoll => Wanted::Epoll,
    }
}

/// The facts of the startup file at `path`.
pub(super) fn gateway(path: &Path, settings: &Settings, warnings: Vec<String>) -> Gateway {
    let per_worker = settings.proxy.max_connections_per_worker;
    let mut named = Named::default();
    named.file("--config", path, Holds::Settings);
    name_files(settings, &mut named);
    let mut examples = EXAMPLE_ADMIN_KEYS.iter().map(|key| KeyDigest::of(key));
    let admin = settings.admin.as_ref();
    Gateway {
        warnings,
        workers: settings.proxy.workers.get(),
        connections_max: per_worker.map(std::num::NonZero::get),
        memory: settings.proxy.memory,
        body_bytes_max: settings.proxy.json_body_bytes_max,
        listeners: listeners(settings),
        admin_key_of_an_example: admin.is_some_and(|admin| {
            examples.any(|example| {
                admin.keys.contains(&example) || admin.read_only_keys.contains(&example)
            })
        }),
        files: named.files,
        certificates: named.certificates,
        etcd: match &settings.source {
            SourceSettings::Etcd(etcd) => Some(etcd_facts(etcd)),
            SourceSettings::File(_) | SourceSettings::Managed(_) => None,
        },
        resources: match &settings.source {
            SourceSettings::File(path) => Some(resources::resources(path, settings)),
            SourceSettings::Etcd(_) | SourceSettings::Managed(_) => None,
        },
        keyring: settings.secrets.keyring_file.as_ref().map(|_| Keyring {
            has_master_key: store::master_keys(&settings.secrets, &mut drop)
                .is_ok_and(|keys| !keys.is_empty()),
        }),
    }
}

fn listeners(settings: &Settings) -> Vec<Listener> {
    let prometheus = &settings.observability.prometheus;
    let proxy = &settings.proxy;
    let of = |zone, addr, tls: Option<&ListenerTls>| Listener {
        zone,
        addr,
        tls: protection(tls),
    };
    let mut listeners = vec![of(Zone::Proxy, proxy.addr, proxy.tls.as_ref())];
    let admin = settings.admin.as_ref();
    listeners.extend(admin.map(|admin| of(Zone::Admin, admin.addr, admin.tls.as_ref())));
    listeners.push(of(Zone::Metrics, prometheus.addr, prometheus.tls.as_ref()));
    listeners
}

fn protection(tls: Option<&ListenerTls>) -> Protection {
    let verify = tls.map(|tls| tls.client_ca.as_ref().map(|ca| ca.verify));
    match verify {
        None => Protection::Plain,
        Some(Some(ClientVerify::Require)) => Protection::Mutual,
        Some(Some(ClientVerify::Optional) | None) => Protection::Server,
    }
}

fn name_files(settings: &Settings, named: &mut Named) {
    let of_listener = [
        ("proxy.tls", settings.proxy.tls.as_ref()),
        (
            "admin.tls",
            settings.admin.as_ref().and_then(|it| it.tls.as_ref()),
        ),
        (
            "observability.metrics.prometheus.tls",
            settings.observability.prometheus.tls.as_ref(),
        ),
    ];
    for (block, tls) in of_listener {
        let Some(tls) = tls else { continue };
        for pair in &tls.pairs {
            named.pair(block, ["cert_file", "key_file"], pair);
        }
        if let Some(ca) = &tls.client_ca {
            named.authority(&format!("{block}.client_ca_file"), &ca.file);
        }
    }
    trust("upstream.tls", &settings.upstream.tls, named);
    if let Some(redis) = &settings.ratelimit.redis {
        trust("ratelimit.redis.tls", &redis.tls, named);
    }
    match &settings.source {
        SourceSettings::File(path) => named.file("resources_file", path, Holds::Settings),
        SourceSettings::Etcd(etcd) => {
            if let Some(path) = &etcd.tls.ca_cert_file {
                named.authority("etcd.tls.ca_cert_file", path);
            }
            if let Some(pair) = &etcd.tls.identity {
                named.pair("etcd.tls", ["client_cert_file", "client_key_file"], pair);
            }
        }
        SourceSettings::Managed(_) => {}
    }
    if let Some(path) = &settings.secrets.keyring_file {
        named.file("secrets.keyring_file", path, Holds::Secret);
    }
    for (id, path) in &settings.secrets.master_key_files {
        let setting = format!("secrets.master_key_files ({id})");
        named.file(&setting, path, Holds::Secret);
    }
    // Before the first start there is none.
    if let Some(path) = settings
        .snapshot_cache
        .as_ref()
        .filter(|path| path.exists())
    {
        named.file("managed.snapshot_cache_path", path, Holds::Secret);
    }
}

fn trust(block: &str, trust: &TrustSettings, named: &mut Named) {
    if let Some(path) = &trust.ca_file {
        named.authority(&format!("{block}.ca_file"), path);
    }
    if let Some(pair) = &trust.identity {
        named.pair(block, ["client_cert_file", "client_key_file"], pair);
    }
}

fn etcd_facts(etcd: &EtcdSettings) -> Etcd {
    let remote = |endpoint: &&EtcdEndpoint| !is_local(&endpoint.host);
    let plain = etcd.endpoints.iter().filter(remote);
    let plain = plain.filter(|endpoint| !endpoint.https);
    Etcd {
        plain_remote: plain
            .map(|endpoint| format!("http://{}:{}", endpoint.host, endpoint.port))
            .collect(),
        is_local: !etcd.endpoints.iter().any(|endpoint| remote(&endpoint)),
        login: etcd.login.is_some(),
        identity: etcd.tls.identity.is_some(),
    }
}

fn is_local(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_host_are_known() {
        let cases = [
            ("localhost", true),
            ("127.0.0.9", true),
            ("::1", true),
            ("10.0.0.1", false),
            ("etcd.internal", false),
        ];
        for (host, want) in cases {
            assert_eq!(is_local(host), want, "{host}");
        }
    }
}
