"""One window of load against one target, and its figures."""

import json
import subprocess
import time

from harness import rig as rigs
from harness import tools
from harness.host import busy_seconds

# Beyond what a window should take.
GRACE_S = 120
# Of a request, beyond the length of its stream: a host that is busy for a while is no failure of a target.
TIMEOUT_S = 60

# What makes the load of a scenario that `sluice-loadtest` cannot.
TOOLS = {"wrk": tools.wrk, "h2load": tools.h2load, "h2streams": tools.h2_streams}


class Void(RuntimeError):
    """A window that says nothing, because something failed in it."""


def window(rig, target, settings, out):
    """The figures of one window; `Void` where one request of it failed."""
    begun, busy, ours = time.monotonic(), busy_seconds(), rig.cpu_seconds()
    if rig.scenario.kind == "load":
        figures = load(rig, target, settings, out)
    else:
        figures = TOOLS[rig.scenario.kind](rig, target, settings)
    others = busy_seconds() - busy - (rig.cpu_seconds() - ours)
    figures["others_cpu_share"] = max(others / (time.monotonic() - begun), 0)
    if figures["errors"]:
        kinds = ", ".join(f"{name} {value:.0f}" for name, value in figures.items() if name.startswith("error_"))
        raise Void(f"{figures['errors']:.0f} failed {kinds}".strip())
    return figures


def load(rig, target, settings, out):
    """A window of `sluice-loadtest`, with what runs beside it against the same target."""
    main = dict(settings)
    besides = [dict(each) for each in main.pop("beside", [])]
    mock = ["--mock", f"127.0.0.1:{rig.upstream_port}"] if rig.scenario.mock == "client" else []
    commands = [command(rig, target, each, out.with_suffix(f".{number}")) for number, each in enumerate(besides, 1)]
    children = [start(each) for each in commands]
    try:
        figures = result(start([*command(rig, target, main, out), *mock]), out)
        for number, child in enumerate(children, 1):
            beside = result(child, out.with_suffix(f".{number}"))
            figures["errors"] += beside["errors"]
            figures |= {f"error_beside_{number}": beside["errors"]} if beside["errors"] else {}
            figures[f"beside_{number}"] = {name: beside[name] for name in ("requests", "events_all") if name in beside}
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
                child.wait()
    return figures


def command(rig, target, settings, out):
    return [str(rig.tool), "--cpus", str(rigs.CLIENT_CPU), "run", "--rounds", "1", "--timeout", str(TIMEOUT_S),
            "--json", str(out), "--target", target.argument(), *options(settings)]


def options(settings):
    """Settings as arguments: `body-bytes = 1000` is `--body-bytes 1000`; a list repeats its option."""
    found = []
    for name, value in settings.items():
        for each in value if isinstance(value, list) else [value]:
            found += [f"--{name}"] if each is True else [f"--{name}", str(each)]
    return found


def start(command):
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def result(child, out):
    """The figures of the only round of the only target."""
    try:
        errors = child.communicate(timeout=600 + GRACE_S)[1]
    except BaseException:
        child.kill()
        child.wait()
        raise
    if child.returncode != 0:
        raise Void(errors.strip().splitlines()[-1] if errors.strip() else f"the client ended with {child.returncode}")
    return json.loads(out.read_text())["targets"][0]["rounds"][0]
