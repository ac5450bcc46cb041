//! Files in the wrong hands, and certificates out of their time. [pure]

use super::super::facts::{Certificate, Facts, Holds, Mode, NamedFile};
use super::super::finding::{Finding, Severity};

const DAY: i64 = 24 * 60 * 60;
/// Renewal is due.
const SOON: i64 = 30 * DAY;
/// Write for the group, anything for others.
const SECRET_TOO_WIDE: u32 = 0o027;
/// Write for others.
const OTHERS_WRITE: u32 = 0o002;
/// Write for the group.
const GROUP_WRITES: u32 = 0o020;
/// Read for others.
const OTHERS_READ: u32 = 0o004;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(gateway) = &facts.gateway else {
        return Vec::new();
    };
    let files = gateway
        .files
        .iter()
        .map(|file| mode(file, facts.process.uid));
    let certificates = gateway.certificates.iter();
    files
        .chain(certificates.map(|certificate| expiry(certificate, facts.now)))
        .collect()
}

fn mode(file: &NamedFile, uid: u32) -> Finding {
    let path = file.path.display();
    let subject = format!("{} {path}", file.setting);
    let why = match file.holds {
        Holds::Secret => "whoever reads it has what it protects",
        Holds::Settings => {
            "it names credentials or holds them; whoever writes it decides where prompts go"
        }
        Holds::Public => "whoever writes it decides whom to trust",
    };
    let found = match &file.found {
        Ok(found) => *found,
        Err(error) => {
            let finding = Finding::new("file_mode", Severity::Fail, subject, error, why);
            return finding.mended_by(format!("ls -l {path}"));
        }
    };
    let severity = judge(file.holds, found, uid);
    let seen = format!("{:04o}, owner {}", found.bits, found.owner);
    let want = match file.holds {
        Holds::Secret => "0600",
        Holds::Settings => "0640",
        Holds::Public => "0644",
    };
    let strange = found.owner != 0 && found.owner != uid;
    let remedy = match strange && severity == Severity::Warn {
        true => format!("chown root {path} && chmod {want} {path}"),
        false => format!("chmod {want} {path}"),
    };
    Finding::new("file_mode", severity, subject, seen, why).mended_by(remedy)
}

fn judge(holds: Holds, found: Mode, uid: u32) -> Severity {
    let any = |bits: u32| found.bits & bits != 0;
    match holds {
        _ if any(OTHERS_WRITE) => Severity::Fail,
        Holds::Secret if any(SECRET_TOO_WIDE) => Severity::Fail,
        Holds::Settings if any(OTHERS_READ) => Severity::Warn,
        _ if any(GROUP_WRITES) => Severity::Warn,
        // Its owner may change the mode. Root may look at everybody's files.
        Holds::Secret | Holds::Settings if found.owner != 0 && found.owner != uid && uid != 0 => {
            Severity::Warn
        }
        _ => Severity::Ok,
    }
}

fn expiry(certificate: &Certificate, now: i64) -> Finding {
    let subject = format!("{} {}", certificate.setting, certificate.path.display());
    let why = "once its time is over, connections fail";
    let (severity, seen) = match &certificate.time {
        Err(what) => (Severity::Fail, what.clone()),
        Ok((first, _)) if now < *first => (
            Severity::Fail,
            format!("valid in {} day(s) only", days(first - now)),
        ),
        Ok((_, last)) if now > *last => (
            Severity::Fail,
            format!("expired {} day(s) ago", days(now - last)),
        ),
        Ok((_, last)) if last - now < SOON => (
            Severity::Warn,
            format!("expires in {} day(s)", days(last - now)),
        ),
        Ok((_, last)) => (
            Severity::Ok,
            format!("expires in {} day(s)", days(last - now)),
        ),
    };
    let finding = Finding::new("certificate_expiry", severity, subject, seen, why);
    finding.mended_by(
        "renew it and put it in place; running gateways take changed files within seconds",
    )
}

fn days(seconds: i64) -> i64 {
    seconds / DAY
}

#[cfg(test)]
mod tests {
    use super::*;
    use Severity::{Fail, Info, Warn};

    #[test]
    fn modes_are_judged_by_what_the_file_holds() {
        let fine = Severity::Ok;
        let cases = [
            (Holds::Secret, 0o600, 0, fine),
            (Holds::Secret, 0o440, 0, fine),
            (Holds::Secret, 0o640, 10_001, fine),
            (Holds::Secret, 0o660, 0, Fail),
            (Holds::Secret, 0o644, 0, Fail),
            (Holds::Secret, 0o601, 0, Fail),
            (Holds::Secret, 0o600, 4711, Warn),
            (Holds::Settings, 0o640, 0, fine),
            (Holds::Settings, 0o660, 0, Warn),
            (Holds::Settings, 0o644, 0, Warn),
            (Holds::Settings, 0o646, 0, Fail),
            (Holds::Settings, 0o600, 4711, Warn),
            (Holds::Public, 0o644, 4711, fine),
            (Holds::Public, 0o664, 0, Warn),
            (Holds::Public, 0o666, 0, Fail),
        ];
        for (holds, bits, owner, want) in cases {
            let got = judge(holds, Mode { bits, owner }, 10_001);
            assert_eq!(got, want, "{holds:?} {bits:04o} {owner}");
        }
        // What root may read is not its own affair.
        let others = Mode {
            bits: 0o600,
            owner: 4711,
        };
        assert_eq!(judge(Holds::Secret, others, 0), fine);
    }

    #[test]
    fn a_file_that_is_not_there_fails_and_each_finding_names_its_file() {
        let file = |found| NamedFile {
            setting: "proxy.tls.key_file".into(),
            path: "/k".into(),
            holds: Holds::Secret,
            found,
        };
        let gone = mode(&file(Err("No such file".into())), 0);
        assert_eq!((gone.severity, &*gone.seen), (Fail, "No such file"));
        let open = mode(
            &file(Ok(Mode {
                bits: 0o644,
                owner: 0,
            })),
            0,
        );
        assert_eq!(open.subject, "proxy.tls.key_file /k");
        assert_eq!(open.seen, "0644, owner 0");
        assert_eq!(open.remedy.as_deref(), Some("chmod 0600 /k"));
    }

    #[test]
    fn certificates_are_judged_by_the_days_that_are_left() {
        let now = 1_800_000_000;
        let time = |first: i64, last: i64| Ok((now + first * DAY, now + last * DAY));
        let cases = [
            (time(-1, 400), Severity::Ok, "expires in 400 day(s)"),
            (time(-1, 30), Severity::Ok, "expires in 30 day(s)"),
            (time(-1, 29), Warn, "expires in 29 day(s)"),
            (time(-9, -3), Fail, "expired 3 day(s) ago"),
            (time(2, 400), Fail, "valid in 2 day(s) only"),
            (Err("no PEM".to_owned()), Fail, "no PEM"),
        ];
        for (time, severity, seen) in cases {
            let certificate = Certificate {
                setting: "proxy.tls.cert_file".into(),
                path: "/c".into(),
                time,
            };
            let finding = expiry(&certificate, now);
            assert_eq!((finding.severity, &*finding.seen), (severity, seen));
            assert_ne!(finding.severity, Info);
        }
    }
}
