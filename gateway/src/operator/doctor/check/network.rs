//! Settings of the kernel's network stack. [pure]

use super::super::facts::{Facts, Host};
use super::super::finding::{Finding, Severity};

/// What each worker asks for; the kernel cuts it to `somaxconn`.
const BACKLOG: u64 = 1024;
/// Ports of the kernel's own default range.
const PORTS_FEW: u64 = 28_000;
/// The kernel's default number of packets that wait for a CPU.
const DEVICE_BACKLOG: u64 = 1000;
/// Below this a single stream over a long line is slowed by its window.
const BUFFER_BYTES: u64 = 4 << 20;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let host = &facts.host;
    let several = [
        backlog(host),
        syn_backlog(host),
        local_ports(host),
        tw_reuse(host),
        receive_buffer(host),
        send_buffer(host),
        device_backlog(host),
    ];
    several.into_iter().flatten().collect()
}

fn low(is_low: bool, severity: Severity) -> Severity {
    if is_low { severity } else { Severity::Ok }
}

fn backlog(host: &Host) -> Option<Finding> {
    let found = host.somaxconn?;
    let severity = low(found < BACKLOG, Severity::Warn);
    let why =
        "connections that wait to be accepted, per worker: 1024 are asked for; more are dropped";
    let finding = Finding::new(
        "somaxconn",
        severity,
        "net.core.somaxconn",
        found.to_string(),
        why,
    );
    Some(finding.mended_by("sysctl -w net.core.somaxconn=4096"))
}

fn syn_backlog(host: &Host) -> Option<Finding> {
    let found = host.syn_backlog?;
    let severity = low(found < BACKLOG, Severity::Warn);
    let why = "half-open connections beyond it are dropped or answered with cookies";
    let subject = "net.ipv4.tcp_max_syn_backlog";
    let finding = Finding::new("syn_backlog", severity, subject, found.to_string(), why);
    Some(finding.mended_by("sysctl -w net.ipv4.tcp_max_syn_backlog=4096"))
}

fn local_ports(host: &Host) -> Option<Finding> {
    let (first, last) = host.local_ports?;
    let count = (last + 1).saturating_sub(first);
    let severity = low(count < PORTS_FEW, Severity::Warn);
    let why = "one port per connection to the same upstream address: that many calls at a time";
    let subject = "net.ipv4.ip_local_port_range";
    let seen = format!("{first} to {last}: {count} ports");
    let finding = Finding::new("local_ports", severity, subject, seen, why);
    Some(finding.mended_by("sysctl -w net.ipv4.ip_local_port_range=\"10240 60999\""))
}

fn tw_reuse(host: &Host) -> Option<Finding> {
    let found = host.tw_reuse?;
    let severity = low(found != 1, Severity::Info);
    let why = "with 1, ports of calls that have just ended are used again for new ones";
    let subject = "net.ipv4.tcp_tw_reuse";
    let finding = Finding::new("tw_reuse", severity, subject, found.to_string(), why);
    Some(finding.mended_by("sysctl -w net.ipv4.tcp_tw_reuse=1"))
}

fn receive_buffer(host: &Host) -> Option<Finding> {
    let [least, usual, most] = host.receive_buffer?;
    let severity = low(most < BUFFER_BYTES, Severity::Info);
    let why = "the largest window: it bounds one connection's speed over a long line";
    let seen = format!("{least} {usual} {most}");
    let finding = Finding::new("receive_buffer", severity, "net.ipv4.tcp_rmem", seen, why);
    Some(finding.mended_by("sysctl -w net.ipv4.tcp_rmem=\"4096 131072 6291456\""))
}

fn send_buffer(host: &Host) -> Option<Finding> {
    let [least, usual, most] = host.send_buffer?;
    let severity = low(most < BUFFER_BYTES, Severity::Info);
    let why = "bytes on their way: it bounds one connection's speed over a long line";
    let seen = format!("{least} {usual} {most}");
    let finding = Finding::new("send_buffer", severity, "net.ipv4.tcp_wmem", seen, why);
    Some(finding.mended_by("sysctl -w net.ipv4.tcp_wmem=\"4096 16384 4194304\""))
}

fn device_backlog(host: &Host) -> Option<Finding> {
    let found = host.device_backlog?;
    let severity = low(found < DEVICE_BACKLOG, Severity::Info);
    let why = "packets that wait for a CPU; more are dropped";
    let subject = "net.core.netdev_max_backlog";
    let finding = Finding::new("device_backlog", severity, subject, found.to_string(), why);
    Some(finding.mended_by("sysctl -w net.core.netdev_max_backlog=4096"))
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::*;
    use Severity::{Info, Ok, Warn};

    fn of(change: impl Fn(&mut Host)) -> Vec<(&'static str, Severity)> {
        let mut facts = Facts::default();
        change(&mut facts.host);
        said(&check(&facts))
    }

    /// The value of a key of the file for `/etc/sysctl.d`.
    fn shipped<const N: usize>(key: &str) -> [u64; N] {
        let text = include_str!("../../../../../tuning/sysctl.d/60-sluice.conf");
        let mut lines = text.lines().filter_map(|line| line.split_once(" = "));
        let (_, value) = lines.find(|(name, _)| *name == key).expect(key);
        let numbers = value.split(' ').map(|word| word.parse().expect(key));
        let numbers: Vec<u64> = numbers.collect();
        numbers.try_into().expect(key)
    }

    #[test]
    fn the_shipped_settings_have_nothing_to_mend() {
        let found = of(|host| {
            let one = |key| Some(shipped::<1>(key)[0]);
            host.somaxconn = one("net.core.somaxconn");
            host.syn_backlog = one("net.ipv4.tcp_max_syn_backlog");
            host.tw_reuse = one("net.ipv4.tcp_tw_reuse");
            host.device_backlog = one("net.core.netdev_max_backlog");
            let [first, last] = shipped("net.ipv4.ip_local_port_range");
            host.local_ports = Some((first, last));
        });
        assert_eq!(found.len(), 5);
        assert!(
            found.iter().all(|(_, severity)| *severity == Ok),
            "{found:?}"
        );
    }

    #[test]
    fn what_could_not_be_read_is_not_judged() {
        assert!(of(|_| {}).is_empty());
    }

    #[test]
    fn each_value_has_its_threshold() {
        for (value, want) in [(128, Warn), (1023, Warn), (1024, Ok), (4096, Ok)] {
            assert_eq!(
                of(|host| host.somaxconn = Some(value)),
                [("somaxconn", want)]
            );
            assert_eq!(
                of(|host| host.syn_backlog = Some(value)),
                [("syn_backlog", want)]
            );
        }
        for (range, want) in [
            ((32_768, 60_999), Ok),
            ((50_000, 60_000), Warn),
            ((9, 5), Warn),
        ] {
            assert_eq!(
                of(|host| host.local_ports = Some(range)),
                [("local_ports", want)]
            );
        }
        for (value, want) in [(0, Info), (1, Ok), (2, Info)] {
            assert_eq!(of(|host| host.tw_reuse = Some(value)), [("tw_reuse", want)]);
        }
        for (most, want) in [(4 << 20, Ok), (212_992, Info)] {
            let buffer = Some([4096, 16_384, most]);
            assert_eq!(
                of(|host| host.receive_buffer = buffer),
                [("receive_buffer", want)]
            );
            assert_eq!(
                of(|host| host.send_buffer = buffer),
                [("send_buffer", want)]
            );
        }
        for (value, want) in [(1000, Ok), (300, Info)] {
            assert_eq!(
                of(|host| host.device_backlog = Some(value)),
                [("device_backlog", want)]
            );
        }
    }
}
