"""Repetitions: what three CRMs send three times is logged once, and costs no call more than what is sent once."""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Final

import orjson

from tests.benchmarks.bodies import answer, batch_answers, edits, helpdesk, hubspot_people, pipedrive
from tests.benchmarks.load import Load, fire, told
from tests.benchmarks.ours import Sandbox, Service
from tests.benchmarks.report import Bench, Measured, Row
from tests.benchmarks.servers import until

TIMES: Final = 3
"""How often everything is sent."""
SETTLED_S: Final = 300.0
CONDITIONS: Final = (
    "Pipedrive, HubSpot (email and title of each contact, in batches) and the helpdesk, each with its own contacts.",
    "The repetitions are the same bytes, mixed at random among all requests and connections.",
    "Both runs make the same changes; neither the sandbox nor the service holds calls back, so that none are merged.",
    "It is wrong if not exactly one in three changes is applied, or if repetitions cost any call.",
)


def measure(bench: Bench) -> Measured:
    """Send the changes once to one log, and three times to another."""
    rows, wrong = list[Row](), list[str]()
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(bench.room("duplicates"), bench.cores))
        for times in (1, TIMES):
            row, faults = _run(bench, sandbox, times)
            rows.append(row)
            wrong += [f"{row['sent']}: {line}" for line in faults]
    once, repeated = rows
    if (once["patches"], once["searches"]) != (repeated["patches"], repeated["searches"]):
        wrong.append("repetitions cost calls, or saved some")
    return Measured("Changes that are sent again", rows, CONDITIONS, wrong)


def _run(bench: Bench, sandbox: Sandbox, times: int) -> tuple[Row, list[str]]:
    people = bench.scale.repeated
    sandbox.begin(3 * people, limited=False)
    service = Service(bench.room(f"duplicates-{times}"), bench.cores, sandbox, unpaced=True)
    sent = [*_requests(people)] * times
    random.Random(times).shuffle(sent)  # noqa: S311  # the same order each time it is measured
    answers = [answer(), answer(0, 1), *batch_answers(2 * people), *batch_answers(2 * people, again=True)]
    with service:
        fired = fire(Load(service.port, iter(sent), answers, bench.scale.connections))
        until(lambda: service.waiting() == 0, seconds=SETTLED_S)
        patches, searches = sandbox.answered(), sandbox.answered(method="GET")
    changes = 4 * people
    receipts = [(orjson.loads(body), count) for body, count in fired.answers.items()]
    applied = sum(receipt["accepted"] * count for receipt, count in receipts)
    duplicates = sum(receipt["duplicates"] * count for receipt, count in receipts)
    row: Row = {
        "sent": "once" if times == 1 else f"{times} times",
        "requests": len(sent),
        "changes": changes * times,
        "applied": applied,
        "duplicates": duplicates,
        "share_applied": applied / (changes * times),
        "patches": patches,
        "searches": searches,
    }
    wrong = [*told(fired.wrong), *service.unsettled(changes)]
    if (applied, duplicates) != (changes, changes * (times - 1)):
        wrong.append(f"{applied} changes were applied and {duplicates} known already, of {changes}")
    return row, wrong


def _requests(people: int) -> Iterator[bytes]:
    yield from pipedrive(islice(edits(0), people))
    yield from helpdesk(islice(edits(people), people))
    yield from hubspot_people(islice(edits(2 * people), people))
