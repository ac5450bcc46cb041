"""The budgets of the design, and whether a run keeps them."""

import pathlib
import tomllib
from dataclasses import dataclass

from harness.figures import Summary, summary

FILE = pathlib.Path(__file__).with_name("budgets.toml")
MET, MISSED, UNMEASURED, FAILED = "met", "missed", "not measured", "failed"


@dataclass(frozen=True)
class Budget:
    """One bound. `of` names the target that the figure is a ratio to; without it the figure itself is bounded."""
    id: str
    what: str
    target: str
    scenario: str = ""
    figure: str = ""
    subject: str = "sluice"
    of: str = ""
    at_most: float = 0
    # "median", or "worst" over all windows.
    take: str = "median"
    # What holds it where no scenario does.
    held_by: str = ""


@dataclass(frozen=True)
class Verdict:
    budget: Budget
    state: str
    # What was bounded: a ratio, or a figure as measured.
    value: Summary | None = None
    note: str = ""


def load(path=FILE):
    return [Budget(**each) for each in tomllib.loads(path.read_text())["budget"]]


def verdict(budget, outcomes):
    """What the outcomes of one run say."""
    if budget.held_by:
        return Verdict(budget, UNMEASURED, note=f"held by {budget.held_by}")
    outcome = outcomes.get(budget.scenario)
    if outcome is None:
        return Verdict(budget, UNMEASURED, note=f"{budget.scenario} was not run")
    if outcome.failed:
        return Verdict(budget, FAILED, note=outcome.failed)
    if budget.of:
        value = outcome.ratio(budget.subject, budget.of, budget.figure)
    else:
        value = outcome.summary(budget.subject, budget.figure)
    if value is None:
        return Verdict(budget, UNMEASURED, note=f"{budget.scenario} has no {budget.figure}")
    note = "host busy" if outcome.was_busy() else ""
    return Verdict(budget, MET if bounded(budget, value) <= budget.at_most else MISSED, value, note)


def bounded(budget, value):
    return value.greatest if budget.take == "worst" else value.median


@dataclass(frozen=True)
class Row:
    """One budget over several runs: met where each run that measured it meets it."""
    budget: Budget
    state: str
    runs: list
    spread: Summary | None


def rows(budgets, runs):
    """One row per budget from the outcomes of each run."""
    found = []
    for budget in budgets:
        verdicts = [verdict(budget, outcomes) for outcomes in runs]
        states = {each.state for each in verdicts}
        state = next((each for each in (FAILED, MISSED, MET) if each in states), UNMEASURED)
        spread = summary([bounded(budget, each.value) for each in verdicts if each.value])
        found.append(Row(budget, state, verdicts, spread))
    return found
