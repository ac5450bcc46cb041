"""What the windows of a run come to: figures derived, summed up, set against the base. Pure but for `read`."""

import json
from dataclasses import dataclass, field

from harness.catalogue import WITHOUT_RATIO
from harness.figures import Summary, ratio, summary

# Beyond this share of a CPU, what else runs on the host is said beside the figures.
QUIET = 0.05
PER_START = ("rss_idle_kib", "rss_in_use_kib", "rss_settled_kib", "syscalls_per_request", "syscalls_per_1000_events")


@dataclass
class Measured:
    """One target of one scenario, over all its starts."""
    engine: str | None = None
    windows: list = field(default_factory=list)
    # Figures that a start has once.
    starts: list = field(default_factory=list)
    void: list = field(default_factory=list)
    counted_by: str | None = None

    def values(self, figure):
        """One entry for each window, or each start, that could have the figure."""
        of = self.starts if any(figure in each for each in self.starts) else self.windows
        return [each.get(figure) for each in of]

    def summary(self, figure):
        return summary(self.values(figure))

    def rows(self, figure):
        return self.starts if any(figure in each for each in self.starts) else self.windows


@dataclass
class Outcome:
    """One scenario of one run."""
    failed: str | None
    targets: dict
    settings: dict

    def summary(self, target, figure) -> Summary | None:
        measured = self.targets.get(target)
        return measured and measured.summary(figure)

    def others(self):
        """The median share of a CPU that everything else on the host took."""
        shares = [window.get("others_cpu_share") for target in self.targets.values() for window in target.windows]
        return summary(shares)

    def was_busy(self):
        others = self.others()
        return others is not None and others.median > QUIET

    def ratio(self, target, base, figure) -> Summary | None:
        """Of neighbouring windows; None where that says nothing."""
        if target == base or figure in WITHOUT_RATIO or not {target, base} <= self.targets.keys():
            return None
        return ratio(self.targets[target].rows(figure), self.targets[base].rows(figure), figure)


def read(folder):
    """Outcomes of the run in `folder`, by scenario."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    names = sorted({record["scenario"] for record in records})
    return {name: outcome([each for each in records if each["scenario"] == name]) for name in names}


def outcome(records):
    """All starts of one scenario together."""
    records = sorted(records, key=lambda it: it["start"])
    failed = next((record["failed"] for record in records if record["failed"]), None)
    targets = {}
    for record in records:
        floor = record["targets"].get("floor", {}).get("windows", [])
        for name, raw in record["targets"].items():
            measured = targets.setdefault(name, Measured(raw.get("engine")))
            measured.windows += [derived(window, raw, at(floor, index)) for index, window in enumerate(raw["windows"])]
            measured.starts.append(of_start(raw))
            measured.void += raw["void"]
            measured.counted_by = raw.get("counted_by", measured.counted_by)
    return Outcome(failed, targets, records[0].get("settings", {}))


def at(windows, index):
    return windows[index] if index < len(windows) else {}


def derived(window, raw, floor):
    """A window with what follows from it, from the memory of its process before all windows, and from the floor."""
    found = {name: value for name, value in window.items() if not name.startswith("rss_idle")}
    # The client reads memory after one request, so that what is set up with the first one is not the streams'. It
    # does so before each window; before a later one that is memory in use.
    base = raw["windows"][0].get("rss_idle_kib")
    for unit, count in (("stream", "streams_open"), ("connection", "connections_open")):
        found.pop(f"rss_kib_per_{unit}", None)
        if base and window.get("rss_held_kib") and window.get(count):
            found[f"rss_kib_per_{unit}"] = (window["rss_held_kib"] - base) / window[count]
    for name, value in window.items():
        if name.startswith("latency_p") and name in floor and floor is not window:
            found[name.replace("latency_", "latency_added_")] = value - floor[name]
    return found


def of_start(raw):
    found = {name: raw[name] for name in PER_START if raw.get(name) is not None}
    settled = found.get("rss_settled_kib")
    for name, base in (("before", "rss_in_use_kib"), ("idle", "rss_idle_kib")):
        if settled and found.get(base):
            found[f"rss_settled_to_{name}"] = settled / found[base]
    return found
