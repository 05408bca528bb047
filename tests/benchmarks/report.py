"""What was measured: one table a measure for people, one JSON document for programs."""

import math
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import orjson
from rich.console import Console
from rich.table import Table

from tests.benchmarks.load import percentile
from tests.benchmarks.servers import Cores

PACKAGES: Final = ("uvicorn", "uvloop", "httptools", "fastapi", "starlette", "sqlalchemy", "chartmogul")
SYNCS: Final = 200

Row = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    seconds: float = 5
    """Of each round of intake."""
    sources: tuple[str, ...] = ()
    """Whose intake is measured; none: everybody's."""
    rounds: int = 3
    connections: int = 64
    contacts: int = 2000
    contacts_by_client: int = 300
    latency_ms: int = 100
    burst: int = 10_000
    burst_contacts: int = 100
    repeated: int = 500
    """Contacts of each CRM whose changes are sent again."""
    light_contacts: int = 300
    light_changes: int = 300
    light_searched: int = 100
    light_calls_per_s: float = 10
    unpaced: int = 3_000
    waiting: int = 100_000
    logged: int = 1_000_000
    """Events of the deep log, those that wait included."""
    starts: int = 5
    settle_s: float = 1
    """From ready until the memory is read: the worker has looked around by then."""
    mappings: int = 20_000
    backtested: int = 10_000


QUICK: Final = Scale(
    seconds=0.5,
    rounds=2,
    contacts=80,
    contacts_by_client=20,
    burst=2_000,
    burst_contacts=40,
    repeated=60,
    light_contacts=40,
    light_changes=40,
    light_searched=10,
    unpaced=400,
    waiting=5_000,
    logged=50_000,
    starts=2,
    mappings=2_000,
    backtested=1_000,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and how everything is measured."""

    directory: Path
    scale: Scale
    cores: Cores

    def room(self, name: str) -> Path:
        """A directory for one measure alone, on the disk that the log is measured on."""
        room = self.directory / name
        room.mkdir()
        return room


@dataclass(frozen=True, slots=True)
class Measured:
    """One measure: rows of figures with the same names, the conditions, and whatever was answered or kept wrongly."""

    title: str
    rows: Sequence[Row]
    conditions: Sequence[str] = ()
    wrong: Sequence[str] = field(default=())


def machine(bench: Bench) -> dict[str, Any]:
    """Say what it was measured on."""
    syncs = sorted(_sync_times(bench.directory))
    return {
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "cores": asdict(bench.cores),
        "load_before": os.getloadavg(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "sync_us": {"p50": percentile(syncs, 50) * 1e6, "p99": percentile(syncs, 99) * 1e6},
        "scale": asdict(bench.scale),
    }


def show(measured: Measured, console: Console) -> None:
    """Print one measure."""
    table = Table(title=measured.title, title_justify="left", pad_edge=False)
    for name, value in (measured.rows[0] if measured.rows else {}).items():
        table.add_column(name, justify="left" if isinstance(value, str) else "right")
    for row in measured.rows:
        table.add_row(*(_figure(value) for value in row.values()))
    console.print()
    console.print(table)
    for condition in measured.conditions:
        console.print(f"  {condition}", highlight=False, soft_wrap=True)
    for line in measured.wrong:
        console.print(f"  [red]wrong[/] {line}", highlight=False)


def write(out: Path, machine: Mapping[str, Any], measures: Mapping[str, Measured], *, at: str) -> None:
    """Write everything as JSON; a figure that this system does not give is null."""
    document = {"at": at, "machine": machine, "measures": measures}
    out.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def _figure(value: str | float) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if math.isnan(value) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _cpu() -> str:
    for line in _lines(Path("/proc/cpuinfo")):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _sync_times(directory: Path) -> Iterator[float]:
    """How long the disk takes to keep 4 KB: every durable answer waits for this at least."""
    with (directory / "sync").open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            file.write(b"\0" * 4096)
            started = time.perf_counter()
            os.fsync(file.fileno())
            yield time.perf_counter() - started
