"""Changes of the configuration under load, by config-churn.py, which has an etcd and a gateway of its own."""

import json
import os
import shutil
import subprocess
import sys

from harness.host import ROOT


def windows(plan, scenario):
    """The one window, in the shape of a target."""
    if not (shutil.which("etcd")):
        raise RuntimeError("etcd is not installed")
    out = plan.out / "churn"
    settings = {name.upper(): str(value) for name, value in scenario.settings.items()}
    environment = {**os.environ, "BIN_DIR": str(plan.binaries), "ROUNDS": "1",
                   "SECS": str(max(plan.secs, scenario.window["least"])), **settings}
    done = subprocess.run([sys.executable, ROOT / "loadtest/config-churn.py", out], env=environment,
                          capture_output=True, text=True, timeout=900)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip()[-500:])
    kinds = json.loads((out / "figures.json").read_text())
    return {"engine": None, "rss_idle_kib": None, "void": [], "windows": [figures(turn) for turn in kinds]}


def figures(turn):
    """Of one turn of the three kinds: those of the one in which our configuration changes."""
    churned, beside = turn["churn"], turn["neighbour"]
    return {
        **{name: churned[name] for name in ("requests", "requests_per_s", "cpu_us_per_request", "latency_p99_us",
                                            "changes_per_s", "rss_after_kib")},
        "errors": sum(each["errors"] for each in turn.values()),
        # The bound of a histogram, as it is written there.
        "propagation_p99_s": float(churned["p99_s"]),
        "cpu_churn_to_neighbour": churned["cpu_us_per_request"] / beside["cpu_us_per_request"],
    }
