"""Load by tools of the field, where the own client cannot: wrk over TLS, h2load over HTTP/2."""

import json
import re
import subprocess
import urllib.request

from harness import rig as rigs
from harness.process import cpu_seconds, memory_kib

PATH = "/v1/chat/completions"
WARM_UP_S = 1
# Between two looks at what is held.
SAMPLE_S = 0.5
UNITS = {"us": 1, "ms": 1000, "s": 1_000_000, "m": 60_000_000}


def wrk(rig, target, settings):
    """Closed loops over TLS, connections kept alive; handshakes are in the first milliseconds."""
    script = rig.work / f"{target.name}.lua"
    script.write_text(f"""wrk.method = "POST"
wrk.headers["authorization"] = "Bearer {target.key or ''}"
wrk.headers["content-type"] = "application/json"
wrk.body = {json.dumps(rigs.body("gpt"))}
""")
    scheme = "https" if rig.scenario.tls else "http"
    url = f"{scheme}://127.0.0.1:{target.port}{PATH}"
    base = ["wrk", "-t1", f"-c{settings['connections']}", "--latency", "-s", script, url]
    output(rig, [*base, f"-d{WARM_UP_S}s"])
    before = cpu_seconds(target.pid) if target.pid else 0
    text = output(rig, [*base, f"-d{max(round(settings['duration']), 1)}s"])
    return of_wrk(text) | cpu(target, before, of_wrk(text)["requests"])


def of_wrk(text):
    requests, took = re.search(r"(\d+) requests in ([\d.]+\w+),", text).groups()
    failed = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", text)))
    sockets = re.search(r"Socket errors: (.*)", text)
    failed += sum(map(int, re.findall(r"\d+", sockets.group(1)))) if sockets else 0
    shares = {f"latency_p{share}_us": microseconds(value)
              for share, value in re.findall(r"^\s+(50|90|99)%\s+(\S+)$", text, re.MULTILINE)}
    return {"requests": int(requests), "requests_per_s": int(requests) / microseconds(took) * 1e6, "errors": failed,
            **shares}


def h2load(rig, target, settings):
    """Closed loops of streams on a few connections that begin with HTTP/2, in the clear."""
    body = rig.work / "body.json"
    body.write_text(rigs.body("mock/reply_bytes=1000"))
    base = ["h2load", "-t1", "-c", settings["connections"], "-m", settings["streams"], "-d", body,
            "-H", f"authorization: Bearer {target.key or ''}", "-H", "content-type: application/json"]
    url = f"http://127.0.0.1:{target.port}{PATH}"
    warm = of_h2load(output(rig, [*base, "-D", WARM_UP_S, url]))
    # A number of requests, so that CPU time and requests are of the same window.
    count = max(int(warm["requests_per_s"] * settings["duration"]), settings["connections"])
    log = rig.work / f"{target.name}.h2load"
    log.unlink(missing_ok=True)
    before = cpu_seconds(target.pid) if target.pid else 0
    found = of_h2load(output(rig, [*base, "-n", count, f"--log-file={log}", url]))
    return found | cpu(target, before, found["requests"]) | of_log(log.read_text())


def h2_streams(rig, target, settings):
    """Streams held open, many on each of a few HTTP/2 connections; memory once all are open."""
    streams, each = settings["streams"], settings["streams-per-connection"]
    script = f"mock/events={settings['events']},gap_ms={settings['event-every-ms']}"
    body = rig.work / "body.json"
    body.write_text(json.dumps(json.loads(rigs.body(script)) | {"stream": True}))
    base = ["h2load", "-t1", "-d", body, "-H", f"authorization: Bearer {target.key or ''}",
            "-H", "content-type: application/json"]
    url = f"http://127.0.0.1:{target.port}{PATH}"
    # What a first stream makes, and is there for all, is not counted.
    first = rig.work / "first.json"
    first.write_text(json.dumps(json.loads(rigs.body("mock/events=2")) | {"stream": True}))
    output(rig, ["h2load", "-d", first, *base[4:], "-n1", "-c1", url])
    before = memory_kib(target.pid)
    command = [*base, "-n", streams, "-c", streams // each, "-m", each, "-r", settings["connections-per-s"], url]
    held, most = 0, 0
    with subprocess.Popen(["taskset", "-c", str(rigs.CLIENT_CPU), *map(str, command)], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as child:
        text = None
        while text is None:
            open_now = connections(rig)
            if open_now >= most:
                most, held = open_now, memory_kib(target.pid)
            try:
                text = child.communicate(timeout=SAMPLE_S)[0]
            except subprocess.TimeoutExpired:
                continue
    found = of_h2load(text)
    found["errors"] += streams - found["requests"]
    return found | {"streams_open": most, "rss_idle_kib": before, "rss_held_kib": held, "rss_peak_kib": held}


def connections(rig):
    """Connections that the mock serves, the one that asks left out."""
    with urllib.request.urlopen(f"http://127.0.0.1:{rig.upstream_port}/__mock/connections", timeout=60) as answer:
        return json.load(answer)["open"]


def of_h2load(text):
    rate = float(re.search(r"finished in \S+, ([\d.]+) req/s", text).group(1))
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text)
    succeeded, failed, errored, late = map(int, counts.groups())
    other = sum(map(int, re.search(r"status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text).groups()))
    return {"requests": succeeded, "requests_per_s": rate, "errors": max(failed + errored + late, other)}


def of_log(text):
    """Percentiles of lines `begin, status, microseconds`."""
    times = sorted(int(line.split()[2]) for line in text.splitlines())
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
    return {f"latency_{name}_us": times[min(int(len(times) * share), len(times) - 1)]
            for name, share in shares.items() if times}


def microseconds(text):
    value, unit = re.fullmatch(r"([\d.]+)([a-z]+)", text).groups()
    return float(value) * UNITS[unit]


def cpu(target, before, requests):
    if not target.pid or not requests:
        return {}
    return {"cpu_us_per_request": (cpu_seconds(target.pid) - before) * 1e6 / requests}


def output(rig, command):
    # Their own warnings are on the error stream; a failure is told by the counts.
    done = subprocess.run(["taskset", "-c", str(rigs.CLIENT_CPU), *map(str, command)], capture_output=True, text=True,
                          timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: {done.stderr.strip()[-500:]}")
    return done.stdout
