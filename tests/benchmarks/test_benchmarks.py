"""Every measure runs, and finds no lost change and no wrong answer; how fast it was is not asked here."""

from pathlib import Path

import orjson
import pytest
from rich.console import Console

from service.sources import PRESETS
from tests.benchmarks.__main__ import MEASURES
from tests.benchmarks.intake import OWN, SOURCES
from tests.benchmarks.report import Bench, Scale, machine, show, write
from tests.benchmarks.servers import Cores

SMALLEST = Scale(
    seconds=0.1,
    rounds=1,
    connections=4,
    contacts=5,
    contacts_by_client=3,
    latency_ms=10,
    burst=130,
    burst_contacts=5,
    repeated=4,
    light_contacts=5,
    light_changes=5,
    light_searched=3,
    light_calls_per_s=20,
    unpaced=20,
    waiting=200,
    logged=400,
    starts=1,
    settle_s=0,
    mappings=200,
    backtested=30,
)


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_loses_nothing_and_tells_every_figure(name: str, tmp_path: Path) -> None:
    """A benchmark that rots is found here, not when somebody needs a figure."""
    bench = Bench(tmp_path, SMALLEST, Cores())
    measured = MEASURES[name](bench)
    assert list(measured.wrong) == []
    assert len(measured.rows) >= 2
    assert {tuple(row) for row in measured.rows} == {tuple(measured.rows[0])}
    show(measured, Console(quiet=True))
    write(tmp_path / "bench.json", machine(bench), {name: measured}, at="2026-03-02T09:30:00+00:00")
    document = orjson.loads((tmp_path / "bench.json").read_bytes())
    assert [list(row) for row in document["measures"][name]["rows"]] == [list(row) for row in measured.rows]


def test_every_preset_is_measured() -> None:
    own = {"generic" if source == "helpdesk" else source for source in OWN}
    assert own | set(SOURCES) - set(OWN) == set(PRESETS)
