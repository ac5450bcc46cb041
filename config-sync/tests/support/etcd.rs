//! One real etcd member, started for a test and killed after it. Blocking; needs `tempfile`.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a member may take to answer. Generous: the machines are shared.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to say when the programs are missing.
const INSTALL: &str = "etcd and etcdctl are needed: apt-get install etcd-server etcd-client";

/// A certificate chain and its key.
type Pair = (PathBuf, PathBuf);

/// TLS of the clients' port.
#[derive(Clone, Debug)]
pub struct ServerTls {
    pub cert: Pair,
    /// Clients must show a certificate of this authority.
    pub client_authority: Option<PathBuf>,
}

/// A member that runs until it is dropped.
pub struct Etcd {
    dir: TempDir,
    ports: Ports,
    name: String,
    cluster: String,
    data: PathBuf,
    tls: Option<ServerTls>,
    arguments: Vec<String>,
    child: Option<Child>,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    client: u16,
    peer: u16,
    metrics: u16,
}

impl Ports {
    /// Three that are free now.
    fn pick() -> Self {
        let listeners: [_; 3] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let [client, peer, metrics] =
            listeners.map(|listener| listener.local_addr().unwrap().port());
        Self {
            client,
            peer,
            metrics,
        }
    }
}

impl Etcd {
    /// A cluster of one, without TLS or users.
    pub fn start() -> Self {
        Self::start_with(None, &[])
    }

    /// A cluster of one with TLS on the clients' port.
    pub fn start_tls(tls: &ServerTls) -> Self {
        Self::start_with(Some(tls), &[])
    }

    /// A cluster of one with more `arguments`.
    pub fn start_with(tls: Option<&ServerTls>, arguments: &[&str]) -> Self {
        // Somebody may take a port between its choice and its use.
        for _ in 0..5 {
            let mut member = Self::new("solo".to_owned(), Ports::pick());
            member.cluster = member.place();
            member.tls = tls.cloned();
            // A cluster of one elects itself; no need to wait for others.
            let quick = ["--heartbeat-interval=20", "--election-timeout=200"];
            let all = quick.iter().chain(arguments);
            member.arguments = all.map(|text| (*text).to_owned()).collect();
            if member.run() {
                return member;
            }
        }
        panic!("etcd does not start");
    }

    /// A cluster of three.
    pub fn start_three() -> [Self; 3] {
        for _ in 0..5 {
            let mut members: [Self; 3] =
                std::array::from_fn(|number| Self::new(format!("m{number}"), Ports::pick()));
            let cluster: Vec<String> = members.iter().map(Self::place).collect();
            for member in &mut members {
                member.cluster = cluster.join(",");
                member.spawn();
            }
            if members.iter_mut().all(Self::becomes_healthy) {
                return members;
            }
        }
        panic!("a cluster of etcd does not start");
    }

    fn new(name: String, ports: Ports) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            data: dir.path().join("data"),
            dir,
            ports,
            name,
            cluster: String::new(),
            tls: None,
            arguments: Vec::new(),
            child: None,
        }
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports.client))
    }

    /// A directory that lives as long as the member.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Stops the member as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may be gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts the member again, at the same addresses.
    pub fn restart(&mut self) {
        self.kill();
        let started = now();
        while !self.run() {
            assert!(
                started.elapsed() < PATIENCE,
                "{} does not return",
                self.name
            );
        }
    }

    /// Saves what the store holds now to a file.
    pub fn save(&self) -> PathBuf {
        let file = self.dir().join("snapshot.db");
        self.ctl(&["snapshot", "save", file.to_str().unwrap()]);
        file
    }

    /// Starts the member with what `file` holds, at the same addresses. Its cluster has the same
    /// id as before.
    pub fn restore(&mut self, file: &Path) {
        self.kill();
        let data = self.dir().join(format!("restored-{}", unique()));
        let peer = format!("http://127.0.0.1:{}", self.ports.peer);
        let done = self.run_ctl(&[
            "snapshot",
            "restore",
            file.to_str().unwrap(),
            &format!("--data-dir={}", data.display()),
            &format!("--name={}", self.name),
            &format!("--initial-cluster={}", self.cluster),
            &format!("--initial-advertise-peer-urls={peer}"),
        ]);
        done.expect("the snapshot is restored");
        self.data = data;
        self.restart();
    }

    pub fn put(&self, key: &str, value: &str) {
        self.ctl(&["put", "--", key, value]);
    }

    pub fn delete(&self, key: &str) {
        self.ctl(&["del", "--", key]);
    }

    /// Runs `etcdctl` against this member and returns what it prints.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let done = self.run_ctl(arguments);
        done.unwrap_or_else(|problem| panic!("etcdctl {arguments:?}: {problem}"))
    }

    /// As [`Self::ctl`]; an error is what it prints to stderr.
    pub fn run_ctl(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3");
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let endpoint = format!("{scheme}://127.0.0.1:{}", self.ports.client);
        command.arg(format!("--endpoints={endpoint}"));
        // Its own 2 s and 5 s are short on a machine that is busy with other things.
        command.args(["--dial-timeout=60s", "--command-timeout=60s"]);
        if let Some(tls) = &self.tls {
            command.arg("--insecure-skip-tls-verify");
            command.arg(format!("--cert={}", tls.cert.0.display()));
            command.arg(format!("--key={}", tls.cert.1.display()));
        }
        let output = command.args(arguments).stdin(Stdio::null()).output();
        let output = output.expect(INSTALL);
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// How the member is named to its cluster.
    fn place(&self) -> String {
        format!("{}=http://127.0.0.1:{}", self.name, self.ports.peer)
    }

    fn run(&mut self) -> bool {
        self.spawn();
        self.becomes_healthy()
    }

    fn spawn(&mut self) {
        let log = File::create(self.dir().join("log")).unwrap();
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let client = format!("{scheme}://127.0.0.1:{}", self.ports.client);
        let peer = format!("http://127.0.0.1:{}", self.ports.peer);
        let metrics = format!("http://127.0.0.1:{}", self.ports.metrics);
        let mut command = Command::new("etcd");
        command
            .arg(format!("--name={}", self.name))
            .arg(format!("--data-dir={}", self.data.display()))
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster={}", self.cluster))
            .arg(format!("--listen-metrics-urls={metrics}"))
            .arg("--logger=zap")
            .args(&self.arguments);
        if let Some(tls) = &self.tls {
            command.arg(format!("--cert-file={}", tls.cert.0.display()));
            command.arg(format!("--key-file={}", tls.cert.1.display()));
            if let Some(authority) = &tls.client_authority {
                command.arg("--client-cert-auth");
                command.arg(format!("--trusted-ca-file={}", authority.display()));
            }
        }
        let log_too = log.try_clone().unwrap();
        let command = command.stdin(Stdio::null()).stdout(log).stderr(log_too);
        self.child = Some(command.spawn().expect(INSTALL));
    }

    /// Waits until the member has a leader; `false` if it ends instead.
    fn becomes_healthy(&mut self) -> bool {
        let started = now();
        loop {
            if self.is_healthy() {
                return true;
            }
            let child = self.child.as_mut().expect("it was started");
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            let log = || std::fs::read_to_string(self.dir().join("log")).unwrap_or_default();
            assert!(started.elapsed() < PATIENCE, "{}", log());
            pause(Duration::from_millis(20));
        }
    }

    fn is_healthy(&self) -> bool {
        let asked = || {
            let mut stream = TcpStream::connect(("127.0.0.1", self.ports.metrics))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        };
        asked().is_ok_and(|answer| answer.contains(r#""health":"true""#))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A name that no other restore of this process has.
fn unique() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[expect(clippy::disallowed_methods, reason = "tests run on the wall clock")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a test waits for a condition")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
