//! TLS of the gateway's own listeners.

mod clients;
mod handshakes;
mod names;
mod reload;
mod requests;
mod resumption;
mod status;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use tempfile::TempDir;

use crate::support::tls::{Authority, Leaf};
use crate::support::tls_client::Caller;
use crate::support::{Engine, Gateway, Raw, Setup, wait_for};

/// The name of the server in most tests.
const NAME: &str = "gateway.test";

/// Two authorities, one for the server and one for its clients, and files.
struct Scene {
    servers: Authority,
    clients: Authority,
    files: TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            servers: Authority::new(),
            clients: Authority::new(),
            files: tempfile::tempdir().unwrap(),
        };
        scene.write_pair("server", &scene.servers.server(NAME));
        scene.write("clients.pem", &scene.clients.pem);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Replaces a file as a whole, as careful operators do.
    fn write(&self, name: &str, text: &str) -> String {
        let (path, fresh) = (self.path(name), self.path("fresh"));
        std::fs::write(&fresh, text).unwrap();
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(&fresh, &path).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn write_pair(&self, stem: &str, leaf: &Leaf) -> (String, String) {
        (
            self.write(&format!("{stem}.crt"), &leaf.cert),
            self.write(&format!("{stem}.key"), &leaf.key),
        )
    }

    /// The files of a self-signed pair with an RSA key.
    fn rsa_pair(&self) -> (String, String) {
        let name = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let (cert, key) = (name("rsa.crt"), name("rsa.key"));
        let made = std::process::Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9",
            ])
            .args(["-subj", "/CN=rsa", "-out", &cert, "-keyout", &key])
            .output();
        assert!(made.expect("openssl is there").status.success());
        (cert, key)
    }

    /// A gateway whose callers come over TLS, before the upstream at `mock`.
    fn setup(&self, engine: Engine, mock: SocketAddr) -> Setup {
        let path = |name: &str| self.path(name).to_str().unwrap().to_owned();
        Setup::new(engine, mock)
            .with("proxy.tls.cert_file", path("server.crt"))
            .with("proxy.tls.key_file", path("server.key"))
    }

    /// The same, whose callers are asked for certificates.
    fn asking(&self, engine: Engine, mock: SocketAddr, verify: &str) -> Setup {
        let roots = self.path("clients.pem").to_str().unwrap().to_owned();
        self.setup(engine, mock)
            .with("proxy.tls.client_ca_file", roots)
            .with("proxy.tls.client_verify", verify)
    }

    /// A client that trusts the server's authority.
    fn caller(&self) -> Caller {
        Caller::trusting(&self.servers.pem)
    }

    fn config(&self) -> Arc<ClientConfig> {
        self.caller().config()
    }

    /// A connection, its handshake done.
    fn connect(&self, gateway: &Gateway) -> Raw {
        connect(gateway, &self.config())
    }
}

fn connect(gateway: &Gateway, config: &Arc<ClientConfig>) -> Raw {
    Raw::secure(gateway.addr, config, NAME).expect("hands are shaken")
}

/// Handshakes of the callers' listener that failed for `reason`.
fn failed(gateway: &Gateway, reason: &str) -> f64 {
    let reason = format!(r#"reason="{reason}""#);
    let parts = [r#"listener="proxy""#, &reason];
    gateway.metric("sluice_tls_handshake_failures_total", &parts)
}

/// Waits until `count` handshakes have failed for `reason`.
fn until_failed(gateway: &Gateway, reason: &str, count: f64) {
    wait_for(&format!("{count} handshakes to fail: {reason}"), || {
        (failed(gateway, reason) >= count).then_some(())
    });
}
