//! What `/proc` and `/sys` say of the machine. [boot]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::super::facts::{Device, Host};
use crate::sys::is_clock_in_step;

/// Network devices that are looked at; hosts of containers have thousands.
const DEVICES_MAX: usize = 64;

pub(super) fn host() -> Host {
    Host {
        release: word("/proc/sys/kernel/osrelease"),
        io_uring_disabled: number("kernel/io_uring_disabled"),
        somaxconn: number("net/core/somaxconn"),
        syn_backlog: number("net/ipv4/tcp_max_syn_backlog"),
        local_ports: numbers("net/ipv4/ip_local_port_range").map(|[first, last]| (first, last)),
        tw_reuse: number("net/ipv4/tcp_tw_reuse"),
        receive_buffer: numbers("net/ipv4/tcp_rmem"),
        send_buffer: numbers("net/ipv4/tcp_wmem"),
        device_backlog: number("net/core/netdev_max_backlog"),
        max_map_count: number("vm/max_map_count"),
        huge_pages: huge_pages(),
        unprivileged_port_start: number("net/ipv4/ip_unprivileged_port_start"),
        devices: devices(),
        clock_in_step: is_clock_in_step(),
    }
}

fn word(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

fn number(name: &str) -> Option<u64> {
    numbers(name).map(|[one]| one)
}

fn numbers<const N: usize>(name: &str) -> Option<[u64; N]> {
    let text = fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
    let words = text.split_whitespace().map(str::parse);
    let found: Vec<u64> = words.collect::<Result<_, _>>().ok()?;
    found.try_into().ok()
}

/// The word in brackets: `always [madvise] never`.
fn huge_pages() -> Option<String> {
    let text = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok()?;
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

/// Devices with interrupts of their own; those of software have none.
fn devices() -> Vec<Device> {
    let Ok(entries) = fs::read_dir("/sys/class/net") else {
        return Vec::new();
    };
    let found = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let irqs = interrupts(&entry.path().join("device"))?;
        let cpus: BTreeSet<usize> = irqs.iter().flat_map(|irq| cpus_of(irq)).collect();
        Some(Device {
            name: entry.file_name().to_string_lossy().into_owned(),
            interrupts: irqs.len(),
            cpus: cpus.into_iter().collect(),
        })
    });
    found
        .filter(|device| !device.cpus.is_empty())
        .take(DEVICES_MAX)
        .collect()
}

/// Numbers of a device's interrupts. A virtual card has them at the device that it is part of.
fn interrupts(device: &Path) -> Option<Vec<String>> {
    let places = [device.join("msi_irqs"), device.join("../msi_irqs")];
    let listed = places.iter().find_map(|place| fs::read_dir(place).ok())?;
    let names = listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Some(names.collect())
}

fn cpus_of(irq: &str) -> Vec<usize> {
    let path = format!("/proc/irq/{irq}/effective_affinity_list");
    let text = fs::read_to_string(path).unwrap_or_default();
    list(text.trim()).unwrap_or_default()
}

/// A list of CPUs as the kernel writes it: `0-2,5`.
fn list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse::<usize>().ok()?..=last.parse().ok()?);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read_as_the_kernel_writes_them() {
        let cases = [
            ("", Some(vec![])),
            ("3", Some(vec![3])),
            ("0-2,5", Some(vec![0, 1, 2, 5])),
            ("x", None),
        ];
        for (text, want) in cases {
            assert_eq!(list(text), want, "{text}");
        }
    }

    #[test]
    fn this_machine_is_read() {
        let host = host();
        assert!(!host.release.is_empty());
        assert!(host.somaxconn.is_some_and(|found| found > 0));
        assert!(host.local_ports.is_some_and(|(first, last)| first < last));
        assert!(
            host.receive_buffer
                .is_some_and(|[least, _, most]| least <= most)
        );
    }
}
