#!/usr/bin/env python3
"""Measures what changes of the configuration cost the requests that are served meanwhile.

    loadtest/config-churn.py [OUTPUT_DIR]

Needs etcd, taskset and two CPUs: the gateway has CPU 0; mock, client, etcd and the writer share CPU 1. Rounds
of three kinds take turns, on one gateway that lives through all of them:

    idle       nothing is written
    neighbour  RATE changes per second below another prefix: etcd and writer work as hard, the gateway hears of none
    churn      RATE changes per second of ours: a model comes, an old one goes, and one of the rows that
               every request needs is replaced: its model, its caller key or its provider key, which all
               models of the store share, so that they are resolved anew

Prints the table that docs/performance.md holds, and writes what each round measured to OUTPUT_DIR/figures.json. BIN_DIR, ROUNDS, SECS, RATE, CONNECTIONS, KEYS, MODELS and NEEDED
(which of the three are replaced) may be set in the environment; REQUESTS_PER_S makes the load an open loop.
"""

import base64
import hashlib
import http.client
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("BIN_DIR", ROOT / "target/release"))
ROUNDS = int(os.environ.get("ROUNDS", 3))
SECS = float(os.environ.get("SECS", 60))
RATE = int(os.environ.get("RATE", 100))
CONNECTIONS = os.environ.get("CONNECTIONS", "32")
REQUESTS_PER_S = os.environ.get("REQUESTS_PER_S")
KEYS = int(os.environ.get("KEYS", 10_000))
MODELS = int(os.environ.get("MODELS", 1_000))
NEEDED = os.environ.get("NEEDED", "model caller provider_key").split()

ETCD, PEER, MOCK = "127.0.0.1:18179", "127.0.0.1:18180", "127.0.0.1:18190"
PROXY, STATUS = "127.0.0.1:18170", "127.0.0.1:18198"
CALLER = "sk-churn"
# Models of earlier changes that are still there; rows of one transaction, which etcd takes where nobody raises that.
KEPT, AT_ONCE = 50, 128
KINDS = ("idle", "neighbour", "churn")


class Store:
    """Writes rows by etcd's JSON gateway, on one connection."""

    def __init__(self, prefix):
        self.prefix = prefix
        self.connection = http.client.HTTPConnection(ETCD, timeout=10)

    def commit(self, changes):
        """Puts and deletes (None) in one transaction."""
        steps = []
        for row, document in changes.items():
            key = text64(f"{self.prefix}/{row}")
            if document is None:
                steps.append({"requestDeleteRange": {"key": key}})
            else:
                steps.append({"requestPut": {"key": key, "value": text64(json.dumps(document))}})
        self.connection.request("POST", "/v3/kv/txn", json.dumps({"success": steps}))
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"etcd answers {answer.status}: {body!r}")


class Writer:
    """Writes RATE changes per second until it is stopped, from `number` on."""

    def __init__(self, prefix, number):
        self.store, self.number, self.written = Store(prefix), number, 0
        self.stopped = threading.Event()
        self.failure = None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            due = time.monotonic()
            while not self.stopped.wait(max(0.0, due - time.monotonic())):
                self.store.commit(change(self.number + self.written))
                self.written += 1
                due += 1 / RATE
        except Exception as failure:
            self.failure = failure

    def stop(self):
        self.stopped.set()
        self.thread.join()
        if self.failure:
            raise self.failure
        return self.written


def text64(text):
    return base64.b64encode(text.encode()).decode()


def model(name, upstream="*"):
    return {"display_name": name, "provider": "openai", "model_name": upstream, "provider_key_id": "up",
            "cost": {"input_per_1k": 0.001, "output_per_1k": 0.002}}


def caller(key, allowed_models, name="perf"):
    return {"key_hash": hashlib.sha256(key.encode()).hexdigest(), "allowed_models": allowed_models,
            "user_name": name}


def provider_key(name="up"):
    return {"display_name": name, "provider": "openai", "adapter": "openai", "api_key": "sk-mock",
            "api_base": f"http://{MOCK}/v1"}


def change(number):
    """Change `number`: three rows, one of them needed by every request. Names of users and keys are few, because each
    is a series of the metrics for ever."""
    name = number % 7
    needed = {
        "model": ("models/mock", {**model("mock/*"), "cost": {"input_per_1k": number / 1e6, "output_per_1k": 0.002}}),
        "caller": ("api_keys/perf", caller(CALLER, ["mock/*"], f"perf {name}")),
        "provider_key": ("provider_keys/up", provider_key(f"up {name}")),
    }[NEEDED[number % len(NEEDED)]]
    return {f"models/p-{number}": model(f"p-{number}", "x"), f"models/p-{number - KEPT}": None,
            needed[0]: needed[1]}


def fill(store):
    """What every request needs, and as many rows beside it as a large installation has."""
    store.commit({"provider_keys/up": provider_key(), "models/mock": model("mock/*"),
                  "api_keys/perf": caller(CALLER, ["mock/*"])})
    rows = [(f"models/{n:032x}", model(f"model-{n}", "x")) for n in range(MODELS)]
    rows += [(f"api_keys/{n:032x}", caller(f"sk-{n}", [f"model-{n % max(MODELS, 1)}"])) for n in range(KEYS)]
    for at in range(0, len(rows), AT_ONCE):
        store.commit(dict(rows[at:at + AT_ONCE]))


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def until(what, probe):
    end = time.monotonic() + 30
    while True:
        try:
            if probe():
                return
        except OSError:
            pass
        if time.monotonic() > end:
            raise RuntimeError(f"waited in vain for {what}")
        time.sleep(0.02)


def propagation():
    """Cumulated buckets of the histogram: upper bound in seconds, as written, to count."""
    lines = fetch(f"http://{STATUS}/metrics").splitlines()
    buckets = [line for line in lines if line.startswith("sluice_config_propagation_seconds_bucket{")]
    return {line.split('le="')[1].split('"')[0]: int(float(line.rsplit(" ", 1)[1])) for line in buckets}


def percentile(before, after, part):
    """The lowest bound that `part` of the changes between two scrapes did not exceed, as it is written."""
    counts = {bound: count - before[bound] for bound, count in after.items()}
    return next(bound for bound, count in counts.items() if count >= part * counts["+Inf"])


def load(out, kind, number, pid):
    """One round of load; gives its figures."""
    path = out / f"{kind}-{number}.json"
    command = ["taskset", "-c", "1", BIN / "sluice-loadtest", "run", "--mock", MOCK, "--mode", "unary",
               "--connections", CONNECTIONS, "--rounds", "1", "--duration", str(SECS), "--json", path,
               "--target", f"sluice=http://{PROXY},pid={pid},key={CALLER},model=mock/*"]
    if REQUESTS_PER_S:
        command += ["--rate", REQUESTS_PER_S]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    report = json.loads(path.read_text())
    return report["host"], report["targets"][0]["rounds"][0]


def warm_up():
    writer = Writer("/sluice", 0)
    time.sleep(2)
    return writer.stop()


def measure(out, pid):
    figures, rss = {kind: [] for kind in KINDS}, []
    # The memory of a gateway that has heard of changes, with all that it keeps.
    numbers = {"/neighbour": 0, "/sluice": warm_up()}
    for turn in range(ROUNDS):
        for kind in KINDS:
            print(f"round {turn + 1} of {ROUNDS}: {kind}", file=sys.stderr)
            prefix = "/neighbour" if kind == "neighbour" else "/sluice"
            before = propagation()
            writer = None if kind == "idle" else Writer(prefix, numbers[prefix])
            begun = time.monotonic()
            host, round_ = load(out, kind, turn, pid)
            if writer:
                written = writer.stop()
                numbers[prefix] += written
                round_["changes_per_s"] = written / (time.monotonic() - begun)
            after = propagation()
            round_["changes_seen"] = after["+Inf"] - before["+Inf"]
            if kind == "churn":
                round_["p99_s"] = percentile(before, after, 0.99)
                if round_["changes_seen"] != written:
                    # A batch of the store may hold several transactions; none may be missing.
                    print(f"{written} changes came in {round_['changes_seen']} batches", file=sys.stderr)
            figures[kind].append(round_)
            rss.append(round_["rss_after_kib"] / 1024)
    return host, figures, rss


def report(host, figures, rss):
    def row(name, pick, digits):
        cells = [f"{name:38}"]
        for kind in KINDS:
            values = [pick(it) for it in figures[kind]]
            text = f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}-{max(values):.{digits}f}]"
            cells.append(f"{text:26}")
        print("".join(cells).rstrip())

    print(json.dumps(host))
    print("".join([f"{'':38}"] + [f"{kind:26}" for kind in KINDS]).rstrip())
    row("CPU per request (us)", lambda it: it["cpu_us_per_request"], 2)
    row("requests per second", lambda it: it["requests_per_s"], 0)
    row("failed requests", lambda it: it["errors"], 0)
    row("latency, p99 (us)", lambda it: it["latency_p99_us"], 0)
    row("changes per second", lambda it: it.get("changes_per_s", 0.0), 1)
    row("batches taken by the gateway", lambda it: it["changes_seen"], 0)
    row("resident memory after (MiB)", lambda it: it["rss_after_kib"] / 1024, 1)
    for base in KINDS[:2]:
        ratios = [mine["cpu_us_per_request"] / other["cpu_us_per_request"]
                  for mine, other in zip(figures["churn"], figures[base])]
        print(f"CPU per request, churn to {base}: {statistics.median(ratios):.3f} of "
              f"{' '.join(f'{it:.3f}' for it in ratios)}")
    print("propagation in the gateway, p99 at most (s):", *(it["p99_s"] for it in figures["churn"]))
    print("resident memory after each round (MiB):", *(f"{it:.1f}" for it in rss))


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".run/churn")
    out.mkdir(parents=True, exist_ok=True)
    children = []
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        (work / "sluice.json").write_text(json.dumps({
            "etcd": {"endpoints": [f"http://{ETCD}"]},
            "proxy": {"addr": PROXY, "workers": 1},
            "managed": {"snapshot_cache_path": str(work / "cache/cache.json")},
            "observability": {"access_log_output": str(work / "access.log"),
                              "metrics": {"prometheus": {"addr": STATUS}}},
        }))
        try:
            with open(out / "etcd.log", "w") as log:
                children.append(subprocess.Popen(
                    ["taskset", "-c", "1", "etcd", f"--data-dir={work / 'etcd'}", f"--listen-client-urls=http://{ETCD}",
                     f"--advertise-client-urls=http://{ETCD}", f"--listen-peer-urls=http://{PEER}",
                     f"--initial-advertise-peer-urls=http://{PEER}", f"--initial-cluster=default=http://{PEER}"],
                    stdout=log, stderr=log))
            until("etcd", lambda: "true" in fetch(f"http://{ETCD}/health"))
            fill(Store("/sluice"))
            fill(Store("/neighbour"))
            with open(out / "sluice.log", "w") as log:
                gateway = subprocess.Popen(["taskset", "-c", "0", BIN / "sluice", "--config", work / "sluice.json"],
                                           stdout=log, stderr=log)
            children.append(gateway)
            until("the gateway", lambda: fetch(f"http://{STATUS}/status/ready") == "ok")
            os.sched_setaffinity(0, {1})
            host, figures, rss = measure(out, gateway.pid)
            turns = [dict(zip(KINDS, turn)) for turn in zip(*(figures[kind] for kind in KINDS))]
            (out / "figures.json").write_text(json.dumps(turns, indent=1))
            report(host, figures, rss)
        finally:
            for child in reversed(children):
                child.terminate()
                child.wait()


if __name__ == "__main__":
    main()
