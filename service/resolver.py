"""Which ChartMogul contact is this CRM contact? The payload's uuid, the link table, then a search, as configured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, assert_never

from service.chartmogul import ChartMogul, is_contact_uuid
from service.errors import DeliveryError
from service.model import Change, Link, Outcome, OutcomeKind, Record
from service.paths import Path, heads

EMAILS_MAX: Final = 4
"""Emails searched for one contact: the current one and some that it had before."""
TEXT_MAX: Final = 320
"""Characters of an email or a customer's id; a longer text is neither."""


class OnUnknown(StrEnum):
    """What becomes of a change whose contact ChartMogul does not know."""

    DEAD_LETTER = "dead_letter"
    SKIP = "skip"


class OnAmbiguous(StrEnum):
    """What becomes of a change that fits several ChartMogul contacts."""

    DEAD_LETTER = "dead_letter"
    FIRST = "first"


@dataclass(frozen=True, slots=True)
class ByLink:
    """The contact that an earlier change of this record was delivered to."""


@dataclass(frozen=True, slots=True)
class ByUuid:
    """The ``con_`` uuid that the record itself carries."""

    uuid: Path


@dataclass(frozen=True, slots=True)
class ByEmail:
    """The contact with the record's email, else with the email it had before."""

    email: Path


@dataclass(frozen=True, slots=True)
class ByCustomer:
    """The contact with the record's email among those of one customer."""

    customer_external_id: Path
    email: Path


ResolveStep = ByLink | ByUuid | ByEmail | ByCustomer


def needed_by(step: ResolveStep) -> frozenset[str]:
    """Return the record's fields that a step reads."""
    match step:
        case ByLink():
            return frozenset()
        case ByUuid(uuid):
            return heads((uuid,))
        case ByEmail(email):
            return heads((email,))
        case ByCustomer(customer, email):
            return heads((customer, email))
        case _:
            assert_never(step)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The contact that was found: how, and as it stands in ChartMogul where it was read on the way."""

    link: Link
    fresh: Record | None = None


class Resolver:
    """Goes through a source's steps in order, until one names a contact."""

    def __init__(self, sinks: Mapping[str, ChartMogul]) -> None:
        self._sinks = sinks

    async def resolve(
        self,
        steps: Sequence[ResolveStep],
        changes: Sequence[Change],
        *,
        account: str,
        link: Link | None,
        on_ambiguous: OnAmbiguous,
    ) -> Resolved:
        """Return the contact that the changes (newest first) are about.

        Raises DeliveryError with CONTACT_UNKNOWN or CONTACT_AMBIGUOUS, or with the outcome that stopped the search.
        """
        for step in steps:
            match step:
                case ByLink():
                    found = None if link is None else Resolved(link)
                case ByUuid(path):
                    found = _by_uuid(path, changes)
                case ByEmail(path):
                    found = await self._search(account, path, changes, {}, on_ambiguous)
                case ByCustomer(customer, path):
                    known = _texts(customer, changes)[:1]
                    filters = {"customer_external_id": known[0]} if known else None
                    found = await self._search(account, path, changes, filters, on_ambiguous)
                case _:
                    assert_never(step)
            if found is not None:
                return found
        tried = ", ".join(_name(step) for step in steps)
        raise DeliveryError(Outcome(OutcomeKind.CONTACT_UNKNOWN, detail=f"no contact by {tried}"))

    async def _search(
        self,
        account: str,
        path: Path,
        changes: Sequence[Change],
        filters: Mapping[str, str] | None,
        on_ambiguous: OnAmbiguous,
    ) -> Resolved | None:
        """Search by the current email, then by those before it; not at all without the filters that must go with it."""
        for email in _texts(path, changes)[:EMAILS_MAX] if filters is not None else ():
            answer = await self._sinks[account].search({**(filters or {}), "email": email})
            if answer.failure is not None:
                raise DeliveryError(answer.failure)
            # How the filters compare is not documented, so it is compared here.
            fits = [contact for contact in answer.contacts if _fits(contact, email, filters or {})]
            if len(fits) > 1 and on_ambiguous is OnAmbiguous.DEAD_LETTER:
                detail = f"{len(fits)} contacts have the email in {path.text}"
                raise DeliveryError(Outcome(OutcomeKind.CONTACT_AMBIGUOUS, detail=detail))
            if fits:
                first = min(fits, key=lambda contact: str(contact["uuid"]))
                return Resolved(Link(str(first["uuid"]), f"email in {path.text}"), first)
        return None


def _by_uuid(path: Path, changes: Sequence[Change]) -> Resolved | None:
    for uuid in _texts(path, changes)[:1]:
        if not is_contact_uuid(uuid):
            detail = f"{path.text} is not the uuid of a ChartMogul contact"
            raise DeliveryError(Outcome(OutcomeKind.UNMAPPABLE, detail=detail))
        return Resolved(Link(uuid.lower(), f"uuid in {path.text}"))  # one contact, one spelling
    return None


def _texts(path: Path, changes: Sequence[Change]) -> list[str]:
    """Return what stands at the path: in the changes, newest first, then in what they say was there before."""
    before = [replace(change, values=change.previous) for change in changes if change.previous is not None]
    read = [path.read(change) for change in (*changes, *before)]
    texts = [str(value).strip() for value in read if isinstance(value, str | int) and not isinstance(value, bool)]
    return list(dict.fromkeys(text for text in texts if 0 < len(text) <= TEXT_MAX and text.isprintable()))


def _fits(contact: Record, email: str, filters: Mapping[str, str]) -> bool:
    theirs = contact.get("email")
    return (
        isinstance(theirs, str)
        and theirs.strip().casefold() == email.casefold()
        and all(contact.get(name, value) == value for name, value in filters.items())
        and is_contact_uuid(contact.get("uuid"))
    )


def _name(step: ResolveStep) -> str:
    match step:
        case ByLink():
            return "link"
        case ByUuid(path):
            return f"uuid in {path.text}"
        case ByEmail(path):
            return f"email in {path.text}"
        case ByCustomer(customer, path):
            return f"customer in {customer.text} and email in {path.text}"
        case _:
            assert_never(step)
