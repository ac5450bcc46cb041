//! Who reaches what: listeners, the store, keys that everybody knows. [pure]

use super::super::facts::{Etcd, Facts, Gateway, Listener, ListenerTls, Zone};
use super::super::finding::{Finding, Severity};
use crate::reach::{Reach, reach};

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(gateway) = &facts.gateway else {
        return Vec::new();
    };
    let mut findings: Vec<Finding> = gateway.listeners.iter().flat_map(listener).collect();
    findings.extend(admin_key(gateway));
    findings.extend(gateway.etcd.iter().flat_map(etcd));
    findings.extend(resources(gateway));
    findings.extend(keyring(gateway));
    findings
}

fn listener(listener: &Listener) -> Vec<Finding> {
    match listener.zone {
        Zone::Proxy => vec![proxy_bind(listener), proxy_plaintext(listener)],
        Zone::Admin => vec![admin_exposed(listener)],
        Zone::Metrics => vec![metrics_exposed(listener)],
    }
}

fn seen(listener: &Listener) -> String {
    let tls = match listener.tls {
        ListenerTls::Plain => "plain HTTP",
        ListenerTls::Server => "TLS",
        ListenerTls::Mutual => "TLS with client certificates",
    };
    format!("{}, {tls}", listener.addr)
}

fn proxy_bind(listener: &Listener) -> Finding {
    let why =
        "only callers and the load balancer should reach it; a firewall is not looked at from here";
    let severity = match reach(listener.addr.ip()) {
        Reach::Loopback => Severity::Ok,
        Reach::Private | Reach::Any => Severity::Info,
    };
    let subject = listener.zone.setting();
    let finding = Finding::new("proxy_bind", severity, subject, seen(listener), why);
    finding.mended_by(format!(
        "nft add rule inet filter input tcp dport {} ip saddr != NETWORK drop",
        listener.addr.port()
    ))
}

fn proxy_plaintext(listener: &Listener) -> Finding {
    let why = "caller keys and prompts cross the network in the clear";
    let severity = match (listener.tls, reach(listener.addr.ip())) {
        (ListenerTls::Plain, Reach::Any) => Severity::Warn,
        (ListenerTls::Plain, Reach::Private) => Severity::Info,
        _ => Severity::Ok,
    };
    let subject = listener.zone.setting();
    let finding = Finding::new(
        "proxy_plaintext_public",
        severity,
        subject,
        seen(listener),
        why,
    );
    finding.mended_by("proxy.tls.cert_file and .key_file, or bind the address of a private network")
}

fn admin_exposed(listener: &Listener) -> Finding {
    let why = "whoever has an admin key changes models, keys and limits";
    let severity = match (listener.tls, reach(listener.addr.ip())) {
        (_, Reach::Loopback) | (ListenerTls::Mutual, _) => Severity::Ok,
        (ListenerTls::Server, Reach::Private) => Severity::Ok,
        (ListenerTls::Server, Reach::Any) | (ListenerTls::Plain, Reach::Private) => Severity::Warn,
        (ListenerTls::Plain, Reach::Any) => Severity::Fail,
    };
    let subject = listener.zone.setting();
    let finding = Finding::new("admin_exposed", severity, subject, seen(listener), why);
    finding.mended_by("admin.addr: 127.0.0.1:3001")
}

fn metrics_exposed(listener: &Listener) -> Finding {
    let why =
        "names of models, keys and providers, and how much they are used, without any credential";
    let severity = match (listener.tls, reach(listener.addr.ip())) {
        (_, Reach::Loopback) | (ListenerTls::Mutual, _) => Severity::Ok,
        (_, Reach::Private) => Severity::Info,
        (_, Reach::Any) => Severity::Warn,
    };
    let subject = listener.zone.setting();
    let finding = Finding::new("metrics_exposed", severity, subject, seen(listener), why);
    finding.mended_by(
        "observability.metrics.prometheus.addr: 127.0.0.1:9090, a private address, or tls.client_ca_file there",
    )
}

fn admin_key(gateway: &Gateway) -> Option<Finding> {
    let mut listeners = gateway.listeners.iter();
    listeners.find(|it| it.zone == Zone::Admin)?;
    let (severity, seen) = match gateway.admin_key_of_an_example {
        true => (Severity::Fail, "one of the keys is in the documentation"),
        false => (Severity::Ok, "no key of the documentation"),
    };
    let why = "everybody knows it";
    let finding = Finding::new("admin_default_key", severity, "admin.admin_keys", seen, why);
    Some(finding.mended_by("openssl rand -hex 32, and only its sha256: in the file"))
}

fn etcd(etcd: &Etcd) -> Vec<Finding> {
    let auth = match (etcd.login || etcd.identity, etcd.is_local) {
        (true, _) => Severity::Ok,
        (false, true) => Severity::Info,
        (false, false) => Severity::Warn,
    };
    let seen = match (etcd.login, etcd.identity) {
        (true, _) => "user and password",
        (false, true) => "a client certificate",
        (false, false) => "neither user nor client certificate",
    };
    let why = "whoever writes rows decides where prompts and provider keys go";
    let no_auth = Finding::new("etcd_no_auth", auth, "etcd.user", seen, why).mended_by(
        "etcdctl user add sluice, a role that reads the prefix, etcd.user and etcd.password_env",
    );

    let (severity, seen) = match etcd.plain_remote.is_empty() {
        true => (Severity::Ok, "every remote address is https".to_owned()),
        // A password in the clear is one that is lost.
        false if etcd.login => (Severity::Fail, etcd.plain_remote.join(", ")),
        false => (Severity::Warn, etcd.plain_remote.join(", ")),
    };
    let why = "rows hold provider keys, and answers can be changed on their way";
    let no_tls = Finding::new("etcd_no_tls", severity, "etcd.endpoints", seen, why)
        .mended_by("https:// in etcd.endpoints, etcd.tls.ca_cert_file");

    let why = "the rows are the configuration; nothing here can tell whether a copy of them exists";
    let seen = "not looked at: do this by hand";
    let backup = Finding::new("etcd_backup", Severity::Info, "etcd", seen, why)
        .mended_by("etcdctl snapshot save FILE, regularly, encrypted");
    vec![no_auth, no_tls, backup]
}

fn resources(gateway: &Gateway) -> Vec<Finding> {
    let Some(resources) = &gateway.resources else {
        return Vec::new();
    };
    let path = resources.path.display().to_string();
    let why = "a file with a mistake stops the start, and is not taken at a reload";
    let file = match &resources.refused {
        Some(report) => Finding::new("resources_file", Severity::Fail, &path, report, why),
        None => Finding::new("resources_file", Severity::Ok, &path, "accepted", why),
    };
    let file = file.mended_by(format!("sluice validate --resources {path}"));

    let why = "whoever reads the file, its backups or its repository has the credential";
    let (severity, seen) = match &resources.in_the_clear[..] {
        [] => (
            Severity::Ok,
            "every credential is a variable or sealed".to_owned(),
        ),
        places => (Severity::Warn, places.join(", ")),
    };
    let clear = Finding::new("secrets_in_the_clear", severity, &path, seen, why).mended_by(
        "api_key: \"${NAME}\", or seal it: sluice seal --row COLLECTION/ID --field /api_key",
    );

    let why = "everybody knows it";
    let (severity, seen) = match &resources.of_examples[..] {
        [] => (
            Severity::Ok,
            "no caller key of the documentation".to_owned(),
        ),
        names => (Severity::Fail, names.join(", ")),
    };
    let examples = Finding::new("example_caller_key", severity, &path, seen, why)
        .mended_by("openssl rand -hex 32, given to the caller; its SHA-256 as key_hash");
    vec![file, clear, examples]
}

fn keyring(gateway: &Gateway) -> Option<Finding> {
    let keyring = gateway.keyring?;
    let (severity, seen) = match keyring.has_master_key {
        true => (Severity::Ok, "a master key is given"),
        false => (
            Severity::Info,
            "no master key: the ring alone opens everything",
        ),
    };
    let why = "a ring without a master key is as good as the credentials that it seals";
    let finding = Finding::new(
        "keyring_unwrapped",
        severity,
        "secrets.keyring_file",
        seen,
        why,
    );
    Some(finding.mended_by("secrets.master_key_files: [\"mk1=/run/credentials/…\"]"))
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::{Keyring, Resources};
    use super::super::said;
    use super::*;
    use ListenerTls::{Mutual, Plain, Server};
    use Severity::{Fail, Info, Ok, Warn};

    #[test]
    fn each_zone_has_its_own_idea_of_too_open() {
        let proxy = "proxy_plaintext_public";
        let cases = [
            (Zone::Proxy, "127.0.0.1:1", Plain, proxy, Ok),
            (Zone::Proxy, "10.0.0.1:1", Plain, proxy, Info),
            (Zone::Proxy, "0.0.0.0:1", Plain, proxy, Warn),
            (Zone::Proxy, "0.0.0.0:1", Server, proxy, Ok),
            (Zone::Proxy, "0.0.0.0:1", Server, "proxy_bind", Info),
            (Zone::Proxy, "[::1]:1", Plain, "proxy_bind", Ok),
            (Zone::Admin, "127.0.0.1:1", Plain, "admin_exposed", Ok),
            (Zone::Admin, "10.0.0.1:1", Plain, "admin_exposed", Warn),
            (Zone::Admin, "10.0.0.1:1", Server, "admin_exposed", Ok),
            (Zone::Admin, "0.0.0.0:1", Server, "admin_exposed", Warn),
            (Zone::Admin, "0.0.0.0:1", Mutual, "admin_exposed", Ok),
            (Zone::Admin, "0.0.0.0:1", Plain, "admin_exposed", Fail),
            (Zone::Metrics, "127.0.0.1:1", Plain, "metrics_exposed", Ok),
            (Zone::Metrics, "10.0.0.1:1", Plain, "metrics_exposed", Info),
            (Zone::Metrics, "0.0.0.0:1", Plain, "metrics_exposed", Warn),
            (Zone::Metrics, "0.0.0.0:1", Server, "metrics_exposed", Warn),
            (Zone::Metrics, "0.0.0.0:1", Mutual, "metrics_exposed", Ok),
        ];
        for (zone, addr, tls, id, want) in cases {
            let addr = addr.parse().expect(addr);
            let found = listener(&Listener { zone, addr, tls });
            assert!(
                said(&found).contains(&(id, want)),
                "{addr} {tls:?}: {found:?}"
            );
        }
    }

    #[test]
    fn a_store_wants_a_login_and_tls_unless_it_is_on_this_host() {
        let remote = |login, identity| Etcd {
            plain_remote: vec!["http://a:2379".into()],
            is_local: false,
            login,
            identity,
        };
        let local = Etcd {
            is_local: true,
            ..Etcd::default()
        };
        let cases = [
            (remote(false, false), Warn, Warn),
            (remote(true, false), Ok, Fail),
            (remote(false, true), Ok, Warn),
            (local, Info, Ok),
        ];
        for (facts, auth, tls) in cases {
            let want = [
                ("etcd_no_auth", auth),
                ("etcd_no_tls", tls),
                ("etcd_backup", Info),
            ];
            assert_eq!(said(&etcd(&facts)), want, "{facts:?}");
        }
    }

    #[test]
    fn keys_that_others_know_are_told() {
        let mut gateway = Gateway::default();
        assert_eq!(admin_key(&gateway), None);
        gateway.listeners = vec![Listener {
            zone: Zone::Admin,
            addr: ([127, 0, 0, 1], 1).into(),
            tls: Plain,
        }];
        for (is_example, want) in [(true, Fail), (false, Ok)] {
            gateway.admin_key_of_an_example = is_example;
            assert_eq!(admin_key(&gateway).map(|it| it.severity), Some(want));
        }
        let file = |clear: &[&str], known: &[&str], refused: Option<&str>| Gateway {
            resources: Some(Resources {
                in_the_clear: clear.iter().map(|&it| it.into()).collect(),
                of_examples: known.iter().map(|&it| it.into()).collect(),
                refused: refused.map(str::to_owned),
                ..Resources::default()
            }),
            ..Gateway::default()
        };
        let cases = [
            (file(&[], &[], None), [Ok, Ok, Ok]),
            (
                file(&["provider_keys[0].api_key"], &[], None),
                [Ok, Warn, Ok],
            ),
            (file(&[], &["bot"], None), [Ok, Ok, Fail]),
            (file(&[], &[], Some("models[0]: no")), [Fail, Ok, Ok]),
        ];
        for (gateway, want) in cases {
            let got: Vec<_> = resources(&gateway).iter().map(|it| it.severity).collect();
            assert_eq!(got, want);
        }
    }

    #[test]
    fn a_ring_without_a_master_key_is_told() {
        for (ring, want) in [
            (None, None),
            (Some(true), Some(Ok)),
            (Some(false), Some(Info)),
        ] {
            let gateway = Gateway {
                keyring: ring.map(|has_master_key| Keyring { has_master_key }),
                ..Gateway::default()
            };
            assert_eq!(keyring(&gateway).map(|it| it.severity), want);
        }
    }
}
