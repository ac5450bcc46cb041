//! A real etcd, and the rows that a gateway serves from it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::gateway::{CALLER_KEY, UPSTREAM_KEY, chat, post};
use super::{Gateway, Raw, unix_ms};

#[path = "../../../config-sync/tests/support/authority.rs"]
pub mod authority;
#[path = "../../../config-sync/tests/support/etcd.rs"]
pub mod etcd;
#[path = "../../../config-sync/tests/support/fault_proxy.rs"]
pub mod fault_proxy;

pub use etcd::Etcd;
pub use fault_proxy::{Fault, FaultProxy};

/// What every key starts with.
pub const PREFIX: &str = "/sluice";

/// Writes rows by etcd's JSON gateway, on one connection, and knows what it wrote.
#[derive(Debug)]
pub struct Rows {
    raw: Raw,
    prefix: String,
    written: BTreeMap<String, String>,
}

impl Rows {
    /// For the store at `etcd`, which asks for no user.
    pub fn new(etcd: SocketAddr) -> Self {
        Self::below(etcd, PREFIX)
    }

    /// The same below another prefix.
    pub fn below(etcd: SocketAddr, prefix: &str) -> Self {
        Self {
            raw: Raw::connect(etcd),
            prefix: prefix.to_owned(),
            written: BTreeMap::new(),
        }
    }

    /// Goes on writing to the store at `etcd`: the same one after a restart.
    pub fn reconnect(&mut self, etcd: SocketAddr) {
        self.raw = Raw::connect(etcd);
    }

    /// The `source_hash` of what was written here: of each key, a zero byte, the canonical JSON and
    /// the end of a line.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for (row, text) in &self.written {
            hash.update(format!("{}/{row}\0", self.prefix));
            match serde_json::from_str::<Value>(text) {
                Ok(mut document) => {
                    document.sort_all_objects();
                    hash.update(document.to_string());
                }
                Err(_) => hash.update(text),
            }
            hash.update("\n");
        }
        hex(&hash.finalize())
    }

    /// Waits until `gateway` has seen exactly what was written here.
    pub fn agree_with(&self, gateway: &Gateway) -> Value {
        let hash = self.hash();
        gateway.config_until("the store's content", |config| {
            config["source"]["connected"] == true && config["source"]["source_hash"] == *hash
        })
    }

    /// What [`super::Setup::new`] has in its file.
    pub fn seed(&mut self, mock: SocketAddr) {
        let rows = seed(mock);
        let changes: Vec<_> = rows
            .iter()
            .map(|(row, document)| (*row, Some(document)))
            .collect();
        self.commit(&changes);
    }

    /// Replaces `row`, which is `<collection>/<id>`; returns the revision.
    pub fn put(&mut self, row: &str, document: &Value) -> i64 {
        self.put_text(row, &document.to_string())
    }

    /// The same with any text.
    pub fn put_text(&mut self, row: &str, text: &str) -> i64 {
        let body = json!({"key": self.key(row), "value": base64(text.as_bytes())});
        self.written.insert(row.to_owned(), text.to_owned());
        self.call("put", &body)
    }

    /// Deletes `row`; returns the revision.
    pub fn delete(&mut self, row: &str) -> i64 {
        let body = json!({"key": self.key(row)});
        self.written.remove(row);
        self.call("deleterange", &body)
    }

    /// Puts and deletes (`None`) in one transaction; returns the revision.
    pub fn commit(&mut self, changes: &[(&str, Option<&Value>)]) -> i64 {
        let step = |(row, document): &(&str, Option<&Value>)| match document {
            Some(document) => json!({"requestPut": {"key": self.key(row),
                "value": base64(document.to_string().as_bytes())}}),
            None => json!({"requestDeleteRange": {"key": self.key(row)}}),
        };
        let steps: Vec<Value> = changes.iter().map(step).collect();
        for (row, document) in changes {
            match document {
                Some(document) => self.written.insert((*row).to_owned(), document.to_string()),
                None => self.written.remove(*row),
            };
        }
        self.call("txn", &json!({ "success": steps }))
    }

    fn key(&self, row: &str) -> String {
        base64(format!("{}/{row}", self.prefix).as_bytes())
    }

    fn call(&mut self, what: &str, body: &Value) -> i64 {
        let body = body.to_string();
        let request = format!(
            "POST /v3/kv/{what} HTTP/1.1\r\nhost: etcd\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.raw.send(request.as_bytes());
        let answer = self.raw.response();
        assert_eq!(answer.status, 200, "{what}: {}", answer.text());
        let revision = answer.json()["header"]["revision"].clone();
        let revision = revision.as_str().and_then(|text| text.parse().ok());
        revision.expect("a revision")
    }
}

/// The rows of [`Rows::seed`].
pub fn seed(mock: SocketAddr) -> Vec<(&'static str, Value)> {
    vec![
        ("provider_keys/up", provider_key(mock)),
        ("models/m", model("m", "gpt-up")),
        ("models/other", model("other", "gpt-other")),
        ("models/embed", model("embed", "embed-up")),
        ("models/script", model("script/*", "*")),
        (
            "api_keys/caller",
            caller(CALLER_KEY, &["m", "embed", "script/*"]),
        ),
    ]
}

/// The credential of the seed's models.
pub fn provider_key(mock: SocketAddr) -> Value {
    json!({"display_name": "up", "provider": "openai", "adapter": "openai",
        "api_key": UPSTREAM_KEY, "api_base": format!("http://{mock}/v1")})
}

/// A model of the upstream behind `provider_keys/up`.
pub fn model(name: &str, upstream: &str) -> Value {
    json!({"display_name": name, "provider": "openai", "model_name": upstream,
        "provider_key_id": "up"})
}

/// A caller who presents `key`.
pub fn caller(key: &str, allowed_models: &[&str]) -> Value {
    json!({"key_hash": hex(&Sha256::digest(key)), "allowed_models": allowed_models})
}

/// A client that asks for the model `m` again and again, each time with success.
#[derive(Debug)]
pub struct Steady {
    done: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Steady {
    /// Begins, with this pause between two requests.
    pub fn start(gateway: &Gateway, stream: bool, every: Duration) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let served = Arc::new(AtomicU64::new(0));
        let (stop, count) = (Arc::clone(&done), Arc::clone(&served));
        let mut raw = gateway.connect();
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                raw.send(&post("/v1/chat/completions", &chat("m", stream)));
                let answer = raw.response();
                assert_eq!(answer.status, 200, "{}", answer.text());
                let whole = if stream { "[DONE]" } else { "\"usage\"" };
                assert!(answer.text().contains(whole), "{}", answer.text());
                count.fetch_add(1, Ordering::Relaxed);
                pause(every);
            }
        });
        Self {
            done,
            served,
            thread: Some(thread),
        }
    }

    /// Waits until ten more requests were served from now on.
    pub fn goes_on(&self) {
        let served = || self.served.load(Ordering::Relaxed);
        // The one under way began before.
        let enough = served() + 11;
        super::wait_for("ten more requests", || (served() >= enough).then_some(()));
    }

    /// Ends; gives the number of requests. All were served.
    pub fn end(mut self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it ends once");
        thread.join().expect("every request was served");
        self.served.load(Ordering::Relaxed)
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

/// The wall clock, to measure with.
#[expect(clippy::disallowed_methods, reason = "tests run on the wall clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// The pace of a load.
#[expect(clippy::disallowed_methods, reason = "a thread of a test's own")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Waits longer than [`super::wait_for`] does: for clocks that tests cannot shorten.
pub fn wait_longer_for<T>(what: &str, most: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < most, "waited in vain for {what}");
        pause(Duration::from_millis(50));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs `probe` until it holds; returns how long that took, in ms.
pub fn took_ms(what: &str, mut probe: impl FnMut() -> bool) -> u64 {
    let start = unix_ms();
    super::wait_for(what, || probe().then_some(()));
    unix_ms() - start
}

/// Standard, padded.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group
            .iter()
            .fold(0, |word, byte| word << 8 | usize::from(*byte));
        let word = word << (8 * (3 - group.len()));
        for digit in 0..4 {
            text.push(match digit <= group.len() {
                true => char::from(ALPHABET[word >> (18 - 6 * digit) & 63]),
                false => '=',
            });
        }
    }
    text
}
