//! Real redis servers, started for a test and killed after it.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, cmd};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// How long a server may take to answer. Generous: the machines are shared.
const PATIENCE: Duration = Duration::from_secs(30);
/// What to say when the program is missing.
const INSTALL: &str = "redis-server and redis-cli are needed: apt-get install redis-server";

/// A server that runs until it is dropped.
pub(crate) struct Server {
    dir: TempDir,
    pub(crate) port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// One without anything.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// One with more `arguments`, listening in plain text.
    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let mut server = Self {
            dir: tempfile::tempdir().unwrap(),
            port: free_port(),
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            child: None,
        };
        server.spawn();
        server.answers().await;
        server
    }

    pub(crate) fn spawn(&mut self) {
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &self.port.to_string()])
            .args(["--dir", self.dir.path().to_str().unwrap()])
            .args(&self.arguments)
            .stdout(log)
            .stderr(Stdio::null());
        self.child = Some(command.spawn().expect(INSTALL));
    }

    /// Sentinel, with `config` in a file that it may write.
    pub(crate) fn sentinel(config: &str) -> Self {
        let mut server = Self {
            dir: tempfile::tempdir().unwrap(),
            port: free_port(),
            arguments: Vec::new(),
            child: None,
        };
        let file = server.dir.path().join("sentinel.conf");
        let dir = server.dir.path().display();
        std::fs::write(
            &file,
            format!(
                "port {}\nbind 127.0.0.1\ndir {dir}\n{config}\n",
                server.port
            ),
        )
        .unwrap();
        let child = Command::new("redis-server")
            .args([file.to_str().unwrap(), "--sentinel"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        server.child = Some(child.expect(INSTALL));
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it from answering, or lets it go on.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").args([name, &id]).status().unwrap();
        assert!(status.success());
    }

    /// A connection of the test's own.
    pub(crate) async fn connect(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    pub(crate) async fn answers(&self) {
        let client = redis::Client::open(self.url()).unwrap();
        eventually("redis answers", async || {
            let Ok(mut connection) = client.get_multiplexed_async_connection().await else {
                return false;
            };
            match cmd("PING").exec_async(&mut connection).await {
                Ok(()) => true,
                // It is there and wants to know who asks.
                Err(error) => error.code() == Some("NOAUTH"),
            }
        })
        .await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs one command.
pub(crate) async fn ask<T: FromRedisValue>(to: &mut MultiplexedConnection, words: &[&str]) -> T {
    let (name, rest) = words.split_first().unwrap();
    cmd(name).arg(rest).query_async(to).await.unwrap()
}

/// Waits until `holds`.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// One that is free now; in a cluster the one 10,000 above it is used too.
pub(crate) fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if port < 50_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}
