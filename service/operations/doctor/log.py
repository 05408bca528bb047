"""Whether the log is there, up to date, writable, and has room to grow. Nothing is made or migrated."""

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from service.drift import FORGOTTEN_AFTER, cause_of, hint_of, status_of
from service.errors import StoreError
from service.operations.doctor.clocks import compared
from service.operations.doctor.finding import Finding
from service.store.checkup import NEWEST, Checkup, is_held

FREE_BYTES_WARN: Final = 1024**3
FREE_SHARE_WARN: Final = 0.05

_MIB: Final = 1024**2
_HELD: Final = {
    True: "a service runs on it",
    False: "no service runs on it",
    None: "whether a service runs on it cannot be told",
}


def of_file(file: Path) -> Iterator[Finding]:
    """Look at an embedded log from outside: its size, the room beside it, and who may write there."""
    directory = _nearest(file.parent)
    if not os.access(directory, os.W_OK | os.X_OK):
        yield Finding("store", "", "fail", f"{directory} cannot be written", "mend its owner or mode, or set DATA_DIR")
    if file.exists():
        size = sum(part.stat().st_size for part in (file, Path(f"{file}-wal")) if part.exists())
        yield Finding("store", "", "ok", f"{file}, {size / _MIB:.1f} MiB; {_HELD[is_held(file)]}")
    else:
        yield Finding("store", "", "ok", f"{file} is not there yet", "`serve` makes it, or `migrate`")
    space = shutil.disk_usage(directory)
    seen = f"{space.free / _MIB:.0f} MiB of {space.total / _MIB:.0f} MiB are free"
    short = space.free < FREE_BYTES_WARN or space.free < space.total * FREE_SHARE_WARN
    hint = "free space: on a full disk webhooks are answered 503" if short else ""
    yield Finding("disk", "", "warn" if short else "ok", seen, hint)


async def of_log(checkup: Checkup, *, clock: Callable[[], datetime]) -> list[Finding]:
    """Read the version, write for a moment, and compare clocks; the findings end at the first failure."""
    try:
        found = await checkup.version()
        if found is None:
            return [Finding("tables", "", "warn", "there are none yet", "`serve` makes them, or `migrate`")]
        findings = [_version(found)]
        if findings[0].status == "fail":
            return findings
        before = clock()
        await checkup.accounts.check()
        took_ms = (clock() - before).total_seconds() * 1000
        findings.append(Finding("writing", "", "ok", f"a write is committed after {took_ms:.0f} ms"))
        before = clock()
        theirs = await checkup.clock()
        if theirs is not None:
            findings.append(compared("the database's", theirs, ours=before + (clock() - before) / 2))
    except StoreError as error:
        return [failed(error)]
    return findings


async def of_drift(checkup: Checkup, *, now: datetime) -> list[Finding]:
    """Name what the rules rely on and no longer get."""
    drifts = await checkup.drifts.standing(since=now - FORGOTTEN_AFTER)
    return [Finding("drift", one.cause.source, status_of(one), cause_of(one), hint_of(one)) for one in drifts]


def failed(error: StoreError) -> Finding:
    """Say that the log cannot be used."""
    hint = error.hint or "restore the log from a backup, or ask for help with what is seen here"
    return Finding("store", "", "fail", error.cause, hint)


def _version(found: str) -> Finding:
    if found == NEWEST:
        return Finding("tables", "", "ok", f"at version {found}, the newest")
    if found < NEWEST:
        seen = f"at version {found}, behind {NEWEST}"
        return Finding("tables", "", "warn", seen, "`serve` brings them up to date, or `migrate`")
    seen = f"at version {found}, which this release does not know"
    return Finding("tables", "", "fail", seen, "run the release that made them, or a newer one")


def _nearest(directory: Path) -> Path:
    """Return the directory, or of one that is not there the first above it that is."""
    return next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
