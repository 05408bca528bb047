"""Any other CRM: how it proves itself and where in its body things stand are both written in the configuration.

Signs: as ``auth.verify`` says, by HMAC with every knob that is seen in the field, by Standard Webhooks
(https://www.standardwebhooks.com), with a private key of its own, by a JSON Web Token, by a shared token or by HTTP
Basic. Only schemes that sign a time refuse replays; for the others the dedup key does. A CRM that asks for an answer
before it sends anything gets one where ``parse.challenge`` says so.
Batches: one event a request, or a list at ``parse.events``; a body that is itself a list is a list of events. A request
that tells one thing of many records, or many things of one, is split by the list at ``parse.split``.
Orders: by ``parse.occurred_at`` where there is one, else by arrival.
Repeats: the dedup key is ``parse.event_id``; without it the message id of Standard Webhooks; either with the event's
place in the list where events share it; without both the SHA-256 of the event as canonical JSON. The last cannot tell a
repetition from a second event with the very same content, such as a field set to A, to B and to A again without any
time in the body: give ``event_id`` where the CRM has one.

Creations and updates are delivered, and so are events without an action. Deletions, merges, restorations, words that
are none of these, and records that are not contacts are logged and ignored, each with its reason.
"""

import re
from datetime import datetime
from typing import Annotated, ClassVar, Final

from pydantic import Field

from service.errors import ParseError
from service.model import Change, InboundRequest, Reply
from service.sources.base import Sample, Source, Strict, within_limits
from service.sources.generic.asymmetric import Asymmetric
from service.sources.generic.bodies import read_body, write_body
from service.sources.generic.jwts import Jwt
from service.sources.generic.reading import Parse, Reader
from service.sources.generic.schemes import Basic, Hmac, Proof, StandardWebhooks
from service.sources.generic.tokens import Token

__all__ = ["GenericAuth", "GenericSource", "Parse"]

_CREDENTIAL: Final = re.compile(r"token|secret|password|api-?key")
_CONTENT_TYPES = {"json": "application/json", "form": "application/x-www-form-urlencoded"}


class GenericAuth(Strict):
    """How the sender is proved."""

    verify: Annotated[Hmac | StandardWebhooks | Asymmetric | Jwt | Token | Basic, Field(discriminator="scheme")]


class GenericSource(Source[GenericAuth]):
    """A CRM described by configuration: ``auth.verify`` proves the sender, ``parse`` says where things stand."""

    preset: ClassVar[str] = "generic"
    Auth: ClassVar[type[Strict]] = GenericAuth
    Parse: ClassVar[type[Strict] | None] = Parse
    leaves_out_empty: ClassVar[bool] = True

    def __init__(self, name: str, auth: GenericAuth | None, parse: Strict | None = None) -> None:
        super().__init__(name, auth, parse)
        if not isinstance(parse, Parse):
            raise TypeError("a generic source needs its parse configuration")
        self._format = parse.format
        self._challenge = parse.challenge
        self._reader = Reader(parse)
        self._proof: Proof | None = None if auth is None else auth.verify.proof(parse.format)

    @property
    def signs_url(self) -> bool:
        """Say whether the signed text has the address in it."""
        return self.auth is not None and "{url}" in getattr(self.auth.verify, "template", "")

    def verify(self, request: InboundRequest, *, now: datetime) -> None:
        """Return only if the configured proof holds; else raise VerificationError and nothing else."""
        if self._proof is not None:
            self._proof.verify(request, now=now)

    def parse(self, request: InboundRequest) -> tuple[Change, ...]:
        """Read the changes of a request as configured; raise ParseError or TooLarge, nothing else."""
        document = read_body(request.body, self._format)
        message_id = None
        if self._proof is not None:
            document = self._proof.strip(document)
            message_id = self._proof.message_id(request)
        return within_limits(self._reader.read(document, message_id=message_id), len(request.body))

    def redact(self, request: InboundRequest) -> InboundRequest:
        """Take out the token wherever it was, and headers that any CRM may keep a credential in.

        A body that cannot be read goes with them.
        """
        told = {name: value for name, value in request.headers.items() if not _CREDENTIAL.search(name)}
        bare = InboundRequest(request.method, request.url, told, request.body)
        try:
            return super().redact(bare if self._proof is None else self._proof.redact(bare))
        except ParseError:
            return super().redact(InboundRequest(request.method, request.url, told, b""))

    def handshake(self, request: InboundRequest) -> Reply | None:
        """Give a challenge back where ``parse`` expects one; None for any other request, and nothing is raised."""
        return None if self._challenge is None else self._challenge.answer(request, self._format)

    def sample(self, sample: Sample, *, url: str, now: datetime) -> InboundRequest:
        """Make a request with the sample change where ``parse`` looks for it, proved as ``auth.verify`` asks.

        Raises NotFound where only the CRM could sign it.
        """
        body = write_body(self._reader.document(sample), self._format)
        request = InboundRequest("POST", url, {"content-type": _CONTENT_TYPES[self._format]}, body)
        return request if self._proof is None else self._proof.sign(request, now=now, message_id=sample.event_id)
