"""``python -m tests.benchmarks``: measure, print, write JSON. Exit 1 only if changes were lost or answers wrong."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Console

from service.main import real_clock
from tests.benchmarks import (
    backtest,
    burst,
    clients,
    deep_log,
    drain,
    duplicates,
    intake,
    latency,
    mapping,
    memory,
    unpaced,
)
from tests.benchmarks.report import QUICK, Bench, Measured, Scale, machine, show, write
from tests.benchmarks.servers import ROOT, Cores, pin

MEASURES: Final[Mapping[str, Callable[[Bench], Measured]]] = {
    "intake": intake.measure,
    "drain": drain.measure,
    "burst": burst.measure,
    "duplicates": duplicates.measure,
    "latency": latency.measure,
    "unpaced": unpaced.measure,
    "clients": clients.measure,
    "memory": memory.measure,
    "deep_log": deep_log.measure,
    "mapping": mapping.measure,
    "backtest": backtest.measure,
}

WIDTH: Final = 150
"""Columns that the widest table needs."""


def main() -> int:
    """Run the measures that were asked for; return the exit code."""
    options = _options()
    scale = QUICK if options.quick else Scale()
    scale = scale if options.seconds is None else replace(scale, seconds=options.seconds)
    scale = replace(scale, sources=tuple(options.source))
    # A stopped run must not leave its servers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    cores = Cores.found()
    pin(0, cores.load)
    console = Console(width=max(Console().width, WIDTH))
    beside = ROOT / "build"  # on the disk of the project: a memory file system would sync for nothing
    beside.mkdir(exist_ok=True)
    measures: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory(prefix="bench-", dir=beside) as directory:
        bench = Bench(Path(directory), scale, cores)
        on = machine(bench)
        console.print(on, highlight=False)
        for name in options.only or MEASURES:
            measures[name] = MEASURES[name](bench)
            show(measures[name], console)
            write(options.out, on, measures, at=real_clock().isoformat(timespec="seconds"))
    return 1 if any(measured.wrong for measured in measures.values()) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=MEASURES, help="this measure; again for more")
    parser.add_argument("--seconds", type=float, help="of each round of intake")
    parser.add_argument(
        "--source", action="append", choices=intake.SOURCES, default=[], help="of intake; again for more"
    )
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that everything works")
    parser.add_argument("--out", type=Path, default=ROOT / "bench.json", help="where the JSON goes")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
