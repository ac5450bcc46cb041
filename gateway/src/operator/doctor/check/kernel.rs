//! The kernel, its rings, and the clock. [pure]

use super::super::facts::{Cause, Facts, Wanted};
use super::super::finding::{Finding, Severity};

/// First version whose rings have the flags of a single-threaded server.
const TUNED_RINGS: (u32, u32) = (6, 1);
/// A clock before this is wrong: 2025-01-01 UTC.
const EARLIEST: i64 = 1_735_689_600;
/// A clock after this is wrong too: 2100-01-01 UTC.
const LATEST: i64 = 4_102_444_800;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![io_uring(facts)];
    findings.extend(kernel(&facts.host.release));
    findings.extend(huge_pages(facts.host.huge_pages.as_deref()));
    findings.push(clock(facts));
    findings
}

fn kernel(release: &str) -> Option<Finding> {
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    let version = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let severity = match version < TUNED_RINGS {
        true => Severity::Info,
        false => Severity::Ok,
    };
    let why = "from Linux 6.1 on, rings are set up for one thread each, which costs less per event";
    let finding = Finding::new("kernel", severity, "uname -r", release, why);
    Some(finding.mended_by("a newer kernel, where there is one to be had"))
}

fn io_uring(facts: &Facts) -> Finding {
    let why =
        "workers wait by io_uring where they may, and by epoll elsewhere; both serve the same";
    let engine = &facts.engine;
    let severity = match (engine.wanted, engine.entries) {
        (Wanted::Epoll, _) | (_, Some(1024..)) => Severity::Ok,
        (Wanted::IoUring, None) => Severity::Fail,
        _ => Severity::Info,
    };
    let reason = engine.reason.as_ref();
    let seen = match (engine.wanted, engine.entries) {
        (Wanted::Epoll, _) => "epoll, as asked for".to_owned(),
        (_, Some(entries)) => format!("{} ring(s) of {entries} entries", engine.workers),
        (_, None) => "no ring to be had: epoll".to_owned(),
    };
    let seen = match reason {
        Some(reason) => format!("{seen} ({}{})", reason.text, circumstances(facts)),
        None => seen,
    };
    let finding = Finding::new("io_uring", severity, "proxy.io_engine", seen, why);
    finding.mended_by(remedy(facts))
}

/// What on this host may deny rings.
fn circumstances(facts: &Facts) -> String {
    let mut said = String::new();
    if let Some(disabled @ 1..) = facts.host.io_uring_disabled {
        said += &format!("; kernel.io_uring_disabled = {disabled}");
    }
    if facts.process.seccomp == Some(2) {
        said += "; a seccomp filter is in force";
    }
    said
}

fn remedy(facts: &Facts) -> String {
    let cause = facts.engine.reason.as_ref().map(|reason| reason.cause);
    match cause {
        Some(Cause::Permission) if facts.host.io_uring_disabled.unwrap_or(0) > 0 => {
            "sysctl -w kernel.io_uring_disabled=0, or leave it: epoll serves as well"
        }
        Some(Cause::Permission) => {
            "docker run --security-opt seccomp=tuning/container/seccomp.json …, or leave it: epoll \
             serves as well"
        }
        Some(Cause::Memory) => "LimitMEMLOCK=64M in the unit, or --ulimit memlock=67108864",
        _ => "none needed; io_engine: epoll says so in the startup file",
    }
    .to_owned()
}

fn huge_pages(chosen: Option<&str>) -> Option<Finding> {
    let chosen = chosen?;
    let severity = match chosen {
        "always" => Severity::Info,
        _ => Severity::Ok,
    };
    let why = "with `always` the kernel backs small heaps by pages of 2 MiB: resident memory grows";
    let subject = "/sys/kernel/mm/transparent_hugepage/enabled";
    let finding = Finding::new("huge_pages", severity, subject, chosen, why);
    Some(finding.mended_by("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"))
}

fn clock(facts: &Facts) -> Finding {
    let why = "certificates, expiring keys and windows of limits are judged by the clock";
    let (severity, seen) = match (facts.now, facts.host.clock_in_step) {
        (now, _) if !(EARLIEST..LATEST).contains(&now) => {
            (Severity::Fail, format!("Unix time {now} cannot be right"))
        }
        (now, Some(false)) => (
            Severity::Info,
            format!("Unix time {now}; nothing keeps it in step"),
        ),
        (now, _) => (Severity::Ok, format!("Unix time {now}")),
    };
    let finding = Finding::new("clock", severity, "clock", seen, why);
    finding.mended_by("timedatectl set-ntp true")
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::{Denied, EngineFacts};
    use super::super::said;
    use super::*;

    #[test]
    fn a_ring_is_a_matter_of_taste_unless_it_is_demanded() {
        use Severity::{Fail, Info, Ok};
        let cases = [
            (Wanted::Auto, Some(1024), Ok),
            (Wanted::Auto, Some(256), Info),
            (Wanted::Auto, None, Info),
            (Wanted::IoUring, Some(1024), Ok),
            (Wanted::IoUring, Some(256), Info),
            (Wanted::IoUring, None, Fail),
            (Wanted::Epoll, None, Ok),
        ];
        for (wanted, entries, want) in cases {
            let facts = Facts {
                engine: EngineFacts {
                    wanted,
                    entries,
                    workers: 2,
                    reason: None,
                },
                ..Facts::default()
            };
            assert_eq!(io_uring(&facts).severity, want, "{wanted:?} {entries:?}");
        }
    }

    #[test]
    fn each_cause_has_its_own_remedy() {
        let cases = [
            (Cause::Permission, Some(2), "io_uring_disabled=0"),
            (Cause::Permission, Some(0), "seccomp.json"),
            (Cause::Permission, None, "seccomp.json"),
            (Cause::Memory, Some(0), "LimitMEMLOCK"),
            (Cause::Absent, None, "none needed"),
            (Cause::Other, None, "none needed"),
        ];
        for (cause, disabled, part) in cases {
            let mut facts = Facts::default();
            facts.host.io_uring_disabled = disabled;
            facts.process.seccomp = Some(2);
            facts.engine.reason = Some(Denied {
                cause,
                text: "no".into(),
            });
            let finding = io_uring(&facts);
            let remedy = finding.remedy.expect("a remedy");
            assert!(remedy.contains(part), "{cause:?}: {remedy}");
            assert!(finding.seen.contains("no; "), "{}", finding.seen);
            assert!(finding.seen.contains("seccomp filter"), "{}", finding.seen);
        }
    }

    #[test]
    fn releases_are_read_as_they_are_spelled() {
        let cases = [
            ("6.18.44-fc", Some(Severity::Ok)),
            ("6.1-rc2", Some(Severity::Ok)),
            ("5.15.0-101-generic", Some(Severity::Info)),
            ("10.0", Some(Severity::Ok)),
            ("unknown", None),
            ("", None),
        ];
        for (release, want) in cases {
            let got = kernel(release).map(|finding| finding.severity);
            assert_eq!(got, want, "{release}");
        }
    }

    #[test]
    fn the_clock_and_huge_pages_are_judged() {
        let cases = [
            (0, None, Severity::Fail),
            (LATEST, Some(true), Severity::Fail),
            (EARLIEST, Some(false), Severity::Info),
            (EARLIEST, Some(true), Severity::Ok),
            (EARLIEST, None, Severity::Ok),
        ];
        for (now, in_step, want) in cases {
            let mut facts = Facts {
                now,
                ..Facts::default()
            };
            facts.host.clock_in_step = in_step;
            assert_eq!(clock(&facts).severity, want, "{now} {in_step:?}");
        }
        assert_eq!(huge_pages(None), None);
        let always: Vec<_> = huge_pages(Some("always")).into_iter().collect();
        assert_eq!(said(&always), [("huge_pages", Severity::Info)]);
        assert_eq!(
            always[0].remedy.as_deref().map(|it| it.contains("madvise")),
            Some(true)
        );
        let madvise: Vec<_> = huge_pages(Some("madvise")).into_iter().collect();
        assert_eq!(said(&madvise), [("huge_pages", Severity::Ok)]);
    }
}
