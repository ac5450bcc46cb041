"""The report of all runs: one page with charts, and the same tables as Markdown."""

import json
import pathlib

import jinja2

from harness import budgets, charts, results
from harness.catalogue import FIGURES, WITHOUT_RATIO
from harness.figures import Summary

TEMPLATES = pathlib.Path(__file__).with_name("templates")
NOTHING = "-"


def write(out, scenarios, header):
    """Renders what is below out/raw; gives the rows of the verdicts."""
    runs = [results.read(folder) for folder in sorted((out / "raw").iterdir(), key=lambda it: int(it.name))]
    soak = read_soak(out)
    rows = budgets.rows(budgets.load(), runs)
    # Charts and tables are those of the last run; the verdicts tell how runs differ.
    page = {
        "header": header | {"driver": drivers(runs[-1]), "other work": busy(runs)},
        "rows": [row(each) for each in rows],
        "runs": len(runs),
        "sections": [section(scenarios[name], runs[-1][name]) for name in scenarios if name in runs[-1]],
        "charts": charts.all_charts(runs[-1], soak),
        "soak": soak and {**soak, "samples": len(soak["samples"])},
    }
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=jinja2.select_autoescape(
        ["html"]), trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["number"] = number
    for name in ("report.html", "report.md"):
        (out / name).write_text(environment.get_template(name).render(page))
    return rows


def read_soak(out):
    path = out / "soak.json"
    return json.loads(path.read_text()) if path.exists() else None


def drivers(outcomes):
    """Which engine stood behind each name."""
    seen = {(name, target.engine) for outcome in outcomes.values() for name, target in outcome.targets.items()
            if target.engine}
    return ", ".join(f"{name}: {engine}" for name, engine in sorted(seen)) or NOTHING


def busy(runs):
    """What else the host did while it was measured, at its worst."""
    medians = [(found.median, name) for outcomes in runs for name, outcome in outcomes.items()
               if (found := outcome.others())]
    if not medians or max(medians)[0] <= results.QUIET:
        return "none to speak of"
    share, name = max(medians)
    return f"{share * 100:.0f} % of a CPU during {name}, in {sum(it[0] > results.QUIET for it in medians)} of {len(medians)} " \
           "scenarios above 5 %: times and CPU figures of those are no measure"


def row(found):
    """One line of the verdicts, as text."""
    def value(verdict):
        if verdict.value is None:
            return verdict.note or verdict.state
        return shown(found.budget, verdict.value) + (f", {verdict.note}" if verdict.note else "")

    spread = found.spread
    return {"what": found.budget.what, "target": found.budget.target, "state": found.state,
            "scenario": found.budget.scenario or NOTHING, "runs": [value(each) for each in found.runs],
            "spread": NOTHING if spread is None or len(found.runs) < 2 else
            f"{scaled(found.budget, spread.least)} to {scaled(found.budget, spread.greatest)}"}


def shown(budget, value):
    text = scaled(budget, budgets.bounded(budget, value))
    if value.count > 1:
        text += f" [{scaled(budget, value.least)}-{scaled(budget, value.greatest)}]"
    return text


def scaled(budget, value):
    if budget.of:
        return f"{value:.2f}x"
    figure = FIGURES[budget.figure]
    return f"{number(value * figure.factor)} {figure.unit}".strip()


def section(scenario, outcome):
    """The table of one scenario; one that failed gives no numbers, and what it measured is in the raw files."""
    names = [name for name in scenario.targets if name in outcome.targets]
    base = scenario.base if scenario.base in names else None
    lines = []
    for figure in scenario.figures if not outcome.failed else ():
        cells = [cell(outcome, name, base, figure) for name in names]
        if any(each != NOTHING for each in cells):
            lines.append({"title": titled(figure), "cells": cells})
    void = [f"{name}, round {each['round']}: {each['reason']}" for name in names for each in outcome.targets[name].void]
    others = outcome.others()
    counted = {target.counted_by for target in outcome.targets.values() if target.counted_by}
    return {"name": scenario.name, "title": scenario.title, "shows": scenario.shows, "targets": names, "lines": lines,
            "void": void, "failed": outcome.failed, "settings": outcome.settings, "counted_by": ", ".join(counted),
            "busy": f"{others.median * 100:.0f}" if outcome.was_busy() else None,
            "windows": max((len(outcome.targets[name].windows) for name in names), default=0), "base": base}


def titled(figure):
    known = FIGURES[figure]
    return f"{known.title} ({known.unit})" if known.unit else known.title


def cell(outcome, target, base, figure):
    found = outcome.summary(target, figure)
    if found is None:
        return NOTHING
    text = spread(found, FIGURES[figure].factor)
    against = base and figure not in WITHOUT_RATIO and target != "floor" and outcome.ratio(target, base, figure)
    if against:
        text += f" {against.median:.2f}x [{against.least:.2f}-{against.greatest:.2f}]"
    return text


def spread(found: Summary, factor):
    text = number(found.median * factor)
    if found.least < found.greatest:
        text += f" [{number(found.least * factor)}-{number(found.greatest * factor)}]"
    return text


def number(value):
    """Three digits or more are enough for a reader; the JSON has all."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.01 else f"{value:.4f}"
