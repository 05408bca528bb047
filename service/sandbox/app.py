"""The ASGI app: one request's way past the limits, the faults and the latency to the API, and what is noted of it."""

import asyncio
import random
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from service.sandbox.access import Keys
from service.sandbox.answers import Answer, error
from service.sandbox.api import Api, Call
from service.sandbox.clock import Clock
from service.sandbox.contacts import Contacts
from service.sandbox.control import control_app
from service.sandbox.customers import Customers
from service.sandbox.default_seed import DEFAULT_SEED
from service.sandbox.effects import Receive, Send, Wire, strike
from service.sandbox.faults import Faults
from service.sandbox.journal import KEPT_MAX, Entry, Journal
from service.sandbox.late import Late
from service.sandbox.limits import Gate
from service.sandbox.seed import Seed
from service.sandbox.settings import Settings

if TYPE_CHECKING:
    from starlette.applications import Starlette

BODY_MAX_BYTES: Final = 1024 * 1024
CONTROL_PREFIX: Final = "/_sandbox"

_WITH_BODY: Final = frozenset({"POST", "PATCH", "PUT"})
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def create_app(
    seed: Seed | None = None,
    settings: Settings | None = None,
    *,
    keys: Keys | None = None,
    clock: Clock | None = None,
    requests_kept_max: int = KEPT_MAX,
) -> "Sandbox":
    """The sandbox as an ASGI app. Without a seed it starts with DEFAULT_SEED, without keys it takes nearly any."""
    return Sandbox(
        DEFAULT_SEED if seed is None else seed,
        Settings() if settings is None else settings,
        keys=Keys() if keys is None else keys,
        clock=Clock() if clock is None else clock,
        requests_kept_max=requests_kept_max,
    )


class Sandbox:
    """One account with its contacts, limits, faults and journal.

    ``contacts``, ``faults``, ``journal`` and ``settings`` may be read and used from the thread of the event loop.
    """

    def __init__(self, seed: Seed, settings: Settings, *, keys: Keys, clock: Clock, requests_kept_max: int) -> None:
        self._seed = seed
        self._keys = keys
        self._clock = clock
        self.first_settings = settings
        self.settings = settings
        self.faults = Faults()
        self.journal = Journal(clock, kept_max=requests_kept_max)
        self._gate = Gate(settings)
        self._random = random.Random(0)  # noqa: S311  # jitter needs no secrecy
        self._released = asyncio.Event()
        self._late = Late(clock)
        self._control: Starlette = control_app(self)
        self.load(seed)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """ASGI. Only HTTP is served; uvicorn is told so (``lifespan="off"``)."""
        if scope["path"].startswith(CONTROL_PREFIX):
            await self._control(dict(scope), receive, send)
        else:
            await self._serve(scope, receive, send)

    def load(self, seed: Seed) -> None:
        """Another account: contacts and customers as in the seed. Faults, settings and journal stay."""
        self.contacts = Contacts(seed, self._clock)
        self._api = Api(self.contacts, Customers(seed, self.contacts), self._keys)

    def configure(self, settings: Settings) -> None:
        """Other settings from the next request on; the limits' buckets are full again."""
        self.settings = settings
        self._gate.set(settings)

    def clear_faults(self) -> None:
        """Switches all faults off and ends every silence: what was to land late is applied, connections are closed."""
        self.faults.clear()
        self._late.let_go()
        self._released.set()
        self._released = asyncio.Event()

    def reset(self) -> None:
        """Everything as at the start: seed, settings, no faults, an empty journal."""
        self.clear_faults()
        self.configure(self.first_settings)
        self.load(self._seed)
        self.journal.reset()

    async def _serve(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        method, path, query = scope["method"], scope["path"], scope["query_string"]
        entry = self.journal.open(method, f"{path}?{query.decode('latin-1')}" if query else path)
        refusal = self._gate.enter(entry.started)
        self.journal.entered(entry, self._gate.in_flight)
        try:
            body = await _read(receive) if method in _WITH_BODY else b""
            if body is not None:
                entry.body = body[:BODY_MAX_BYTES]
                call = Call(method, path, query, _authorization(scope["headers"]), body)
                entry.status = await self._answer(
                    call, entry, refusal, Wire(receive, send, self._clock, self._released)
                )
        finally:
            self._gate.leave(spent_s=self.journal.close(entry))

    async def _answer(self, call: Call, entry: Entry, refusal: Answer | None, wire: Wire) -> int | None:
        """What the client was sent, None where it got no whole answer."""
        if refusal is None and len(call.body) > BODY_MAX_BYTES:
            refusal = error(413, "The request body is too large")
        if refusal is None:
            fault = self.faults.pick(call.method, call.path) if self.faults else None
            if self.settings.latency_ms or self.settings.latency_jitter_ms:
                jitter_ms = self.settings.latency_jitter_ms * self._random.random()
                await self._clock.sleep((self.settings.latency_ms + jitter_ms) / 1000)
            if fault is not None:
                entry.fault = fault.kind.value
                apply = partial(self._apply, call, entry)
                return await strike(fault, apply, wire, clock=self._clock, late=self._late)
        answer = self._apply(call, entry) if refusal is None else refusal
        await wire.answer(answer)
        return answer.status

    def _apply(self, call: Call, entry: Entry) -> Answer:
        answer = self._api.respond(call, self.settings.switches)
        if answer.is_success and call.method not in _SAFE:
            self.journal.apply(entry)
        return answer


async def _read(receive: Receive) -> bytes | None:
    """The body, up to one chunk past the limit; None when the client left before it was whole."""
    whole = bytearray()
    while True:
        part = await receive()
        if part["type"] == "http.disconnect":
            return None
        whole += part.get("body", b"")
        if not part.get("more_body", False) or len(whole) > BODY_MAX_BYTES:
            return bytes(whole)


def _authorization(headers: list[tuple[bytes, bytes]]) -> bytes | None:
    for name, value in headers:
        if name == b"authorization":
            return value
    return None
