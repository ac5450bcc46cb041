import pytest

from harness import budgets, results
from harness.budgets import FAILED, MET, MISSED, UNMEASURED, Budget


def record(start=1, failed=None, **targets):
    """Each target: its windows, or a whole raw target."""
    raw = {name: value if isinstance(value, dict) else {"windows": value, "void": []} for name, value in targets.items()}
    return {"scenario": "s", "start": start, "failed": failed, "targets": raw, "settings": {}}


def cpu(*values):
    return [{"cpu_us_per_request": value} for value in values]


def outcomes(*records):
    return {"s": results.outcome(list(records))}


RATIO = Budget("r", "CPU", "at most 1.1", scenario="s", figure="cpu_us_per_request", of="nginx", at_most=1.1)
LOST = Budget("l", "lost", "none", scenario="s", figure="events_lost", at_most=0, take="worst")


def test_a_ratio_is_met_up_to_its_bound():
    measured = outcomes(record(nginx=cpu(10, 20, 10), sluice=cpu(11, 22, 30)))
    found = budgets.verdict(RATIO, measured)
    assert found.state == MET and found.value.median == pytest.approx(1.1) and found.value.greatest == 3
    measured = outcomes(record(nginx=cpu(10, 20, 10), sluice=cpu(12, 24, 5)))
    assert budgets.verdict(RATIO, measured).state == MISSED


def test_starts_are_taken_together():
    measured = outcomes(record(2, nginx=cpu(10), sluice=cpu(20)), record(1, nginx=cpu(10), sluice=cpu(10)))
    assert budgets.verdict(RATIO, measured).value.median == pytest.approx(1.5)


def test_one_lost_event_in_one_window_is_a_miss():
    good, bad = [{"events_lost": 0}] * 4, [{"events_lost": 1}]
    assert budgets.verdict(LOST, outcomes(record(sluice=good))).state == MET
    assert budgets.verdict(LOST, outcomes(record(sluice=good + bad))).state == MISSED


def test_what_was_not_run_or_has_no_figure_is_not_measured():
    assert budgets.verdict(RATIO, {}).state == UNMEASURED
    assert budgets.verdict(RATIO, outcomes(record(sluice=cpu(10)))).state == UNMEASURED
    held = Budget("h", "hang-up", "100 ms", held_by="a test")
    found = budgets.verdict(held, outcomes(record(sluice=cpu(10))))
    assert found.state == UNMEASURED and "a test" in found.note


def test_a_failed_scenario_gives_no_verdict_from_what_it_measured():
    measured = outcomes(record(failed="too many void windows", nginx=cpu(10), sluice=cpu(5)))
    found = budgets.verdict(RATIO, measured)
    assert (found.state, found.value, found.note) == (FAILED, None, "too many void windows")


def test_a_verdict_says_whether_the_host_was_busy():
    def run(share):
        windows = [{"cpu_us_per_request": 10, "others_cpu_share": share}]
        return budgets.verdict(RATIO, outcomes(record(nginx=windows, sluice=windows))).note

    assert run(0.5) == "host busy" and run(0.01) == ""


def test_of_several_runs_each_must_meet_a_budget():
    def run(*values):
        return outcomes(record(nginx=cpu(10), sluice=cpu(*values)))

    (row,) = budgets.rows([RATIO], [run(10), run(11), run(10.5)])
    assert row.state == MET and (row.spread.least, row.spread.greatest) == (1, 1.1)
    assert budgets.rows([RATIO], [run(10), run(12)])[0].state == MISSED
    assert budgets.rows([RATIO], [run(10), {}])[0].state == MET
    assert budgets.rows([RATIO], [{}, {}])[0].state == UNMEASURED
    failed = outcomes(record(failed="x", nginx=[], sluice=[]))
    assert budgets.rows([RATIO], [run(10), failed])[0].state == FAILED


def test_added_latency_is_beyond_the_floor_of_the_same_round():
    def latency(*values):
        return [{"latency_p50_us": value} for value in values]

    found = results.outcome([record(floor=latency(10, 20), nginx=latency(30, 60), sluice=latency(40, 60))])
    assert found.targets["sluice"].values("latency_added_p50_us") == [30, 40]
    assert found.ratio("sluice", "nginx", "latency_added_p50_us").median == pytest.approx(1.25)
    without = results.outcome([record(nginx=latency(30))])
    assert without.summary("nginx", "latency_added_p50_us") is None


def test_memory_per_stream_is_beyond_that_before_all_windows():
    # What the client calls idle before the second window is memory that the first one has left.
    first = {"rss_held_kib": 21_000, "streams_open": 100, "rss_kib_per_stream": 100, "rss_idle_kib": 11_000}
    second = {"rss_held_kib": 21_000, "streams_open": 100, "rss_kib_per_stream": 1, "rss_idle_kib": 20_900}
    raw = {"windows": [first, second], "void": [], "rss_idle_kib": 10_000}
    found = results.outcome([record(sluice=raw)])
    assert found.targets["sluice"].values("rss_kib_per_stream") == [100, 100]
    assert found.summary("sluice", "rss_idle_kib").median == 10_000


def test_memory_afterwards_is_told_against_both_befores():
    raw = {"windows": [{}], "void": [], "rss_idle_kib": 10_000, "rss_in_use_kib": 12_000, "rss_settled_kib": 18_000}
    found = results.outcome([record(sluice=raw)])
    assert found.summary("sluice", "rss_settled_to_before").median == 1.5
    assert found.summary("sluice", "rss_settled_to_idle").median == 1.8
