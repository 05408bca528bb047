"""``/api/v1``: what an operator asks of a running service over HTTP, with the admin token.

Answers carry contact values only where they must, in traces and stories, and are never to be kept by a cache.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from service.errors import ConfigError, Fault, NotFound
from service.operations.trace import shown, trace_event, trace_story
from service.pipeline import ConfiguredSource, InForce
from service.store import Store
from service.web.access import Access
from service.web.problems import told

PREFIX: Final = "/api/v1"
ID_MAX: Final = 2**63 - 1
"""The largest id that the log could give."""

_MEND: Final = "mend the file and reload again; until then the version named here goes on"


@dataclass(frozen=True, slots=True)
class Refused:
    """A configuration file that waits to be mended, while the one before goes on: when it was refused, and why."""

    at: datetime
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Admin:
    """What the admin API works on.

    ``reload`` takes the configuration file as it is now and returns the version that runs then; it raises ConfigError,
    and changes nothing, where the file is faulty. ``refused`` is the file that was not taken, None while there is none.
    """

    store: Store
    in_force: Callable[[], InForce]
    reload: Callable[[], Awaitable[str]]
    refused: Callable[[], Refused | None]


def admin_routes(admin: Admin, access: Access) -> APIRouter:
    """Return the routes of the admin API, each behind the token."""
    router = APIRouter(prefix=PREFIX, dependencies=[Depends(access)])

    @router.post("/config/reload")
    async def reload() -> Response:
        """Take the configuration file as it is now, or say everything that is wrong with it and go on as before."""
        before = admin.in_force().version
        try:
            version = await admin.reload()
        except ConfigError as error:
            return told(error, hint=_MEND, version=admin.in_force().version)
        return _json({"version": version, "changed": version != before})

    @router.get("/config")
    async def config() -> Response:
        """Say which configuration runs, what it delivers where, and whether a newer file waits to be mended."""
        running, refused = admin.in_force(), admin.refused()
        sources = {name: _source(configured) for name, configured in running.sources.items()}
        return _json({"version": running.version, "sources": sources, "refused": refused})

    @router.get("/events/{event_id}")
    async def event(event_id: str) -> Response:
        """Show an event as ``events`` lists it, and its trace."""
        logged, trace = await trace_event(admin.store, _id(event_id), admin.in_force())
        return _json({**logged.line, "trace": trace})

    @router.get("/events/{event_id}/trace")
    async def trace(event_id: str) -> Response:
        """Show field by field what became of an event's values, and why."""
        return _json((await trace_event(admin.store, _id(event_id), admin.in_force()))[1])

    @router.get("/contacts/{contact:path}")  # an id may have a slash
    async def contact(contact: str, source: Annotated[str | None, Query()] = None) -> Response:
        """Tell a person's story, as ``explain`` does; the newest events are traced."""
        if "\x00" in contact + (source or ""):  # PostgreSQL knows no NUL
            raise _nobody()
        story = await admin.store.ledger.story(contact, source=source)
        if not story.known:
            raise _nobody()
        return _json(shown(story, await trace_story(admin.store, story, admin.in_force())))

    return router


def _source(configured: ConfiguredSource) -> dict[str, Any]:
    return {
        "preset": configured.source.preset,
        "account": configured.account,
        "deliver": configured.deliver,
        "targets": sorted(configured.rules.mapping.targets),
    }


def _id(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) <= len(str(ID_MAX)) and int(text) <= ID_MAX:
        return int(text)
    raise NotFound("no event has such an id", hint="see `events` for the ids that are there")


def _nobody() -> NotFound:
    return NotFound("nobody of that name is in the log", hint="give a CRM record's id, a con_ uuid or an email")


def _json(document: Mapping[str, Any] | Any) -> Response:  # noqa: ANN401  # whatever JSON can hold
    body = orjson.dumps(document, option=orjson.OPT_UTC_Z)
    return Response(body, headers={"cache-control": "no-store"}, media_type="application/json")
