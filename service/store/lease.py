"""Whether a claim still stands, and what it is about."""

from typing import Any, Final

from sqlalchemy import and_, bindparam, literal_column, select

from service.model import Delivery, DeliveryState, EventState
from service.schema import contacts, deliveries, events, links

HELD: Final = and_(
    deliveries.c.id == bindparam("lease_id"),
    deliveries.c.state == DeliveryState.LEASED.value,
    deliveries.c.fence == bindparam("lease_fence"),
)
"""A delivery whose lease is still the one that was claimed; ``lease`` gives the parameters."""


def lease(delivery: Delivery) -> dict[str, Any]:
    """Name the lease that ``HELD`` asks for."""
    return {"lease_id": delivery.id, "lease_fence": delivery.fence}


IS_PENDING: Final = events.c.state == literal_column(f"'{EventState.PENDING.value}'")
"""Written out: SQLite compiles a statement anew each time that a parameter is compared with what an index is of."""
PENDING: Final = and_(
    events.c.source == bindparam("pending_source"), events.c.object_id == bindparam("pending_object_id"), IS_PENDING
)
"""The events that a delivery is about; ``pending_of`` gives the parameters."""


def pending_of(delivery: Delivery) -> dict[str, Any]:
    """Name the record whose events ``PENDING`` asks for."""
    return {"pending_source": delivery.source, "pending_object_id": delivery.object_id}


LINKED: Final = (
    select(links.c.contact_uuid, links.c.found_by, contacts.c.doubts.is_not(None))
    .select_from(
        links.outerjoin(contacts, and_(contacts.c.account == links.c.account, contacts.c.uuid == links.c.contact_uuid))
    )
    .where(links.c.source == bindparam("link_source"), links.c.object_id == bindparam("link_object_id"))
)
"""The contact that a delivery's record is linked to, how it was found, and whether it is in doubt; ``link_of`` names
the record.
"""


def link_of(delivery: Delivery) -> dict[str, Any]:
    """Name the record whose link ``LINKED`` asks for."""
    return {"link_source": delivery.source, "link_object_id": delivery.object_id}
