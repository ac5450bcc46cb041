//! What the process may use: locked memory, descriptors, CPUs, ports, rights. [pure]

use super::super::facts::{Facts, Gateway, IPC_LOCK, NET_BIND_SERVICE, Wanted};
use super::super::finding::{Finding, Severity};

/// Locked memory of a ring of 1024 entries and of one of 256, bytes (Linux 6.18).
const RING_BYTES: [u64; 2] = [104 * 1024, 28 * 1024];
/// Descriptors beside connections, in any table of the process: listeners, logs, rings, wake-ups, the store.
const FILES_AT_REST: u64 = 256;
/// A relayed call holds the caller's socket and the upstream's.
const FILES_PER_CONNECTION: u64 = 2;
/// Fewer descriptors than this are few for a gateway whose connections have no bound.
const FILES_FEW: u64 = 65_536;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![identity(facts), memlock(facts), open_files(facts)];
    findings.push(cpus(facts));
    findings.extend(irqs(facts));
    findings.extend(max_map_count(facts));
    if let Some(gateway) = &facts.gateway {
        findings.extend(low_ports(facts, gateway));
    }
    findings
}

fn identity(facts: &Facts) -> Finding {
    let why = "limits, rights and access to files are those of whoever runs this command";
    let (severity, seen) = match facts.process.is_root() {
        true => (
            Severity::Info,
            "root: what the gateway's own user may do was not looked at",
        ),
        false => (Severity::Ok, "not root"),
    };
    let seen = format!("uid {}, {seen}", facts.process.uid);
    let finding = Finding::new("identity", severity, "user", seen, why);
    finding.mended_by(
        "setpriv --reuid=sluice --regid=sluice --clear-groups sluice doctor --config FILE",
    )
}

fn memlock(facts: &Facts) -> Finding {
    let why = "the memory of rings counts against RLIMIT_MEMLOCK, per user, over all workers";
    let workers = workers(facts);
    let [best, least] = RING_BYTES.map(|bytes| bytes * workers);
    let wanted = facts.engine.wanted;
    let (severity, seen) = match facts.process.memlock {
        _ if wanted == Wanted::Epoll => (Severity::Ok, "no ring is asked for".to_owned()),
        _ if facts.process.may(IPC_LOCK) => (Severity::Ok, "CAP_IPC_LOCK: no limit".to_owned()),
        None => (Severity::Ok, "unlimited".to_owned()),
        Some(limit) => {
            let seen =
                format!("{limit} bytes; {workers} worker(s) take {best}, {least} at the least");
            let severity = match limit {
                _ if limit >= best => Severity::Ok,
                _ if limit < least && wanted == Wanted::IoUring => Severity::Fail,
                // A kernel that accounts elsewhere has just shown that it does.
                _ if facts.engine.entries == Some(1024) => Severity::Info,
                _ => Severity::Warn,
            };
            (severity, seen)
        }
    };
    let finding = Finding::new("memlock", severity, "RLIMIT_MEMLOCK", seen, why);
    finding.mended_by("LimitMEMLOCK=64M in the unit, or --ulimit memlock=67108864:67108864")
}

fn open_files(facts: &Facts) -> Finding {
    let why = "each caller takes one of its worker's descriptors, each call another; without any left nobody is accepted";
    let connections = facts.gateway.as_ref().and_then(|it| it.connections_max);
    let need = connections.map(|count| {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        count
            .saturating_mul(FILES_PER_CONNECTION)
            .saturating_add(FILES_AT_REST)
    });
    let (severity, seen) = match (facts.process.open_files, need) {
        (None, _) => (Severity::Ok, "unlimited".to_owned()),
        (Some(limit), Some(need)) if limit < need => {
            let count = connections.unwrap_or_default();
            (
                Severity::Warn,
                format!("{limit}; {count} connections of a worker may take {need}"),
            )
        }
        (Some(limit), None) if limit < FILES_FEW => {
            let calls = limit.saturating_sub(FILES_AT_REST) / FILES_PER_CONNECTION;
            (
                Severity::Warn,
                format!("{limit}: about {calls} calls of a worker at a time"),
            )
        }
        (Some(limit), _) => (Severity::Ok, limit.to_string()),
    };
    let finding = Finding::new("open_files", severity, "RLIMIT_NOFILE", seen, why);
    finding.mended_by(
        "LimitNOFILE=1048576 in the unit, --ulimit nofile=1048576, or proxy.max_connections_per_worker",
    )
}

fn cpus(facts: &Facts) -> Finding {
    let why = "a worker without a CPU of its own waits for its turn, and a quota stops all at once";
    let process = &facts.process;
    let workers = workers(facts);
    let granted = process.cpu_quota;
    let mut seen = format!("{workers} worker(s), {} CPU(s) in the mask", process.cpus);
    if let Some(quota) = granted {
        seen += &format!(", a quota of {quota} CPU(s)");
    }
    let mask = u64::try_from(process.cpus).unwrap_or(u64::MAX);
    #[expect(clippy::cast_precision_loss, reason = "workers are 1024 at most")]
    let over_quota = granted.is_some_and(|quota| workers as f64 > quota.max(1.0));
    let severity = match () {
        () if workers > mask || over_quota => Severity::Warn,
        () if granted.is_some() => Severity::Info,
        () => Severity::Ok,
    };
    let finding = Finding::new("cpus", severity, "proxy.workers", seen, why);
    finding
        .mended_by("whole CPUs (CPUAffinity=, a cpuset, a static CPU manager), and no more workers")
}

fn irqs(facts: &Facts) -> Vec<Finding> {
    let why = "a CPU that takes all of a card's interrupts serves fewer callers than the others";
    let several = facts.process.cpus > 1;
    let crowded = facts.host.devices.iter().map(|device| {
        let crowded = several && device.interrupts > 1 && device.cpus.len() == 1;
        let severity = match crowded {
            true => Severity::Info,
            false => Severity::Ok,
        };
        let cpus: Vec<String> = device.cpus.iter().map(usize::to_string).collect();
        let seen = format!(
            "{} interrupt(s) on CPU {}",
            device.interrupts,
            cpus.join(", ")
        );
        let finding = Finding::new("interrupts", severity, &device.name, seen, why);
        finding
            .mended_by("systemctl enable --now irqbalance, or spread /proc/irq/N/smp_affinity_list")
    });
    crowded.collect()
}

fn max_map_count(facts: &Facts) -> Option<Finding> {
    let found = facts.host.max_map_count?;
    let severity = match found < 65_530 {
        true => Severity::Info,
        false => Severity::Ok,
    };
    let why = "stacks of threads, rings and large bodies are mappings of their own";
    let finding = Finding::new(
        "max_map_count",
        severity,
        "vm.max_map_count",
        found.to_string(),
        why,
    );
    Some(finding.mended_by("sysctl -w vm.max_map_count=65530"))
}

fn low_ports(facts: &Facts, gateway: &Gateway) -> Vec<Finding> {
    let start = facts.host.unprivileged_port_start.unwrap_or(1024);
    let low = gateway.listeners.iter().filter(|listener| {
        let port = u64::from(listener.addr.port());
        port != 0 && port < start
    });
    let may = facts.process.may(NET_BIND_SERVICE);
    let found = low.map(|listener| {
        let (severity, seen) = match may {
            true => (Severity::Ok, "CAP_NET_BIND_SERVICE is in effect"),
            false => (Severity::Fail, "CAP_NET_BIND_SERVICE is not in effect"),
        };
        let why = "below net.ipv4.ip_unprivileged_port_start only that capability may bind";
        let seen = format!("port {}: {seen}", listener.addr.port());
        let finding = Finding::new("low_port", severity, listener.zone.setting(), seen, why);
        finding.mended_by(
            "AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, or setcap cap_net_bind_service=+ep sluice",
        )
    });
    found.collect()
}

/// Workers of the startup file, else as many as a gateway would start here.
fn workers(facts: &Facts) -> u64 {
    let workers = facts
        .gateway
        .as_ref()
        .map_or(facts.process.usable_cpus, |it| it.workers);
    u64::try_from(workers).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::{Device, EngineFacts, Listener, ListenerTls, Zone};
    use super::*;
    use Severity::{Fail, Info, Ok, Warn};

    fn with_workers(workers: usize) -> Facts {
        Facts {
            gateway: Some(Gateway {
                workers,
                ..Gateway::default()
            }),
            ..Facts::default()
        }
    }

    #[test]
    fn locked_memory_is_held_against_the_need_of_all_workers() {
        let limits = [
            (2, Wanted::Auto, None, 0, None, Ok),
            (2, Wanted::Auto, Some(208 * 1024), 0, None, Ok),
            (2, Wanted::Auto, Some(208 * 1024 - 1), 0, Some(256), Warn),
            (2, Wanted::Auto, Some(208 * 1024 - 1), 0, Some(1024), Info),
            (2, Wanted::Auto, Some(0), 0, None, Warn),
            (2, Wanted::IoUring, Some(0), 0, None, Fail),
            (2, Wanted::IoUring, Some(0), 1 << IPC_LOCK, Some(1024), Ok),
            (2, Wanted::Epoll, Some(0), 0, None, Ok),
            (80, Wanted::Auto, Some(8 << 20), 0, Some(256), Warn),
        ];
        for (workers, wanted, memlock, capabilities, entries, want) in limits {
            let mut facts = with_workers(workers);
            facts.engine = EngineFacts {
                wanted,
                workers,
                entries,
                reason: None,
            };
            facts.process.memlock = memlock;
            facts.process.capabilities = capabilities;
            let got = memlock_of(&facts);
            assert_eq!(got, want, "{workers} {wanted:?} {memlock:?} {entries:?}");
        }
    }

    fn memlock_of(facts: &Facts) -> Severity {
        memlock(facts).severity
    }

    #[test]
    fn descriptors_are_held_against_the_bound_of_connections() {
        let cases = [
            (None, None, Ok),
            (Some(65_536), None, Ok),
            (Some(65_535), None, Warn),
            (Some(1024), Some(384), Ok),
            (Some(1024), Some(385), Warn),
            (Some(1024), Some(usize::MAX), Warn),
        ];
        for (limit, connections, want) in cases {
            let mut facts = with_workers(1);
            facts.process.open_files = limit;
            facts.gateway.as_mut().expect("set").connections_max = connections;
            assert_eq!(
                open_files(&facts).severity,
                want,
                "{limit:?} {connections:?}"
            );
        }
    }

    #[test]
    fn workers_want_cpus_of_their_own() {
        let cases = [
            (2, 2, None, Ok),
            (3, 2, None, Warn),
            (2, 4, Some(2.0), Info),
            (2, 4, Some(1.5), Warn),
            (1, 4, Some(0.5), Info),
        ];
        for (workers, mask, quota, want) in cases {
            let mut facts = with_workers(workers);
            facts.process.cpus = mask;
            facts.process.cpu_quota = quota;
            assert_eq!(cpus(&facts).severity, want, "{workers} {mask} {quota:?}");
        }
    }

    #[test]
    fn a_card_whose_interrupts_meet_on_one_cpu_is_told() {
        let device = |interrupts, cpus: &[usize]| Device {
            name: "eth0".into(),
            interrupts,
            cpus: cpus.into(),
        };
        let cases = [
            (2, device(4, &[0]), Info),
            (2, device(4, &[0, 1]), Ok),
            (2, device(1, &[0]), Ok),
            (1, device(4, &[0]), Ok),
        ];
        for (mask, device, want) in cases {
            let mut facts = Facts::default();
            facts.process.cpus = mask;
            facts.host.devices = vec![device];
            assert_eq!(irqs(&facts)[0].severity, want, "{:?}", facts.host.devices);
        }
    }

    #[test]
    fn a_low_port_needs_the_capability() {
        let cases = [
            (80, Some(1024), 0, Some(Fail)),
            (80, None, 1 << NET_BIND_SERVICE, Some(Ok)),
            (80, Some(80), 0, None),
            (3000, Some(1024), 0, None),
            (0, Some(1024), 0, None),
        ];
        for (port, start, capabilities, want) in cases {
            let mut facts = with_workers(1);
            facts.host.unprivileged_port_start = start;
            facts.process.capabilities = capabilities;
            let gateway = facts.gateway.as_mut().expect("set");
            gateway.listeners = vec![Listener {
                zone: Zone::Proxy,
                addr: ([127, 0, 0, 1], port).into(),
                tls: ListenerTls::Plain,
            }];
            let gateway = facts.gateway.as_ref().expect("set");
            let found = low_ports(&facts, gateway);
            let got = found.first().map(|finding| finding.severity);
            assert_eq!(got, want, "{port} {start:?}");
        }
    }

    #[test]
    fn root_and_few_mappings_are_told() {
        let mut facts = Facts::default();
        assert_eq!(identity(&facts).severity, Info);
        facts.process.uid = 10_001;
        assert_eq!(identity(&facts).severity, Ok);
        assert_eq!(max_map_count(&facts), None);
        facts.host.max_map_count = Some(1000);
        assert_eq!(max_map_count(&facts).map(|it| it.severity), Some(Info));
    }
}
