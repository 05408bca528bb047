"""An operator's view: a running service, the ChartMogul behind it, and people who work in both."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx

from service.main import real_clock
from service.operations.reconcile import Reconciliation, Report
from tests.support.sandbox import RunningSandbox, contact_uuid
from tests.support.service import Running
from tests.support.webhooks import CONFIGURATION, pipedrive

TYPED: Final = CONFIGURATION.replace(
    "        Favourite colour: favourite_colour\n",
    "        Favourite colour: favourite_colour\n"
    "        Score: {from: score, transform: [to_number]}\n"
    "        Seen: seen\n"
    "        Newsletter: {from: newsletter, transform: [to_bool]}\n",
)
"""With custom attributes of every kind."""


def email_of(number: int) -> str:
    """The email of the n-th contact of ``seed_of``."""
    return f"person-{number}@nordwind-logistik.example"


def numbers_of(report: Report) -> dict[str, int]:
    """The report's numbers that are not 0."""
    names = ("pages", "contacts", "compared", "changed_meanwhile", "differing", "repairing")
    return {name: getattr(report, name) for name in names if getattr(report, name)}


@dataclass(frozen=True, slots=True)
class Office:
    """Everybody is a contact of ``seed_of``, known to Pipedrive by its number."""

    service: Running
    sandbox: RunningSandbox

    async def told(self, number: int, event: str, **record: Any) -> None:  # noqa: ANN401  # any field of a person
        """Let the CRM tell something of a person, and the service deliver it."""
        await self.service.accepted(pipedrive(number, event, real_clock(), email=email_of(number), **record))
        await self.service.settled()

    async def edited(self, number: int, **fields: Any) -> None:  # noqa: ANN401  # any field of a contact
        """Let somebody edit a contact in ChartMogul."""
        await self.asked("PATCH", f"/v1/contacts/{contact_uuid(number)}", json=fields)

    async def asked(self, method: str, path: str, **how: Any) -> None:  # noqa: ANN401  # as httpx has it
        """Make a call of somebody else's."""
        auth = ("another-key", "")
        async with httpx.AsyncClient(base_url=self.sandbox.base_url, auth=auth, trust_env=False) as client:
            (await client.request(method, path, **how)).raise_for_status()

    def work(self, *, repair: bool = False, progress: Callable[[Report], None] = lambda _: None) -> Reconciliation:
        """Return a comparison that is still to be run."""
        parts = self.service.service
        return Reconciliation(parts.store, parts.sinks["default"], repair=repair, clock=real_clock, progress=progress)

    async def reconciled(self, *, repair: bool = False) -> Report:
        """Compare, with a journal of what came since alone."""
        self.sandbox.forget_requests()
        return await self.work(repair=repair).run()

    def bodies(self) -> list[Any]:
        """The bodies of every PATCH since the journal was emptied."""
        return [request["body"] for request in self.sandbox.requests("PATCH")]
