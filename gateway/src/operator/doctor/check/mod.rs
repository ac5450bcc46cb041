//! The checks: functions from facts to findings. [pure]

mod exposure;
mod files;
mod kernel;
mod limits;
mod memory;
mod network;

use super::facts::Facts;
use super::finding::{Finding, Severity};

/// Every check, in the order of the report.
const CHECKS: [fn(&Facts) -> Vec<Finding>; 7] = [
    startup_file,
    kernel::check,
    limits::check,
    memory::check,
    network::check,
    exposure::check,
    files::check,
];

/// Everything that there is to say about `facts`.
pub(super) fn all(facts: &Facts) -> Vec<Finding> {
    CHECKS.iter().flat_map(|check| check(facts)).collect()
}

fn startup_file(facts: &Facts) -> Vec<Finding> {
    let why = "a startup file that is refused stops the start";
    if let Some(report) = &facts.refused {
        let finding = Finding::new("startup_file", Severity::Fail, "--config", report, why);
        return vec![
            finding.mended_by("mend each key of the list, then: sluice check --config FILE"),
        ];
    }
    let Some(gateway) = &facts.gateway else {
        let seen = "none named: only the host is looked at";
        return vec![
            Finding::new("startup_file", Severity::Info, "--config", seen, why)
                .mended_by("sluice doctor --config FILE"),
        ];
    };
    let (severity, seen) = match gateway.warnings.is_empty() {
        true => (Severity::Ok, "accepted".to_owned()),
        false => (Severity::Info, gateway.warnings.join("\n")),
    };
    vec![Finding::new(
        "startup_file",
        severity,
        "--config",
        seen,
        why,
    )]
}

/// The severity of each finding with its id: what tables of tests compare.
#[cfg(test)]
fn said(findings: &[Finding]) -> Vec<(&'static str, Severity)> {
    let pairs = findings.iter().map(|found| (found.id, found.severity));
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::super::facts::Gateway;
    use super::*;

    #[test]
    fn a_refused_startup_file_is_a_failure_and_none_is_not() {
        let refused = Facts {
            refused: Some("proxy.addr: required".into()),
            ..Facts::default()
        };
        let read = |warnings: &[&str]| Facts {
            gateway: Some(Gateway {
                warnings: warnings.iter().map(|&text| text.into()).collect(),
                ..Gateway::default()
            }),
            ..Facts::default()
        };
        let cases = [
            (refused, Severity::Fail),
            (Facts::default(), Severity::Info),
            (read(&[]), Severity::Ok),
            (read(&["short key"]), Severity::Info),
        ];
        for (facts, want) in cases {
            assert_eq!(said(&startup_file(&facts)), [("startup_file", want)]);
        }
    }

    #[test]
    fn every_id_is_in_the_documentation() {
        let page = include_str!("../../../../../docs/deployment.md");
        let sources = [
            include_str!("mod.rs"),
            include_str!("exposure.rs"),
            include_str!("files.rs"),
            include_str!("kernel.rs"),
            include_str!("limits.rs"),
            include_str!("network.rs"),
        ]
        .map(|text| text.split("mod tests {").next().unwrap_or_default());
        let source = sources.concat();
        let calls = source.split("Finding::new(").skip(1);
        let ids: Vec<&str> = calls
            .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
            .collect();
        assert!(ids.len() > 25, "{ids:?}");
        for id in ids {
            assert!(page.contains(&format!("`{id}`")), "{id}");
        }
    }
}
