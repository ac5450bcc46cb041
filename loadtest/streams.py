#!/usr/bin/env python3
"""Streams of a group whose first target breaks or is slow at times: what callers see of it.

One gateway, groups of the same two targets with and without `hold_back` and `hedge`. The first target
breaks a share of its streams after some events, or lets a share of them wait for their first content;
the second one does neither. Streams begin on a fixed schedule, whatever the ones before them do.

    loadtest/streams.py [--streams 1000] [--rate 50] [--sluice target/ci/sluice] [--only breaks|slow]

Prints one line per group: streams that reached the caller whole, time to the first content, calls that
the upstreams got for each stream of a caller, and how long after the second target's first event the call
to the first one was closed, at most.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import tempfile
import time

EVENTS = 40
GAP_S = 0.02
FIRST_S = 0.05
# Twelve tokens by the gateway's estimate.
TEXT = "x" * 48
BREAKS_AFTER = 3
SLOW_S = 2.0


class Upstream:
    """A target. `breaks` and `slow` are shares of its streams."""

    def __init__(self, seed, breaks=0.0, slow=0.0):
        self.random = random.Random(seed)
        self.breaks, self.slow, self.calls = breaks, slow, 0
        # By request id: when the first event was sent, when the caller was found gone before it.
        self.began, self.left = {}, {}

    async def serve(self, reader, writer):
        try:
            while await self.answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        writer.close()

    async def answer(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        lines = [line.partition(b":") for line in head.lower().split(b"\r\n")]
        values = {name: value.strip() for name, _, value in lines}
        request_id = values[b"x-sluice-request-id"]
        await reader.readexactly(int(values[b"content-length"]))
        self.calls += 1
        breaks = self.random.random() < self.breaks
        slow = self.random.random() < self.slow
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        await writer.drain()
        try:
            await asyncio.wait_for(reader.read(1), SLOW_S if slow else FIRST_S)
            self.left[request_id] = time.monotonic()
            return False
        except asyncio.TimeoutError:
            self.began[request_id] = time.monotonic()
        for number in range(EVENTS):
            if breaks and number == BREAKS_AFTER:
                writer.transport.abort()
                return False
            self.event(writer, {"delta": {"content": TEXT}, "finish_reason": None})
            await writer.drain()
            await asyncio.sleep(GAP_S)
        self.event(writer, {"delta": {}, "finish_reason": "stop"})
        self.chunk(writer, b"data: [DONE]\n\n")
        self.chunk(writer, b"")
        await writer.drain()
        return True

    def event(self, writer, choice):
        choice["index"] = 0
        chunk = {"id": "c", "object": "chat.completion.chunk", "choices": [choice]}
        self.chunk(writer, b"data: " + json.dumps(chunk).encode() + b"\n\n")

    @staticmethod
    def chunk(writer, data):
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))


async def stream(address, model, begin_at):
    """One stream of a caller: whether it was whole, and the time to its first content."""
    await asyncio.sleep(max(0.0, begin_at - time.monotonic()))
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(*address)
    body = json.dumps(
        {"model": model, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    ).encode()
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer sk-caller\r\n"
        b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
        % (len(body), body)
    )
    got, first = b"", None
    while part := await reader.read(65536):
        got += part
        if first is None and b'"content"' in got:
            first = time.monotonic() - began
    writer.close()
    whole = b"[DONE]" in got and got.count(TEXT.encode()) == EVENTS
    return whole, first


def start_gateway(sluice, directory, targets, groups):
    """The process, and the address it serves at."""
    keys = [
        {"display_name": name, "provider": "openai", "adapter": "openai", "api_key": "k",
         "api_base": f"http://127.0.0.1:{port}/v1"}
        for name, port in targets
    ]
    models = [
        {"display_name": name, "provider": "openai", "model_name": "m", "provider_key": name,
         "cooldown": {"enabled": False}}
        for name, _ in targets
    ]
    members = [{"model": name} for name, _ in targets]
    models += [
        {"display_name": name, "routing": {"targets": members, **settings}}
        for name, settings in groups.items()
    ]
    caller = {"display_name": "caller", "key_env": "CALLER_KEY", "allowed_models": ["*"]}
    resources = {"_format_version": "1", "provider_keys": keys, "models": models,
                 "api_keys": [caller]}
    config = {
        "proxy": {"addr": "127.0.0.1:0", "workers": 1},
        "observability": {"log_format": "json", "access_log_output": f"{directory}/access.log"},
        "resources_file": f"{directory}/resources.yaml",
    }
    for name, value in [("resources.yaml", resources), ("config.json", config)]:
        with open(f"{directory}/{name}", "w", encoding="utf-8") as file:
            json.dump(value, file)
    process = subprocess.Popen(
        [sluice, "--config", f"{directory}/config.json"],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "CALLER_KEY": "sk-caller"},
    )
    for line in process.stderr:
        said = json.loads(line)
        if said.get("message") == "serving":
            host, port = said["addr"].rsplit(":", 1)
            return process, (host, int(port))
    raise SystemExit("the gateway did not start")


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def closed_within(first, second):
    ids = first.left.keys() & second.began.keys()
    times = [(first.left[one] - second.began[one]) * 1e3 for one in ids]
    return f"{max(times):.1f} of {len(times)}" if times else "-"


async def measure(args, faults, groups):
    """Runs every group against targets with the same faults."""
    print(f"first target: {faults}")
    for name, settings in groups.items():
        targets = [Upstream(1, **faults), Upstream(2)]
        servers = [await asyncio.start_server(one.serve, "127.0.0.1", 0) for one in targets]
        ports = [server.sockets[0].getsockname()[1] for server in servers]
        with tempfile.TemporaryDirectory() as directory:
            named = list(zip(["first", "second"], ports))
            process, address = start_gateway(args.sluice, directory, named, {name: settings})
            try:
                start = time.monotonic() + 0.5
                running = [
                    stream(address, name, start + number / args.rate)
                    for number in range(args.streams)
                ]
                results = await asyncio.gather(*running)
            finally:
                process.terminate()
                process.wait()
        for server in servers:
            server.close()
        whole = sum(one for one, _ in results)
        firsts = [first * 1e3 for _, first in results if first is not None]
        calls = sum(one.calls for one in targets)
        shares = {share: round(quantile(firsts, share)) for share in (0.5, 0.95, 0.99)}
        print(
            f"  {name:12} whole {whole}/{args.streams}  first content (ms) p50 {shares[0.5]}"
            f" p95 {shares[0.95]} p99 {shares[0.99]}  calls per stream {calls / args.streams:.3f}"
            f"  closed within (ms) {closed_within(*targets)}"
        )


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--sluice", default="target/ci/sluice")
    parser.add_argument("--only", choices=["breaks", "slow"])
    args = parser.parse_args()
    held = {
        "plain": {},
        "held-32": {"hold_back": {"tokens": 32, "max_ms": 1000}},
        "held-64": {"hold_back": {"tokens": 64, "max_ms": 1000}},
    }
    if args.only != "slow":
        await measure(args, {"breaks": 0.1}, held)
    hedged = {
        "plain": {},
        "p95-1": {"hedge": {"after": "p95", "max_percent": 1}},
        "p95-5": {"hedge": {"after": "p95", "max_percent": 5}},
        "p95-20": {"hedge": {"after": "p95", "max_percent": 20}},
        "300ms-5": {"hedge": {"after": 300, "max_percent": 5}},
    }
    if args.only != "breaks":
        await measure(args, {"slow": 0.04}, hedged)


asyncio.run(main())
