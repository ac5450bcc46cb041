import pathlib
import types

import pytest

from harness import measure, runs, scenarios
from harness.measure import Void


def scenario(**more):
    return scenarios.Scenario("x", 1, "t", "S.", "load", ["nginx", "sluice"], ["errors"], **more)


@pytest.fixture
def begun(monkeypatch):
    """A start of two targets whose windows are what a test says, in order: figures, or why a window is void."""
    def make(script, **more):
        targets = {name: types.SimpleNamespace(name=name, pid=1) for name in ("nginx", "sluice")}
        rig = types.SimpleNamespace(scenario=scenario(**more), targets=targets, work=pathlib.Path("/nowhere"))
        record = {"settings": {}, "targets": {name: {"windows": [], "void": []} for name in targets}}
        script = {name: iter(turns) for name, turns in script.items()}

        def window(_, target, *__):
            found = next(script[target.name])
            if isinstance(found, str):
                raise Void(found)
            return found

        monkeypatch.setattr(measure, "window", window)
        plan = runs.Plan(pathlib.Path("/bin"), pathlib.Path("/out"), rounds=2, secs=1, quick=False)
        return runs.Start(plan, rig, record), record

    return make


def test_a_void_window_is_repeated_and_told(begun):
    start, record = begun({"nginx": [{"x": 1}, {"x": 2}], "sluice": ["1 failed", {"x": 3}, {"x": 4}]})
    start.go()
    assert record["targets"]["nginx"] == {"windows": [{"x": 1}, {"x": 2}], "void": []}
    assert record["targets"]["sluice"] == {"windows": [{"x": 3}, {"x": 4}],
                                           "void": [{"round": 1, "reason": "1 failed"}]}


def test_a_window_that_stays_void_is_a_failure_and_no_number(begun):
    start, record = begun({"nginx": [{"x": 1}] * 2, "sluice": ["bad"] * 9})
    with pytest.raises(runs.Failed, match="sluice: 3 void windows, the last one: bad"):
        start.go()
    assert record["targets"]["sluice"]["windows"] == []


def test_too_many_void_windows_are_a_failure_although_each_repeat_was_good(begun):
    good = {"x": 1}
    start, record = begun({"nginx": [good] * 9, "sluice": ["a", "b", good, "c", "d", good, good]}, rounds=4)
    with pytest.raises(runs.Failed, match="sluice: 4 void windows"):
        start.go()


def failing_client(tmp_path, figures):
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\nwhile [ $1 != --json ]; do shift; done\n"
                    f"echo '{{\"targets\":[{{\"rounds\":[{figures}]}}]}}' >$2\n")
    tool.chmod(0o755)
    target = types.SimpleNamespace(name="sluice", argument=lambda: "sluice=http://127.0.0.1:1", pid=0)
    return types.SimpleNamespace(scenario=scenario(mock="own"), tool=tool, cpu_seconds=lambda: 0.0), target


def test_one_failed_request_makes_a_window_void(tmp_path):
    rig, target = failing_client(tmp_path, '{"errors": 0, "requests": 5}')
    assert measure.window(rig, target, {"mode": "unary"}, tmp_path / "out.json")["requests"] == 5
    rig, target = failing_client(tmp_path, '{"errors": 1, "requests": 5, "error_timeout": 1}')
    with pytest.raises(Void, match="1 failed error_timeout 1"):
        measure.window(rig, target, {"mode": "unary"}, tmp_path / "out.json")


def test_a_failure_of_what_runs_beside_makes_a_window_void(tmp_path):
    rig, target = failing_client(tmp_path, '{"errors": 0, "requests": 5}')
    rig.tool.write_text(rig.tool.read_text().replace("echo", 'case "$*" in *window.1*) e=2;; *) e=0;; esac; echo', 1)
                        .replace('"errors": 0', "\"errors\": '$e'"))
    with pytest.raises(Void, match="2 failed error_beside_1 2"):
        measure.window(rig, target, {"mode": "stream", "beside": [{"mode": "abort"}]}, tmp_path / "window.json")


def test_lost_events_are_a_figure_and_do_not_make_a_window_void(tmp_path):
    rig, target = failing_client(tmp_path, '{"errors": 0, "events_lost": 3}')
    assert measure.window(rig, target, {}, tmp_path / "out.json")["events_lost"] == 3


def test_settings_become_arguments():
    assert measure.options({"mode": "unary", "usage": True, "header": ["a: 1", "b: 2"], "rate": 2.5}) == [
        "--mode", "unary", "--usage", "--header", "a: 1", "--header", "b: 2", "--rate", "2.5"]


def test_a_rate_follows_from_what_the_weakest_proxy_carried():
    record = {"targets": {"floor": {"windows": [{"requests_per_s": 10.0}]},
                          "nginx": {"windows": [{"requests_per_s": 80.0}, {"requests_per_s": 90.0}]},
                          "sluice": {"windows": [{"requests_per_s": 60.0}, {"requests_per_s": 70.0}]}}}
    assert runs.carried(record) == 65
    plan = runs.Plan(pathlib.Path("/bin"), pathlib.Path("/out"), 2, 1.5, False)
    wanted = scenario(rate_of={"scenario": "unary-32", "share": 0.9}, settings={"connections": 8},
                      window={"setting": "duration", "least": 2, "extra": 0.25})
    assert runs.settings_of(plan, wanted, {"unary-32": 65}) == {"connections": 8, "rate": 58.5, "duration": 2.25}
    with pytest.raises(runs.Failed, match="unary-32"):
        runs.settings_of(plan, wanted, {})
