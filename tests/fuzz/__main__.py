"""``python -m tests.fuzz``: requests that no CRM should send, to every preset; exit 1 at the first that does harm."""

import argparse
import random
import sys
import time
import traceback

from tests.fuzz.run import fuzz
from tests.fuzz.ways import WAYS


def main() -> int:
    """Run, and tell what came of it; return the exit code."""
    options = _options()
    print(f"{options.requests:,} requests, --seed {options.seed}", flush=True)
    started = time.monotonic()
    tallies = []
    for way in WAYS:
        if way.preset in (options.preset or [way.preset]):
            try:
                tallies.append(fuzz(way, requests=-(-options.requests // len(WAYS)), seed=options.seed))
            except Exception as error:  # noqa: BLE001  # whatever it is, it is what was looked for
                traceback.print_exception(error)
                print(
                    f'FAILED: {way.name}\nagain: make fuzz ARGS="--requests {options.requests} --seed {options.seed}"'
                )
                return 1
            print(*tallies[-1].lines(), sep="\n", flush=True)
    print(
        f"{sum(tally.requests for tally in tallies):,} requests in {time.monotonic() - started:.0f} s: all of it held"
    )
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="in all, spread over the ways to prove a sender")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="drawn unless given")  # noqa: S311  # no secret
    parser.add_argument("--preset", action="append", help="only this preset, its share of the requests; again for more")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
