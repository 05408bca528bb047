"""Whether a claim still stands."""

from typing import Any

from service.model import Delivery, DeliveryState
from service.schema import deliveries


def held(delivery: Delivery) -> tuple[Any, ...]:
    """Select a delivery if its lease is still the one that was claimed."""
    return (
        deliveries.c.id == delivery.id,
        deliveries.c.state == DeliveryState.LEASED.value,
        deliveries.c.fence == delivery.fence,
    )
