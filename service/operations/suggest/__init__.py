"""A mapping proposed from what a source has sent: the best path of each field, with what it rests on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from service.errors import NotFound
from service.model import Json
from service.operations.credentials import secrets_of
from service.operations.suggest.proposal import Proposals, propose
from service.operations.suggest.survey import Survey
from service.operations.suggest.written import Written
from service.pipeline import ConfiguredSource
from service.store.history import History

__all__ = ["Suggestion", "suggest"]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What is proposed, what it rests on, and the text of it as a configuration file that loads as it is."""

    survey: Survey
    proposals: Proposals
    received: tuple[datetime, datetime]
    text: str


async def suggest(
    history: History,
    configured: ConfiguredSource,
    *,
    last: int,
    entry: Mapping[str, Json],
    define: Json,
    progress: Callable[[int], None],
) -> Suggestion:
    """Look at the newest changes of a source and propose its mapping; NotFound where none of them says anything.

    ``entry`` and ``define`` are what stands of the source, and under ``define``, in the configuration file. No personal
    value is in what comes back, nor is a secret.
    """
    survey, times, before = Survey(), list[datetime](), None
    stretch = await history.newest(last, source=configured.name)
    looked_at = 0
    while batch := await history.batch_back(stretch, before=before):
        for logged in batch:
            if logged.change is not None and logged.change.values and logged.ignored is None:
                survey.add(logged.change)
                times = [min([logged.received_at, *times]), max([logged.received_at, *times])]
        before, looked_at = batch[-1].id, looked_at + len(batch)
        progress(looked_at)
    proposals = propose(survey)
    if not (proposals.standard or proposals.custom):
        hint = "its events carry no values of their own" if looked_at else "let it send some changes first"
        raise NotFound(f"no logged change of {configured.name} says anything of its record", hint=hint)
    received = (times[0], times[-1])
    reader = configured.reader
    secrets = frozenset(secrets_of([configured.source.auth, None if reader is None else reader.spec]))
    text = Written(configured.name, entry, define, secrets).text(survey, proposals, received)
    return Suggestion(survey, proposals, received, text)
