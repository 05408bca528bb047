"""HTTP clients compared: the same PATCHes to the same sandbox, so that a choice among them can be measured."""

from tests.benchmarks.bodies import CONFIGURATION
from tests.benchmarks.callers import KINDS
from tests.benchmarks.ours import Sandbox
from tests.benchmarks.pace import CONDITIONS, called, patches
from tests.benchmarks.report import Bench, Measured
from tests.support.service import configure


def measure(bench: Bench) -> Measured:
    """Let each client that is there make the calls."""
    room, count = bench.room("clients"), bench.scale.unpaced
    calls, paces, wrong = [*patches(configure(room, CONFIGURATION), count)], [], []
    with Sandbox(room, bench.cores) as sandbox:
        for kind in KINDS:
            sandbox.begin(count, limited=False)
            pace, faults = called(kind, calls, sandbox, bench)
            paces.append(pace)
            wrong += faults
    return Measured("HTTP clients", [pace.row(paces[0]) for pace in paces], CONDITIONS, wrong)
