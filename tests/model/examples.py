"""How plain examples begin: what more than one of them needs."""

from typing import Final

from tests.model.acts import Act, Deliver, Reclaim, Tell, Wait, WaitUntilDue
from tests.model.tries import Seam

PIPEDRIVE, HUBSPOT = 0, 1
"""The same person in two CRMs."""

OLDER_MAY_LAND: Final[tuple[Act, ...]] = (
    Tell(PIPEDRIVE, {"title": "A"}, age_s=1),
    Deliver("closed, lands late"),
    Tell(PIPEDRIVE, {"title": "B"}),
    WaitUntilDue(),
    Deliver(),
)
"""B is there, and A, of which nothing was heard, may yet come over it: B is to be sent once more."""
SLOW_OWNER: Final[tuple[Act, ...]] = (
    Tell(PIPEDRIVE, {"title": "A"}, age_s=1),
    Deliver(until=Seam.SENDING),
    Wait("a lease"),
    Reclaim(),
)
"""Whoever is about to send A has lost the lease, and does not know."""
