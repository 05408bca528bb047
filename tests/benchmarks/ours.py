"""The service and the sandbox as servers: what the benchmark sets in them, reads of them, and finds wrong."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from service.config.settings import Settings
from tests.benchmarks.bodies import ATTRIBUTES, CONFIGURATION
from tests.benchmarks.servers import ROOT, Cores, Server
from tests.support.sandbox import seed_of
from tests.support.service import environment, free_port, inherited

AUDIT_S: Final = 300.0
ALLOWED_PER_S: Final[float] = Settings.model_fields["chartmogul_rate_per_s"].default
"""The calls a second that the service allows itself by default."""
REFUSING: Final = {"kind": "status", "status": 401}
"""A ChartMogul that knows the key no more: the account is paused, and nothing is delivered."""
UNLIMITED: Final = {"limits": {"rate_per_s": None, "parallel": None}}
ENDED: Final = frozenset({"delivered", "merged", "unchanged"})
"""Where an event of the benchmark may end: none is for anybody else, and none is refused."""

Call = Mapping[str, Any]
"""A request as the sandbox shows it."""


def arrived_s(call: Call) -> float:
    """Return when a request arrived at the sandbox: wall time, to the microsecond."""
    return datetime.fromisoformat(call["at"]).timestamp()


def span_s(calls: Sequence[Call]) -> float:
    """Return the time from the first call's arrival to the last one's answer."""
    last: float = max(arrived_s(call) + call["took_ms"] / 1000 for call in calls)
    return last - min(map(arrived_s, calls))


class Sandbox(Server):
    """A sandbox ChartMogul, beside the load."""

    def __init__(self, directory: Path, cores: Cores) -> None:
        port = free_port()
        arguments = ["service", "sandbox", "--port", str(port)]
        super().__init__(arguments, port, "/_sandbox/settings", core=cores.load, directory=directory)

    def control(self, method: str, what: str, document: object = None) -> Any:  # noqa: ANN401  # as JSON has it
        """Use its control API."""
        status, answer = self.ask(method, f"/_sandbox/{what}", document)
        assert status < 300, answer
        return answer

    def begin(self, contacts: int, *, latency_ms: float = 0, limited: bool = True) -> None:
        """Begin anew with the contacts 0 to ``contacts``, and with ChartMogul's limits or none."""
        self.control("POST", "reset", seed_of(contacts + 1, custom_attributes=ATTRIBUTES))
        self.control("PUT", "settings", {"latency_ms": latency_ms} | ({} if limited else UNLIMITED))

    def forget(self) -> None:
        """Empty the journal, counters too."""
        self.control("DELETE", "requests")

    def answered(self, status: int = 200, method: str = "PATCH") -> int:
        """How many requests it gave that answer since it began or forgot."""
        counters = self.control("GET", "requests?method=NONE")["counters"]  # the counters alone
        return int(counters["answers"].get(method, {}).get(str(status), 0))

    def calls(self, method: str = "PATCH") -> Sequence[Call]:
        """Every request since it began or forgot, the oldest first; of more than 10,000 the last."""
        seen: list[Call] = self.control("GET", f"requests?method={method}")["requests"]
        return seen

    def unlike(self, titles: Mapping[str, str]) -> Iterator[str]:
        """Say which of the contacts, by uuid, has not the title that it should have."""
        held = {contact["uuid"]: contact["title"] for contact in self.control("GET", "contacts")["contacts"]}
        return (f"{uuid} has not the title that was sent last" for uuid in titles if held.get(uuid) != titles[uuid])


class Service(Server):
    """The service with the benchmark's sources, or others, and default settings, on a log of its own.

    ``unpaced``, it makes no call wait for another: see ``unpaced_serve``.
    """

    def __init__(
        self,
        directory: Path,
        cores: Cores,
        sandbox: Sandbox,
        *,
        unpaced: bool = False,
        configuration: str = CONFIGURATION,
    ) -> None:
        port = free_port()
        arguments = ["tests.benchmarks.unpaced_serve"] if unpaced else ["service", "serve"]
        super().__init__(arguments, port, "/health/ready", core=cores.server, directory=directory)
        address = {"HOST": "127.0.0.1", "PORT": str(port), "CHARTMOGUL_BASE_URL": f"http://127.0.0.1:{sandbox.port}"}
        self.environ = environment(directory, configuration, **address)
        del self.environ["CHARTMOGUL_RATE_PER_S"]  # the default
        if unpaced:
            self.environ["PYTHONPATH"] = str(ROOT)

    def waiting(self) -> int:
        """How many deliveries are owed."""
        _, health = self.get("/health")
        return int(health["backlog"]["pending"]) + int(health["backlog"]["leased"])

    def paused(self) -> bool:
        """Say whether nothing is delivered."""
        return any(account["state"] == "paused" for account in self.get("/health")[1]["accounts"].values())

    def unlike(self, *allowed: Mapping[str, int]) -> Iterator[str]:
        """Say in what the log, as `audit` counts it by state, is none of what it may be; it must have stopped."""
        audit = self._audit()
        if audit["events"] not in allowed:
            yield f"the log holds {audit['events']}, and should hold {' or '.join(map(str, allowed))}"
        yield from _found(audit)

    def unsettled(self, changes: int, *, states: frozenset[str] = ENDED) -> Iterator[str]:
        """Say whether so many changes are not all in one of the states, and no other; it must have stopped."""
        audit = self._audit()
        if sum(audit["events"].values()) != changes or not states.issuperset(audit["events"]):
            yield f"the log holds {audit['events']}, and should hold {changes}, each {' or '.join(sorted(states))}"
        yield from _found(audit)

    def _audit(self) -> Any:  # noqa: ANN401  # as JSON has it
        verb = [sys.executable, "-m", "service", "audit", "--json"]
        environ, where = inherited() | self.environ, self._directory
        try:
            ended = subprocess.run(verb, env=environ, cwd=where, capture_output=True, timeout=AUDIT_S, check=False)
        except subprocess.TimeoutExpired:
            return {"events": {}, "findings": [{"count": 1, "name": f"audit that did not end within {AUDIT_S:.0f} s"}]}
        return orjson.loads(ended.stdout)


def _found(audit: Any) -> Iterator[str]:  # noqa: ANN401  # as JSON has it
    return (f"audit: {finding['count']} {finding['name']}" for finding in audit["findings"])
