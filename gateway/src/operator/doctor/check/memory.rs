//! Memory: what there is, where nothing more is taken in, and what a body may have of it. [pure]

use super::super::facts::Facts;
use super::super::finding::{Finding, Severity};
use crate::bridge::memory::BODIES_PART;
use crate::settings::MemoryMark;

/// Room above the mark for what one interval of a wave takes in, bytes.
const ABOVE_THE_MARK_BYTES: u64 = 8 * 1024 * 1024;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let why = "the kernel ends a process that outgrows its memory, and with it every stream";
    let Some(found) = &facts.process.memory else {
        return Vec::new();
    };
    let whose = match found.is_group {
        true => "the control group",
        false => "the host",
    };
    let mut seen = format!("{} bytes of {whose}", found.limit);
    let mut severity = Severity::Ok;
    if let Some(gateway) = &facts.gateway {
        let mark = gateway.memory.mark;
        let bytes = mark.of(found.limit);
        match mark {
            MemoryMark::Off => {
                seen += ", no mark";
                if found.is_group {
                    severity = Severity::Warn;
                }
            }
            _ => {
                seen += &format!(", mark at {bytes}");
                if found.limit - bytes < ABOVE_THE_MARK_BYTES {
                    seen += ", little above it";
                    severity = Severity::Warn;
                }
            }
        }
        let default = (mark != MemoryMark::Off).then_some(bytes / BODIES_PART);
        let bodies = gateway.memory.bodies_max(default).unwrap_or(u64::MAX);
        if bodies < gateway.body_bytes_max.unwrap_or(u64::MAX) {
            seen += &format!(", request bodies beyond {bodies} are answered 413");
            severity = severity.max(Severity::Info);
        }
    }
    let finding = Finding::new("memory", severity, "proxy.memory", seen, why);
    let remedy = "a higher limit of memory; high_percent: 85; a request_body_limit_bytes that fits";
    vec![match severity {
        Severity::Ok => finding,
        _ => finding.mended_by(remedy),
    }]
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::*;
    use crate::operator::doctor::facts::{Gateway, MemoryFound};
    use crate::settings::MemorySettings;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn a_limit_wants_a_mark_with_room_above_it() {
        let off = MemoryMark::Off;
        let at = MemoryMark::Percent(85);
        let cases = [
            (Some((4096 * MIB, true)), Some(at), Some(Severity::Ok)),
            (Some((128 * MIB, true)), Some(at), Some(Severity::Info)),
            (Some((32 * MIB, true)), Some(at), Some(Severity::Warn)),
            (Some((4096 * MIB, true)), Some(off), Some(Severity::Warn)),
            (Some((4096 * MIB, false)), Some(off), Some(Severity::Ok)),
            (Some((4096 * MIB, true)), None, Some(Severity::Ok)),
            (None, Some(at), None),
        ];
        for (found, mark, want) in cases {
            let mut facts = Facts::default();
            facts.process.memory = found.map(|(limit, is_group)| MemoryFound { limit, is_group });
            facts.gateway = mark.map(|mark| Gateway {
                memory: MemorySettings {
                    mark,
                    bodies_bytes: None,
                },
                body_bytes_max: Some(32 * MIB),
                ..Gateway::default()
            });
            let got = said(&check(&facts));
            let want: Vec<_> = want
                .map(|severity| ("memory", severity))
                .into_iter()
                .collect();
            assert_eq!(got, want, "{found:?} {mark:?}");
        }
    }
}
