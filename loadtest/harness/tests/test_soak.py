import threading

import pytest

from harness import soak


def samples(count, kib_per_sample, first_kib=20 * 1024):
    return [{"s": 10.0 * n, "rss_kib": first_kib + kib_per_sample * n} for n in range(count)]


def test_growth_is_counted_per_hour_and_after_the_warm_up():
    # A process that takes 5 MiB while it warms up and then 10 KiB every ten seconds.
    warming = [{"s": 10.0 * n, "rss_kib": 15 * 1024 + 85 * n} for n in range(60)]
    later = [{"s": 600 + it["s"], "rss_kib": it["rss_kib"]} for it in samples(360, 10)]
    found = soak.result(warming + later)
    assert found["slope_mib_per_h"] == pytest.approx(3600 / 1024)
    assert found["hours"] == pytest.approx(3590 / 3600)
    assert found["last_tenth_mib"] > found["first_tenth_mib"] > 20


def test_before_the_warm_up_is_over_there_is_no_slope():
    found = soak.result(samples(60, 10))
    assert found["slope_mib_per_h"] is None and found["first_tenth_mib"] is None and found["hours"] == 0


@pytest.fixture
def loop():
    """A loop whose thread does nothing."""
    made = object.__new__(soak.Loop)
    made.name, made.failure, made.stopped = "streams-0", None, threading.Event()
    made.totals = {"windows": 0, "requests": 0, "events": 0, "latency_p99_us": [], "event_added_p99_us": []}
    return made


def test_a_load_that_cannot_run_is_a_failure(loop, tmp_path):
    loop.delay_s, loop.command, loop.json_path = 0, ["true"], tmp_path / "never-written.json"
    loop.run()
    assert "never-written.json" in loop.failure


@pytest.mark.parametrize("figure", ["errors", "error_truncated", "events_lost", "events_reordered", "events_duplicated"])
def test_one_failure_ends_the_run(loop, figure):
    loop.account({"requests": 50.0, "events_all": 10.0, figure: 0.0})
    assert loop.failure is None and loop.totals["requests"] == 50
    loop.account({"requests": 50.0, "events_all": 10.0, figure: 1.0})
    assert figure in loop.failure


def test_events_of_a_stream_that_is_left_are_not_lost(loop):
    loop.name = "aborted"
    loop.account({"requests": 20.0, "events_all": 20.0, "events_lost": 280.0})
    assert loop.failure is None
    loop.account({"requests": 20.0, "errors": 1.0})
    assert loop.failure
