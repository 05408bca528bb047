"""How soon a change is at ChartMogul once its sender has been told that it is safe, with little else to do."""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from tests.benchmarks.bodies import Edit, answer, edits, now_ms, pipedrive, title
from tests.benchmarks.load import Caller, Load, fire, percentile, told
from tests.benchmarks.ours import ALLOWED_PER_S, Sandbox, Service, arrived_s
from tests.benchmarks.report import Bench, Measured, Row
from tests.benchmarks.servers import until

SETTLED_S: Final = 120.0
CONDITIONS: Final = (
    "From when the sender had the whole answer to the arrival of the PATCH with that value; 0 if that came first.",
    "Pipedrive webhooks come one by one, at random moments; each is about another contact than those before it.",
    "Service and sandbox are on this machine; the sandbox answers at once, and the service has its default settings:",
    f"calls are {1000 / ALLOWED_PER_S:.0f} ms apart, so that a change upon the heels of another waits for its turn.",
    "searched: the contact must be found by its email first, a call more; these changes come half as often.",
)


@dataclass(frozen=True, slots=True)
class _Kind:
    """Changes of contacts, in turns: of which, how many and how often; ``known`` ones need not be searched."""

    name: str
    people: range
    changes: int
    per_s: float
    known: bool

    def change(self, number: int) -> Edit:
        """Return the change of that number, made now; its value is no other's."""
        person = self.people[number % len(self.people)]
        return Edit(person, self.people.stop * 1000 + number, now_ms())


def measure(bench: Bench) -> Measured:
    """Link some contacts and change them now and then; then change some that are not known yet."""
    scale, room, rows, wrong = bench.scale, bench.room("latency"), list[Row](), list[str]()
    contacts, unknown = scale.light_contacts, scale.light_searched
    strangers = range(contacts, contacts + unknown)
    kinds = (
        _Kind("linked", range(contacts), scale.light_changes, scale.light_calls_per_s, known=True),
        _Kind("searched", strangers, unknown, scale.light_calls_per_s / 2, known=False),
    )
    with Sandbox(room, bench.cores) as sandbox:
        sandbox.begin(contacts + unknown)
        service = Service(room, bench.cores, sandbox)
        with service:
            fired = fire(Load(service.port, pipedrive(islice(edits(0), contacts)), [answer()], 1))
            wrong += told(fired.wrong)
            for kind in kinds:
                until(lambda: service.waiting() == 0, seconds=SETTLED_S)
                sandbox.forget()
                row, faults = _row(kind, _acked_s(kind, service), service, sandbox)
                rows.append(row)
                wrong += faults
        wrong += service.unsettled(contacts + sum(kind.changes for kind in kinds))
    return Measured("From acknowledged to sent", rows, CONDITIONS, wrong)


def _acked_s(kind: _Kind, service: Service) -> Mapping[str, float]:
    """Send the changes at random moments; return for each title when it was acknowledged."""
    moments, acked_s = random.Random(1), dict[str, float]()  # noqa: S311  # the same moments each time
    with Caller(service.port) as caller:
        for number in range(kind.changes):
            time.sleep(moments.expovariate(kind.per_s))
            change = kind.change(number)
            body, acked_ns = caller.send(next(pipedrive([change], known=kind.known)))
            if body == answer():
                acked_s[title(change.value)] = acked_ns / 1e9
    return acked_s


def _row(kind: _Kind, acked_s: Mapping[str, float], service: Service, sandbox: Sandbox) -> tuple[Row, list[str]]:
    until(lambda: service.waiting() == 0, seconds=SETTLED_S)
    calls = sandbox.calls()
    sent_s = {str(call["body"]["title"]): arrived_s(call) for call in calls}
    waits_ms = sorted(max(0.0, sent_s[value] - acked_s[value]) * 1000 for value in acked_s.keys() & sent_s.keys())
    row: Row = {
        "contacts": kind.name,
        "changes": kind.changes,
        "patches": len(calls),
        "searches": sandbox.answered(method="GET"),
        "p50_ms": percentile(waits_ms, 50),
        "p99_ms": percentile(waits_ms, 99),
        "max_ms": percentile(waits_ms, 100),
    }
    lost = kind.changes - len(waits_ms)
    return row, [f"{kind.name}: {lost} changes were not taken, or not sent as they are"] if lost else []
