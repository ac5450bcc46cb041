"""Measures Sluice beside nginx, and whether its memory grows over hours."""

import argparse
import json
import os
import pathlib
import shutil
import signal
import sys

from harness import host, nginx, scenarios, soak
from harness.host import ROOT

OUT = ROOT / ".run/bench"


def main(arguments=None):
    # A harness that is asked to end takes what it has started with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(prog="harness", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    bench = commands.add_parser("bench", help="all scenarios, and the report", epilog="The environment sets defaults: "
                                "BENCH_SCENARIOS, BENCH_ROUNDS, BENCH_SECS, BENCH_RUNS, BENCH_BIN, BENCH_QUICK.")
    bench.add_argument("scenarios", nargs="*", default=os.environ.get("BENCH_SCENARIOS", "").split(),
                       help="names (default: all)")
    quick = os.environ.get("BENCH_QUICK", "0") not in ("", "0")
    bench.add_argument("--quick", action="store_true", default=quick, help="a look in two minutes: one short window")
    bench.add_argument("--rounds", type=int, default=int(os.environ.get("BENCH_ROUNDS", 3)),
                       help="windows per start and target (default: %(default)s)")
    bench.add_argument("--secs", type=float, default=float(os.environ.get("BENCH_SECS", 0)) or None,
                       help="seconds of a window (default: 2, quick 1)")
    bench.add_argument("--runs", type=int, default=int(os.environ.get("BENCH_RUNS", 1)),
                       help="whole runs, one after the other (default: %(default)s)")
    report = commands.add_parser("report", help="the report again, from the raw figures that are there")
    steady = commands.add_parser("soak", help="hours of steady load, and whether memory grows")
    steady.add_argument("--minutes", type=float, default=120)
    steady.add_argument("--warm-up-s", type=float, default=soak.WARM_UP_S)
    steady.add_argument("--engine", choices=("auto", "io_uring", "epoll"), default="auto")
    for command in (bench, report):
        command.add_argument("--out", type=pathlib.Path, default=OUT)
    steady.add_argument("--out", type=pathlib.Path, default=OUT / "soak.json")
    for command in (bench, steady):
        command.add_argument("--bin", type=pathlib.Path, default=default_binaries(),
                             help="folder of sluice, and of sluice-loadtest or else that of target/release (default: %(default)s)")
    given = parser.parse_args(arguments)
    given.out = given.out.resolve()
    if given.command == "report":
        return write_report(given.out, json.loads((given.out / "header.json").read_text()))
    given.bin = checked(parser, given.bin)
    if given.command == "soak":
        return soak.run(given.minutes, given.bin, given.out, given.engine, given.warm_up_s)
    return run_bench(parser, given)


def run_bench(parser, given):
    """All runs, then the report; the exit code says whether a scenario failed, not whether a budget was missed."""
    from harness import runs

    needed = [name for name in (nginx.PROGRAM, "taskset") if not shutil.which(name)]
    if needed or (os.cpu_count() or 1) < 2:
        parser.error(f"needs two CPUs, nginx and taskset; missing: {', '.join(needed) or 'a CPU'}")
    known = scenarios.load()
    quick = [name for name, each in known.items() if each.quick]
    try:
        chosen = scenarios.chosen(known, given.scenarios or (quick if given.quick else list(known)))
    except scenarios.Wrong as problem:
        parser.error(str(problem))
    secs = given.secs or (1 if given.quick else 2)
    plan = runs.Plan(given.bin, given.out, given.rounds, secs, given.quick)
    # Figures of an earlier call are not of this one; a soak stays.
    for folder in ("raw", "logs"):
        shutil.rmtree(given.out / folder, ignore_errors=True)
    given.out.mkdir(parents=True, exist_ok=True)
    header = host.describe() | {
        "build": f"{given.bin} ({host.output(given.bin / 'sluice', '--version')})",
        "settings": f"{given.rounds} rounds, {secs:g} s, {given.runs} runs{', quick' if given.quick else ''}",
        "command": " ".join(["python -m harness", *sys.argv[1:]]),
    }
    (given.out / "header.json").write_text(json.dumps(header, indent=1))
    failed = [name for number in range(1, given.runs + 1) for name in runs.run(plan, chosen, number)]
    return write_report(given.out, header) or bool(failed)


def write_report(out, header):
    from harness import report

    for row in report.write(out, scenarios.load(), header):
        print(f"{row.state:13} {row.budget.what} ({row.budget.target}): {report.row(row)['runs']}")
    print(f"{out}/report.html\n{out}/report.md")
    return 0


def default_binaries():
    """What is shipped, if it has been built, else what `make build` leaves."""
    if "BENCH_BIN" in os.environ:
        return ROOT / os.environ["BENCH_BIN"]
    guided = ROOT / "target/guided"
    return guided if (guided / "sluice").exists() else ROOT / "target/release"


def checked(parser, folder):
    missing = [str(path) for path in (folder / "sluice", host.load_tool(folder)) if not path.exists()]
    if missing:
        parser.error(f"there is no {' and no '.join(missing)}: `make build`")
    return folder.resolve()
