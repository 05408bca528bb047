"""Whether we may read the CRM's present records, where a source reads them back."""

from collections.abc import Callable, Iterable
from datetime import datetime

from service.model import Outcome, OutcomeKind
from service.operations.doctor.finding import Finding, in_words
from service.pipeline import ConfiguredSource
from service.readback.client import ReadBack
from service.retry import HINTS


async def of_read_back(
    sources: Iterable[ConfiguredSource], *, connect_timeout_s: float, clock: Callable[[], datetime]
) -> list[Finding]:
    """Try the credentials of each source that reads back, one after the other."""
    findings: list[Finding] = []
    for configured in sources:
        if configured.reader is not None:
            async with ReadBack(
                configured.reader, fields=configured.needs, connect_timeout_s=connect_timeout_s, clock=clock
            ) as readback:
                findings.append(_told(configured.name, await readback.probe()))
    return findings


def _told(name: str, outcome: Outcome) -> Finding:
    match outcome.kind:
        case OutcomeKind.APPLIED:
            return Finding("read_back", name, "ok", "the credentials work")
        case OutcomeKind.UNCHANGED:
            return Finding("read_back", name, "ok", "not tried: this CRM has no call that only tries credentials")
        case kind:
            return Finding("read_back", name, "fail", in_words(outcome), HINTS[kind])
