"""``python -m tests.chaos``: a run, its report, and exit 1 if anything was lost, stale, unaccounted for or too fast."""

import argparse
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.run import CONTACTS, Plan, run


def main() -> int:
    """Carry the run out that was asked for; return the exit code."""
    options = _options()
    # A stopped run must not leave its service behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    report = run(Plan(seed=options.seed, seconds=options.seconds, contacts=options.contacts), directory)
    for line in report.lines():
        print(line)
    if report.failures or options.keep:
        print(f"log, database and requests of this run: {directory}")
    else:
        shutil.rmtree(directory)
    return 1 if report.failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of chaos, before it settles")
    parser.add_argument("--seed", type=int, default=None, help="of changes, faults and kills; drawn if not given")
    parser.add_argument("--contacts", type=int, default=CONTACTS, help="in ChartMogul")
    parser.add_argument("--keep", action="store_true", help="keep log, database and requests of a run that passed too")
    options = parser.parse_args()
    options.seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    return options


if __name__ == "__main__":
    sys.exit(main())
