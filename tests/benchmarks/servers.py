"""Servers as processes of their own, on a core of their own, always stopped again; ``ours`` are two of them."""

import contextlib
import http.client
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import orjson

from tests.support.service import free_port, inherited

ROOT: Final = Path(__file__).resolve().parents[2]
START_S: Final = 60.0
STOP_S: Final = 30.0
POLL_S: Final = 0.002
"""How exactly the moment of readiness is met."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core the measured server has for itself, and which the load; None where there are no two."""

    server: int | None = None
    load: int | None = None

    @classmethod
    def found(cls) -> "Cores":
        """Take the first two that this process may use."""
        usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        return cls(*usable[:2]) if len(usable) > 1 else cls()


def pin(pid: int, core: int | None) -> None:
    """Keep a process to one core; 0 is this process."""
    if core is not None:
        os.sched_setaffinity(pid, {core})


class Server:
    """One process that serves a loopback port. As a context it is stopped at the end, whatever happens."""

    def __init__(self, arguments: list[str], port: int, ready: str, *, core: int | None, directory: Path) -> None:
        self.port = port
        self.environ: dict[str, str] = {}
        self._arguments = arguments
        self._ready = ready
        self._core = core
        self._directory = directory
        self._log = directory / f"{arguments[0].rpartition('.')[2]}-{port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> float:
        """Start it, and return the seconds until it said that it is ready."""
        started = time.perf_counter()
        with self._log.open("ab") as output:
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", *self._arguments],
                env=inherited() | self.environ,
                cwd=self._directory,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        pin(process.pid, self._core)
        while time.perf_counter() < started + START_S:
            if process.poll() is not None:
                break
            with contextlib.suppress(ConnectionError):
                if self.get(self._ready)[0] == 200:
                    return time.perf_counter() - started
            time.sleep(POLL_S)
        self.stop()
        raise RuntimeError(f"{self._arguments[0]} did not start: {self._log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        """Stop it, if it runs."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def get(self, path: str) -> tuple[int, Any]:
        """Ask it for JSON."""
        return self.ask("GET", path)

    def ask(self, method: str, path: str, document: object = None) -> tuple[int, Any]:
        """Send it a request with a document, and return status and document of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_S)
        with contextlib.closing(connection):
            connection.request(method, path, b"" if document is None else orjson.dumps(document))
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, orjson.loads(content) if content else None

    @property
    def cpu_s(self) -> float:
        """The processor time that it took so far; NaN where the system does not say."""
        stat = self._proc("stat")
        if stat is None:
            return math.nan
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    @property
    def rss_mb(self) -> float:
        """The memory that it holds, in megabytes; NaN where the system does not say."""
        status = self._proc("status")
        lines = {} if status is None else dict(line.split(":", 1) for line in status.splitlines())
        return int(lines["VmRSS"].split()[0]) * 1024 / 1e6 if "VmRSS" in lines else math.nan

    def _proc(self, name: str) -> str | None:
        with contextlib.suppress(OSError):
            if self._process is not None:
                return Path(f"/proc/{self._process.pid}/{name}").read_text(encoding="utf-8")
        return None


def bound(kind: str, directory: Path, cores: Cores) -> Server:
    """One of the endpoints of ``noop``."""
    port = free_port()
    arguments = ["tests.benchmarks.noop", kind, str(port)]
    server = Server(arguments, port, "/openapi.json", core=cores.server, directory=directory)
    server.environ = {"PYTHONPATH": str(ROOT)}
    return server


def until(reached: Callable[[], bool], *, seconds: float = START_S) -> None:
    """Return once the answer is yes."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not reached within {seconds:.0f} s")
        time.sleep(0.05)
