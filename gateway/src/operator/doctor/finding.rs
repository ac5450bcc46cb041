//! What a check has to say, and how it is told. [pure]

use std::fmt::Write as _;

use serde_json::{Value, json};

/// Version of the JSON: raised when a field changes its meaning or goes, not when one is added.
const SCHEMA_VERSION: u32 = 1;

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing to mend.
    Info,
    /// To be mended before it hurts.
    Warn,
    /// The gateway does not start, or somebody can take what is not theirs.
    Fail,
}

impl Severity {
    pub(crate) const ALL: [Self; 4] = [Self::Ok, Self::Info, Self::Warn, Self::Fail];

    /// The word in both forms of the report.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// The outcome of one check on one subject.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Finding {
    /// Names what was looked for. Never changes its meaning.
    pub id: &'static str,
    pub severity: Severity,
    /// The setting, file or limit that was looked at.
    pub subject: String,
    /// What was found there. Holds no credential.
    pub seen: String,
    /// Why it matters.
    pub why: &'static str,
    /// A command or a line of configuration that mends it.
    pub remedy: Option<String>,
}

impl Finding {
    /// A finding without a remedy.
    pub(crate) fn new(
        id: &'static str,
        severity: Severity,
        subject: impl Into<String>,
        seen: impl Into<String>,
        why: &'static str,
    ) -> Self {
        Self {
            id,
            severity,
            subject: subject.into(),
            seen: seen.into(),
            why,
            remedy: None,
        }
    }

    /// With what mends it; dropped where nothing needs mending.
    #[must_use]
    pub(crate) fn mended_by(mut self, remedy: impl Into<String>) -> Self {
        if self.severity != Severity::Ok {
            self.remedy = Some(remedy.into());
        }
        self
    }
}

/// How many findings have `severity`.
fn count(findings: &[Finding], severity: Severity) -> usize {
    let of_it = findings
        .iter()
        .filter(|finding| finding.severity == severity);
    of_it.count()
}

/// Whether there is nothing to mend.
pub(crate) fn is_clean(findings: &[Finding]) -> bool {
    findings
        .iter()
        .all(|finding| finding.severity < Severity::Warn)
}

/// The report for a person: what is well in a line each, the rest with its reason and remedy.
pub(crate) fn text(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let Finding { id, severity, .. } = finding;
        let (word, subject) = (severity.word(), &finding.subject);
        let seen = finding.seen.trim_end().replace('\n', "\n      ");
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{word:<5} {id} ({subject}): {seen}");
        if *severity != Severity::Ok {
            let _ = writeln!(out, "      why:  {}", finding.why);
        }
        if let Some(remedy) = &finding.remedy {
            let _ = writeln!(out, "      mend: {remedy}");
        }
    }
    let counts = Severity::ALL.map(|of| format!("{} {}", count(findings, of), of.word()));
    let _ = writeln!(out, "{}", counts.join(", "));
    out
}

/// The report for a program: `docs/deployment.md` has the schema.
pub(crate) fn document(findings: &[Finding], config: Option<&str>) -> Value {
    let listed = findings.iter().map(|finding| {
        json!({"id": finding.id, "severity": finding.severity.word(), "subject": finding.subject,
            "seen": finding.seen, "why": finding.why, "remedy": finding.remedy})
    });
    let listed: Value = listed.collect();
    let mut counts = serde_json::Map::new();
    for severity in Severity::ALL {
        counts.insert(severity.word().to_owned(), count(findings, severity).into());
    }
    json!({"schema_version": SCHEMA_VERSION, "version": env!("CARGO_PKG_VERSION"), "config": config,
        "clean": is_clean(findings), "counts": counts, "findings": listed})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<Finding> {
        vec![
            Finding::new("a", Severity::Ok, "s", "fine", "because").mended_by("nothing"),
            Finding::new("b", Severity::Warn, "t", "one\ntwo", "it hurts").mended_by("do this"),
        ]
    }

    #[test]
    fn the_text_has_reason_and_remedy_where_something_is_to_be_done() {
        let want = "ok    a (s): fine\n\
                    warn  b (t): one\n      two\n      why:  it hurts\n      mend: do this\n\
                    1 ok, 0 info, 1 warn, 0 fail\n";
        assert_eq!(text(&two()), want);
    }

    #[test]
    fn the_document_holds_every_finding_and_their_number() {
        let got = document(&two(), Some("c.yaml"));
        assert_eq!(got["schema_version"], 1);
        assert_eq!(got["config"], "c.yaml");
        assert_eq!(got["clean"], false);
        assert_eq!(
            got["counts"],
            json!({"ok": 1, "info": 0, "warn": 1, "fail": 0})
        );
        assert_eq!(got["findings"][0]["remedy"], Value::Null);
        let want = json!({"id": "b", "severity": "warn", "subject": "t", "seen": "one\ntwo",
            "why": "it hurts", "remedy": "do this"});
        assert_eq!(got["findings"][1], want);
    }

    #[test]
    fn only_what_is_to_be_mended_makes_a_report_unclean() {
        for severity in Severity::ALL {
            let findings = [Finding::new("a", severity, "", "", "")];
            let want = matches!(severity, Severity::Ok | Severity::Info);
            assert_eq!(is_clean(&findings), want, "{severity:?}");
        }
    }
}
