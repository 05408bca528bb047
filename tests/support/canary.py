"""A person with a value that is found wherever anything of theirs is kept."""

from typing import Final

from service.model import Carried, Confirmed, Link
from service.schema import metadata
from service.store import Store
from tests.support.clock import Clock
from tests.support.log import ADA, PERSON, SOURCE, change, claim_one, finish, hold, pending_ids, receive, rows

CANARY: Final = "canary-7b1e"
EMAIL: Final = f"{CANARY}@northwind.example"


async def delivered(
    store: Store,
    clock: Clock,
    key: str,
    person: str = PERSON,
    *,
    source: str = SOURCE,
    uuid: str = ADA,
    value: str = CANARY,
    linked: bool = True,
) -> None:
    """Let a change of a person be delivered to a contact, as the pipeline does."""
    await receive(store, clock, change(key, person, values={"title": value}), source=source)
    delivery = await claim_one(store, clock)
    assert await hold(store, clock, delivery, uuid=uuid, carrying={"title": Carried(value, (1, 1))}) is not None
    (event_id,) = await pending_ids(store, delivery)
    confirmed = {"title": Confirmed(value, (1_000, event_id), event_id, clock(), rule="job_title | trim")}
    link = Link(uuid, "email in emails[?primary].value") if linked else None
    email = f"{value}@northwind.example"
    assert await finish(store, clock, delivery, uuid=uuid, confirmed=confirmed, email=email, link=link)


async def holds_canary(store: Store) -> list[str]:
    """The columns of the log, anywhere, that hold the canary."""
    found: set[str] = set()
    for table in metadata.sorted_tables:
        for row in await rows(store, table):
            for name, value in row.items():
                text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
                if CANARY in text:
                    found.add(f"{table.name}.{name}")
    return sorted(found)
