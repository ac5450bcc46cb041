//! What this process has counted against limits, told to the one that takes over. [boot]
//!
//! A report is a line for each bucket that has changed since the last one, `["KEY",{COUNTS}]`, and an
//! empty line. The first one holds everything, and the new process does not serve before it has it.
//! Reports go on until the old process ends; then the slots that it held are free.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::cold::unix_ms;
use crate::bridge::limits::{Counts, LimitTable};

/// Time between two reports: how late the new process may know of what the old one counts.
const REPORT_EVERY: Duration = Duration::from_millis(200);
/// How long the new process waits for the first report.
const FIRST_MAX: Duration = Duration::from_secs(2);
/// Longest line. Keys are of a few names and ids.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Tells what `table` counts until the other end is closed, or this process ends.
pub(super) fn tell(pipe: File, table: Arc<LimitTable>) {
    spawn("sluice-counts", move || {
        let mut pipe = BufWriter::new(pipe);
        let mut told = HashMap::new();
        while report(&mut pipe, &table, &mut told).is_ok() {
            std::thread::park_timeout(REPORT_EVERY);
        }
    });
}

/// Counts what the process before this one tells, from now until that one ends. Returns once the
/// first report is in, or did not come.
pub(super) fn follow(pipe: File, table: Arc<LimitTable>) {
    let (first, has_first) = sync_channel(1);
    spawn("sluice-counts", move || {
        if let Err(error) = hear(pipe, &table, &first) {
            tracing::warn!(%error, "what the process before this one counts is not known any more");
        }
    });
    await_first(&has_first);
}

fn await_first(has_first: &Receiver<()>) {
    match has_first.recv_timeout(FIRST_MAX) {
        Ok(()) => {}
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            tracing::warn!(
                "limits begin anew: the process before this one did not tell what it counted"
            );
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work);
    if let Err(error) = thread {
        tracing::warn!(%error, "limits begin anew: a thread could not be started");
    }
}

/// Writes what has changed since `told`.
fn report(
    pipe: &mut impl Write,
    table: &LimitTable,
    told: &mut HashMap<Box<str>, Counts>,
) -> io::Result<()> {
    // Nothing is written while a part of the table is locked: the reader may be slow.
    let mut changed = Vec::new();
    table.for_each(|key, bucket| {
        let counts = Counts::of(bucket);
        if told.get(key).copied().unwrap_or_default() != counts {
            changed.push((Box::<str>::from(key), counts));
        }
    });
    for one in changed {
        serde_json::to_writer(&mut *pipe, &one)?;
        pipe.write_all(b"\n")?;
        told.insert(one.0, one.1);
    }
    pipe.write_all(b"\n")?;
    pipe.flush()
}

/// Counts what is told until its end, then frees the slots that the teller held.
fn hear(pipe: impl Read, table: &LimitTable, first: &SyncSender<()>) -> io::Result<()> {
    let mut heard = HashMap::new();
    let end = hear_reports(pipe, table, &mut heard, first);
    for (key, last) in &heard {
        count(table, key, last.without_slots(), *last);
    }
    end
}

fn hear_reports(
    pipe: impl Read,
    table: &LimitTable,
    heard: &mut HashMap<Box<str>, Counts>,
    first: &SyncSender<()>,
) -> io::Result<()> {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        pipe.by_ref()
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)?;
        match &*line {
            [] => return Ok(()),
            // Full or gone: it is known to be here.
            b"\n" => drop(first.try_send(())),
            line => {
                let (key, counts): (Box<str>, Counts) = serde_json::from_slice(line)?;
                let before = heard.get(&key).copied().unwrap_or_default();
                if count(table, &key, counts, before) {
                    heard.insert(key, counts);
                }
            }
        }
    }
}

/// Whether the table had room for it.
fn count(table: &LimitTable, key: &str, counts: Counts, before: Counts) -> bool {
    let bucket = table.bucket(key, unix_ms());
    if let Some(bucket) = &bucket {
        counts.add_to(bucket, before);
    }
    bucket.is_some()
}

#[cfg(test)]
mod tests {
    use config_sync::model::rate_limit::RateLimit;

    use super::*;
    use crate::bridge::limits::{Charge, Receipt, Terms};

    fn terms() -> Terms {
        Terms::from(&RateLimit {
            concurrency: Some(9),
            rpd: Some(9),
            ..RateLimit::default()
        })
    }

    fn take(table: &LimitTable, key: &str) -> Receipt {
        let bucket = table.bucket(key, unix_ms()).unwrap();
        let at_ms = unix_ms();
        bucket
            .take(&terms(), Charge { at_ms, tokens: 0 }, |_, _| ())
            .unwrap()
    }

    fn slots_left(table: &LimitTable, key: &str) -> u64 {
        let bucket = table.bucket(key, unix_ms()).unwrap();
        bucket.slots(&terms()).unwrap().remaining
    }

    #[test]
    fn everything_is_told_first_then_what_changes_and_the_end_frees_the_slots() {
        let (old, new) = <(LimitTable, LimitTable)>::default();
        let (first, has_first) = sync_channel(1);
        let receipt = take(&old, "a");
        let _ = take(&old, "b\n\"");
        let (mut told, mut reports) = (HashMap::new(), Vec::new());
        report(&mut reports, &old, &mut told).unwrap();
        assert_eq!(reports.iter().filter(|&&byte| byte == b'\n').count(), 3);
        old.bucket("a", unix_ms()).unwrap().release(receipt);
        let before = reports.len();
        report(&mut reports, &old, &mut told).unwrap();
        let second = String::from_utf8(reports[before..].to_vec()).unwrap();
        assert!(
            second.starts_with("[\"a\",") && second.ends_with("\n\n"),
            "{second}"
        );
        report(&mut reports, &old, &mut told).unwrap();
        assert!(reports.ends_with(b"\n\n\n"));

        let mut heard = HashMap::new();
        hear_reports(&*reports, &new, &mut heard, &first).unwrap();
        has_first.try_recv().unwrap();
        assert_eq!((slots_left(&new, "a"), slots_left(&new, "b\n\"")), (9, 8));
        let fresh = LimitTable::default();
        hear(&*reports, &fresh, &first).unwrap();
        assert_eq!(slots_left(&fresh, "b\n\""), 9);
        let bucket = fresh.bucket("a", unix_ms()).unwrap();
        assert!(!bucket.is_idle(unix_ms()), "the request stays counted");
    }

    #[test]
    fn what_is_no_report_ends_the_listening_and_frees_the_slots() {
        let old = LimitTable::default();
        let _ = take(&old, "a");
        let mut reports = Vec::new();
        report(&mut reports, &old, &mut HashMap::new()).unwrap();
        for bad in [&b"x\n"[..], b"[\"a\",{}]\n", b"[\"a\",", &[b'"'; 1 << 17]] {
            let new = LimitTable::default();
            let (first, _has_first) = sync_channel(1);
            let told = [&reports, bad].concat();
            assert!(hear(&*told, &new, &first).is_err());
            assert_eq!(slots_left(&new, "a"), 9);
        }
    }
}
