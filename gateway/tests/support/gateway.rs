//! One `sluice` process, started for a test and killed after it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;

use super::{Raw, Response, wait_for};

/// The caller key of [`Setup::new`].
pub const CALLER_KEY: &str = "sk-caller-canary-7f3a";
/// The upstream credential of [`Setup::new`].
pub const UPSTREAM_KEY: &str = "sk-upstream-canary-91cc";

/// What the workers wait with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Engine {
    IoUring,
    Epoll,
}

impl Engine {
    /// The value of `proxy.io_engine`.
    pub fn name(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

/// A gateway to be started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The startup file, as JSON: keys may be replaced before the start.
    pub config: Value,
    /// The startup file's name and text instead, where not JSON; `{dir}` is the directory of both files.
    pub config_text: Option<(&'static str, &'static str)>,
    /// The resources file, as JSON.
    pub resources: Value,
    /// Environment on top of the two keys' variables.
    pub env: Vec<(String, String)>,
    /// A program put before the binary, with its arguments (`prlimit`, `setpriv` …).
    pub wrapper: Vec<String>,
}

impl Setup {
    /// One worker on `engine` before the scripted upstream at `mock`: models `m`, `other`, `embed`
    /// and `script/*`, whose rest is the script; one caller key for all of them.
    pub fn new(engine: Engine, mock: SocketAddr) -> Self {
        let model = |name: &str, upstream: &str| {
            serde_json::json!({"display_name": name, "provider": "openai",
                "model_name": upstream, "provider_key": "up"})
        };
        Self {
            config: serde_json::json!({
                "proxy": {"addr": "127.0.0.1:0", "workers": 1, "pin_cpus": false,
                    "io_engine": engine.name()},
                "observability": {"log_format": "json",
                    "metrics": {"prometheus": {"addr": "127.0.0.1:0"}}},
                "shutdown": {"min_drain_secs": 0},
                // A fault is met once, and told at once.
                "upstream": {"retries": 0},
            }),
            resources: serde_json::json!({
                "_format_version": "1",
                "provider_keys": [{"display_name": "up", "provider": "openai",
                    "adapter": "openai", "api_key": "${UPSTREAM_KEY}",
                    "api_base": format!("http://{mock}/v1")}],
                "models": [model("m", "gpt-up"), model("other", "gpt-other"),
                    model("embed", "embed-up"), model("script/*", "*")],
                "api_keys": [{"display_name": "caller", "key_env": "CALLER_KEY",
                    "allowed_models": ["m", "embed", "script/*"]}],
            }),
            config_text: None,
            env: Vec::new(),
            wrapper: Vec::new(),
        }
    }

    /// Sets a key of the startup file; `path` is dotted.
    #[must_use]
    pub fn with(mut self, path: &str, value: impl Into<Value>) -> Self {
        let mut at = &mut self.config;
        for part in path.split('.') {
            at = &mut at[part];
        }
        *at = value.into();
        self
    }

    /// Changes the resources file.
    #[must_use]
    pub fn resources(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.resources);
        self
    }

    /// Takes its resources from the store at `etcd` instead of the file. An answer that comes at all
    /// comes in time: what is lost, and how often, does not depend on how busy the machine is.
    #[must_use]
    pub fn following(self, etcd: SocketAddr) -> Self {
        let patience_ms = u64::try_from(super::PATIENCE.as_millis()).expect("a minute");
        self.with("etcd.endpoints", vec![format!("http://{etcd}")])
            .with("etcd.dial_timeout_ms", patience_ms)
            .with("etcd.request_timeout_ms", patience_ms)
    }

    /// Starts the gateway and waits until it has a configuration.
    pub fn start_ready(self) -> Gateway {
        let gateway = self.start();
        gateway.until_ready();
        gateway
    }

    /// Starts the gateway and waits until it serves.
    pub fn start(self) -> Gateway {
        let mut gateway = self.spawn();
        let line = wait_for("the gateway to serve", || {
            if let Some(status) = gateway.child.try_wait().unwrap() {
                panic!("ended with {status}: {}", gateway.stderr());
            }
            gateway.logged("serving")
        });
        let addr = |key: &str| -> SocketAddr {
            line[key]
                .as_str()
                .and_then(|addr| addr.parse().ok())
                .expect("an address")
        };
        gateway.addr = addr("addr");
        gateway.status_addr = addr("metrics");
        gateway
    }

    /// Starts the process and does not wait.
    pub fn spawn(mut self) -> Gateway {
        let dir = tempfile::tempdir().expect("a directory");
        if !self.wrapper.is_empty() {
            // A wrapper may give up the rights to the owner's directory.
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
            std::fs::set_permissions(dir.path(), open).unwrap();
        }
        let resources = dir.path().join("resources.yaml");
        let (name, text) = self.config_text.unwrap_or(("config.json", ""));
        let config = dir.path().join(name);
        if self.config.get("etcd").is_none() {
            self.config["resources_file"] = resources.to_str().into();
        }
        if self.config["observability"]["access_log_output"].is_null() {
            let access_log = dir.path().join("access.log");
            self.config["observability"]["access_log_output"] = access_log.to_str().into();
        }
        std::fs::write(&resources, self.resources.to_string()).unwrap();
        let text = match text {
            "" => self.config.to_string(),
            _ => text.replace("{dir}", dir.path().to_str().unwrap()),
        };
        std::fs::write(&config, text).unwrap();
        let program = env!("CARGO_BIN_EXE_sluice").to_owned();
        let mut words = self.wrapper.clone();
        words.extend([program, "--config".into(), config.to_str().unwrap().into()]);
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .env_remove("RUST_LOG")
            .env("CALLER_KEY", CALLER_KEY)
            .env("UPSTREAM_KEY", UPSTREAM_KEY)
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let output = Arc::new(Mutex::new(String::new()));
        let errors = child.stderr.take().expect("stderr is piped");
        let sink = Arc::clone(&output);
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let mut text = sink.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        let nowhere = "127.0.0.1:1".parse().unwrap();
        Gateway {
            child,
            dir,
            addr: nowhere,
            status_addr: nowhere,
            errors: output,
        }
    }
}

/// A running gateway. Killed when dropped.
#[derive(Debug)]
pub struct Gateway {
    pub child: Child,
    pub dir: TempDir,
    /// The proxy listener.
    pub addr: SocketAddr,
    /// The metrics and status listener.
    pub status_addr: SocketAddr,
    errors: Arc<Mutex<String>>,
}

impl Gateway {
    /// A fresh connection to the proxy listener.
    pub fn connect(&self) -> Raw {
        Raw::connect(self.addr)
    }

    /// One GET on a connection of its own.
    pub fn get(&self, path: &str) -> Response {
        let mut raw = self.connect();
        raw.send(&get(path));
        raw.response()
    }

    /// One POST of JSON on a connection of its own.
    pub fn post(&self, path: &str, body: &Value) -> Response {
        let mut raw = self.connect();
        raw.send(&post(path, body));
        raw.response()
    }

    /// One GET to the metrics and status listener.
    pub fn status_page(&self, path: &str) -> Response {
        let mut raw = Raw::connect(self.status_addr);
        raw.send(format!("GET {path} HTTP/1.1\r\nhost: s\r\nconnection: close\r\n\r\n").as_bytes());
        raw.response()
    }

    /// Waits until a configuration is served.
    pub fn until_ready(&self) {
        wait_for("a configuration", || {
            (self.status_page("/status/ready").status == 200).then_some(())
        });
    }

    /// What `/status/config` says.
    pub fn config(&self) -> Value {
        self.status_page("/status/config").json()
    }

    /// Waits until `/status/config` says what `probe` looks for.
    pub fn config_until(&self, what: &str, probe: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, || Some(self.config()).filter(&probe))
    }

    /// The value of one series of the scrape: the sum of the samples whose name and labels contain
    /// all of `parts`; 0 where there is none.
    pub fn metric(&self, name: &str, parts: &[&str]) -> f64 {
        let page = self.status_page("/metrics");
        let samples = page.text().lines().filter(|line| !line.starts_with('#'));
        samples
            .filter(|line| line.split(['{', ' ']).next() == Some(name))
            .filter(|line| parts.iter().all(|part| line.contains(part)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Everything on stderr so far.
    pub fn stderr(&self) -> String {
        self.errors.lock().unwrap().clone()
    }

    /// The first line of the process log whose message is `message`, if it is there yet.
    pub fn logged(&self, message: &str) -> Option<Value> {
        let text = self.stderr();
        let mut lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines.find(|line: &Value| line["message"] == message)
    }

    /// Waits for the first `count` lines of the access log.
    pub fn access_lines(&self, count: usize) -> Vec<Value> {
        let path = self.access_log();
        wait_for(&format!("{count} access lines"), || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let whole = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
            let lines: Vec<Value> = whole
                .lines()
                .map(|line| serde_json::from_str(line).expect("an access line is JSON"))
                .collect();
            (lines.len() >= count).then_some(lines)
        })
    }

    /// Waits for the access line of the request with this id.
    pub fn access_line(&self, id: &str) -> Value {
        wait_for(&format!("the access line of {id}"), || {
            let mut lines = self.access_lines(0).into_iter();
            lines.find(|line| line["request_id"] == id)
        })
    }

    /// Requests being served, by the gauge.
    pub fn in_flight(&self) -> f64 {
        self.metric("sluice_proxy_in_flight_requests", &[])
    }

    /// Resident memory.
    pub fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the process is there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        number.and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// Where access lines go.
    pub fn access_log(&self) -> PathBuf {
        self.dir.path().join("access.log")
    }

    /// Replaces the resources file; takes effect with SIGHUP.
    pub fn write_resources(&self, text: &str) {
        std::fs::write(self.dir.path().join("resources.yaml"), text).unwrap();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the process is there");
    }

    /// Waits for the end of the process.
    pub fn ended(&mut self) -> ExitStatus {
        wait_for("the process to end", || self.child.try_wait().unwrap())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- stderr of the gateway ---\n{}", self.stderr());
        }
    }
}

/// A GET with the caller's key.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {CALLER_KEY}\r\n\r\n")
        .into_bytes()
}

/// A POST of JSON with the caller's key.
pub fn post(path: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {CALLER_KEY}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// `request` under an id of the caller's choice.
pub fn named(id: &str, request: &[u8]) -> Vec<u8> {
    let at = request.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let (line, rest) = request.split_at(at);
    [
        line,
        format!("x-sluice-request-id: {id}\r\n").as_bytes(),
        rest,
    ]
    .concat()
}

/// The body of a chat request.
pub fn chat(model: &str, stream: bool) -> Value {
    serde_json::json!({"model": model, "stream": stream,
        "messages": [{"role": "user", "content": "Hello"}]})
}
