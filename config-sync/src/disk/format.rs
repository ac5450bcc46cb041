//! Rows as JSON, the plaintext of a cache file. [pure]
//!
//! ```json
//! {"version":1,"revision":4711,
//!  "entries":[{"key":"/sluice/models/7f","value_b64":"eyJk","revision":4700,"create_revision":4600}],
//!  "stale":[{"key":"/sluice/models/9a","value_b64":"eyJk","revision":4650,"since_unix_secs":1767225600}]}
//! ```
//! `create_revision` is left out where it is that of the value.

use std::fmt;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use zeroize::Zeroizing;

use super::{Cached, CachedView, Miss};
use crate::source::store::{StaleRow, StoredRow};

const VERSION: u64 = 1;
/// More than the members' names and numbers of one row take.
const ROW_ROOM: usize = 160;

/// The JSON of `view`, in a buffer that never grows and so leaves no copy of a credential behind.
pub(super) fn encode(view: &CachedView<'_>) -> Zeroizing<Vec<u8>> {
    let stale = view.stale.iter().map(|(row, _)| *row);
    // A character of a key takes six at most, when it is escaped.
    let room = |row: &StoredRow| ROW_ROOM + row.key.len() * 6 + row.value.len().div_ceil(3) * 4;
    let rooms = view.rows.iter().copied().chain(stale).map(room);
    let mut out = Zeroizing::new(Vec::with_capacity(ROW_ROOM + rooms.sum::<usize>()));
    push(
        &mut out,
        format_args!(
            "{{\"version\":{VERSION},\"revision\":{},\"entries\":[",
            view.revision
        ),
    );
    for (at, row) in view.rows.iter().enumerate() {
        push_row(&mut out, at, row);
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"stale\":[");
    for (at, (row, since)) in view.stale.iter().enumerate() {
        push_row(&mut out, at, row);
        push(&mut out, format_args!(",\"since_unix_secs\":{since}}}"));
    }
    out.extend_from_slice(b"]}\n");
    out
}

/// A row without its closing brace.
fn push_row(out: &mut Vec<u8>, at: usize, row: &StoredRow) {
    out.extend_from_slice(if at == 0 {
        b"\n{\"key\":"
    } else {
        b",\n{\"key\":"
    });
    serde_json::to_writer(&mut *out, &row.key).expect("a string is written to memory");
    out.extend_from_slice(b",\"value_b64\":\"");
    push_base64(out, &row.value);
    push(out, format_args!("\",\"revision\":{}", row.mod_revision));
    if row.create_revision != row.mod_revision {
        push(
            out,
            format_args!(",\"create_revision\":{}", row.create_revision),
        );
    }
}

fn push(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("text is written to memory");
}

fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let at = out.len();
    out.resize(at + bytes.len().div_ceil(3) * 4, 0);
    STANDARD
        .encode_slice(bytes, &mut out[at..])
        .expect("four characters for every three bytes, which is the room there is");
}

/// What [`encode`] or another gateway wrote. Unknown members are passed over.
pub(super) fn decode(bytes: &[u8], prefix: &str) -> Result<Cached, Miss> {
    let file: File = serde_json::from_slice(bytes).map_err(|error| {
        // The message would quote the value that does not fit.
        let (line, column) = (error.line(), error.column());
        // Another version may well have another shape, too.
        match serde_json::from_slice::<Version>(bytes) {
            Ok(Version { version }) if version != VERSION => Miss::Version,
            _ => Miss::Malformed { line, column },
        }
    })?;
    if file.version != VERSION {
        return Err(Miss::Version);
    }
    let prefix = prefix.trim_end_matches('/');
    let below = |row: &StoredRow| {
        let rest = row.key.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    let rows = file.entries.into_iter().map(Entry::into_row);
    let stale = file.stale.unwrap_or_default();
    let stale = stale.into_iter().map(Stale::into_row);
    Ok(Cached {
        revision: file.revision.0,
        rows: rows.filter(below).collect(),
        stale: stale.filter(|stale| below(&stale.row)).collect(),
    })
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

#[derive(Deserialize)]
struct File {
    version: u64,
    revision: Revision,
    entries: Vec<Entry>,
    stale: Option<Vec<Stale>>,
}

#[derive(Deserialize)]
struct Entry {
    key: Box<str>,
    value_b64: Bytes,
    revision: Revision,
    create_revision: Option<Revision>,
}

impl Entry {
    fn into_row(self) -> StoredRow {
        StoredRow {
            key: self.key,
            value: self.value_b64.0,
            create_revision: self.create_revision.unwrap_or(self.revision).0,
            mod_revision: self.revision.0,
        }
    }
}

/// Written out: flattening an [`Entry`] would keep copies of the value on the way.
#[derive(Deserialize)]
struct Stale {
    key: Box<str>,
    value_b64: Bytes,
    revision: Revision,
    create_revision: Option<Revision>,
    since_unix_secs: u64,
}

impl Stale {
    fn into_row(self) -> StaleRow {
        let entry = Entry {
            key: self.key,
            value_b64: self.value_b64,
            revision: self.revision,
            create_revision: self.create_revision,
        };
        StaleRow {
            row: entry.into_row(),
            since_unix_secs: self.since_unix_secs,
        }
    }
}

/// A revision of the store: never negative.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
struct Revision(i64);

impl TryFrom<i64> for Revision {
    type Error = &'static str;

    fn try_from(number: i64) -> Result<Self, Self::Error> {
        if number < 0 {
            return Err("a revision is negative");
        }
        Ok(Self(number))
    }
}

/// Bytes written as base64, wiped when dropped.
struct Bytes(Zeroizing<Vec<u8>>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Base64)
    }
}

/// Decodes where the text stands, so that no copy of it is made.
struct Base64;

impl Visitor<'_> for Base64 {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
        let bytes = STANDARD.decode(text);
        bytes
            .map(|bytes| Bytes(Zeroizing::new(bytes)))
            .map_err(|_| E::custom("not base64"))
    }
}
