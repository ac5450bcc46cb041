"""The processes of one scenario: nginx and Sluice on one CPU, what they call on the other."""

import json
import os
import pathlib
import subprocess
import time
from dataclasses import dataclass

from harness import configs, nginx
from harness.host import load_tool
from harness.process import Ports, Process, cpu_seconds, memory_kib

PROXY_CPU, CLIENT_CPU = 0, 1
# Until a process that has just begun to serve has ended its start.
REST_S = 0.5
ENGINES = {"sluice": "auto", "epoll": "epoll"}
# Which process answers for a target, and with which key and model.
GATEWAYS = {
    "sluice": ("sluice", configs.KEY, "mock/*"),
    "epoll": ("epoll", configs.KEY, "mock/*"),
    "direct": ("sluice", configs.KEY, "gpt"),
    "policy": ("sluice", configs.LIMITED_KEY, "team"),
    "relayed": ("sluice", configs.KEY, "mock/*"),
    "translated": ("sluice", configs.KEY, "claude/*"),
}


@dataclass
class Target:
    name: str
    port: int
    # 0 for the floor: its process is the client's.
    pid: int
    key: str | None
    model: str
    idle_kib: int | None
    engine: str | None

    def argument(self):
        """As `sluice-loadtest run --target` takes it."""
        parts = [f"{self.name}=http://127.0.0.1:{self.port}"]
        parts += [f"pid={self.pid}"] * bool(self.pid)
        parts += [f"key={self.key}"] * bool(self.key)
        return ",".join(parts + [f"model={self.model}"])


class Rig:
    """Started anew for each start of a scenario; a context that ends everything."""

    def __init__(self, scenario, binaries, work, logs):
        self.scenario, self.binaries, self.work, self.logs = scenario, binaries, pathlib.Path(work), logs
        self.tool = load_tool(binaries)
        self.ports, self.processes, self.targets = Ports(), [], {}
        self.upstream_port = self.ports.take()

    def __enter__(self):
        # nginx's worker is another user's, where the harness is root.
        self.work.chmod(0o711)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        for process in self.processes:
            process.ask_to_end()
        for process in self.processes:
            process.stop()

    def cpu_seconds(self):
        """CPU time of everything that this scenario runs, of clients that have ended too."""
        ended = os.times()
        return sum(cpu_seconds(process.pid) for process in self.processes) + ended.children_user + ended.children_system

    def _start(self):
        if self.scenario.tls:
            certificate(self.work)
        self._upstream()
        wanted = {GATEWAYS[name][0] for name in self.scenario.proxies if name in GATEWAYS}
        started = {name: self._sluice(name) for name in ENGINES if name in wanted}
        if "nginx" in self.scenario.targets:
            started["nginx"] = self._nginx()
        time.sleep(REST_S)
        idle = {name: memory_kib(process.pid) for name, (process, _) in started.items()}
        for name in self.scenario.targets:
            if name == "floor":
                self.targets[name] = Target(name, self.upstream_port, 0, None, "mock/*", None, None)
                continue
            of, key, model = GATEWAYS.get(name, (name, None, "mock/*"))
            process, port = started[of]
            self.targets[name] = Target(name, port, process.pid, key, model, idle[of], engine(process))

    def _upstream(self):
        """What the proxies call, unless the client serves it itself."""
        address = f"127.0.0.1:{self.upstream_port}"
        if self.scenario.tls:
            self._run("upstream", nginx.command(self.work, "upstream", nginx.upstream(self.work, address)),
                      self.upstream_port, CLIENT_CPU)
        elif self.scenario.mock == "own" or self.scenario.kind != "load":
            self._run("mock", [self.tool, "mock", "--listen", address], self.upstream_port, CLIENT_CPU)

    def _nginx(self):
        port = self.ports.take()
        text = nginx.proxy(self.work, f"127.0.0.1:{port}", f"127.0.0.1:{self.upstream_port}", self.scenario)
        return self._run("nginx", nginx.command(self.work, "nginx", text), port, PROXY_CPU), port

    def _sluice(self, name):
        port, status = self.ports.take(), self.ports.take()
        scheme = "https" if self.scenario.tls else "http"
        (self.work / "resources.yaml").write_text(
            configs.resources(f"{scheme}://127.0.0.1:{self.upstream_port}", self.scenario.policies))
        settings = configs.sluice(self.work, ENGINES[name], f"127.0.0.1:{port}", f"127.0.0.1:{status}",
                                  self.scenario.tls)
        path = self.work / f"{name}.yaml"
        path.write_text(settings)
        command = [self.binaries / "sluice", "--config", path]
        return self._run(name, command, port, PROXY_CPU, configs.ENVIRONMENT), port

    def _run(self, name, command, port, cpu, environment=None):
        process = Process(name, command, self.logs / f"{self.scenario.name}-{name}.log", cpu, environment)
        self.processes.append(process)
        process.await_port(port)
        return process


def certificate(work):
    """One for everybody: towards callers and of the upstream."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "basicConstraints=critical,CA:FALSE",
         "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
         "-keyout", work / "key.pem", "-out", work / "cert.pem"], check=True, capture_output=True)
    os.chmod(work / "key.pem", 0o600)


def engine(process):
    """The I/O engine that a gateway says it serves with; None for others."""
    lines = [line for line in process.log.read_text(errors="replace").splitlines() if f"pid={process.pid} " in line]
    return next((line.split('io_engine="')[1].split('"')[0] for line in lines if 'io_engine="' in line), None)


def body(model, text_bytes=1000):
    """A request as wrk and h2load send it."""
    message = {"role": "user", "content": "w" * text_bytes}
    return json.dumps({"model": model, "messages": [message]})
