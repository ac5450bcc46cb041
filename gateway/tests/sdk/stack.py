"""The real gateway before the scripted upstream, as processes of their own."""

import json
import os
import re
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
BIN_DIR = ROOT / os.environ.get("BIN_DIR", "target/ci")

CALLER_KEY = "sk-caller-canary-7f3a"
UPSTREAM_KEY = "sk-upstream-canary-91cc"

# How long anything may take before a test gives up. Generous: machines are shared.
PATIENCE_S = 20
# `timeout` of the model `hasty`.
HASTY_MS = 150


def wait_for(what, probe):
    """Calls `probe` until it returns something true, which is returned."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := probe():
            return found
        time.sleep(0.005)
    raise AssertionError(f"waited in vain for {what}")


def free_port():
    """A port that nobody listens on, and that the kernel will not hand out right away."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program(name):
    path = BIN_DIR / name
    assert path.exists(), f"{path} is not there: `make sdk` builds it, or set BIN_DIR"
    return str(path)


class Process:
    """A child whose output goes to files, killed at the end."""

    def __init__(self, words, directory, name, env=None):
        self.out, self.err = directory / f"{name}.out", directory / f"{name}.err"
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.child = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env
            )

    def stdout(self):
        return self.out.read_text(errors="replace")

    def stderr(self):
        return self.err.read_text(errors="replace")

    def has_ended(self):
        return self.child.poll() is not None

    def stop(self):
        self.child.kill()
        self.child.wait()


class Mock(Process):
    """`sluice-loadtest mock` (its scripts: loadtest/README.md)."""

    def __init__(self, directory):
        words = [program("sluice-loadtest"), "mock", "--listen", "127.0.0.1:0"]
        super().__init__(words, directory, "mock")
        self.addr = wait_for("the mock to listen", self._listening)

    def _listening(self):
        assert not self.has_ended(), f"the mock ended: {self.stderr()}"
        found = re.search(r"listening on (\S+)\n", self.stdout())
        return found and found[1]

    def requests(self, tag):
        """What came upstream with `tag` in its script, oldest first."""
        with urllib.request.urlopen(f"http://{self.addr}/__mock/requests") as answer:
            records = json.load(answer)
        records = records if isinstance(records, list) else records["requests"]
        return [record for record in records if tag in record["body"]]


class Gateway(Process):
    """`sluice`, configured as gateway/tests/support/gateway.rs does it."""

    def __init__(self, engine, mock, directory, tls=None):
        resources = directory / "resources.yaml"
        resources.write_text(yaml.safe_dump(resources_of(mock.addr)))
        config = directory / "config.yaml"
        written = config_of(engine, resources, directory)
        if tls:
            written["proxy"]["tls"] = tls
        config.write_text(yaml.safe_dump(written))
        env = {k: v for k, v in os.environ.items() if k not in ("RUST_LOG", "SLUICE_LOG")}
        env |= {"CALLER_KEY": CALLER_KEY, "UPSTREAM_KEY": UPSTREAM_KEY}
        words = [program("sluice"), "--config", str(config)]
        super().__init__(words, directory, "gateway", env)
        serving = wait_for("the gateway to serve", self._serving)
        self.addr, self.status_addr = serving["addr"], serving["metrics"]
        assert serving["io_engine"] == engine
        self.base_url = f"{'https' if tls else 'http'}://{self.addr}/v1"

    def _serving(self):
        if self.has_ended():
            if "proxy.io_engine" in self.stderr():
                pytest.skip(f"this machine does not grant the engine: {self.stderr()}")
            raise AssertionError(f"the gateway ended: {self.stderr()}")
        for line in self.stderr().splitlines(keepends=True):
            if line.endswith("\n") and '"serving"' in line:
                return json.loads(line)
        return None


def config_of(engine, resources, directory):
    return {
        "resources_file": str(resources),
        "proxy": {"addr": "127.0.0.1:0", "workers": 1, "pin_cpus": False, "io_engine": engine},
        "observability": {
            "log_format": "json",
            "access_log_output": str(directory / "access.log"),
            "metrics": {"prometheus": {"addr": "127.0.0.1:0"}},
        },
        "shutdown": {"min_drain_secs": 0},
        "upstream": {"retries": 0},
    }


def resources_of(mock_addr):
    def key(name, addr, vendor="openai", adapter="openai", prefix="/v1"):
        return {
            "display_name": name,
            "provider": vendor,
            "adapter": adapter,
            "api_key": "${UPSTREAM_KEY}",
            "api_base": f"http://{addr}{prefix}",
        }

    def model(name, upstream, key="up", provider="openai", **more):
        row = {"display_name": name, "provider": provider, "model_name": upstream}
        return row | {"provider_key": key} | more

    # OpenAI itself has /responses, others with its protocol have not.
    plain = key("plain", mock_addr, vendor="groq")
    claude = key("claude", mock_addr, vendor="anthropic", adapter="anthropic", prefix="")

    return {
        "_format_version": "1",
        "provider_keys": [
            key("up", mock_addr),
            key("down", f"127.0.0.1:{free_port()}"),
            plain,
            claude,
        ],
        "models": [
            model("m", "gpt-up"),
            model("embed", "embed-up"),
            model("forbidden", "gpt-other"),
            model("unreachable", "gpt-up", key="down"),
            model("script/*", "*"),
            model("hasty/*", "*", timeout=HASTY_MS),
            model("openai/*", "*"),
            model("plain/*", "*", key="plain", provider="groq"),
            model("claude/*", "*", key="claude", provider="anthropic"),
        ],
        "api_keys": [
            {
                "display_name": "caller",
                "key_env": "CALLER_KEY",
                "allowed_models": [
                    *("m", "embed", "unreachable", "script/*", "hasty/*"),
                    *("openai/*", "plain/*", "claude/*"),
                ],
            }
        ],
    }
