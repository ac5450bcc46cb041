//! The process as the kernel sees it. [cold]

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::families as f;
use super::text::{header, sample, sample_micros};
use crate::bridge::WorkerView;

/// Appends the `process_*` families. What cannot be read is left out.
pub fn render(start_unix_ms: u64, workers: &[WorkerView], out: &mut Vec<u8>) {
    if let Some(stat) = fs::read_to_string("/proc/self/stat")
        .ok()
        .as_deref()
        .and_then(parse_stat)
    {
        header(out, &f::PROCESS_CPU);
        let micros = stat.ticks.saturating_mul(1_000_000) / clock_ticks_per_second().max(1);
        sample_micros(out, &f::PROCESS_CPU, b"", micros);
        let page = page_size() as u64;
        for (family, value) in [
            (&f::PROCESS_RSS, stat.rss_pages.saturating_mul(page)),
            (&f::PROCESS_VIRTUAL, stat.virtual_bytes),
            (&f::PROCESS_THREADS, stat.threads),
        ] {
            header(out, family);
            sample(out, family, b"", i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
    header(out, &f::PROCESS_START);
    sample_micros(
        out,
        &f::PROCESS_START,
        b"",
        start_unix_ms.saturating_mul(1_000),
    );
    descriptors(workers, out);
}

/// Open descriptors and their limit, over the table that threads share and those that workers have for themselves.
fn descriptors(workers: &[WorkerView], out: &mut Vec<u8>) {
    let own = workers.iter().map(|worker| &worker.counters);
    let own = own.filter(|counters| counters.own_table.value() != 0);
    let own = own.map(|counters| format!("/proc/self/task/{}/fd", counters.thread_id.value()));
    let tables = std::iter::once("/proc/self/fd".to_owned()).chain(own);
    let open: Vec<usize> = tables
        .filter_map(|table| Some(fs::read_dir(table).ok()?.count()))
        .collect();
    if !open.is_empty() {
        let all = i64::try_from(open.iter().sum::<usize>()).unwrap_or(i64::MAX);
        header(out, &f::PROCESS_FDS);
        sample(out, &f::PROCESS_FDS, b"", all);
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        let tables = open.len().max(1) as u64;
        let all = i64::try_from(limit.saturating_mul(tables)).unwrap_or(i64::MAX);
        header(out, &f::PROCESS_FDS_MAX);
        sample(out, &f::PROCESS_FDS_MAX, b"", all);
    }
}

#[derive(Debug, Eq, PartialEq)]
struct Stat {
    ticks: u64,
    threads: u64,
    virtual_bytes: u64,
    rss_pages: u64,
}

/// Reads `/proc/self/stat`. The command name may hold anything, so counting starts after its
/// closing parenthesis.
///
/// # Source
///
/// proc_pid_stat(5): utime is field 14, stime 15, num_threads 20, vsize 23, rss 24.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The first field after the name is number 3.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        ticks: field(14)? + field(15)?,
        threads: field(20)?,
        virtual_bytes: field(23)?,
        rss_pages: field(24)?,
    })
}

/// CPU time a thread of this process has used, nanoseconds.
pub fn thread_cpu_ns(thread_id: u64) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/self/task/{thread_id}/schedstat")).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_parentheses_shifts_nothing() {
        let text = "7 (a) (b) S 1 7 7 0 -1 4 0 0 0 0 11 22 0 0 20 0 5 0 99 4096 3 18";
        let want = Stat {
            ticks: 33,
            threads: 5,
            virtual_bytes: 4096,
            rss_pages: 3,
        };
        assert_eq!(parse_stat(text), Some(want));
        assert_eq!(parse_stat("7 (a) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn this_process_has_threads_memory_and_files() {
        let mut out = Vec::new();
        render(1_500, &[], &mut out);
        let text = String::from_utf8(out).unwrap();
        for name in [
            "cpu_seconds_total",
            "resident_memory_bytes",
            "open_fds",
            "threads",
        ] {
            assert!(
                text.contains(&format!("\nprocess_{name} ")),
                "{name} in {text}"
            );
        }
        assert!(text.contains("process_start_time_seconds 1.5\n"));
    }

    #[test]
    fn a_thread_that_does_not_exist_has_no_cpu_time() {
        assert_eq!(thread_cpu_ns(u64::MAX), None);
    }
}
