"""Processes that live as long as a measurement: started on one CPU, watched through /proc, ended by their id."""

import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import time

PATIENCE_S = 20
# Below the ports that the kernel gives to outgoing connections, which could take one of ours.
PORTS = range(18100, 30000)
DEATH_SIGNAL = 1
LIBC = ctypes.CDLL(None)


class NotReady(RuntimeError):
    """A process that ended, or never began to answer."""


class Process:
    """A child with a CPU of its own, which also ends when the harness does."""

    def __init__(self, name, command, log, cpu=None, environment=None):
        self.name, self.log = name, pathlib.Path(log)
        parent = os.getpid()

        def prepare():
            LIBC.prctl(DEATH_SIGNAL, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})

        with open(self.log, "ab") as out:
            self.child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out,
                                          stderr=out, preexec_fn=prepare, env={**os.environ, **(environment or {})})
        self.pid = self.child.pid

    def running(self):
        return self.child.poll() is None

    def await_port(self, port, patience_s=PATIENCE_S):
        """Returns once `port` accepts connections."""
        end = time.monotonic() + patience_s
        while not accepts(port):
            if not self.running() or time.monotonic() > end:
                raise NotReady(f"{self.name} does not serve port {port}: {self.last_words()}")
            time.sleep(0.02)

    def last_words(self):
        return self.log.read_text(errors="replace")[-2000:].strip()

    def ask_to_end(self):
        if self.running():
            self.child.terminate()

    def stop(self):
        """Asks the process to end, then ends it."""
        for ask in (self.child.terminate, self.child.kill):
            if not self.running():
                return
            ask()
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                continue


class Ports:
    """Ports that nobody listens on, none of them twice."""

    def __init__(self):
        # Harnesses that run at the same time begin at different places.
        self.next = PORTS.start + os.getpid() * 37 % (len(PORTS) // 2)

    def take(self):
        while self.next < PORTS.stop:
            port, self.next = self.next, self.next + 1
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                    return port
                except OSError:
                    continue
        raise RuntimeError("no port is free")


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def tree(pid):
    """`pid` and its children, theirs too."""
    found = [pid]
    for each in found:
        for task in pathlib.Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


def memory_kib(pid, field="VmRSS"):
    """Resident memory of `pid` and its children."""
    return sum(status(each, field) for each in tree(pid))


def status(pid, field):
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(field + ":")), 0)


def cpu_seconds(pid):
    """CPU time of all threads of `pid` and its children that live now."""
    nanoseconds = 0
    for each in tree(pid):
        for task in pathlib.Path(f"/proc/{each}/task").glob("*/schedstat"):
            try:
                nanoseconds += int(task.read_text().split()[0])
            except OSError:
                continue
    return nanoseconds / 1e9


def descriptors(pid):
    """Open descriptors of `pid`, over all tables that its threads have."""
    tables = {}
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/fd"):
        try:
            numbers = sorted(int(each) for each in os.listdir(task))
            # Threads that share a table agree on what was opened first, and no others do.
            first = tuple(os.readlink(task / str(number)) for number in numbers[:16])
            tables[first] = len(numbers)
        except OSError:
            continue
    return sum(tables.values())
