"""The web room with one way to prove a sender behind it, and a log: what it answers, and what it keeps."""

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import quote, unquote

from sqlalchemy import Connection, func, select
from starlette.types import Message, Scope
from structlog.testing import capture_logs

from service.errors import RequestError, TooLarge, UnknownSource
from service.main import Service, create_app
from service.model import InboundRequest
from service.schema import deliveries, events, requests
from service.web.hooks import PREFIX
from service.web.problems import status_of
from tests.fuzz.judge import ACCEPTED, GREETED, as_on_the_wire, assert_tells_nothing
from tests.fuzz.ways import source_of
from tests.support.crm import NOW, URL, Crm
from tests.support.service import configure
from tests.support.webhooks import PUBLIC_URL

SOURCE: Final = "crm"
"""What the source is called in the address that the CRMs were given."""
BODY_MAX: Final = 1024 * 1024
PATH: Final = PREFIX + SOURCE
OWN: Final = frozenset({"content-length", "transfer-encoding"})
"""Headers that the server itself reads."""
SAFE: Final = "".join(map(chr, range(0x21, 0x7F)))
"""What stands in an address as it is."""

Marks = tuple[int, ...]
"""The newest row of each table."""
Verdict = set[str] | RequestError | int
"""The keys of the changes that must be logged, the error that is the reason of a refusal, or only a status."""


class House:
    """Takes one request after the other; its loop stands still in between, and nothing is delivered."""

    def __init__(self, way: Crm, directory: Path, loop: asyncio.Runner) -> None:
        self.way = way
        config = configure(directory, _configuration(way), BODY_MAX_BYTES=str(BODY_MAX), PUBLIC_URL=PUBLIC_URL)
        self._app = create_app(config, clock=lambda: NOW)
        self._service: Service = self._app.state.service
        self._loop = loop
        loop.run(self._open())

    def close(self) -> None:
        """Let go of the log."""
        self._loop.run(self._service.store.close())

    def judged(self, request: InboundRequest) -> str:
        """Send a request in, as far as HTTP can carry it; say what came of it.

        The answer, the log and the list of refusals must all be as the source's own verdict asks.
        """
        return self._loop.run(self._judged(heard(request)))

    async def _judged(self, request: InboundRequest) -> str:
        before = await self._marks()
        with capture_logs() as lines:
            status, told = await self._sent(request)
        after = await self._marks()
        assert_tells_nothing(self.way, f"{told!r} {lines}")
        verdict = expected(self.way, request)
        if isinstance(verdict, set):
            assert 200 <= status < 300, status
            assert await self._logged(verdict) == len(verdict)
            return ACCEPTED
        assert after == before
        if isinstance(verdict, int):  # answered before anything of it was believed
            assert status == verdict
            return GREETED if status < 300 else f"status {status}"
        assert status == status_of(verdict)
        await self._assert_refused(verdict)
        return verdict.name

    async def _open(self) -> None:
        store = self._service.store
        await store.migrate()
        await store.accounts.ensure(self._service.sinks, now=NOW)

    async def _sent(self, request: InboundRequest) -> tuple[int, bytes]:
        """Return status and body of the answer."""
        answers: list[Message] = []
        body: list[Message] = [{"type": "http.request", "body": request.body}]

        async def receive() -> Message:
            return body.pop() if body else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            answers.append(message)

        await self._app(_scope(request), receive, send)
        start, *rest = answers
        status: int = start["status"]
        return status, b"".join(message.get("body", b"") for message in rest)

    async def _marks(self) -> Marks:
        def read(connection: Connection) -> Marks:
            newest = [select(func.coalesce(func.max(table.c.id), 0)) for table in (requests, events, deliveries)]
            return tuple(connection.execute(one).scalar_one() for one in newest)

        return await self._service.store._database.read(read)

    async def _logged(self, keys: set[str]) -> int:
        """Return how many of the keys are in the log."""
        ours = select(func.count()).where(events.c.source == SOURCE, events.c.dedup_key.in_(sorted(keys)))
        return await self._service.store._database.read(lambda connection: connection.execute(ours).scalar_one())

    async def _assert_refused(self, error: RequestError) -> None:
        """A refusal is kept with its reason, and nothing of the request."""
        refusals = self._service.store.refusals
        await refusals.flush()
        (refusal,) = await refusals.newest(1)
        assert refusal.reason == f"{error.name}: {error.cause}"
        assert refusal.source.isprintable()
        assert_tells_nothing(self.way, repr(refusal))


@contextmanager
def house(way: Crm) -> Iterator[House]:
    """Open a house for as long as the block runs."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        opened = House(way, directory, stack.enter_context(asyncio.Runner()))
        stack.callback(opened.close)
        yield opened


def heard(request: InboundRequest) -> InboundRequest:
    """Return the nearest request that a server would hand on to the web room."""
    wired = as_on_the_wire(request)
    address = wired.url if wired.url.startswith(f"{PUBLIC_URL}/") else URL
    path, mark, query = address.removeprefix(PUBLIC_URL).partition("#")[0].partition("?")
    latin = SAFE + "".join(map(chr, range(0x80, 0x100)))
    target = quote(path, safe=SAFE) + mark + "".join(one if one in latin else quote(one) for one in query)
    method = wired.method if re.fullmatch("[A-Za-z]+", wired.method) else "POST"
    headers = {name: value for name, value in wired.headers.items() if name not in OWN}
    return InboundRequest(method, PUBLIC_URL + target.removesuffix("?"), headers, wired.body)


def expected(way: Crm, request: InboundRequest) -> Verdict:
    """Return what must come of a request, by the source's own word on it."""
    source = source_of(way)
    path = unquote(request.url.removeprefix(PUBLIC_URL).partition("?")[0])
    name = path.removeprefix(PREFIX)
    if path != PATH:
        listed = path.startswith(PREFIX) and name and "/" not in name
        return UnknownSource("no source of that name is configured") if listed else 404
    if len(request.body) > BODY_MAX:
        return TooLarge(f"the body is larger than {BODY_MAX} bytes")
    if (greeting := source.handshake(request)) is not None:
        return greeting.status
    if request.method != "POST":
        return 405
    try:
        source.verify(request, now=NOW)
        return {change.dedup_key for change in source.parse(request)}
    except RequestError as error:
        return error


def _scope(request: InboundRequest) -> Scope:
    """Return a request as a server hands it on; a joined header as the two that it was joined from."""
    path, _, query = request.url.removeprefix(PUBLIC_URL).partition("?")
    lines = [(name, part) for name, value in request.headers.items() for part in value.split(", ", 1)]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": request.method,
        "path": unquote(path),
        "raw_path": path.encode("ascii"),
        "query_string": query.encode("latin-1"),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8000),
        "root_path": "",
    }


def _configuration(way: Crm) -> str:
    source = {
        "preset": way.preset,
        "auth": way.auth(list(way.secrets[:2])),
        "resolve": [{"email": "email"}],
        "mapping": {"first_name": "first_name"},
    }
    parse = {} if way.parse is None else {"parse": dict(way.parse)}
    return json.dumps({"sources": {SOURCE: source | parse}})  # what is JSON is YAML too
