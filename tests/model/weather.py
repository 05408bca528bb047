"""What may go wrong with one call to ChartMogul, and which of it leaves a PATCH that nobody knows the fate of."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from service.sandbox import Fault, FaultKind


@dataclass(frozen=True, slots=True)
class Weather:
    """A fault for one call. ``lands`` lets a PATCH that was not applied be applied later, as long as it may."""

    fault: Fault
    lands: bool = False


def _status(status: int, *, applied: bool = False, html: bool = False, retry_after_s: int | None = None) -> Fault:
    plain = Fault(kind=FaultKind.STATUS, status=status, applied=applied, retry_after_s=retry_after_s)
    return replace(plain, body="html") if html else plain


RETRY_FOR: Final = timedelta(hours=72)
"""How long a delivery is tried that only fails."""
FAIR: Final = "fair"
"""Nothing goes wrong."""
CALLS: Final = {
    "429": Weather(_status(429)),
    "429 for 3 s": Weather(_status(429, retry_after_s=3)),
    "429 for 90 s": Weather(_status(429, retry_after_s=90)),
    "401": Weather(_status(401)),
    "404": Weather(_status(404)),
    "404 of a gateway": Weather(_status(404, html=True)),
    "408": Weather(_status(408)),
    "422": Weather(_status(422)),
    "500": Weather(_status(500)),
    "500, applied": Weather(_status(500, applied=True)),
    "502, lands late": Weather(_status(502, html=True), lands=True),
    "503": Weather(_status(503)),
    "503, applied": Weather(_status(503, applied=True)),
    "504, applied": Weather(_status(504, html=True, applied=True)),
    "garbage": Weather(Fault(kind=FaultKind.GARBAGE)),
    "garbage, applied": Weather(Fault(kind=FaultKind.GARBAGE, applied=True)),
    "reset": Weather(Fault(kind=FaultKind.RESET_BEFORE)),
    "reset, applied": Weather(Fault(kind=FaultKind.RESET_AFTER)),
    "closed, lands late": Weather(Fault(kind=FaultKind.CLOSE_BEFORE), lands=True),
    "closed, applied": Weather(Fault(kind=FaultKind.CLOSE_AFTER)),
    "cut short": Weather(Fault(kind=FaultKind.TRUNCATED_JSON)),
}
"""Each answers at once: a call that times out and lands late is one that was closed, and lands late."""
