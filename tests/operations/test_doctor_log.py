"""The log as a doctor sees it: its file, its tables, its disk, and who holds it."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from service.drift import FORGOTTEN_AFTER
from service.main import real_clock
from service.model import Cause, Drift, DriftKind, Noticed, OutcomeKind
from service.operations.doctor import Setup, examine
from service.store import Store
from service.store.checkup import Checkup, is_held
from service.store.migrate import HEAD
from tests.support.clock import Clock
from tests.support.doctor import looked_at, one_of, worse
from tests.support.log import by_hand, change, claim_one, finish, receive
from tests.support.service import Shifted

pytestmark = pytest.mark.anyio


async def test_tables_that_are_behind_are_named_and_left_alone(store_url: str) -> None:
    store = Store(store_url)
    await store.migrate()
    setup = Setup((), "1", database_url=SecretStr(store_url))
    assert worse(await looked_at(setup)) == []
    for version, status, seen in (
        ("0001", "warn", f"at version 0001, behind {HEAD}"),
        ("9999", "fail", "at version 9999, which this release does not know"),
    ):
        await by_hand(store, text(f"UPDATE alembic_version SET version_num = '{version}'"))  # noqa: S608  # from above
        found = one_of(worse(await looked_at(setup)), "tables")
        assert (found.status, found.seen) == (status, seen)
    await by_hand(store, text("DROP TABLE alembic_version"))
    assert one_of(worse(await looked_at(setup)), "tables").seen == "there are none yet"
    await store.close()


async def test_a_log_whose_tables_are_broken_is_named(store_url: str) -> None:
    store = Store(store_url)
    await store.migrate()
    await by_hand(store, text("DROP TABLE refusals"))
    assert [found.check for found in worse(await looked_at(Setup((), "1", database_url=SecretStr(store_url))))] == [
        "store"
    ]
    await by_hand(store, text("DROP TABLE accounts"))
    assert [found.check for found in worse(await looked_at(Setup((), "1", database_url=SecretStr(store_url))))] == [
        "store"
    ]
    await store.close()


async def test_a_file_that_is_no_log_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"not a database at all, but long enough to be one" * 100)
    findings = await looked_at(Setup((), "1", database_url=SecretStr(f"sqlite:///{tmp_path / 'log.db'}")))
    (found,) = worse(findings)
    assert (found.check, found.status, "file is not a database" in found.seen) == ("store", "fail", True)


async def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the directory should be")
    setup = Setup((), "1", database_url=SecretStr(f"sqlite:///{tmp_path / 'data' / 'deep' / 'log.db'}"))
    (found,) = worse(await looked_at(setup))
    assert (found.status, found.seen) == ("fail", f"{tmp_path / 'data'} cannot be written")


async def test_a_database_server_that_is_away_is_named() -> None:
    setup = Setup((), "1", database_url=SecretStr("postgresql://crm:pg-pass-1f0a@127.0.0.1:9/log"))
    (found,) = worse(await looked_at(setup))
    assert (found.check, found.status, "pg-pass-1f0a" in repr(found)) == ("store", "fail", False)


async def test_a_short_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gib = 1024**3
    setup = Setup((), "1", database_url=SecretStr(f"sqlite:///{tmp_path / 'log.db'}"))
    for total, free, status in ((100 * gib, gib // 2, "warn"), (100 * gib, 4 * gib, "warn"), (10 * gib, gib, "ok")):
        monkeypatch.setattr("shutil.disk_usage", lambda _path, given=(total, total - free, free): _Usage(*given))
        assert one_of(await examine(setup, clock=real_clock), "disk").status == status


@dataclass(frozen=True, slots=True)
class _Usage:
    """What the system says of a disk."""

    total: int
    used: int
    free: int


async def test_whether_a_service_holds_the_log_is_told_without_holding_it(tmp_path: Path) -> None:
    file = tmp_path / "log.db"
    assert is_held(file) is False
    store = Store(f"sqlite:///{file}")
    store.lock()
    assert is_held(file) is True
    await store.close()
    assert is_held(file) is False


def test_a_lock_that_cannot_be_looked_at_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "log.db.lock").mkdir()
    assert is_held(tmp_path / "log.db") is None


async def test_the_newest_call_that_carried_a_field_counts(store: Store, store_url: str, clock: Clock) -> None:
    """Calls that failed carried it too, and say nothing of whether ChartMogul takes it."""
    checkup = Checkup(store_url)
    assert await checkup.confirmed() == {}
    for number, (kind, fields) in enumerate(
        [
            (OutcomeKind.APPLIED, ("title", "custom.Region")),
            (OutcomeKind.APPLIED, ("title",)),
            (OutcomeKind.REJECTED, ("custom.Renewal",)),
        ]
    ):
        await receive(store, clock, change(f"evt-{number}", str(number)))
        await finish(store, clock, await claim_one(store, clock), kind=kind, fields=fields)
        clock.advance(60)
    first = clock.after(-180)
    expected = {("pipedrive", "title"): first + timedelta(seconds=60), ("pipedrive", "custom.Region"): first}
    assert await checkup.confirmed() == expected
    await checkup.close()


async def test_what_the_rules_no_longer_get_is_named_while_it_is_met(store: Store, store_url: str) -> None:
    now = real_clock()
    old, new = now - FORGOTTEN_AFTER - timedelta(hours=1), now - timedelta(hours=1)
    kinds = {DriftKind.NO_ENTRY: old, DriftKind.PATH_GONE: new, DriftKind.STOOD_IN: new}
    met = [Drift(Cause("pipedrive", kind, "title", "job_title"), None, at, at, 20) for kind, at in kinds.items()]
    await store.drifts.write(Noticed(drifts=tuple(met)))
    findings = await looked_at(Setup((), "1", database_url=SecretStr(store_url)))
    (found,) = worse(findings)
    assert (found.check, found.about, found.status) == ("drift", "pipedrive", "warn")
    assert "job_title (for title) does not come any more, 20 records" in found.seen
    assert [one.status for one in findings if one.check == "drift"].count("ok") == 1, "a default that stood in"


async def test_the_clock_of_the_database_is_compared(postgres_url: str) -> None:
    store = Store(postgres_url)
    await store.migrate()
    await store.close()
    shifted = Shifted()
    shifted.advance(3600)
    setup = Setup((), "1", database_url=SecretStr(postgres_url))
    (found,) = worse(await looked_at(setup, clock=shifted))
    assert (found.check, found.status, found.seen) == ("clock", "fail", "our clock is 3600 s ahead of the database's")
