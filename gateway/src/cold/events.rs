//! Writes the workers' log events, at a limited rate. [cold]

use std::collections::HashMap;

use crate::bridge::WorkerView;
use crate::bridge::log::{Event, Level};

/// Lines per message and [`WINDOW_MS`]; further ones are counted and summed up in one line.
const PER_WINDOW: u32 = 10;
/// Length of a window.
const WINDOW_MS: u64 = 10_000;

/// Limits each message on its own. Messages are fixed sentences, so the table stays small.
#[derive(Debug, Default)]
pub struct Events {
    seen: HashMap<&'static str, Window>,
}

#[derive(Debug, Default)]
struct Window {
    start_ms: u64,
    written: u32,
    withheld: u64,
}

/// What becomes of one event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Write,
    /// Write, and say how many were withheld before.
    WriteAfter(u64),
    Withhold,
}

impl Events {
    /// Writes what the workers have queued.
    pub fn drain(&mut self, workers: &[WorkerView], now_unix_ms: u64) {
        for (number, worker) in workers.iter().enumerate() {
            for _ in 0..worker.events.len() {
                let Some(event) = worker.events.pop() else {
                    break;
                };
                match self.admit(event.message, now_unix_ms) {
                    Verdict::Write => write(number, &event),
                    Verdict::WriteAfter(withheld) => {
                        tracing::warn!(withheld, event = event.message, "log events were withheld");
                        write(number, &event);
                    }
                    Verdict::Withhold => {}
                }
            }
        }
    }

    fn admit(&mut self, message: &'static str, now_unix_ms: u64) -> Verdict {
        let window = self.seen.entry(message).or_default();
        if now_unix_ms.abs_diff(window.start_ms) >= WINDOW_MS {
            let withheld = window.withheld;
            *window = Window {
                start_ms: now_unix_ms,
                written: 1,
                withheld: 0,
            };
            return if withheld > 0 {
                Verdict::WriteAfter(withheld)
            } else {
                Verdict::Write
            };
        }
        if window.written < PER_WINDOW {
            window.written += 1;
            return Verdict::Write;
        }
        window.withheld += 1;
        Verdict::Withhold
    }
}

fn write(worker: usize, event: &Event) {
    let detail = printable(&event.detail);
    let request_id = event.request_id.as_deref().unwrap_or_default();
    match event.level {
        Level::Error => tracing::error!(worker, request_id, detail, "{}", event.message),
        Level::Warn => tracing::warn!(worker, request_id, detail, "{}", event.message),
        Level::Info => tracing::info!(worker, request_id, detail, "{}", event.message),
    }
}

fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::build;
    use crate::bridge::histogram::BucketSettings;

    #[test]
    fn a_flood_of_one_message_leaves_the_others_alone() {
        let mut events = Events::default();
        let start = 1_000_000;
        for at in 0..PER_WINDOW {
            assert_eq!(events.admit("flood", start + u64::from(at)), Verdict::Write);
        }
        assert_eq!(events.admit("flood", start), Verdict::Withhold);
        assert_eq!(events.admit("flood", start + 9_999), Verdict::Withhold);
        assert_eq!(events.admit("other", start), Verdict::Write);
        assert_eq!(
            events.admit("flood", start + 10_000),
            Verdict::WriteAfter(2)
        );
        assert_eq!(events.admit("flood", start + 10_001), Verdict::Write);
        assert_eq!(events.admit("flood", start + 30_000), Verdict::Write);
    }

    #[test]
    fn queues_are_emptied_and_control_characters_go() {
        let (workers, cold) = build(1, &BucketSettings::default()).unwrap();
        workers[0].log(Event::new(Level::Warn, "m", "a\nb"));
        Events::default().drain(&cold.workers, 1);
        assert!(cold.workers[0].events.is_empty());
        assert_eq!(printable("a\nb\u{1b}[0m"), "ab[0m");
    }
}
