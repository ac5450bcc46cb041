"""The command line."""

import argparse
import os
import pathlib
import signal
import sys

from harness import soak
from harness.host import ROOT


def main(arguments=None):
    # A harness that is asked to end takes what it has started with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(prog="harness", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    steady = commands.add_parser("soak", help="hours of steady load, and whether memory grows")
    steady.add_argument("--minutes", type=float, default=120)
    steady.add_argument("--warm-up-s", type=float, default=soak.WARM_UP_S)
    steady.add_argument("--engine", choices=("auto", "io_uring", "epoll"), default="auto")
    steady.add_argument("--out", type=pathlib.Path, default=ROOT / ".run/bench/soak.json")
    for command in (steady,):
        command.add_argument("--bin", type=pathlib.Path, default=default_binaries(),
                             help="folder of sluice and sluice-loadtest (default: %(default)s)")
    given = parser.parse_args(arguments)
    binaries = checked(parser, given.bin)
    return soak.run(given.minutes, binaries, given.out.resolve(), given.engine, given.warm_up_s)


def default_binaries():
    """What is shipped, if it has been built, else what `make build` leaves."""
    if "BENCH_BIN" in os.environ:
        return pathlib.Path(os.environ["BENCH_BIN"])
    guided = ROOT / "target/guided"
    return guided if (guided / "sluice").exists() else ROOT / "target/release"


def checked(parser, folder):
    missing = [name for name in ("sluice", "sluice-loadtest") if not (folder / name).exists()]
    if missing:
        parser.error(f"{folder} has no {' and no '.join(missing)}")
    return folder.resolve()
