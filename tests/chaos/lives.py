"""The lives of a service: each ends at a seam or at a random instant, as the seed says, and is followed by another."""

import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tests.chaos.serve import Seam
from tests.support.service import inherited
from tests.support.wait import EVERY_S

ROOT: Final = Path(__file__).parents[2]
READY_S: Final = 30.0
READY_EVERY_S: Final = 0.05
STOP_S: Final = 30.0
PASSES: Final[Mapping[Seam, float]] = {
    Seam.STORED: 60,
    Seam.ANSWERED: 60,
    Seam.CLAIMED: 3,
    Seam.APPLIED: 15,
    Seam.GIVEN_UP: 3,
}
"""How often a seam is passed before it ends a life, on average: within a few seconds."""
SEAM_S: Final = 6.0
"""A seam that is not passed in this time is not waited for."""
INSTANT: Final = "at a random instant"
STARTING: Final = "while starting"


@dataclass(frozen=True, slots=True)
class Life:
    """How a life ends: at the n-th pass of a seam, but so many seconds after it is ready, or was begun, anyway."""

    end: Seam | str
    seconds: float
    passes: int = 1


def lives(seed: int, name: str) -> Iterator[Life]:
    """Draw lives without end. Of each row every seam ends one, an instant a short and a long one, a start one.

    In the long one ChartMogul alone is what fails: changes are tried again, overtake each other and land late.
    """
    draw = random.Random(f"lives {seed} {name}")  # noqa: S311  # repeatable on purpose
    while True:
        row = [Life(seam, SEAM_S, 1 + int(draw.expovariate(1 / PASSES[seam]))) for seam in Seam]
        row += [Life(INSTANT, draw.uniform(0, 4)), Life(INSTANT, draw.uniform(8, 14))]
        row += [Life(STARTING, draw.uniform(0.2, 1.5))]
        draw.shuffle(row)
        yield from row


class Replica:
    """One service, of those that share a log: killed and started again until it is told to live."""

    def __init__(self, name: str, *, port: int, environ: Mapping[str, str], directory: Path, seed: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.kills: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.log = directory / f"{name}.log"
        self._name = name
        self._environ = inherited() | dict(environ) | {"PORT": str(port)}
        self._directory = directory
        self._seed = seed
        self._process: subprocess.Popen[bytes] | None = None
        self._living = threading.Event()
        self._thread = threading.Thread(target=self._live_and_die, name=f"lives of {name}")

    def start(self) -> None:
        """Begin its first life."""
        self._thread.start()

    def live(self) -> None:
        """Let it die no more, and return once it is ready."""
        self._living.set()
        self._thread.join()
        self._spawn(None)
        if not self._until_ready():
            raise RuntimeError(f"{self._name} did not start, see {self.log}")

    def stop(self) -> int:
        """Ask it to stop, and return its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_S)

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        self._living.set()
        if self._thread.is_alive():
            self._thread.join()
        self._kill()

    def _live_and_die(self) -> None:
        for life in lives(self._seed, self._name):
            self._spawn(life)
            if life.end != STARTING and not self._until_ready() and self._lives():
                self.wrong.append(f"{self._name} was not ready within {READY_S:.0f} s, see {self.log}")
            until = time.monotonic() + life.seconds
            while self._lives() and not self._living.is_set() and time.monotonic() < until:
                time.sleep(EVERY_S)
            self._count(life)
            if self._living.is_set():
                return

    def _count(self, life: Life) -> None:
        """Say how a life ended: by its seam, by us, or, which is wrong, by itself."""
        by_itself = not self._lives()
        code = self._kill()
        if code != -signal.SIGKILL:
            self.wrong.append(f"{self._name} ended by itself with code {code}, see {self.log}")
        self.kills[life.end if by_itself or life.end == STARTING else INSTANT] += 1

    def _spawn(self, life: Life | None) -> None:
        seam = ["--seam", life.end, "--passes", str(life.passes)] if life and isinstance(life.end, Seam) else []
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.serve", *seam],
                env=self._environ,
                cwd=self._directory,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _lives(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _kill(self) -> int:
        """End it as the kernel would, no goodbye; return its exit code."""
        if self._process is None:
            return 0
        self._process.kill()
        return self._process.wait()

    def _until_ready(self) -> bool:
        """Wait until it is ready, and say whether it is: it may have died before, or be told to die no more."""
        deadline = time.monotonic() + READY_S
        with httpx.Client(trust_env=False) as client:
            while self._lives() and time.monotonic() < deadline:
                with contextlib.suppress(httpx.TransportError):
                    if client.get(f"{self.url}/health/ready").status_code == 200:
                        return True
                time.sleep(READY_EVERY_S)
        return False
