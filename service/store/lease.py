"""Whether a claim still stands, and what it is about."""

from typing import Any, Final

from sqlalchemy import and_, bindparam

from service.model import Delivery, DeliveryState, EventState
from service.schema import deliveries, events


def held(delivery: Delivery) -> tuple[Any, ...]:
    """Select a delivery if its lease is still the one that was claimed."""
    return (
        deliveries.c.id == delivery.id,
        deliveries.c.state == DeliveryState.LEASED.value,
        deliveries.c.fence == delivery.fence,
    )


HELD: Final = and_(
    deliveries.c.id == bindparam("lease_id"),
    deliveries.c.state == DeliveryState.LEASED.value,
    deliveries.c.fence == bindparam("lease_fence"),
)
"""The same for statements that are built once; ``lease`` gives its parameters."""


def lease(delivery: Delivery) -> dict[str, Any]:
    """Name the lease that ``HELD`` asks for."""
    return {"lease_id": delivery.id, "lease_fence": delivery.fence}


PENDING: Final = and_(
    events.c.source == bindparam("pending_source"),
    events.c.object_id == bindparam("pending_object_id"),
    events.c.state == EventState.PENDING.value,
)
"""The events that a delivery is about; ``pending_of`` gives the parameters."""


def pending_of(delivery: Delivery) -> dict[str, Any]:
    """Name the record whose events ``PENDING`` asks for."""
    return {"pending_source": delivery.source, "pending_object_id": delivery.object_id}
