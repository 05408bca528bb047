"""What must be true in the end, computed from what was acknowledged alone; it shares no line with the service."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from service.model import Json

Order = tuple[int, int]
"""The sender's clock in microseconds, or the time of arrival where it has none; then the number of the arrival."""


@dataclass(frozen=True, slots=True)
class Told:
    """One acknowledged change: who told it, of which contact, how it is ordered, and what it says (None clears)."""

    source: str
    key: str
    object_id: str
    contact: str
    order: Order
    fields: Mapping[str, Json]

    @property
    def name(self) -> tuple[str, str]:
        """What it is found by in the log."""
        return (self.source, self.key)


@dataclass(slots=True)
class Truth:
    """Every acknowledged change, in the order of arrival."""

    told: list[Told] = field(default_factory=list)

    def about(self, contact: str, name: str) -> list[Told]:
        """Return the changes of one field of one contact, the newest first."""
        found = [one for one in self.told if one.contact == contact and name in one.fields]
        return sorted(found, key=lambda one: one.order, reverse=True)

    def allowed(self, contact: str, name: str, *, dead: Collection[tuple[str, str]]) -> list[Json]:
        """Return what a field may hold once all that is not dead has gone through.

        That is the newest living value, or none as at first. What became of the dead is not known: one that is newer
        may have been sent before it died, and stand there. One that is older may not.
        """
        values: list[Json] = []
        for one in self.about(contact, name):
            values.append(one.fields[name])
            if one.name not in dead:
                return values
        return [*values, None]

    def since(self, contact: str, name: str, order: Order) -> list[Json]:
        """Return the values of the changes that are as new as an order, or newer."""
        return [one.fields[name] for one in self.about(contact, name) if one.order >= order]


def same(one: Json, other: Json) -> bool:
    """Say whether a contact that holds the one is as good as one that holds the other: blank is null."""
    return (None if one == "" else one) == (None if other == "" else other)
