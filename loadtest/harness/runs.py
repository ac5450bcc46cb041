"""Runs scenarios, interleaved over targets, and keeps every figure of every window."""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from harness import churn, measure, syscalls
from harness.measure import Void
from harness.process import NotReady, memory_kib
from harness.rig import Rig

# How often one window may be repeated, and how many of a start may be void, before it is a failure.
REPEATS, VOID_MAX = 2, 4
# In which system calls are counted in the short form.
QUICK_REQUESTS = 2000


@dataclass(frozen=True)
class Plan:
    """The settings of a run."""
    binaries: pathlib.Path
    out: pathlib.Path
    rounds: int
    secs: float
    quick: bool


class Failed(RuntimeError):
    """A scenario that gives no number."""


def run(plan, scenarios, number):
    """One whole run; what it found is in out/raw/NUMBER. Gives the names of the scenarios that failed."""
    folder, logs = plan.out / "raw" / str(number), plan.out / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    logs.mkdir(parents=True, exist_ok=True)
    capacity, failed = {}, []
    for scenario in scenarios:
        for start in range(1, (1 if plan.quick else scenario.starts) + 1):
            say(f"run {number}, {scenario.name}, start {start}")
            record = one_start(plan, scenario, capacity, logs)
            record |= {"run": number, "scenario": scenario.name, "start": start}
            (folder / f"{scenario.name}-{start}.json").write_text(json.dumps(record, indent=1))
            if record["failed"]:
                say(f"  failed: {record['failed']}")
                failed.append(scenario.name)
                break
        capacity[scenario.name] = carried(record)
    return failed


def carried(record):
    """Requests per second that the weakest of the proxies could carry."""
    rates = [statistics.median(window["requests_per_s"] for window in target["windows"])
             for name, target in record["targets"].items()
             if name != "floor" and target["windows"] and "requests_per_s" in target["windows"][0]]
    return min(rates, default=None)


def one_start(plan, scenario, capacity, logs):
    """Everything anew, then all rounds of a scenario."""
    record = {"failed": None, "targets": {}, "began": time.time(), "load_average": os.getloadavg()}
    try:
        if scenario.kind == "churn":
            record["targets"]["gateway"] = churn.windows(plan, scenario)
            return record
        record["settings"] = settings_of(plan, scenario, capacity)
        with tempfile.TemporaryDirectory(prefix="sluice-bench-") as work, Rig(scenario, plan.binaries, work, logs) as rig:
            for target in rig.targets.values():
                record["targets"][target.name] = {"engine": target.engine, "rss_idle_kib": target.idle_kib,
                                                  "windows": [], "void": []}
            Start(plan, rig, record).go()
    except (Failed, NotReady, OSError, subprocess.SubprocessError, RuntimeError) as failure:
        record["failed"] = f"{type(failure).__name__}: {failure}" if not isinstance(failure, Failed) else str(failure)
    return record


def settings_of(plan, scenario, capacity):
    """The settings of a window: with its seconds, and its rate where that follows from another scenario."""
    found = with_window(plan, scenario.settings, scenario.window)
    if scenario.rate_of:
        most = capacity.get(scenario.rate_of["scenario"])
        if not most:
            raise Failed(f"needs what {scenario.rate_of['scenario']} carries, which has no figure")
        found["rate"] = round(most * scenario.rate_of["share"], 1)
    besides = [dict(each) for each in scenario.beside]
    if besides:
        found["beside"] = [with_window(plan, each, each.pop("window", None)) for each in besides]
    return found


def with_window(plan, settings, window):
    found = dict(settings)
    if window:
        seconds = max(plan.secs, window.get("least", 0)) + window.get("extra", 0)
        found[window["setting"]] = round(seconds, 2)
    return found


class Start:
    """The rounds of one start of a scenario."""

    def __init__(self, plan, rig, record):
        self.plan, self.rig, self.record, self.scenario = plan, rig, record, rig.scenario
        self.json = rig.work / "window.json"

    def go(self):
        rounds = 1 if self.plan.quick else self.scenario.rounds or self.plan.rounds
        if self.scenario.warm_up:
            for target in self.rig.targets.values():
                self.window(target, self.scenario.warm_up, "before")
                self.of(target)["rss_in_use_kib"] = memory_kib(target.pid)
        ended = {}
        for number in range(1, rounds + 1):
            for target in self.rig.targets.values():
                figures = self.window(target, self.record["settings"], number)
                self.of(target)["windows"].append(figures)
                ended[target.name] = time.monotonic()
        if self.scenario.settle_s:
            self.settle(ended)
        if self.scenario.syscalls:
            self.syscalls()

    def of(self, target):
        return self.record["targets"][target.name]

    def window(self, target, settings, number):
        """Figures of a window without failures; those with one are repeated, and remembered."""
        void = self.of(target)["void"]
        for _ in range(REPEATS + 1):
            try:
                return measure.window(self.rig, target, settings, self.json)
            except Void as reason:
                say(f"  {target.name}, round {number}: void: {reason}")
                void.append({"round": number, "reason": str(reason)})
            if len(void) >= VOID_MAX:
                break
        raise Failed(f"{target.name}: {len(void)} void windows, the last one: {void[-1]['reason']}")

    def settle(self, ended):
        """Memory so long after the last window."""
        for target in self.rig.targets.values():
            if target.pid:
                time.sleep(max(ended[target.name] + self.scenario.settle_s - time.monotonic(), 0))
                self.of(target)["rss_settled_kib"] = memory_kib(target.pid)

    def syscalls(self):
        settings = dict(self.scenario.syscalls)
        per = settings.pop("per")
        settings = self.record["settings"] | settings
        if "requests" in settings:
            settings.pop("duration", None)
            settings["requests"] = min(settings["requests"], QUICK_REQUESTS) if self.plan.quick else settings["requests"]
        for target in self.rig.targets.values():
            if target.pid:
                self.of(target).update(syscalls.count(self.rig, target, settings, per, self.json))


def say(text):
    print(text, file=sys.stderr, flush=True)
