"""The machine and the builds of a measurement, to go with its figures."""

import datetime
import os
import pathlib
import platform
import subprocess

from harness import nginx

ROOT = pathlib.Path(__file__).resolve().parents[2]
VULNERABILITIES = pathlib.Path("/sys/devices/system/cpu/vulnerabilities")


def load_tool(binaries):
    """The client and mock beside a gateway, or where there is none, as with a guided build, that of `make build`."""
    beside = binaries / "sluice-loadtest"
    return beside if beside.exists() else ROOT / "target/release/sluice-loadtest"


def busy_seconds():
    """CPU time that all CPUs have spent on anything, what a hypervisor took included."""
    fields = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    user, nice, system, _, _, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def describe():
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": output("git", "-C", ROOT, "describe", "--always", "--dirty", "--exclude=*"),
        "kernel": f"{platform.system()} {platform.release()}",
        "cpu_model": cpu_model(),
        "cpus": os.cpu_count(),
        "mitigations": mitigations(),
        "nginx": output(nginx.PROGRAM, "-v").removeprefix("nginx version: "),
        "load_average": " ".join(f"{value:.2f}" for value in os.getloadavg()),
    }


def output(*command):
    """What a command says, on either stream; empty where it fails or is not there."""
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=20)
    except OSError:
        return ""
    return (done.stdout + done.stderr).strip() if done.returncode == 0 else ""


def cpu_model():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def mitigations():
    """One line: which of the known weaknesses this kernel works around, and so pays for."""
    states = {path.name: path.read_text().strip() for path in sorted(VULNERABILITIES.glob("*"))}
    paid = [name for name, state in states.items() if state.startswith("Mitigation")]
    open_ones = [name for name, state in states.items() if state.startswith("Vulnerable")]
    return f"mitigated: {', '.join(paid) or 'none'}; vulnerable: {', '.join(open_ones) or 'none'}"
