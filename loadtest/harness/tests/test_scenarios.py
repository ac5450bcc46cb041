import pytest

from harness import budgets, scenarios
from harness.catalogue import FIGURES, WITHOUT_RATIO, WORST

KNOWN = scenarios.load()


def test_the_files_are_read_in_their_order():
    assert len(KNOWN) > 20
    orders = [scenario.order for scenario in KNOWN.values()]
    assert orders == sorted(orders)
    assert KNOWN["unary-32"].settings["connections"] == 32


def test_what_a_scenario_feeds_and_what_a_budget_names_agree():
    told = {(name, scenario.name) for scenario in KNOWN.values() for name in scenario.budgets}
    named = {(budget.id, budget.scenario) for budget in budgets.load() if budget.scenario}
    assert told == named


@pytest.mark.parametrize("budget", [each for each in budgets.load() if each.scenario], ids=lambda it: it.id)
def test_a_budget_bounds_a_figure_of_its_scenario(budget):
    scenario = KNOWN[budget.scenario]
    assert budget.figure in scenario.figures and budget.subject in scenario.targets
    assert not budget.of or (budget.of in scenario.targets and budget.figure not in WITHOUT_RATIO)
    assert budget.take == ("worst" if budget.figure in WORST else "median")


def test_a_budget_is_measured_or_says_what_holds_it():
    for budget in budgets.load():
        assert bool(budget.scenario) != bool(budget.held_by), budget.id


@pytest.mark.parametrize("scenario", KNOWN.values(), ids=lambda it: it.name)
def test_ratios_have_a_base_among_the_targets(scenario):
    assert scenario.base in scenario.targets
    assert set(scenario.figures) & FIGURES.keys() == set(scenario.figures)


GOOD = """
order = 1
title = "t"
shows = "S."
kind = "load"
targets = ["nginx"]
figures = ["errors"]
"""


@pytest.mark.parametrize("old, new, complaint", [
    ('kind = "load"', 'kind = "guess"', "kind guess"),
    ('["errors"]', '["error"]', "figure error"),
    ('["nginx"]', '["ngnix"]', "target ngnix"),
    ('title = "t"\n', "", "missing ['title']"),
    ("order = 1", "order = 1\nrouds = 2", "unknown ['rouds']"),
    ('"S."', '"S"', "no end"),
])
def test_a_file_that_is_wrong_is_refused(old, new, complaint):
    assert scenarios.parse(GOOD, "x").name == "x"
    with pytest.raises(scenarios.Wrong) as raised:
        scenarios.parse(GOOD.replace(old, new), "x")
    assert complaint in str(raised.value)


def test_a_scenario_brings_the_one_whose_capacity_it_needs():
    assert [each.name for each in scenarios.chosen(KNOWN, ["open-50"])] == ["unary-32", "open-50"]
    with pytest.raises(scenarios.Wrong, match="no scenario is called unary-33"):
        scenarios.chosen(KNOWN, ["unary-33"])
