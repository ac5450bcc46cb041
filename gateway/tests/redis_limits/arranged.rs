//! TLS, clusters and sentinels.

use std::process::Command;
use std::time::Duration;

use gateway::bridge::limits::Field;
use gateway::bridge::shared_limits::Ending;
use gateway::settings::{Secret, Topology};
use rcgen::{CertificateParams, IsCa, Issuer, KeyPair};

use super::server::{Server, ask as redis, eventually, free_port};
use super::{Gateway, RateLimit, ask, none, options, settings};

fn secret(text: String) -> Secret {
    Secret::from(text)
}

#[tokio::test]
async fn tls_is_trusted_by_the_given_authority_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    std::fs::write(path("ca.pem"), authority_pem).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(
        path("cert.pem"),
        leaf.signed_by(&key, &issuer).unwrap().pem(),
    )
    .unwrap();
    std::fs::write(path("key.pem"), key.serialize_pem()).unwrap();

    let secure_port = free_port().to_string();
    let server = Server::start_with(&[
        "--tls-port",
        &secure_port,
        "--tls-cert-file",
        &path("cert.pem"),
        "--tls-key-file",
        &path("key.pem"),
        "--tls-ca-cert-file",
        &path("ca.pem"),
        "--tls-auth-clients",
        "no",
    ])
    .await;
    let url = format!("rediss://localhost:{secure_port}");
    let mut trusting = settings(Topology::Single { url: secret(url) });
    let wary = Gateway::beside(&trusting, options());
    trusting.tls.ca_file = Some(path("ca.pem").into());
    let gateway = Gateway::on(&trusting, options()).await;
    let day = RateLimit {
        rpd: Some(9),
        ..none()
    };
    drop(gateway.admit(&ask(&[("b", day)], 0)).await);
    eventually("it is not trusted", async || {
        wary.limits.breaker().outages() == 1
    })
    .await;
    assert!(wary.limits.admit(&ask(&[("b", day)], 0)).await.is_err());
    trusting.tls.ca_file = None;
    trusting.tls.accept_any_certificate = true;
    Gateway::on(&trusting, options()).await;
    drop(server);
}

#[tokio::test]
async fn in_a_cluster_buckets_on_other_servers_admit_together_or_not_at_all() {
    let mut servers = Vec::new();
    for _ in 0..3 {
        let enabled = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
        servers.push(Server::start_with(&enabled).await);
    }
    let nodes: Vec<String> = servers
        .iter()
        .map(|one| format!("127.0.0.1:{}", one.port))
        .collect();
    let created = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(&nodes)
        .arg("--cluster-yes")
        .output()
        .unwrap();
    assert!(created.status.success(), "{created:?}");
    for server in &servers {
        let mut raw = server.connect().await;
        eventually("the cluster is whole", async || {
            redis::<String>(&mut raw, &["CLUSTER", "INFO"])
                .await
                .contains("cluster_state:ok")
        })
        .await;
    }

    let nodes = nodes.into_iter().map(secret).collect();
    let gateway = Gateway::on(&settings(Topology::Cluster { nodes }), options()).await;
    let wide = RateLimit {
        rpd: Some(100),
        tpd: Some(1_000),
        concurrency: Some(10),
        ..none()
    };
    let tight = RateLimit {
        rpd: Some(1),
        ..none()
    };
    // Ten names are on all three servers; a brace at the start must not part a bucket's own keys.
    let names: Vec<String> = (0..10).map(|number| format!("}}bucket {number}")).collect();
    let mut layers: Vec<(&str, RateLimit)> = names.iter().map(|name| (&**name, wide)).collect();
    layers.push(("tight", tight));
    let request = ask(&layers, 50);
    let first = gateway.admit(&request).await;
    assert_eq!(first.rooms.len(), 11);
    for _ in 0..3 {
        assert_eq!(gateway.refuse(&request).await.layer, 10);
    }
    gateway.limits.end(first.receipt, Ending::Settled(20)).await;
    layers.pop();
    let next = gateway.admit(&ask(&layers, 0)).await;
    for room in &next.rooms {
        assert_eq!(room.windows[Field::Rpd as usize].unwrap().remaining, 98);
        assert_eq!(room.windows[Field::Tpd as usize].unwrap().remaining, 980);
        assert_eq!(room.slots.unwrap().remaining, 9);
    }
    let mut used = 0;
    for server in &servers {
        let mut raw = server.connect().await;
        used += u32::from(redis::<u64>(&mut raw, &["DBSIZE"]).await > 0);
    }
    assert_eq!(used, 3);
}

#[tokio::test]
async fn the_master_that_sentinels_name_is_used_and_its_successor_after_it() {
    let first = Server::start().await;
    let port = first.port.to_string();
    let second = Server::start_with(&["--replicaof", &format!("127.0.0.1 {port}")]).await;
    let sentinel = Server::sentinel(&{
        format!(
            "sentinel monitor main 127.0.0.1 {port} 1\nsentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 3000"
        )
    });
    sentinel.answers().await;
    let mut asked = sentinel.connect().await;
    eventually("the replica is known", async || {
        let replicas: Vec<redis::Value> =
            redis(&mut asked, &["SENTINEL", "replicas", "main"]).await;
        let mut raw = second.connect().await;
        let info: String = redis(&mut raw, &["INFO", "replication"]).await;
        replicas.len() == 1 && info.contains("master_link_status:up")
    })
    .await;
    let topology = Topology::Sentinel {
        sentinels: vec![secret("redis://127.0.0.1:1".into()), secret(sentinel.url())],
        master_name: "main".into(),
        database: 3,
    };
    let gateway = Gateway::on(&settings(topology), options()).await;
    let day = RateLimit {
        rpd: Some(1),
        ..none()
    };
    drop(gateway.admit(&ask(&[("b", day)], 0)).await);
    let mut raw = first.connect().await;
    redis::<String>(&mut raw, &["SELECT", "3"]).await;
    assert!(redis::<u64>(&mut raw, &["DBSIZE"]).await > 0);

    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(first);
    let request = ask(&[("c", day)], 0);
    eventually("the successor counts", async || {
        gateway.limits.admit(&request).await.is_ok()
    })
    .await;
    let mut raw = second.connect().await;
    redis::<String>(&mut raw, &["SELECT", "3"]).await;
    let keys: Vec<String> = redis(&mut raw, &["KEYS", "sluice:rl:{c}:*"]).await;
    assert_eq!(keys.len(), 1, "{keys:?}");
}
