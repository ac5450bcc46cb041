"""System calls of a target in a window of its own: counting them costs time, so that window measures nothing else."""

import re
import shutil
import signal
import subprocess
import time

from harness import measure
from harness.process import tree

ATTACH_S = 0.5
PER = {"request": ("syscalls_per_request", "requests", 1), "1000 events": ("syscalls_per_1000_events", "events_all", 1000)}


def count(rig, target, settings, per, out):
    """{figure: value, "counted_by": tool}; empty where no tool can count here."""
    name, unit, many = PER[per]
    for tool, command, parse in TOOLS:
        report = out.with_suffix(f".{tool}")
        if not shutil.which(tool):
            continue
        counter = subprocess.Popen(command(tree(target.pid), report), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        try:
            time.sleep(ATTACH_S)
            if counter.poll() is not None:
                continue
            figures = measure.window(rig, target, settings, out)
        finally:
            if counter.poll() is None:
                counter.send_signal(signal.SIGINT)
            counter.wait()
        calls = parse(report.read_text())
        if calls:
            return {name: calls / figures[unit] * many, "counted_by": tool}
    return {}


def perf(pids, report):
    return ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", ",".join(map(str, pids)), "-o", report]


def of_perf(text):
    found = re.search(r"^(\d+),[^,]*,raw_syscalls:sys_enter", text, re.MULTILINE)
    return found and int(found.group(1))


def strace(pids, report):
    return ["strace", "-c", "-f", "-o", report, *(f"-p{pid}" for pid in pids)]


def of_strace(text):
    """The calls of its last line, which is the total; errors, where there are some, stand between."""
    found = re.search(r"^\s*100\.00\s+\S+\s+(?:\d+\s+)?(\d+)(?:\s+\d+)?\s+total", text, re.MULTILINE)
    return found and int(found.group(1))


TOOLS = (("perf", perf, of_perf), ("strace", strace, of_strace))
