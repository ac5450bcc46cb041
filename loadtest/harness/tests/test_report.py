import json

import pytest

from harness import report, scenarios

KNOWN = scenarios.load()
HEADER = {"commit": "abc1234", "kernel": "Linux", "build": "<b>"}


def raw(out, name, targets, run=1, failed=None, settings=None):
    folder = out / "raw" / str(run)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}-1.json").write_text(json.dumps({
        "scenario": name, "start": 1, "run": run, "failed": failed, "settings": settings or {}, "targets": targets}))


def target(windows, **more):
    return {"windows": windows, "void": [], "engine": None, **more}


def written(out):
    return (out / "report.md").read_text(), (out / "report.html").read_text()


def test_a_table_shows_the_median_the_extremes_and_the_ratio(tmp_path):
    nginx = [{"cpu_us_per_request": 10}, {"cpu_us_per_request": 20}]
    sluice = [{"cpu_us_per_request": 12}, {"cpu_us_per_request": 18}]
    raw(tmp_path, "unary-32", {"nginx": target(nginx), "sluice": target(sluice, engine="io_uring")},
        settings={"connections": 32})
    report.write(tmp_path, KNOWN, HEADER)
    markdown, page = written(tmp_path)
    assert "| CPU per request (us) | 15 [10-20] | 15 [12-18] 1.05x [0.90-1.20] |" in markdown
    assert "15 [12-18] 1.05x [0.90-1.20]" in page and page.count("<svg") == 1
    assert "| at most 0.9 x nginx | **missed** | unary-32 | 1.05x [0.90x-1.20x] |" in markdown
    assert "sluice: io_uring" in markdown and "Sluice, io_uring" in page
    assert "&lt;b&gt;" in page


def test_every_scenario_may_lack_every_figure(tmp_path):
    for name, scenario in KNOWN.items():
        raw(tmp_path, name, {each: target([{}]) for each in scenario.targets})
    report.write(tmp_path, KNOWN, HEADER)
    markdown, page = written(tmp_path)
    assert all(f"## {name}: " in markdown for name in KNOWN)
    assert "<svg" not in page and "None" not in markdown and "nan" not in markdown
    assert "**met**" not in markdown


def test_a_scenario_that_failed_at_once_is_told_as_failed(tmp_path):
    raw(tmp_path, "unary-32", {}, failed="nginx does not serve")
    report.write(tmp_path, KNOWN, HEADER)
    markdown, page = written(tmp_path)
    assert "**Failed: nginx does not serve**" in markdown and "Failed: nginx does not serve" in page
    assert "| **failed** | unary-32 | nginx does not serve |" in markdown


def test_a_scenario_that_failed_midway_gives_no_numbers(tmp_path):
    measured = [{"cpu_us_per_request": 12.5, "latency_p50_us": 77}]
    raw(tmp_path, "unary-32", {"nginx": target(measured), "sluice": target(measured)}, failed="too many void windows",
        settings={"connections": 32})
    report.write(tmp_path, KNOWN, HEADER)
    markdown, page = written(tmp_path)
    assert "too many void windows" in markdown and "12.5" not in markdown
    assert "12.5" not in page and "<svg" not in page


def test_void_windows_and_other_work_are_told(tmp_path):
    sluice = target([{"cpu_us_per_request": 12, "others_cpu_share": 0.5}])
    sluice["void"] = [{"round": 2, "reason": "1 failed error_timeout 1"}]
    raw(tmp_path, "unary-32", {"sluice": sluice})
    report.write(tmp_path, KNOWN, HEADER)
    for text in written(tmp_path):
        assert "Void and repeated: sluice, round 2: 1 failed error_timeout 1" in text
        assert "other work took 50 % of a CPU" in text
    assert "50 % of a CPU during unary-32, in 1 of 1 scenarios" in written(tmp_path)[0]


def test_runs_stand_beside_each_other(tmp_path):
    for run, cpu in ((1, 8), (2, 12), (10, 8.5)):
        raw(tmp_path, "unary-32", {"nginx": target([{"cpu_us_per_request": 10}]),
                                   "sluice": target([{"cpu_us_per_request": cpu}])}, run)
    report.write(tmp_path, KNOWN, HEADER)
    assert "| **missed** | unary-32 | 0.80x | 1.20x | 0.85x | 0.80x to 1.20x |" in written(tmp_path)[0]


@pytest.mark.parametrize("slope, words", [(0.25, "0.250 MiB/h"), (None, "no slope yet")])
def test_a_soak_that_is_there_is_in_the_report(tmp_path, slope, words):
    raw(tmp_path, "unary-32", {})
    samples = [{"s": 10 * n, "rss_kib": 20_000 + n, "anonymous_kib": 3_000} for n in range(90)]
    (tmp_path / "soak.json").write_text(json.dumps({
        "samples": samples, "slope_mib_per_h": slope, "hours": 0.1, "first_tenth_mib": 19.5, "last_tenth_mib": 19.6,
        "finished": True, "failure": None, "warm_up_s": 600}))
    report.write(tmp_path, KNOWN, HEADER)
    markdown, page = written(tmp_path)
    assert words in markdown and words in page and "Memory over hours" in page


@pytest.mark.parametrize("value, text", [(0, "0"), (12, "12"), (3.14159, "3.14"), (31.4159, "31.4"), (314.159, "314"),
                                         (31415.9, "31,416"), (0.00123, "0.0012"), (-5.5, "-5.50")])
def test_numbers_have_the_digits_that_a_reader_needs(value, text):
    assert report.number(value) == text
