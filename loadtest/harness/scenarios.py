"""Scenario files: what is run, against whom, and which figures are told."""

import pathlib
import tomllib
from dataclasses import dataclass, field

from harness.catalogue import FIGURES

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "scenarios"
KINDS = {"load", "wrk", "h2load", "h2streams", "churn"}
TARGETS = {"floor", "nginx", "sluice", "epoll", "direct", "policy", "relayed", "translated", "gateway"}
MOCKS = {"client", "own"}


class Wrong(ValueError):
    """A scenario file that does not say what it should."""


@dataclass(frozen=True)
class Scenario:
    """One file of loadtest/scenarios; the fields are explained in docs/benchmarks.md."""
    name: str
    order: int
    title: str
    shows: str
    kind: str
    targets: list
    figures: list
    budgets: list = field(default_factory=list)
    # Figures and other targets are told as a ratio to this one.
    base: str = "nginx"
    starts: int = 1
    rounds: int | None = None
    quick: bool = False
    # Whether nginx and Sluice speak TLS on both sides.
    tls: bool = False
    policies: bool = False
    # "client": the mock shares the client's thread; "own": a process, whose connections outlive a window.
    mock: str = "client"
    settings: dict = field(default_factory=dict)
    # The setting that gets the seconds of a window, and what is added to them.
    window: dict | None = None
    # {scenario, share}: the rate of requests, from what another scenario of the run could carry.
    rate_of: dict | None = None
    # Loads that run beside the measured one, against the same target.
    beside: list = field(default_factory=list)
    # A load before the first window, and seconds after the last one until memory is read again.
    warm_up: dict | None = None
    settle_s: float | None = None
    # Settings that differ in the window in which system calls are counted, and what they are counted `per`.
    syscalls: dict | None = None
    chart: bool = False

    @property
    def proxies(self):
        return [target for target in self.targets if target != "floor"]


def parse(text, name):
    """A scenario from its TOML."""
    document = tomllib.loads(text)
    unknown = document.keys() - Scenario.__dataclass_fields__.keys()
    missing = {"order", "title", "shows", "kind", "targets", "figures"} - document.keys()
    if unknown or missing:
        raise Wrong(f"{name}: unknown {sorted(unknown)}, missing {sorted(missing)}")
    scenario = Scenario(**({"name": name} | document))
    problems = [
        f"named {scenario.name}" * (scenario.name != name),
        f"kind {scenario.kind}" * (scenario.kind not in KINDS),
        f"mock {scenario.mock}" * (scenario.mock not in MOCKS),
        *(f"target {each}" for each in scenario.targets if each not in TARGETS),
        *(f"figure {each}" for each in scenario.figures if each not in FIGURES),
        "the first sentence of `shows` has no end" * (not scenario.shows.endswith(".")),
    ]
    if any(problems):
        raise Wrong(f"{name}: {', '.join(filter(None, problems))}")
    return scenario


def load(folder=FOLDER):
    """All scenarios by name, in the order in which they run."""
    found = [parse(path.read_text(), path.stem) for path in folder.glob("*.toml")]
    return {scenario.name: scenario for scenario in sorted(found, key=lambda it: (it.order, it.name))}


def chosen(scenarios, names):
    """Those of `names`, and before them those whose capacity they need."""
    unknown = set(names) - scenarios.keys()
    if unknown:
        raise Wrong(f"no scenario is called {', '.join(sorted(unknown))}; there are {', '.join(scenarios)}")
    needed = {scenarios[name].rate_of["scenario"] for name in names if scenarios[name].rate_of}
    return [scenario for name, scenario in scenarios.items() if name in names or name in needed]
