"""A log in a directory, and two configurations that are held against each other over it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from service.config import Config, load
from service.model import Change, Json
from service.operations.backtest import Backtest, Report
from service.operations.masking import shortened
from service.store import Store
from service.store.history import History
from tests.support.clock import Clock
from tests.support.log import change, receive
from tests.support.service import environment

PRESENT: Final = """\
sources:
  pipedrive:
    preset: pipedrive
    auth: {username: crm, password: "${PIPEDRIVE_PASSWORD}"}
    resolve: [link, {email: "emails[?primary].value"}]
    mapping:
      first_name: first_name
      title: {from: job_title, transform: [trim]}
      notes: {from: notes, on_blank: clear}
      custom:
        Lifecycle: {from: label, map: {"1": Lead, "2": Customer}}
"""
TITLE: Final = "title: {from: job_title, transform: [trim]}"
LIFECYCLE: Final = 'Lifecycle: {from: label, map: {"1": Lead, "2": Customer}}'


class House:
    """A log in a directory, and configurations beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = f"sqlite:///{directory / 'log.db'}"

    def config(self, text: str) -> Config:
        """Load a configuration."""
        return load(environment(self.directory, text), env_file=self.directory / "no.env", need_api_key=False)

    async def fill(self, work: Callable[[Store, Clock], Awaitable[Any]]) -> None:
        """Write the log as a service does, and leave it."""
        store = Store(self.url)
        try:
            await store.migrate()
            await store.accounts.ensure(["default"], now=Clock()())
            await work(store, Clock())
        finally:
            await store.close()

    async def log(self, *changes: Change, source: str = "pipedrive") -> None:
        """Log changes as one request."""
        await self.fill(lambda store, clock: receive(store, clock, *changes, source=source))

    async def backtest(
        self,
        candidate: str,
        *,
        present: str = PRESENT,
        source: str | None = None,
        last: int = 100_000,
        **how: Any,  # noqa: ANN401  # as Backtest
    ) -> Report:
        """Compare two configurations over the log."""
        old, new = self.config(present), self.config(candidate)
        how = {"then": False, "examples": 5, "show": shortened, **how}
        history = await History.open(self.url)
        try:
            stretch = await history.newest(last, source=source)
            return await Backtest(old.sources, new.sources, **how).run(history, stretch, progress=lambda _: None)
        finally:
            await history.close()


def person(number: int, **values: Json) -> Change:
    """A change of a person with a title and a label."""
    given: dict[str, Json] = {"first_name": "Amara", "job_title": f"Analyst {number}", "label": "1", **values}
    return change(f"pd-{number}", str(1000 + number), values=given)


def found(report: Report, target: str, source: str = "pipedrive") -> dict[str, int]:
    """The differences of a field by their words, and how often each."""
    field = report.sources[source].fields.get(target)
    return {} if field is None else {difference.value: tally.count for difference, tally in field.differences.items()}


def fates(report: Report, source: str = "pipedrive") -> dict[tuple[str, str], int]:
    """How many changes have another fate, by both."""
    return {(one.before.value, one.after.value): one.tally.count for one in report.sources[source].fates.values()}


def with_rule(old: str, new: str) -> str:
    """The present configuration with one line written otherwise."""
    assert old in PRESENT
    return PRESENT.replace(old, new)


BY_IMPORT: Final = replace(person(1), origin="IMPORT")
KEPT_OUT: Final = replace(BY_IMPORT, ignored="origin IMPORT is ignored by the configuration")
