"""Past configurations: what a version made of a source's changes is kept from its first use on."""

import asyncio
from typing import Final

import pytest

from service.model import Record
from service.schema import configurations
from service.store import Store
from tests.support.clock import Clock
from tests.support.log import rows

pytestmark = pytest.mark.anyio

VERSION: Final = "9f2c1ab04d7e"
RULES: Final[dict[str, Record]] = {
    "pipedrive": {"mapping": {"title": {"from": "job_title", "transform": ["trim", {"e164": "GB"}]}}},
    "hubspot": {"mapping": {"title": "jobtitle"}, "when": {"field": "lifecycle", "in": ["Lead", "Kunde ß"]}},
}


async def test_a_source_s_rules_come_back_as_they_were_written(store: Store, clock: Clock) -> None:
    await store.configurations.keep(VERSION, RULES, now=clock())
    for source, rules in RULES.items():
        assert await store.configurations.rules(VERSION, source) == rules


async def test_a_version_or_a_source_that_was_never_used_has_no_rules(store: Store, clock: Clock) -> None:
    await store.configurations.keep(VERSION, RULES, now=clock())
    assert await store.configurations.rules(VERSION, "attio") is None
    assert await store.configurations.rules("0c6d1b7e4f52", "pipedrive") is None


async def test_a_version_is_kept_once_however_many_replicas_start_with_it(
    store: Store, other_store: Store, clock: Clock
) -> None:
    """A version names its content, so whoever comes second has nothing else to say."""
    first_used_at = clock()
    await store.configurations.keep(VERSION, RULES, now=clock())
    clock.advance(60)
    await asyncio.gather(*(one.configurations.keep(VERSION, {}, now=clock()) for one in (store, other_store) * 3))
    (row,) = await rows(store, configurations)
    assert row["first_used_at"] == first_used_at
    assert await other_store.configurations.rules(VERSION, "hubspot") == RULES["hubspot"]
