"""Which changes are let in: what a source calls ignored, and what its configuration says beyond that; pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from service.model import Action, Change
from service.sources.base import IGNORED


@dataclass(frozen=True, slots=True)
class Admission:
    """What becomes of changes by their origin, their actor and their action.

    ``origins`` and ``actors`` are in lower case. ``deletions`` says that deletions have something to tell ChartMogul.
    """

    origins: frozenset[str] = frozenset()
    actors: frozenset[str] = frozenset()
    deletions: bool = False

    def admit(self, changes: Sequence[Change]) -> tuple[Change, ...]:
        """Return the changes, each ignored with its reason or owed to somebody.

        Privacy deletions are always owed: what is kept of the person must be erased. So is every word of a merge: links
        must follow.
        """
        return tuple(self._admit(change) for change in changes)

    def _admit(self, change: Change) -> Change:
        if change.ignored is not None:
            owed = change.ignored == IGNORED.get(change.action) and self._concerns(change)
            return replace(change, ignored=None) if owed else change
        if self.origins and change.origin is not None and change.origin.casefold() in self.origins:
            return replace(change, ignored=f"origin {change.origin} is ignored by the configuration")
        if self.actors and change.actor is not None and change.actor.casefold() in self.actors:
            return replace(change, ignored=f"actor {change.actor} is ignored by the configuration")
        return change

    def _concerns(self, change: Change) -> bool:
        match change.action:
            case Action.PRIVACY_DELETED:
                return True
            case Action.DELETED:
                return self.deletions or change.merged_into is not None
            case Action.MERGED:
                return bool(change.merged_from)
            case _:
                return False


EVERYTHING: Final = Admission()
"""Nothing is said beyond what a source calls ignored."""
