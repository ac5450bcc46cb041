//! Reads and writes of a test's own, past the source.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use etcd_client::{Client, CompactionOptions, GetOptions, TxnOp};
use tokio::runtime::{Builder, Runtime};

/// Tells another thread to stop when dropped, so that it also does when a test fails.
#[derive(Default)]
pub struct Stop(AtomicBool);

impl Stop {
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets it when the guard is dropped.
    pub fn guard(&self) -> StopGuard<'_> {
        StopGuard(self)
    }
}

/// See [`Stop::guard`].
pub struct StopGuard<'s>(&'s Stop);

impl Drop for StopGuard<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// A client that blocks.
pub struct Direct {
    runtime: Runtime,
    client: Client,
}

/// What is stored: key to value and revision.
pub type Content = BTreeMap<String, (Vec<u8>, i64)>;

pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

impl Direct {
    pub fn connect(addr: SocketAddr) -> Self {
        let runtime = runtime();
        let client = Client::connect([addr.to_string()], None);
        let client = runtime.block_on(client).unwrap();
        Self { runtime, client }
    }

    fn run<T>(&self, answer: impl Future<Output = Result<T, etcd_client::Error>>) -> T {
        self.runtime.block_on(answer).unwrap()
    }

    /// Returns the revision of the write.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> i64 {
        let mut kv = self.client.kv_client();
        let answer = self.run(kv.put(key, value, None));
        answer.header().unwrap().revision()
    }

    /// Puts `rows` in one transaction; 128 at most.
    pub fn put_together(&mut self, rows: &[(String, String)]) -> i64 {
        let put = |(key, value): &(String, String)| TxnOp::put(key.as_str(), value.as_str(), None);
        self.together(rows.iter().map(put).collect())
    }

    /// Does `operations` in one transaction; 128 at most.
    pub fn together(&mut self, operations: Vec<TxnOp>) -> i64 {
        let transaction = etcd_client::Txn::new().and_then(operations);
        let mut kv = self.client.kv_client();
        let answer = self.run(kv.txn(transaction));
        answer.header().unwrap().revision()
    }

    pub fn delete(&mut self, key: &str) -> i64 {
        let mut kv = self.client.kv_client();
        let answer = self.run(kv.delete(key, None));
        answer.header().unwrap().revision()
    }

    /// Forgets the history before `revision`.
    pub fn compact(&mut self, revision: i64) {
        let how = CompactionOptions::new().with_physical();
        let mut kv = self.client.kv_client();
        self.run(kv.compact(revision, Some(how)));
    }

    /// Everything below `prefix` and its slash.
    pub fn content(&mut self, prefix: &str) -> Content {
        let kv = self.client.kv_client();
        let mut kv = kv.max_decoding_message_size(1 << 30);
        let how = GetOptions::new().with_prefix();
        let mut answer = self.run(kv.get(format!("{prefix}/"), Some(how)));
        let rows = answer.take_kvs().into_iter();
        rows.map(|kv| {
            let revision = kv.mod_revision();
            let (key, value) = kv.into_key_value();
            (String::from_utf8(key).unwrap(), (value, revision))
        })
        .collect()
    }
}
