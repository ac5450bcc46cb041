//! What is known about host names, on a clock that is passed in. [pure]
//!
//! An answer is fresh for 30 s, then still served for 5 min while it is looked up again. Each
//! host is looked up once at a time, however many workers ask.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::bridge::dns::{DnsAnswer, DnsError};

/// An answer is not asked for again within this.
pub const FRESH_FOR: Duration = Duration::from_secs(30);
/// An answer that cannot be renewed is served this long after it was fresh.
pub const STALE_FOR: Duration = Duration::from_secs(5 * 60);
/// A failure is not asked for again within this.
pub const FAILURE_FOR: Duration = Duration::from_secs(1);
/// Most hosts remembered. Providers are few; names come from the configuration.
pub const HOSTS_MAX: usize = 4_096;
/// Most addresses kept of one host.
pub const ADDRS_MAX: usize = 32;

/// The answers so far. `now` is the time since any fixed instant.
#[derive(Debug, Default)]
pub struct Cache {
    hosts: HashMap<Arc<str>, Host>,
}

#[derive(Debug)]
struct Host {
    known: Option<Known>,
    /// Not looked up again before this.
    retry_at: Duration,
    /// Failure of the last lookup, if it failed.
    failure: Option<DnsError>,
    /// Being looked up, for these workers.
    waiting: Option<Vec<u16>>,
    asked_at: Duration,
}

#[derive(Debug)]
struct Known {
    addrs: Arc<[IpAddr]>,
    usable_until: Duration,
}

/// What to do about a question.
#[derive(Debug)]
pub struct Step {
    /// Send this to the worker that asked.
    pub answer: Option<DnsAnswer>,
    /// Start a lookup, and call [`Cache::found`] with its result.
    pub look_up: bool,
}

impl Cache {
    /// A worker asks for a host.
    pub fn ask(&mut self, host: &Arc<str>, worker: u16, now: Duration) -> Step {
        if let Ok(literal) = host.parse::<IpAddr>() {
            let answer = DnsAnswer {
                host: Arc::clone(host),
                addrs: Ok(Arc::new([literal])),
                fresh_for: Duration::MAX,
                usable_for: Duration::MAX,
            };
            return Step {
                answer: Some(answer),
                look_up: false,
            };
        }
        if !self.hosts.contains_key(host) && !self.make_room(now) {
            let answer = failure(host, DnsError::Busy);
            return Step {
                answer: Some(answer),
                look_up: false,
            };
        }
        let entry = self.hosts.entry(Arc::clone(host)).or_insert_with(|| Host {
            known: None,
            retry_at: Duration::ZERO,
            failure: None,
            waiting: None,
            asked_at: now,
        });
        entry.asked_at = now;
        let answer = entry.answer(host, now);
        if now < entry.retry_at {
            return Step {
                answer,
                look_up: false,
            };
        }
        let look_up = entry.waiting.is_none();
        let waiting = entry.waiting.get_or_insert_default();
        if !waiting.contains(&worker) {
            waiting.push(worker);
        }
        // A failure that is over is no answer: the worker waits for the lookup.
        Step {
            answer: answer.filter(|answer| answer.addrs.is_ok()),
            look_up,
        }
    }

    /// A lookup has ended. Returns the answer and the workers that wait for it.
    pub fn found(
        &mut self,
        host: &Arc<str>,
        result: Result<Vec<IpAddr>, DnsError>,
        now: Duration,
    ) -> Option<(DnsAnswer, Vec<u16>)> {
        let entry = self.hosts.get_mut(host)?;
        let waiting = entry.waiting.take().unwrap_or_default();
        match result.and_then(|addrs| interleave(&addrs).ok_or(DnsError::NotFound)) {
            Ok(addrs) => {
                entry.known = Some(Known {
                    addrs,
                    usable_until: now + FRESH_FOR + STALE_FOR,
                });
                entry.retry_at = now + FRESH_FOR;
                entry.failure = None;
            }
            Err(error) => {
                entry.retry_at = now + FAILURE_FOR;
                entry.failure = Some(error);
            }
        }
        Some((entry.answer(host, now)?, waiting))
    }

    /// Hosts remembered.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether no host is remembered.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Makes room for one more host; false when all are being looked up.
    fn make_room(&mut self, now: Duration) -> bool {
        if self.hosts.len() < HOSTS_MAX {
            return true;
        }
        self.hosts
            .retain(|_, host| host.waiting.is_some() || host.usable(now));
        if self.hosts.len() < HOSTS_MAX {
            return true;
        }
        let idle = self.hosts.iter().filter(|(_, host)| host.waiting.is_none());
        let oldest = idle
            .min_by_key(|(_, host)| host.asked_at)
            .map(|(name, _)| Arc::clone(name));
        oldest.is_some_and(|name| self.hosts.remove(&name).is_some())
    }
}

impl Host {
    fn usable(&self, now: Duration) -> bool {
        self.known
            .as_ref()
            .is_some_and(|known| now < known.usable_until)
    }

    fn answer(&self, host: &Arc<str>, now: Duration) -> Option<DnsAnswer> {
        let fresh_for = self.retry_at.saturating_sub(now).max(FAILURE_FOR);
        match (&self.known, self.failure) {
            (Some(known), _) if now < known.usable_until => Some(DnsAnswer {
                host: Arc::clone(host),
                addrs: Ok(Arc::clone(&known.addrs)),
                fresh_for,
                usable_for: known.usable_until - now,
            }),
            (_, Some(error)) => Some(failure(host, error)),
            _ => None,
        }
    }
}

fn failure(host: &Arc<str>, error: DnsError) -> DnsAnswer {
    DnsAnswer {
        host: Arc::clone(host),
        addrs: Err(error),
        fresh_for: FAILURE_FOR,
        usable_for: FAILURE_FOR,
    }
}

/// Alternates the families, beginning with that of the first address; duplicates are dropped.
///
/// # Source
///
/// RFC 8305, section 4.
fn interleave(addrs: &[IpAddr]) -> Option<Arc<[IpAddr]>> {
    let first = addrs.first()?;
    let mut unique: Vec<IpAddr> = Vec::new();
    for addr in addrs {
        if unique.len() < ADDRS_MAX && !unique.contains(addr) {
            unique.push(*addr);
        }
    }
    let (same, other): (Vec<IpAddr>, Vec<IpAddr>) = unique
        .into_iter()
        .partition(|addr| addr.is_ipv4() == first.is_ipv4());
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    let mut out = Vec::new();
    loop {
        let pair = [same.next(), other.next()];
        if pair == [None, None] {
            return Some(out.into());
        }
        out.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn many_askers_share_one_lookup_and_all_are_answered() {
        let mut cache = Cache::default();
        let host: Arc<str> = "a.example".into();
        assert!(cache.ask(&host, 0, s(0)).look_up);
        for worker in [1, 2, 1] {
            let step = cache.ask(&host, worker, s(0));
            assert!(!step.look_up && step.answer.is_none());
        }
        let (answer, waiting) = cache.found(&host, Ok(vec![ip("192.0.2.1")]), s(1)).unwrap();
        assert_eq!(waiting, [0, 1, 2]);
        assert_eq!(*answer.addrs.unwrap(), [ip("192.0.2.1")]);
        assert_eq!(answer.fresh_for, FRESH_FOR);
    }

    #[test]
    fn answers_age_from_fresh_to_stale_to_gone() {
        let mut cache = Cache::default();
        let host: Arc<str> = "a.example".into();
        cache.ask(&host, 0, s(0));
        cache.found(&host, Ok(vec![ip("192.0.2.1")]), s(0));
        let cases = [
            (29, true, false),
            (30, true, true),
            (329, true, true),
            (330, false, true),
        ];
        for (at, answered, look_up) in cases {
            let step = cache.ask(&host, 0, s(at));
            assert_eq!(
                (step.answer.is_some(), step.look_up),
                (answered, look_up),
                "at {at} s"
            );
            if step.look_up {
                // The lookup fails: what is known stays in use while it may.
                let (answer, _) = cache.found(&host, Err(DnsError::Timeout), s(at)).unwrap();
                assert_eq!(answer.addrs.is_ok(), answered, "at {at} s");
            }
        }
    }

    #[test]
    fn a_failure_is_answered_for_a_second_and_then_asked_again() {
        let mut cache = Cache::default();
        let host: Arc<str> = "a.example".into();
        cache.ask(&host, 0, s(10));
        let (answer, _) = cache.found(&host, Ok(Vec::new()), s(10)).unwrap();
        assert_eq!(answer.addrs.unwrap_err(), DnsError::NotFound);
        let half = Duration::from_millis(10_500);
        let step = cache.ask(&host, 0, half);
        assert!(!step.look_up && step.answer.unwrap().addrs.is_err());
        let step = cache.ask(&host, 0, s(11));
        assert!(step.look_up && step.answer.is_none());
    }

    #[test]
    fn an_address_is_its_own_answer() {
        let mut cache = Cache::default();
        for literal in ["192.0.2.9", "2001:db8::1"] {
            let step = cache.ask(&literal.into(), 0, s(0));
            assert_eq!(*step.answer.unwrap().addrs.unwrap(), [ip(literal)]);
            assert!(!step.look_up && cache.is_empty());
        }
    }

    #[test]
    fn families_alternate_from_the_first() {
        let cases: [(&[&str], &[&str]); 3] = [
            (
                &["::1", "::2", "1.1.1.1", "::1", "2.2.2.2"],
                &["::1", "1.1.1.1", "::2", "2.2.2.2"],
            ),
            (
                &["1.1.1.1", "2.2.2.2", "::1"],
                &["1.1.1.1", "::1", "2.2.2.2"],
            ),
            (&["1.1.1.1"], &["1.1.1.1"]),
        ];
        for (given, want) in cases {
            let given: Vec<_> = given.iter().map(|text| ip(text)).collect();
            let want: Vec<_> = want.iter().map(|text| ip(text)).collect();
            assert_eq!(*interleave(&given).unwrap(), *want);
        }
        assert!(interleave(&[]).is_none());
    }

    #[test]
    fn hosts_are_bounded_and_the_least_asked_for_goes_first() {
        let mut cache = Cache::default();
        let name = |at: usize| -> Arc<str> { format!("h{at}.example").into() };
        for at in 0..HOSTS_MAX {
            cache.ask(&name(at), 0, s(1));
        }
        let step = cache.ask(&"one-more".into(), 0, s(1));
        assert_eq!(
            step.answer.unwrap().addrs.unwrap_err(),
            DnsError::Busy,
            "all under way"
        );
        for at in 0..HOSTS_MAX {
            cache.found(&name(at), Ok(vec![ip("192.0.2.1")]), s(1));
        }
        cache.ask(&name(0), 0, s(2));
        assert!(cache.ask(&"one-more".into(), 0, s(2)).look_up);
        assert_eq!(cache.len(), HOSTS_MAX);
        assert!(
            cache.ask(&name(0), 0, s(3)).answer.is_some(),
            "asked for lately"
        );
    }
}
