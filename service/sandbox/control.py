"""The control API under ``/_sandbox``, which asks for no key: keep the port on loopback.

GET    /_sandbox/faults    ``{"faults": [fault with id, seen, hit]}``
POST   /_sandbox/faults    switches on one fault ``{"kind": "status", "status": 502, "count": 3}`` or several
                           ``{"faults": […]}``; every key is explained at ``faults.Fault`` (201, the list)
DELETE /_sandbox/faults    switches all off; what was to land late is applied, connections held silent are closed
GET    /_sandbox/settings  ``{"limits", "switches", "latency_ms", "latency_jitter_ms"}``, explained in ``settings``
PUT, POST …/settings       changes what is named, the rest stays; ``{"limits": {"rate_per_s": null}}`` lifts a limit
DELETE /_sandbox/settings  back to those of the start
GET    /_sandbox/requests  ``{"counters", "requests"}``, the oldest first; ``?after=NUMBER``, ``?limit=N`` (the last N),
                           ``?method=``, ``?path=`` (what it starts with)
DELETE /_sandbox/requests  forgets them, counters too
GET    /_sandbox/contacts  ``{"contacts"}``: every contact as the API returns it, the oldest first
POST   /_sandbox/reset     everything as at the start; with a seed as body, that seed's contacts instead

What cannot be used is answered with 422 and ``{"error": text}``, and then nothing is changed.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.sandbox.api import shown
from service.sandbox.documents import DocumentError
from service.sandbox.faults import parse_faults
from service.sandbox.seed import SeedError, parse_seed

if TYPE_CHECKING:
    from service.sandbox.app import Sandbox


def control_app(sandbox: "Sandbox") -> Starlette:
    """The control API of this sandbox."""
    control = _Control(sandbox)
    return Starlette(
        routes=[
            Route("/_sandbox/faults", control.faults, methods=["GET", "POST", "DELETE"]),
            Route("/_sandbox/settings", control.settings, methods=["GET", "PUT", "POST", "DELETE"]),
            Route("/_sandbox/requests", control.requests, methods=["GET", "DELETE"]),
            Route("/_sandbox/contacts", control.contacts, methods=["GET"]),
            Route("/_sandbox/reset", control.reset, methods=["POST"]),
        ],
        exception_handlers={DocumentError: _unusable, SeedError: _unusable},
    )


class _Control:
    def __init__(self, sandbox: "Sandbox") -> None:
        self._sandbox = sandbox

    async def faults(self, request: Request) -> Response:
        if request.method == "POST":
            self._sandbox.faults.add(*parse_faults(await _document(request)))
        elif request.method == "DELETE":
            self._sandbox.clear_faults()
        return _json({"faults": self._sandbox.faults.as_document()}, status=201 if request.method == "POST" else 200)

    async def settings(self, request: Request) -> Response:
        if request.method in ("PUT", "POST"):
            self._sandbox.configure(self._sandbox.settings.changed(await _document(request)))
        elif request.method == "DELETE":
            self._sandbox.configure(self._sandbox.first_settings)
        return _json(asdict(self._sandbox.settings))

    async def requests(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._sandbox.journal.reset()
        query = request.query_params
        after, limit = _whole(query.get("after"), "after", 0), _whole(query.get("limit"), "limit", None)
        method, path = query.get("method", "").upper(), query.get("path", "")
        found = [
            entry.as_document()
            for entry in self._sandbox.journal
            if entry.number > (after or 0) and method in ("", entry.method) and entry.target.startswith(path)
        ]
        last = found if limit is None else found[len(found) - min(limit, len(found)) :]
        return _json({"counters": self._sandbox.journal.counters(), "requests": last})

    async def contacts(self, _: Request) -> Response:
        switches = self._sandbox.settings.switches
        return _json({"contacts": [shown(contact, switches) for contact in self._sandbox.contacts.all()]})

    async def reset(self, request: Request) -> Response:
        body = await request.body()
        seed = parse_seed(await _document(request)) if body else None
        self._sandbox.reset()
        if seed is not None:
            self._sandbox.load(seed)
        return _json({})


def _json(document: object, *, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status_code=status, media_type="application/json")


async def _document(request: Request) -> object:
    try:
        return orjson.loads(await request.body())
    except orjson.JSONDecodeError as fault:
        raise DocumentError("body", f"no JSON at line {fault.lineno}, column {fault.colno}", "JSON") from None


def _whole(text: str | None, name: str, default: int | None) -> int | None:
    if text is None:
        return default
    if not text.isascii() or not text.isdigit():
        raise DocumentError(name, "a text", "a whole number")
    return int(text)


async def _unusable(_: Request, fault: Exception) -> Response:
    return _json({"error": str(fault)}, status=422)
