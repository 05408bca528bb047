"""What the three CRMs of the demo send: honest changes, and what real senders do to them on the way."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from service.model import InboundRequest, Record
from service.operations.sample import sample_request
from service.pipeline import ConfiguredSource

GRACE: Final = {"first_name": "Grace", "last_name": "Okafor", "email": "Grace.Okafor@harbour-analytics.example"}
JUERGEN: Final = {"email": "j.brandt@nordwind-logistik.example"}
ANA: Final = {"first_name": "Ana", "last_name": "Ferreira", "email": "ana.ferreira@kite-and-co.example"}
BURST: Final = 20

EXPECTED: Final[Mapping[str, Record]] = {
    "grace.okafor@harbour-analytics.example": {"title": "Chief Executive Officer", "phone": "+442079460099"},
    "j.brandt@nordwind-logistik.example": {
        "title": f"Draft {BURST}",
        "phone": "+493012345678",
        "custom.Region": "DACH",
    },
    "ana.ferreira@kite-and-co.example": {"title": "Head of Finance", "custom.Newsletter": True},
}
"""What ChartMogul must hold at the end, by email."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One request of a CRM: what it stands for, and the status that it must be answered with."""

    caption: str
    request: InboundRequest
    status: int = 200


def scenes(sources: Mapping[str, ConfiguredSource], *, url: str, now: datetime) -> Iterator[Scene]:
    """Tell the story, as of ``now``."""
    yield from _pipedrive(sources["pipedrive"], url, now)
    yield from _hubspot(sources["hubspot"], url, now)
    yield from _shop(sources["shop"], url, now)


def _pipedrive(source: ConfiguredSource, url: str, now: datetime) -> Iterator[Scene]:
    def person(event_id: str, age_s: int, **fields: str) -> InboundRequest:
        return sample_request(
            source,
            public_url=url,
            now=now,
            object_id="101",
            event_id=event_id,
            at=now - timedelta(seconds=age_s),
            fields={**GRACE, **fields},
        )

    promoted = person("pd-1", 60, title="Chief Operating Officer", phone="020 7946 0018")
    yield Scene("Grace is promoted", promoted)
    yield Scene("the same webhook again", promoted)
    yield Scene(
        "she moves up: new title and phone", person("pd-3", 20, title="Chief Executive Officer", phone="020 7946 0099")
    )
    yield Scene("a webhook from in between, late", person("pd-2", 40, title="Interim CEO", phone="020 7946 0050"))
    forged = replace(promoted, headers={**promoted.headers, "authorization": "Basic Y3JtOmd1ZXNzZWQ="})
    yield Scene("somebody who guesses the password", forged, 401)
    stranger = sample_request(
        source,
        public_url=url,
        now=now,
        object_id="102",
        event_id="pd-4",
        fields={"first_name": "Nobody", "last_name": "Known", "email": "nobody@elsewhere.example"},
    )
    yield Scene("a person whom ChartMogul does not know", stranger)


def _hubspot(source: ConfiguredSource, url: str, now: datetime) -> Iterator[Scene]:
    first = {**JUERGEN, "phone": "030 12345678", "title": "Draft 0", "region": "dach"}
    yield Scene(
        "Jürgen: four properties in one batch",
        sample_request(source, public_url=url, now=now, object_id="201", event_id="7000", fields=first),
    )
    for number in range(1, BURST + 1):
        yield Scene(
            f"somebody types his title, save {number} of {BURST}",
            sample_request(
                source,
                public_url=url,
                now=now,
                object_id="201",
                event_id=str(7000 + 10 * number),
                at=now + timedelta(milliseconds=number),
                fields={"title": f"Draft {number}"},
            ),
        )


def _shop(source: ConfiguredSource, url: str, now: datetime) -> Iterator[Scene]:
    fields = {**ANA, "title": "Head of Finance", "newsletter": "yes", "favourite_colour": "teal"}
    yield Scene(
        "Ana, with an attribute that ChartMogul does not know",
        sample_request(source, public_url=url, now=now, object_id="u-301", event_id="evt-1", fields=fields),
    )
