"""How each source stands: its secrets, what it received and refused last, and the attributes that it sets."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from service.coalesce import CUSTOM
from service.model import Deliver
from service.operations.credentials import secrets_of
from service.operations.doctor.finding import Finding
from service.pipeline import ConfiguredSource
from service.store.accounts import AccountState
from service.store.checkup import Checkup
from service.store.refusals import KEPT_MAX
from service.times import isoformat_z

SECRET_MIN: Final = 16
"""Characters below which a secret can be guessed."""


@dataclass(frozen=True, slots=True)
class History:
    """What the log remembers of sources and accounts."""

    marks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why each source's last refused request was refused."""
    ignored: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    """Custom attributes that ChartMogul did not take, by account and name."""
    confirmed: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    """When each field was last taken, by source and field."""
    accounts: tuple[AccountState, ...] = ()
    shadowed: Mapping[str, int] = field(default_factory=dict)
    """How many changes of each source wait until it is live."""


async def history(checkup: Checkup) -> History:
    """Read what the log remembers. Raises StoreError."""
    refusals = await checkup.refusals.newest(KEPT_MAX)
    return History(
        {mark["source"]: mark for mark in await checkup.ledger.source_marks()},
        {refusal.source: refusal.reason for refusal in reversed(refusals)},
        {(one["account"], one["attribute"]): one for one in await checkup.ledger.ignored_attributes()},
        await checkup.confirmed(),
        tuple(await checkup.accounts.states()),
        await checkup.shadows.counts(),
    )


def of_source(configured: ConfiguredSource, past: History | None) -> Iterator[Finding]:
    """Yield how one source stands; ``past`` None where the log cannot be read."""
    yield from _secrets(configured)
    if configured.deliver is Deliver.SHADOW:
        waiting = "" if past is None else f"; {past.shadowed.get(configured.name, 0)} changes wait until it is live"
        yield Finding("deliver", configured.name, "ok", f"shadow mode: nothing is sent{waiting}")
    if past is not None:
        yield _webhooks(configured, past)
        yield from _attributes(configured, past)


def of_accounts(past: History) -> Iterator[Finding]:
    """Yield the accounts whose deliveries are stopped."""
    for state in past.accounts:
        if state.paused_at is not None:
            hint = "`resume` lets it go on" if state.paused_by_hand else "mend the key; it resumes by itself"
            yield Finding("account", state.name, "warn", f"it is paused: {state.paused_reason}", hint)


def of_left_behind(sources: Collection[str], past: History) -> Iterator[Finding]:
    """Yield the sources that are not configured any more, and whose shadowed changes will be sent by nobody."""
    for name in sorted(past.shadowed.keys() - set(sources)):
        seen = f"{past.shadowed[name]} shadowed changes of it wait, and it is not configured"
        hint = "put it back under this name, and live, to have them sent; else they are let go after LOG_DAYS"
        yield Finding("deliver", name, "warn", seen, hint)


def _secrets(configured: ConfiguredSource) -> Iterator[Finding]:
    name, auth = configured.name, configured.source.auth
    if auth is None:
        hint = "whoever knows its address can change contacts: give it `auth`, or let no stranger reach it"
        yield Finding("secret", name, "warn", "none: it takes webhooks of anybody", hint)
        return
    secrets = list(secrets_of(auth))
    count = f"{len(secrets)} configured" if secrets else "none is needed: it is proved by a public key"
    if any(text != text.strip() for text in secrets):
        hint = "take them off, unless the CRM's has them too; a pasted line break is the usual cause"
        yield Finding("secret", name, "warn", f"{count}; one begins or ends with a blank or a line break", hint)
    elif any(len(text) < SECRET_MIN for text in secrets):
        hint = "where you choose it yourself, choose a longer one: `openssl rand -hex 24`"
        yield Finding("secret", name, "warn", f"{count}; one is shorter than {SECRET_MIN} characters", hint)
    else:
        yield Finding("secret", name, "ok", count)


def _webhooks(configured: ConfiguredSource, past: History) -> Finding:
    mark = past.marks.get(configured.name, {})
    received_at, refused_at = mark.get("received_at"), mark.get("refused_at")
    seen = "nothing received yet" if received_at is None else f"last received {isoformat_z(received_at)}"
    if refused_at is None:
        return Finding("webhooks", configured.name, "ok", seen, _to_try(configured) if received_at is None else "")
    reason = past.reasons.get(configured.name, "for a reason that is kept no more")
    seen += f"; {mark['refused']} refused, last {isoformat_z(refused_at)}: {reason}"
    if received_at is not None and received_at >= refused_at:
        return Finding("webhooks", configured.name, "ok", seen)
    hint = "capture such a request and run `doctor --verify REQUEST.json`: it says why"
    return Finding("webhooks", configured.name, "warn", seen, hint)


def _to_try(configured: ConfiguredSource) -> str:
    auth = configured.source.auth
    samples = auth is None or any(secrets_of(auth))  # where a public key proves it, nobody here can sign one
    return "change a contact in the CRM" + (f", or run `sample {configured.name}`" if samples else "")


def _attributes(configured: ConfiguredSource, past: History) -> Iterator[Finding]:
    """Yield the custom attributes that ChartMogul ignores, one by one, and the others together."""
    known: list[str] = []
    waiting: list[str] = []
    for target in configured.rules.mapping.targets:
        if not target.startswith(CUSTOM):
            continue
        name = target.removeprefix(CUSTOM)
        ignored = past.ignored.get((configured.account, name))
        taken_at = past.confirmed.get((configured.name, target))
        if ignored is not None and (taken_at is None or taken_at <= ignored["last_seen_at"]):
            hint = "define it for contacts in ChartMogul, or take it out of the mapping"
            seen = f"custom attribute {name!r} is ignored by ChartMogul, {ignored['count']} times"
            yield Finding("attributes", configured.name, "warn", seen, hint)
        else:
            (waiting if taken_at is None else known).append(name)
    told = [f"taken by ChartMogul: {', '.join(known)}"] if known else []
    told += [f"not sent lately: {', '.join(waiting)}"] if waiting else []
    if told:
        yield Finding("attributes", configured.name, "ok", "; ".join(told))
