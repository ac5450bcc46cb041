"""Steady modest load on one gateway for hours, and whether its memory grows.

Requests over 32 connections in an open loop, streams that are renewed every minute, and some that the caller leaves.
No failure is allowed: the first one ends the run.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import threading
import time

from harness import configs, host
from harness.figures import slope, summary
from harness.process import Ports, Process, descriptors, memory_kib, status

SAMPLE_S = 10
WARM_UP_S = 600
WINDOW_S = 60
# Two halves of the streams, so that they do not all end at once.
STREAMS, EVENTS_PER_S, GROUPS = 100, 5, 2
RATE, CONNECTIONS = 200, 32
ABORTED = 20
# Long enough for a host that is busy with something else for a while; a request that hangs is still found.
TIMEOUT_S = 120
# The access log is cut at this size: it is written, and the disk is not filled.
ACCESS_LOG_MAX = 64 << 20


def loads():
    """Name, seconds before the first window, and settings of each load."""
    unary = ["--mode", "unary", "--connections", CONNECTIONS, "--rate", RATE, "--duration", WINDOW_S, "--warmup", 0]
    streams = ["--mode", "stream", "--streams", STREAMS // GROUPS, "--events-per-sec", EVENTS_PER_S,
               "--stream-secs", WINDOW_S, "--open-rate", 10, "--usage"]
    aborted = ["--mode", "abort", "--requests", ABORTED, "--connections", 2, "--events-per-sec", EVENTS_PER_S,
               "--stream-secs", WINDOW_S, "--settle", WINDOW_S]
    groups = [(f"streams-{group}", group * WINDOW_S / GROUPS, streams) for group in range(GROUPS)]
    return [("unary", 0, unary), ("aborted", 0, aborted), *groups]


class Loop:
    """One load, window after window, until it is stopped or something fails."""

    def __init__(self, name, delay_s, command, target, json_path):
        self.name, self.delay_s, self.json_path = name, delay_s, json_path
        self.command = ["taskset", "-c", "1", *map(str, command), "--rounds", "1", "--timeout", str(TIMEOUT_S), "--json", str(json_path),
                        "--target", target]
        self.totals = {"windows": 0, "requests": 0, "events": 0, "latency_p99_us": [], "event_added_p99_us": []}
        self.failure, self.child = None, None
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            self.windows()
        except Exception as failure:
            # A load that has ended unseen would leave a gateway at rest, whose memory does not grow.
            self.failure = f"{self.name}: {type(failure).__name__}: {failure}"

    def windows(self):
        if self.stopped.wait(self.delay_s):
            return
        while not self.stopped.is_set() and not self.failure:
            self.child = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            errors = self.child.communicate()[1]
            if self.stopped.is_set():
                return
            if self.child.returncode != 0:
                self.failure = f"{self.name}: {errors.strip()[-500:]}"
                return
            self.account(json.loads(self.json_path.read_text())["targets"][0]["rounds"][0])

    def account(self, figures):
        bad = {name: value for name, value in figures.items()
               if value and (name.startswith("error") or name in ("events_lost", "events_reordered", "events_duplicated"))}
        # Of a stream that the caller leaves, events are missing.
        if self.name == "aborted":
            bad.pop("events_lost", None)
        if bad:
            self.failure = f"{self.name}: {bad}"
        self.totals["windows"] += 1
        self.totals["requests"] += int(figures["requests"])
        self.totals["events"] += int(figures.get("events_all", 0))
        for name in ("latency_p99_us", "event_added_p99_us"):
            if name in figures:
                self.totals[name].append(figures[name])

    def stop(self):
        self.stopped.set()
        if self.child and self.child.poll() is None:
            self.child.terminate()
        self.thread.join()


def result(samples, warm_up_s=WARM_UP_S):
    """What samples of {"s", "rss_kib"} say about growth; no slope before the warm-up is over."""
    steady = [(it["s"] / 3600, it["rss_kib"] / 1024) for it in samples if it["s"] >= warm_up_s]
    tenth = max(len(steady) // 10, 1)
    first, last = summary([y for _, y in steady[:tenth]]), summary([y for _, y in steady[-tenth:]])
    return {
        "slope_mib_per_h": slope(steady),
        "hours": steady[-1][0] - steady[0][0] if steady else 0,
        "first_tenth_mib": first and first.median,
        "last_tenth_mib": last and last.median,
    }


def run(minutes, binaries, out, engine="auto", warm_up_s=WARM_UP_S):
    """Runs the soak and gives the exit code; `out` is a JSON file, written anew with each sample."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sluice-soak-") as work:
        work, ports = pathlib.Path(work), Ports()
        mock_port, port, status_port = ports.take(), ports.take(), ports.take()
        (work / "resources.yaml").write_text(configs.resources(f"http://127.0.0.1:{mock_port}"))
        (work / "sluice.yaml").write_text(
            configs.sluice(work, engine, f"127.0.0.1:{port}", f"127.0.0.1:{status_port}"))
        tool = host.load_tool(binaries)
        mock = Process("mock", [tool, "mock", "--listen", f"127.0.0.1:{mock_port}"], out.parent / "soak-mock.log", 1)
        gateway = Process("sluice", [binaries / "sluice", "--config", work / "sluice.yaml"],
                          out.parent / "soak-sluice.log", 0, configs.ENVIRONMENT)
        running = []
        try:
            mock.await_port(mock_port)
            gateway.await_port(port)
            target = f"sluice=http://127.0.0.1:{port},key={configs.KEY},model=mock/*"
            for name, delay_s, settings in loads():
                running.append(Loop(name, delay_s, [tool, "run", *settings], target, work / f"{name}.json"))
            report = follow(minutes, gateway, running, work / f"access-{engine}.log", out, warm_up_s)
        finally:
            for each in running:
                each.stop()
            gateway.stop()
            mock.stop()
    print(json.dumps({name: value for name, value in report.items() if name != "samples"}, indent=1))
    return 1 if report["failure"] else 0


def follow(minutes, gateway, running, access_log, out, warm_up_s):
    """Samples until the time is over or something fails."""
    begun, samples = time.monotonic(), []
    report = {"host": host.describe(), "minutes": minutes, "warm_up_s": warm_up_s, "finished": False, "failure": None,
              "settings": {name: " ".join(map(str, settings)) for name, _, settings in loads()}}
    while not report["finished"] and not report["failure"]:
        passed = time.monotonic() - begun
        if gateway.running():
            samples.append({"s": round(passed, 1), "rss_kib": memory_kib(gateway.pid),
                            "anonymous_kib": status(gateway.pid, "RssAnon"), "descriptors": descriptors(gateway.pid)})
        failures = [each.failure for each in running if each.failure]
        if not gateway.running():
            failures.append(f"the gateway ended with {gateway.child.returncode}: {gateway.last_words()}")
        report |= {"finished": passed >= minutes * 60, "failure": "; ".join(failures) or None,
                   "loads": {each.name: totals(each) for each in running}, "samples": samples,
                   **result(samples, warm_up_s)}
        save(report, out)
        if access_log.exists() and access_log.stat().st_size > ACCESS_LOG_MAX:
            os.truncate(access_log, 0)
        time.sleep(min(SAMPLE_S, max(minutes * 60 - passed, 0.1)))
    return report


def totals(loop):
    """The counts of a loop; of its percentiles, the median and extremes over windows."""
    spread = {name: summary(value) for name, value in loop.totals.items() if isinstance(value, list)}
    counts = {name: value for name, value in loop.totals.items() if not isinstance(value, list)}
    return counts | {name: vars(value) for name, value in spread.items() if value}


def save(report, out):
    """Whole or not at all, so that a reader never meets half a report."""
    draft = out.with_suffix(".new")
    draft.write_text(json.dumps(report))
    draft.replace(out)
