//! One connection to one member of etcd. [cold]

use std::future::Future;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, Event, GetOptions, GetResponse,
    Identity, KeyValue, KvClient, PutOptions, ResponseHeader, TlsOptions, Txn, TxnOp, WatchOptions,
    WatchResponse, WatchStream,
};
use zeroize::Zeroizing;

use super::error::{StoreError, is_compaction, short};
use super::files;
use super::options::{Endpoint, EtcdOptions};
use super::watch::{Header, Kind, Message};
use crate::source::store::{Change, Listing, StoredRow};

/// Largest answer taken, in bytes. etcd's own bound of a value is 1.5 MiB; a page that does not fit
/// is asked for in halves, a watch that has more to tell at once is replaced by a listing.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Most rows of a listing.
const ROWS_MAX: usize = 1_000_000;
/// Most bytes of all values of a listing.
const VALUES_BYTES_MAX: usize = 1 << 30;

/// A connection that has answered at least once.
pub(super) struct Connection<'o> {
    options: &'o EtcdOptions,
    client: Client,
    kv: KvClient,
}

/// A watch on the range of the options.
pub(super) struct Watch {
    stream: WatchStream,
    request_limit: Duration,
}

impl<'o> Connection<'o> {
    /// Connects to `endpoint` and has one read answered, which shows that the member has a quorum
    /// and that we may read. Reads the TLS files and the password.
    pub(super) async fn open(
        options: &'o EtcdOptions,
        endpoint: &Endpoint,
    ) -> Result<Self, StoreError> {
        let how = connect_options(options, endpoint)?;
        let limit = options.dial_limit() + options.request_limit();
        let opened = async {
            let client = Client::connect([endpoint.to_string()], Some(how)).await?;
            let kv = client
                .kv_client()
                .max_decoding_message_size(ANSWER_BYTES_MAX);
            let mut kv = kv.max_encoding_message_size(ANSWER_BYTES_MAX);
            let (first, end) = options.range();
            let probe = GetOptions::new().with_range(end);
            let probe = probe.with_keys_only().with_limit(1);
            kv.get(first, Some(probe)).await?;
            Ok((client, kv))
        };
        let (client, kv) = within(limit, "connecting", opened).await?;
        Ok(Self {
            options,
            client,
            kv,
        })
    }

    /// Reads every row at one revision, in pages of `page_rows`.
    ///
    /// Halves `page_rows` when a page is too large or too slow; the caller keeps it for the next
    /// time. Never below 1.
    pub(super) async fn list(
        &mut self,
        page_rows: &mut u32,
    ) -> Result<(Header, Listing), StoreError> {
        let (mut from, end) = self.options.range();
        let mut listed: Option<Header> = None;
        let mut listing = Listing::default();
        let mut bytes = 0_usize;
        loop {
            // Revision 0 is the newest one; later pages are read as of the first.
            let revision = listed.map_or(0, |header| header.revision);
            let how = GetOptions::new().with_range(end.clone());
            let how = how.with_revision(revision);
            let how = how.with_limit(i64::from(*page_rows));
            let mut page = match self.get(from.clone(), how).await {
                Err(StoreError::AnswerTooLarge) if *page_rows > 1 => {
                    *page_rows /= 2;
                    continue;
                }
                Err(error @ StoreError::TimedOut { .. }) => {
                    *page_rows = (*page_rows / 2).max(1);
                    return Err(error);
                }
                page => page?,
            };
            let header = header(page.header())?;
            let first = *listed.get_or_insert(header);
            if header.cluster_id != first.cluster_id || header.revision < first.revision {
                return Err(StoreError::FutureRevision);
            }
            let (more, rows) = (page.more(), page.take_kvs());
            if let Some(last) = rows.last() {
                // The smallest key that is larger.
                from = [last.key(), b"\0"].concat();
            } else if more {
                return Err(StoreError::Protocol("an empty page that has more to come"));
            }
            bytes += rows.iter().map(|kv| kv.value().len()).sum::<usize>();
            listing.rows.extend(rows.into_iter().map(row));
            check_size(listing.rows.len(), bytes)?;
            if !more {
                listing.revision = first.revision;
                return Ok((first, listing));
            }
        }
    }

    /// One page of rows.
    async fn get(&mut self, from: Vec<u8>, how: GetOptions) -> Result<GetResponse, StoreError> {
        let limit = self.options.request_limit();
        within(limit, "a page of rows", self.kv.get(from, Some(how))).await
    }

    /// Watches the range from `revision` on.
    pub(super) async fn watch(&mut self, revision: i64) -> Result<Watch, StoreError> {
        let (first, end) = self.options.range();
        // Without fragments an answer holds whole transactions.
        let how = WatchOptions::new().with_range(end);
        let how = how.with_start_revision(revision);
        let client = self.client.watch_client();
        let mut client = client.max_decoding_message_size(ANSWER_BYTES_MAX);
        let request_limit = self.options.request_limit();
        let stream = within(request_limit, "a watch", client.watch(first, Some(how))).await?;
        Ok(Watch {
            stream,
            request_limit,
        })
    }

    /// Writes `value` unless the row has changed since `mod_revision`; 0 means that there is none.
    /// A lease stays. `false`: it has changed, nothing was written.
    pub(super) async fn put_if_unchanged(
        &mut self,
        key: &str,
        mod_revision: i64,
        value: &[u8],
    ) -> Result<bool, StoreError> {
        let unchanged = Compare::mod_revision(key, CompareOp::Equal, mod_revision);
        let how = (mod_revision != 0).then(|| PutOptions::new().with_ignore_lease());
        let put = TxnOp::put(key, value, how);
        let transaction = Txn::new().when([unchanged]).and_then([put]);
        let limit = self.options.request_limit();
        let answer = within(limit, "a write", self.kv.txn(transaction)).await?;
        Ok(answer.succeeded())
    }
}

impl Watch {
    /// The next message; `None` when the server has ended the stream. Loses nothing when dropped
    /// half-way.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, StoreError> {
        match self.stream.message().await? {
            None => Ok(None),
            Some(response) => message(&response).map(Some),
        }
    }

    /// Asks for the progress; the answer is a message.
    pub(super) async fn ask(&mut self) -> Result<(), StoreError> {
        let asked = self.stream.request_progress();
        within(self.request_limit, "a progress request", asked).await
    }
}

/// `answer`, or that it did not come within `limit`.
async fn within<T>(
    limit: Duration,
    what: &'static str,
    answer: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, StoreError> {
    let timed_out = |_| StoreError::TimedOut { what, after: limit };
    let in_time = tokio::time::timeout(limit, answer).await;
    Ok(in_time.map_err(timed_out)??)
}

/// How `endpoint` is connected to, files and password included.
fn connect_options(
    options: &EtcdOptions,
    endpoint: &Endpoint,
) -> Result<ConnectOptions, StoreError> {
    let ping = options.clocks.ping_interval;
    let mut how = ConnectOptions::new()
        .with_connect_timeout(options.dial_limit())
        .with_keep_alive(ping, ping)
        // A member that lost its leader would let a watch go stale in silence.
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    if let Some(login) = &options.login {
        let password = files::password(login)?;
        how = how.with_user(&*login.user, password.expose());
    }
    if endpoint.https {
        how = how.with_tls(tls_options(options, endpoint)?);
    }
    Ok(how)
}

fn tls_options(options: &EtcdOptions, endpoint: &Endpoint) -> Result<TlsOptions, StoreError> {
    let name = options.tls.domain_name.as_deref();
    let mut tls = TlsOptions::new()
        .domain_name(name.unwrap_or(&endpoint.host))
        .timeout(options.dial_limit());
    let material = files::read(&options.tls)?;
    tls = match material.roots {
        Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
        None => tls.with_native_roots(),
    };
    if let Some((chain, key)) = material.identity {
        tls = tls.identity(Identity::from_pem(chain, &*key));
    }
    Ok(tls)
}

fn header(header: Option<&ResponseHeader>) -> Result<Header, StoreError> {
    let header = header.ok_or(StoreError::Protocol("an answer without a header"))?;
    Ok(Header {
        cluster_id: header.cluster_id(),
        revision: header.revision(),
    })
}

fn check_size(rows: usize, bytes: usize) -> Result<(), StoreError> {
    match (rows, bytes) {
        (ROWS_MAX.., _) => Err(StoreError::StoreTooLarge("more than 1,000,000 rows")),
        (_, VALUES_BYTES_MAX..) => Err(StoreError::StoreTooLarge("more than 1 GiB of values")),
        _ => Ok(()),
    }
}

fn row(kv: KeyValue) -> StoredRow {
    let (create_revision, mod_revision) = (kv.create_revision(), kv.mod_revision());
    let (key, value) = kv.into_key_value();
    StoredRow {
        key: readable(&key),
        value: Zeroizing::new(value),
        create_revision,
        mod_revision,
    }
}

/// The key as text: what is not UTF-8 is written as `\xff`, which no identifier may hold.
fn readable(key: &[u8]) -> Box<str> {
    let mut text = String::with_capacity(key.len());
    for chunk in key.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text.into()
}

fn message(response: &WatchResponse) -> Result<Message, StoreError> {
    let header = header(response.header())?;
    let events = response.events();
    let compacted = response.compact_revision() != 0;
    let kind = if response.canceled() || compacted {
        let reason = response.cancel_reason();
        Kind::Cancelled {
            compacted: compacted || is_compaction(reason),
            reason: short(reason),
        }
    } else if response.created() {
        Kind::Created
    } else if events.is_empty() {
        Kind::Progress
    } else {
        of_events(events)?
    };
    Ok(Message { header, kind })
}

fn of_events(events: &[Event]) -> Result<Kind, StoreError> {
    let mut changes = Vec::with_capacity(events.len());
    let (mut first, mut last) = (i64::MAX, 0);
    for event in events {
        let kv = event.kv();
        let kv = kv.ok_or(StoreError::Protocol("an event without a row"))?;
        first = first.min(kv.mod_revision());
        last = last.max(kv.mod_revision());
        // A deletion is what sets the version to zero. (`Event::event_type` panics when it meets a
        // kind of event that it does not know.)
        changes.push(if kv.version() == 0 {
            let key = readable(kv.key());
            Change::Delete { key }
        } else {
            Change::Put(row(kv.clone()))
        });
    }
    Ok(Kind::Events {
        first,
        last,
        changes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_no_text_are_written_so_that_they_can_be_reported() {
        let cases: [(&[u8], &str); 4] = [
            (b"/sluice/models/a", "/sluice/models/a"),
            ("/sluice/models/ü".as_bytes(), "/sluice/models/ü"),
            (b"/sluice/\xff\xfe/a", "/sluice/\\xff\\xfe/a"),
            (b"", ""),
        ];
        for (key, want) in cases {
            assert_eq!(&*readable(key), want);
        }
    }

    #[test]
    fn a_store_beyond_the_bounds_is_refused() {
        assert!(check_size(ROWS_MAX - 1, VALUES_BYTES_MAX - 1).is_ok());
        assert!(check_size(ROWS_MAX, 0).is_err());
        assert!(check_size(0, VALUES_BYTES_MAX).is_err());
    }
}
