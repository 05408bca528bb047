"""Whether we may read the CRM's present records, where a source reads them back."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from service.model import Outcome, OutcomeKind
from service.operations.doctor.finding import Finding, in_words
from service.pipeline import ConfiguredSource
from service.readback import READERS
from service.readback.client import ReadBack
from service.retry import HINTS
from service.sources.base import Sample


async def of_read_back(
    sources: Iterable[ConfiguredSource], *, connect_timeout_s: float, clock: Callable[[], datetime]
) -> list[Finding]:
    """Try the credentials of each source that reads back, one after the other; name those that need to and do not."""
    findings: list[Finding] = []
    for configured in sources:
        if configured.reader is None:
            findings += _without(configured, clock())
        else:
            async with ReadBack(
                configured.reader, fields=configured.needs, connect_timeout_s=connect_timeout_s, clock=clock
            ) as readback:
                findings.append(_told(configured.name, await readback.probe()))
    return findings


def _without(configured: ConfiguredSource, now: datetime) -> Iterator[Finding]:
    """Yield a warning where the CRM's events say nothing by themselves: a sample of them holds no value."""
    source = configured.source
    if source.preset not in READERS:
        return
    sample = Sample("4711", "doctor", now, {"first_name": "Amara", "title": "VP Finance"})
    made = source.sample(sample, url=f"https://doctor.invalid/webhooks/{configured.name}", now=now)
    if not any(change.values for change in source.parse(made)):
        hint = "set `read_back` in the source, or nothing that it tells of reaches ChartMogul"
        yield Finding("read_back", configured.name, "warn", "not set, and this CRM's events carry no values", hint)


def _told(name: str, outcome: Outcome) -> Finding:
    match outcome.kind:
        case OutcomeKind.APPLIED:
            return Finding("read_back", name, "ok", "the credentials work")
        case OutcomeKind.UNCHANGED:
            return Finding("read_back", name, "ok", "not tried: this CRM has no call that only tries credentials")
        case kind:
            return Finding("read_back", name, "fail", in_words(outcome), HINTS[kind])
