"""The harness as its user starts it, in its short form, on the binaries of the tests."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from harness import nginx
from harness.process import memory_kib

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN_DIR = ROOT / os.environ.get("BIN_DIR", "target/ci")

pytestmark = [
    pytest.mark.skipif(not shutil.which(nginx.PROGRAM), reason="nginx is not installed: `make nginx`"),
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two CPUs"),
    pytest.mark.skipif(not (BIN_DIR / "sluice").exists(), reason=f"{BIN_DIR} has no sluice: `make sdk` builds it"),
]


def harness(*arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BENCH_")}
    return subprocess.run([sys.executable, "-m", "harness", *map(str, arguments)], cwd=ROOT / "loadtest",
                          env=environment, capture_output=True, text=True, timeout=900)


def test_a_request_and_a_stream_come_to_a_report(tmp_path):
    done = harness("bench", "--quick", "--secs", 1, "--bin", BIN_DIR, "--out", tmp_path, "unary-32", "stream-200")
    assert done.returncode == 0, done.stderr
    for name, figure in (("unary-32", "cpu_us_per_request"), ("stream-200", "cpu_ms_per_1000_events")):
        raw = json.loads((tmp_path / f"raw/1/{name}-1.json").read_text())
        assert list(raw["targets"]) == ["floor", "nginx", "sluice", "epoll"]
        for target in ("nginx", "sluice", "epoll"):
            assert raw["targets"][target]["windows"][0][figure] > 0
            assert raw["targets"][target]["rss_idle_kib"] > 1000
        assert raw["targets"]["epoll"]["engine"] == "epoll"
        assert raw["targets"]["nginx"]["engine"] is None
    markdown = (tmp_path / "report.md").read_text()
    assert "| CPU per request (us) | - |" in markdown and "| events lost | 0 | 0 | 0 | 0 |" in markdown
    assert (tmp_path / "report.html").read_text().count("<svg") >= 4
    again = harness("report", "--out", tmp_path)
    assert again.returncode == 0 and (tmp_path / "report.md").read_text() == markdown


def test_a_soak_samples_memory_to_its_end(tmp_path):
    out = tmp_path / "soak.json"
    done = harness("soak", "--minutes", 0.1, "--warm-up-s", 0, "--bin", BIN_DIR, "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert found["finished"] and found["failure"] is None and found["slope_mib_per_h"] is not None
    assert len(found["samples"]) >= 2 and all(it["rss_kib"] > 1000 for it in found["samples"])


def test_a_soak_ends_when_its_gateway_does(tmp_path):
    broken = tmp_path / "bin"
    broken.mkdir()
    (broken / "sluice-loadtest").symlink_to(BIN_DIR / "sluice-loadtest")
    (broken / "sluice").write_text(f"#!/bin/sh\n{BIN_DIR}/sluice \"$@\" &\nsleep 4\nkill $!\nexit 3\n")
    (broken / "sluice").chmod(0o755)
    out = tmp_path / "soak.json"
    done = harness("soak", "--minutes", 5, "--bin", broken, "--out", out)
    assert done.returncode == 1, done.stderr
    assert json.loads(out.read_text())["failure"]


def test_an_unknown_scenario_is_named():
    done = harness("bench", "--bin", BIN_DIR, "unary-33")
    assert done.returncode == 2 and "no scenario is called unary-33" in done.stderr


def test_memory_of_a_process_is_read():
    assert memory_kib(os.getpid()) > 1000
