//! The last requests and how they went, for tests to ask. [cold]

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::mock::request::{HEADERS_MAX, Request};

/// Memory that recorded requests may hold, in bytes; the oldest go first.
const RECORD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Scripts with `times` that are counted at once; beyond it counting starts anew.
const SCRIPTS_MAX: usize = 10_000;

/// How a response ended, or that it has not.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    /// Content events written.
    pub(super) events: u64,
    /// Bytes written for this request.
    pub(super) bytes: u64,
    /// The script or the mock's default has been followed to its end.
    pub(super) completed: bool,
    /// When the peer was found gone, before the response ended.
    pub(super) hung_up_unix_ms: Option<u64>,
    /// When the response ended, in whatever way.
    pub(super) ended_unix_ms: Option<u64>,
}

struct Entry {
    connection: u64,
    request: Arc<Request>,
    outcome: Outcome,
}

/// What all connections share.
pub(super) struct Recorder {
    inner: Mutex<Inner>,
    /// Requests kept.
    kept_max: usize,
}

#[derive(Default)]
struct Inner {
    entries: VecDeque<Entry>,
    /// Number of the first entry; numbers start at 1 and never repeat.
    first: u64,
    bytes: usize,
    /// Number of the last connection.
    connection: u64,
    accepted: u64,
    open: u64,
    /// Requests seen per script that has `times`.
    uses: HashMap<Box<str>, u32>,
}

impl Recorder {
    pub(super) fn new(kept_max: usize) -> Self {
        let inner = Inner {
            first: 1,
            ..Inner::default()
        };
        Self {
            inner: Mutex::new(inner),
            kept_max,
        }
    }

    /// Counts a new connection and gives its number.
    pub(super) fn connection_opened(&self) -> u64 {
        let mut inner = self.lock();
        inner.accepted += 1;
        inner.open += 1;
        inner.connection += 1;
        inner.connection
    }

    pub(super) fn connection_closed(&self) {
        self.lock().open -= 1;
    }

    /// Forgets a connection that turned out to be a test asking for records.
    pub(super) fn connection_is_admin(&self) {
        let mut inner = self.lock();
        inner.accepted -= 1;
        inner.open -= 1;
    }

    /// Keeps `request` and gives its number.
    pub(super) fn received(&self, connection: u64, request: &Arc<Request>) -> u64 {
        let mut inner = self.lock();
        inner.bytes += request.size();
        inner.entries.push_back(Entry {
            connection,
            request: Arc::clone(request),
            outcome: Outcome::default(),
        });
        let number = inner.first + inner.entries.len() as u64 - 1;
        while inner.entries.len() > self.kept_max || inner.bytes > RECORD_BYTES_MAX {
            let Some(gone) = inner.entries.pop_front() else {
                break;
            };
            inner.bytes -= gone.request.size();
            inner.first += 1;
        }
        number
    }

    /// Sets the outcome of request `number`, if it is still kept.
    pub(super) fn ended(&self, number: u64, outcome: Outcome) {
        let mut inner = self.lock();
        let index = number.checked_sub(inner.first);
        let index = index.and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| inner.entries.get_mut(index)) {
            entry.outcome = outcome;
        }
    }

    /// How many requests before this one had the same script.
    pub(super) fn uses(&self, script: &str) -> u32 {
        let mut inner = self.lock();
        if inner.uses.len() >= SCRIPTS_MAX {
            inner.uses.clear();
        }
        let uses = inner.uses.entry(script.into()).or_default();
        *uses += 1;
        *uses - 1
    }

    /// Forgets all requests and all counts of scripts.
    pub(super) fn clear(&self) {
        let mut inner = self.lock();
        inner.first += inner.entries.len() as u64;
        inner.entries.clear();
        inner.uses.clear();
        inner.bytes = 0;
    }

    /// `{"open":n,"accepted":n}`, connections of tests not counted.
    pub(super) fn connections(&self) -> Value {
        let inner = self.lock();
        json!({"open": inner.open, "accepted": inner.accepted})
    }

    /// All requests kept, oldest first.
    pub(super) fn requests(&self) -> Value {
        let inner = self.lock();
        let entries = inner.entries.iter().zip(inner.first..);
        entries.map(|(entry, number)| entry.json(number)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each critical section leaves whole values behind.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn json(&self, number: u64) -> Value {
        let (request, outcome) = (&self.request, &self.outcome);
        let since = |at: Option<u64>| at.map(|at| at.saturating_sub(request.received_unix_ms));
        json!({
            "number": number,
            "connection": self.connection,
            "method": request.method(),
            "target": request.target(),
            "path": request.path(),
            "headers": headers(request.head()),
            "body": String::from_utf8_lossy(request.body()),
            "body_complete": request.complete,
            "received_at_ms": request.received_unix_ms,
            "ended_at_ms": outcome.ended_unix_ms,
            "completed": outcome.completed,
            "hung_up": outcome.hung_up_unix_ms.is_some(),
            "hung_up_at_ms": outcome.hung_up_unix_ms,
            "hung_up_after_ms": since(outcome.hung_up_unix_ms),
            "events_sent": outcome.events,
            "bytes_sent": outcome.bytes,
        })
    }
}

/// Names and values in the order and case they were sent.
fn headers(head: &[u8]) -> Value {
    let mut headers = vec![httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    // It was parsed before it was kept; what fails here shows as no headers.
    let _ = parsed.parse(head);
    let pairs = parsed
        .headers
        .iter()
        .take_while(|header| !header.name.is_empty());
    pairs
        .map(|header| json!([header.name, String::from_utf8_lossy(header.value)]))
        .collect()
}
