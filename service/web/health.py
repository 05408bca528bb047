"""Health: alive, ready, and how the work stands, with a reason for everything that is not well. No contact values."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from fastapi import APIRouter
from fastapi.responses import Response

from service import retry
from service.drift import FORGOTTEN_AFTER, cause_of, hint_of, status_of
from service.errors import StoreError
from service.pace import share_at
from service.pipeline import ConfiguredSource, InForce
from service.readback.client import ReadBack
from service.store import Store
from service.store.accounts import AccountState
from service.store.ledger import Backlog
from service.web.api import Refused

LATE_S: Final = 900.0
"""A change that waits longer than this is worth a warning."""
DRIFTS_SHOWN: Final = 100
"""Drifts that health lists, those first that were met last."""
REFUSED_LATELY: Final = timedelta(hours=1)
"""A refusal is worth a warning for this long, unless the source was heard since."""
FAULTS_SHOWN: Final = 20
"""Faults of a refused configuration that the report lists."""


class Health:
    """What the health endpoints say. ``ready`` is set by the lifespan.

    ``refused`` is a configuration that waits to be mended, ``needs_restart`` names the settings that wait for that.
    """

    def __init__(
        self,
        *,
        store: Store,
        delivering: Callable[[], bool],
        version: str,
        in_force: Callable[[], InForce],
        refused: Callable[[], Refused | None],
        needs_restart: Callable[[], Sequence[str]],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._delivering = delivering
        self._version = version
        self._in_force = in_force
        self._refused = refused
        self._needs_restart = needs_restart
        self._clock = clock
        self.ready = False

    async def unready(self) -> str | None:
        """Say what is missing before this service can take a webhook; None when nothing is."""
        if not self.ready:
            return "starting or stopping"
        try:
            await self._store.check()
        except StoreError as error:
            return error.cause
        return None

    async def report(self) -> dict[str, Any]:
        """Say how everything stands. ``status`` is the worst of what the reasons tell: ok, warn or fail."""
        now, in_force, refused = self._clock(), self._in_force(), self._refused()
        report: dict[str, Any] = {
            "status": "fail",
            "reasons": [],
            "version": self._version,
            "config_version": in_force.version,
            "config_refused": None if refused is None else _waiting(refused),
            "store": self._store.engine,
        }
        unready = await self.unready()
        try:
            backlog = await self._store.ledger.backlog()
            marks = {mark["source"]: mark for mark in await self._store.ledger.source_marks()}
            states = await self._store.accounts.states()
            attributes = await self._store.ledger.ignored_attributes()
            drifts = await self._store.drifts.standing(since=now - FORGOTTEN_AFTER, limit=DRIFTS_SHOWN)
            shadowed = await self._store.shadows.counts()
        except StoreError as error:
            return report | {"reasons": [_reason("fail", error.cause, error.hint)]}
        reasons = [_reason("fail", unready, "see the log")] if unready else []
        if not self._delivering():
            reasons.append(_reason("fail", "nothing is delivered: the worker has stopped", "see the log, restart"))
        age_s = _age_s(backlog, now)
        reasons += [*_of_accounts(states), *_of_backlog(backlog, age_s), *_of_attributes(attributes)]
        reasons += [_reason(status_of(drift), cause_of(drift), hint_of(drift)) for drift in drifts]
        reasons += [*_of_refusals(marks, in_force.sources, now), *_of_reading(in_force.readbacks)]
        reasons += [*_of_configuration(refused, in_force.version), *_of_settings(self._needs_restart())]
        return report | {
            "status": _worst(reasons),
            "reasons": reasons,
            "backlog": {"pending": backlog.pending, "leased": backlog.leased},
            "oldest_pending_age_s": round(age_s, 3),
            "dead_letters": backlog.dead,
            "sources": {
                name: _mark(marks.get(name, {})) | {"deliver": one.deliver.value, "shadowed": shadowed.get(name, 0)}
                for name, one in in_force.sources.items()
            },
            "accounts": {state.name: _account(state, now) for state in states},
        }


def health_routes(health: Health) -> APIRouter:
    """Return the three health endpoints."""
    router = APIRouter()

    @router.get("/health/live")
    async def live() -> Response:
        """Answer as long as the process does."""
        return _json(200, {"status": "ok"})

    @router.get("/health/ready")
    async def ready() -> Response:
        """Answer 200 once migrated, writable and configured, else 503."""
        unready = await health.unready()
        return _json(503, {"status": "fail", "reason": unready}) if unready else _json(200, {"status": "ok"})

    @router.get("/health")
    async def report() -> Response:
        """Answer how everything stands; 503 when the status is fail."""
        document = await health.report()
        return _json(503 if document["status"] == "fail" else 200, document)

    return router


def _json(status: int, document: Mapping[str, Any]) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(orjson.dumps(document), status, headers, media_type="application/json")


def _reason(status: str, cause: str | None, hint: str) -> dict[str, str]:
    return {"status": status, "cause": cause or "", "hint": hint}


def _worst(reasons: list[dict[str, str]]) -> str:
    found = {reason["status"] for reason in reasons}
    return "fail" if "fail" in found else "warn" if "warn" in found else "ok"


def _age_s(backlog: Backlog, now: datetime) -> float:
    oldest = backlog.oldest_pending_at
    return 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())


def _of_accounts(states: Sequence[AccountState]) -> list[dict[str, str]]:
    paused = [state for state in states if state.paused_at is not None]
    return [
        _reason("warn", f"account {state.name} is paused: {state.paused_reason}", "`resume` lets it go on")
        if state.paused_by_hand
        else _reason("fail", f"account {state.name} is paused: {state.paused_reason}", "check its API key and plan")
        for state in paused
    ]


def _of_backlog(backlog: Backlog, age_s: float) -> list[dict[str, str]]:
    reasons = []
    if backlog.dead:
        reasons.append(_reason("warn", f"dead letters: {backlog.dead}", "see `dead-letters`, mend, then `replay`"))
    if age_s > LATE_S:
        reasons.append(_reason("warn", f"the oldest change waits for {age_s:.0f} s", "see `deliveries`"))
    return reasons


def _of_attributes(attributes: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    hint = "define it for contacts in ChartMogul, or take it out of the mapping"
    return [
        _reason("warn", f"custom attribute {one['attribute']!r} is ignored by ChartMogul, {one['count']} times", hint)
        for one in attributes
    ]


def _of_refusals(
    marks: Mapping[str, Mapping[str, Any]], sources: Mapping[str, ConfiguredSource], now: datetime
) -> list[dict[str, str]]:
    reasons = []
    for name in sources:
        refused_at, received_at = marks.get(name, {}).get("refused_at"), marks.get(name, {}).get("received_at")
        heard_since = received_at is not None and refused_at is not None and received_at > refused_at
        if refused_at is not None and not heard_since and now - refused_at < REFUSED_LATELY:
            cause = f"the last request to source {name} was refused"
            hint = "see `refusals`; `doctor --verify` says why a captured request is refused"
            reasons.append(_reason("warn", cause, hint))
    return reasons


def _of_configuration(refused: Refused | None, running: str) -> list[dict[str, str]]:
    if refused is None:
        return []
    count = f"{len(refused.faults)} fault{'' if len(refused.faults) == 1 else 's'}"
    cause = f"the changed configuration is refused ({count}); version {running} goes on"
    return [_reason("warn", cause, "`check` says what is wrong; it is taken as soon as it is right")]


def _of_settings(names: Sequence[str]) -> list[dict[str, str]]:
    cause = f"settings that changed since the start: {', '.join(names)}"
    return [_reason("warn", cause, "restart the service to use them")] if names else []


def _waiting(refused: Refused) -> dict[str, Any]:
    return {"at": _iso(refused.at), "faults": [str(fault) for fault in refused.faults[:FAULTS_SHOWN]]}


def _of_reading(readbacks: Mapping[str, ReadBack]) -> list[dict[str, str]]:
    troubles = {name: one.trouble for name, one in readbacks.items() if one.trouble is not None}
    return [
        _reason(
            "warn",
            f"records of source {name} cannot be read back: {outcome.kind.value} ({outcome.status or outcome.detail})",
            retry.HINTS[outcome.kind],
        )
        for name, outcome in troubles.items()
    ]


def _account(state: AccountState, now: datetime) -> dict[str, Any]:
    slowed = state.slowed_until is not None and state.slowed_until > now
    return {
        "state": "paused" if state.paused_at else "slowed" if slowed else "ok",
        "reason": state.paused_reason or (state.slowed_reason if slowed else None),
        "share_of_rate": round(share_at(state.share, state.share_at, now), 3),
    }


def _mark(mark: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "last_received_at": _iso(mark.get("received_at")),
        "last_refused_at": _iso(mark.get("refused_at")),
        "refused": mark.get("refused", 0),
    }


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat().replace("+00:00", "Z")
