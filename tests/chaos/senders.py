"""The CRMs: they send the stream side by side, repeat what was not acknowledged, and keep account of what was."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final

import httpx

from tests.chaos.changes import Change, Sending
from tests.support.webhooks import Webhook

LANES: Final = 6
"""Requests under way at once, copies and repetitions beside them."""
ANSWER_S: Final = 5.0
"""How long a CRM waits for an answer before it sends again."""
TAKEN_S: Final = 60.0
"""How long a change is sent again and again, restarts of the service included."""


class Senders:
    """Every CRM there is. ``acked`` holds each change that was answered with success, in the order of the answers."""

    def __init__(
        self,
        stream: Iterator[Sending],
        *,
        urls: Sequence[str],
        clock: Callable[[], datetime],
        seed: int,
        lanes: int = LANES,
    ) -> None:
        self.acked: list[Change] = []
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._stream = stream
        self._urls = itertools.cycle(urls)
        self._clock = clock
        self._random = random.Random(f"senders {seed}")  # noqa: S311  # repeatable on purpose
        self._lanes = lanes
        self._stopping = False

    async def run(self, seconds: float) -> None:
        """Send for so long; then return once every change that was sent at all was acknowledged."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=self._lanes)
        async with (
            httpx.AsyncClient(trust_env=False, timeout=ANSWER_S, limits=limits) as client,
            asyncio.TaskGroup() as sending,
        ):
            for _ in range(self._lanes):
                sending.create_task(self._lane(client, sending))
            await asyncio.sleep(seconds)
            self._stopping = True

    async def _lane(self, client: httpx.AsyncClient, sending: asyncio.TaskGroup) -> None:
        while not self._stopping:
            one = next(self._stream)
            await asyncio.sleep(one.pause_s)
            webhook = one.sign(self._clock())
            copies = [self._until_taken(client, one, webhook) for _ in range(one.copies)]
            self._account(one, sum(await asyncio.gather(*copies)))
            if one.again_after_s is not None:
                sending.create_task(self._again(client, one, webhook, one.again_after_s))

    async def _again(self, client: httpx.AsyncClient, one: Sending, webhook: Webhook, after_s: float) -> None:
        """Send the very same request though it was acknowledged, as CRMs do that lost the answer."""
        await asyncio.sleep(0 if self._stopping else after_s)
        if await self._until_taken(client, one, webhook):
            self.counts["duplicates acked"] += len(one.changes)

    def _account(self, one: Sending, answers: int) -> None:
        if answers == 0:
            ids = ", ".join(f"{change.source} {change.event_id}" for change in one.changes)
            self.wrong.append(f"not taken within {TAKEN_S:.0f} s: {ids}")
            return
        self.acked.extend(one.changes)
        self.counts["requests acked"] += 1
        self.counts["duplicates acked"] += (answers - 1) * len(one.changes)

    async def _until_taken(self, client: httpx.AsyncClient, one: Sending, webhook: Webhook) -> bool:
        """Send until it is acknowledged; say whether it was. What was sent without an answer may be stored."""
        deadline = asyncio.get_running_loop().time() + TAKEN_S
        while asyncio.get_running_loop().time() < deadline:
            status = await self._send(client, webhook)
            if status is not None and 200 <= status < 300:
                return True
            self.counts["unanswered" if status is None else "turned away"] += 1
            if status not in (None, 503):
                self.wrong.append(f"answered {status}: {one.changes[0].source} {one.changes[0].event_id}")
                return False
            await asyncio.sleep(self._random.uniform(0.05, 0.4))
            webhook = one.sign(self._clock())  # CRMs sign each try anew
        return False

    async def _send(self, client: httpx.AsyncClient, webhook: Webhook) -> int | None:
        """Send once; return the status, None without an answer."""
        url = next(self._urls) + webhook.target
        try:
            answer = await client.post(url, content=webhook.body, headers=webhook.headers)
        except httpx.TransportError:
            return None
        return answer.status_code
