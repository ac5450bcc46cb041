#!/usr/bin/env python3
"""Measures what floods of HTTP/2 frames cost another caller of the same worker.

    loadtest/flood.py [OUTPUT_DIR]

Needs taskset and two CPUs: the gateway, with one worker, has CPU 0; mock, caller, flooders and a sink share CPU 1.
Rounds of one second take turns, on one gateway that lives through all of them:

    quiet      the flooders flood the sink, which reads and closes as the gateway does: they work as hard, the gateway
               hears of none
    KIND       the same flooders, the gateway

A flooder connects, sends one kind of frame beyond its allowance, reads until it is closed, and comes again: RATE times
per second all flooders together, or as fast as it goes with RATE=0. The caller asks for a chat completion again and
again on a kept-alive connection. A kind's quiet rounds are those beside its own, so that a slow phase of the machine
meets both.

Prints the table that docs/performance.md holds. BIN_DIR, ROUNDS, RATE, FLOODERS and KINDS may be set in the environment.
"""

import json
import multiprocessing
import os
import pathlib
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("BIN_DIR", ROOT / "target/release"))
ROUNDS = int(os.environ.get("ROUNDS", 10))
RATE = float(os.environ.get("RATE", 100))
FLOODERS = int(os.environ.get("FLOODERS", 2))
SECS = 1.0
# Of a round, thrown away: what the one before left in queues.
SETTLE_SECS = 0.1
CALLER = "sk-flood"
PROXY, STATUS, MOCK = ("127.0.0.1", 18270), "127.0.0.1:18298", "127.0.0.1:18290"
PATIENCE_S = 10

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 0x1, 0x4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A header line that touches no table (RFC 7541 6.2.2)."""
    name, value = name.encode(), value.encode()
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


BLOCK = b"".join(
    literal(name, value)
    for name, value in [
        *((":method", "GET"), (":scheme", "http"), (":path", "/v1/models"), (":authority", "gateway")),
        ("authorization", f"Bearer {CALLER}"),
    ]
)


def requests_reset(count):
    for number in range(count):
        stream = 2 * number + 1
        yield frame(HEADERS, END_HEADERS | END_STREAM, stream, BLOCK)
        yield frame(RESET, 0, stream, struct.pack(">I", 8))


OPEN = frame(HEADERS, END_HEADERS, 1, BLOCK)
FLOODS = {
    "pings": frame(PING, 0, 0, b"12345678") * 2000,
    "settings": frame(SETTINGS, 0, 0) * 2000,
    "priorities": frame(PRIORITY, 0, 1, b"\0\0\0\0\x10") * 2000,
    "window updates": frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)) * 2000,
    "empty data": OPEN + frame(DATA, 0, 1) * 400,
    "resets": b"".join(requests_reset(600)),
    "continuations": frame(HEADERS, END_STREAM, 1, BLOCK)
    + frame(CONTINUATION, 0, 1, literal("x-a", "b" * 100) * 20) * 40,
}
KINDS = os.environ.get("KINDS", ",".join(FLOODS)).split(",")
START = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)


def flood(addr, payload):
    """One connection, to its end."""
    with socket.create_connection(addr, PATIENCE_S) as sock:
        try:
            sock.sendall(START + payload)
            while sock.recv(65536):
                pass
        except OSError:
            pass  # It has had enough: a reset is an end too.


def flooder(number, target, counts):
    """Floods whatever `target` names, paced, for as long as the process lives."""
    due = time.monotonic()
    while True:
        name, port = target["kind"], target["port"]
        if not name:
            return
        if RATE:
            due = max(due + FLOODERS / RATE, time.monotonic() - SECS)
            time.sleep(max(0.0, due - time.monotonic()))
        flood(("127.0.0.1", port), FLOODS[name])
        counts[number] += 1


def sink(listener):
    """Reads what a connection brings and closes it once nothing more is under way."""

    def serve(sock):
        with sock:
            sock.settimeout(0.002)
            try:
                while sock.recv(65536):
                    pass
            except OSError:
                pass

    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


class Caller:
    """One kept-alive connection."""

    def __init__(self):
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello"}]})
        self.request = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {CALLER}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"
        ).encode()
        self.sock = socket.create_connection(PROXY, PATIENCE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self):
        """Seconds that one request took."""
        start = time.perf_counter()
        self.sock.sendall(self.request)
        answer = self.sock.recv(65536)
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self.sock.recv(65536)
        length = int(answer.lower().split(b"content-length:", 1)[1].split(b"\r", 1)[0])
        while len(answer) < end + 4 + length:
            answer += self.sock.recv(65536)
        took = time.perf_counter() - start
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer[:200])
        return took

    def round(self):
        """The times of a round, and how many seconds it took."""
        settled = time.perf_counter() + SETTLE_SECS
        end = settled + SECS
        times = []
        while (now := time.perf_counter()) < end:
            took = self.ask()
            if now >= settled:
                times.append(took)
        return times


def percentile(times, share):
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e6


def files(directory):
    resources = {
        "_format_version": "1",
        "provider_keys": [
            {"display_name": "up", "provider": "openai", "api_key": "sk-up", "api_base": f"http://{MOCK}/v1"}
        ],
        "models": [{"display_name": "m", "provider": "openai", "model_name": "gpt-up", "provider_key": "up"}],
        "api_keys": [{"display_name": "caller", "key_env": "FLOOD_CALLER", "allowed_models": ["*"]}],
    }
    config = {
        "resources_file": str(directory / "resources.yaml"),
        "proxy": {"addr": "%s:%d" % PROXY, "workers": 1, "pin_cpus": False},
        "observability": {"access_log": False, "metrics": {"prometheus": {"addr": STATUS}}},
    }
    (directory / "resources.yaml").write_text(json.dumps(resources))
    (directory / "config.json").write_text(json.dumps(config))
    return str(directory / "config.json")


def until_ready():
    for _ in range(PATIENCE_S * 20):
        try:
            with urllib.request.urlopen(f"http://{STATUS}/status/ready", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the gateway does not become ready")


def measure(target, counts, sink_port):
    """Times by kind: of its quiet rounds, of its own, and floods of the latter."""
    caller = Caller()
    found = {kind: ([], [], 0) for kind in KINDS}
    for _ in range(ROUNDS):
        for kind in KINDS:
            quiet, flooded, floods = found[kind]
            target.update(kind=kind, port=sink_port)
            quiet += caller.round()
            before = sum(counts)
            target.update(kind=kind, port=PROXY[1])
            flooded += caller.round()
            found[kind] = (quiet, flooded, floods + sum(counts) - before)
    return found


def report(found, output):
    print("| Flood | per second | p50 quiet, µs | flooded | p99 quiet, µs | flooded | ratio of p99 |")
    print("|---|---|---|---|---|---|---|")
    rows = {}
    for kind, (quiet, flooded, floods) in found.items():
        p50, p99 = ([percentile(times, share) for times in (quiet, flooded)] for share in (0.5, 0.99))
        per_s = floods / ROUNDS / (SECS + SETTLE_SECS)
        ratio = p99[1] / p99[0]
        rows[kind] = {"p50_us": p50, "p99_us": p99, "samples": [len(quiet), len(flooded)], "floods_per_s": per_s}
        print(f"| {kind} | {per_s:.0f} | {p50[0]:.0f} | {p50[1]:.0f} | {p99[0]:.0f} | {p99[1]:.0f} | {ratio:.2f} |")
    print(f"\nsamples per kind and state: {min(len(it) for row in found.values() for it in row[:2])} or more")
    print(f"median ratio of p99: {statistics.median(r['p99_us'][1] / r['p99_us'][0] for r in rows.values()):.2f}")
    (output / "flood.json").write_text(json.dumps(rows, indent=1))


def main():
    output = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    output.mkdir(parents=True, exist_ok=True)
    directory = pathlib.Path(tempfile.mkdtemp())
    env = os.environ | {"FLOOD_CALLER": CALLER}
    quietly = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    mock = [str(BIN / "sluice-loadtest"), "mock", "--listen", MOCK]
    gateway = [str(BIN / "sluice"), "--config", files(directory)]
    children = [
        subprocess.Popen(["taskset", "-c", "1", *mock], **quietly),
        subprocess.Popen(["taskset", "-c", "0", *gateway], env=env, **quietly),
    ]
    os.sched_setaffinity(0, {1})
    try:
        until_ready()
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        sinking = multiprocessing.Process(target=sink, args=(listener,), daemon=True)
        sinking.start()
        with multiprocessing.Manager() as manager:
            target = manager.dict(kind=KINDS[0], port=port)
            counts = multiprocessing.Array("L", FLOODERS, lock=False)
            flooders = [
                multiprocessing.Process(target=flooder, args=(number, target, counts), daemon=True)
                for number in range(FLOODERS)
            ]
            for process in flooders:
                process.start()
            found = measure(target, counts, port)
            target.update(kind="")
            for process in flooders:
                process.join(PATIENCE_S)
        report(found, output)
    finally:
        for child in children:
            child.kill()


if __name__ == "__main__":
    main()
