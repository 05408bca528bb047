"""Which changes are let in: what a source calls ignored, and what its configuration says beyond that; pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from service.model import Action, Change
from service.sources.base import IGNORED

UNWANTED: Final = "is ignored by the configuration"
"""How a reason ends that is the configuration's and not the source's own."""


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

        Privacy deletions are always owed, whoever made them: what is kept of the person must be erased. So is every
        word of a merge: links must follow.
        """
        return tuple(self._admit(change) for change in changes)

    def _admit(self, change: Change) -> Change:
        if change.ignored not in {None, IGNORED.get(change.action)}:
            return change
        if _must_be_told(change):
            return replace(change, ignored=None)
        if (reason := self._unwanted(change)) is not None:
            return replace(change, ignored=reason)
        return replace(change, ignored=None) if self.deletions and change.action is Action.DELETED else change

    def _unwanted(self, change: Change) -> str | None:
        if change.origin is not None and change.origin.casefold() in self.origins:
            return f"origin {change.origin} {UNWANTED}"
        if change.actor is not None and change.actor.casefold() in self.actors:
            return f"actor {change.actor} {UNWANTED}"
        return None


def _must_be_told(change: Change) -> bool:
    return change.action is Action.PRIVACY_DELETED or bool(change.merged_from) or change.merged_into is not None


EVERYTHING: Final = Admission()
"""Nothing is said beyond what a source calls ignored."""
