"""Verbs that change what happens: replay, import, reconcile, erase, pause, resume."""

import asyncio
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.opened import with_sinks, with_store
from service.cli.output import AsJson, print_json, print_lines
from service.cli.progress import progress_bar
from service.cli.run import ConfigFile
from service.cli.when import instant, since
from service.model import OutcomeKind

FOUND = 3

SourceName = Annotated[str | None, typer.Option(help="Only those of this source.")]
AccountName = Annotated[str, typer.Option(help="The ChartMogul account.")]


def register(app: typer.Typer) -> None:
    """Add the verbs of this family."""
    for verb in (replay, reconcile, erase, pause, resume):
        app.command()(verb)
    app.command("import")(import_)


def replay(  # noqa: PLR0913  # a selection is all of this
    letters: Annotated[list[int] | None, typer.Argument(help="Dead letters, by their ids.")] = None,
    *,
    event: Annotated[list[int] | None, typer.Option(help="A change, by its id; again for more.")] = None,
    source: SourceName = None,
    contact: Annotated[str | None, typer.Option("--id", help="Only those of this CRM record.")] = None,
    cause: Annotated[OutcomeKind | None, typer.Option(help="Only those that ended in this outcome.")] = None,
    start: Annotated[str | None, typer.Option("--since", help="Received since: ISO 8601, or 36h, 30d ago.")] = None,
    end: Annotated[str | None, typer.Option("--until", help="Received before: as --since.")] = None,
    everything: Annotated[bool, typer.Option("--ended", help="All that ended, not only dead letters.")] = False,
    every_letter: Annotated[bool, typer.Option("--all", help="Without any other condition.")] = False,
    mapping: Annotated[str, typer.Option(help="now, then (as each was mapped), or a configuration's version.")] = "now",
    after: Annotated[int, typer.Option(help="Go on after this change, as a broken-off replay told.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: AsJson = False,
) -> None:
    """Try changes again, dead letters unless told otherwise. They wait behind live ones, and obey the order."""
    from service.main import real_clock
    from service.operations.replay import replay as run
    from service.store.replay import Selection

    selection = Selection(
        dead_only=not everything and not event,
        letters=letters or (),
        events=event or (),
        source=source,
        object_id=contact,
        cause=cause,
        since=since(start, option="--since", now=real_clock()),
        until=since(end, option="--until", now=real_clock()),
    )
    if not every_letter and selection in (Selection(), Selection(dead_only=False)):
        raise typer.BadParameter("say which: ids, a condition, or --all", param_hint="replay")
    count = with_store(lambda store: store.replays.count(selection))
    if dry_run:
        _show({"changes": count}, f"{count} changes would be tried again", as_json=as_json)
        return
    with progress_bar("replay", count) as advance:
        done = with_store(
            lambda store: run(
                store,
                selection,
                after=after,
                version=None if mapping in {"now", "then"} else mapping,
                then=mapping == "then",
                clock=real_clock,
                progress=lambda so_far: advance(
                    so_far.events + so_far.unreadable, f"go on with --after {so_far.last_id}"
                ),
            )
        )
    lost = f"; {done.unreadable} have no payload any more" if done.unreadable else ""
    _show(done, f"{done.events} changes of {done.contacts} contacts are pending again{lost}", as_json=as_json)
    raise typer.Exit(FOUND if done.unreadable else 0)


def import_(  # where things stand in a file may all be told
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Records: .jsonl or .csv, UTF-8.")],
    *,
    source: Annotated[str, typer.Option(help="The source whose mapping they go through.")],
    id_at: Annotated[
        str | None, typer.Option("--id", help="Path or column of the record's id; default the CRM's own.")
    ] = None,
    updated_at: Annotated[
        str | None, typer.Option(help="Path or column of its last change; default the CRM's own.")
    ] = None,
    as_of: Annotated[str | None, typer.Option(help="When it was exported; default the file's own time.")] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Bring ChartMogul up to date with records that a CRM holds already, behind what it sends now."""
    from service.config import load
    from service.main import real_clock
    from service.operations.importing import Places, has_columns, import_file
    from service.paths import PathError

    configured = load(config_file=config, need_api_key=False, only=[source]).sources[source]
    try:
        places = Places.of(
            configured.source.exported, columns=has_columns(file), object_id=id_at, updated_at=updated_at
        )
    except PathError as error:
        raise typer.BadParameter(str(error), param_hint="--id, --updated-at") from None
    exported_at = instant(as_of, option="--as-of") or datetime.fromtimestamp(file.stat().st_mtime, UTC)
    with progress_bar("import", file.stat().st_size) as advance:
        done = with_store(
            lambda store: import_file(
                store,
                configured,
                file,
                places,
                as_of=exported_at,
                clock=real_clock,
                progress=lambda so_far: advance(so_far.bytes_read, f"{so_far.records} records"),
            )
        )
    for fault in () if as_json else done.faults:
        sys.stderr.write(f"line {fault.line}: {fault.cause}\n")
    text = f"{done.records} records: {done.accepted} new, {done.duplicates} known already, {done.unusable} unusable"
    _show(done, text, as_json=as_json)
    raise typer.Exit(FOUND if done.unusable else 0)


def reconcile(
    *,
    account: AccountName = "default",
    repair: Annotated[bool, typer.Option("--repair", help="Send what was confirmed once more.")] = False,
    cursor: Annotated[str | None, typer.Option(help="Go on here, as a broken-off run told.")] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Compare ChartMogul's contacts with what it confirmed. Exit 3 names what differs. Shows contact values."""
    from service.errors import ServiceError
    from service.operations.reconcile import Reconciliation

    async def run(store: Any, sinks: Any, clock: Any) -> Any:  # noqa: ANN401  # loaded when needed
        with progress_bar("reconcile", None) as advance:
            work = Reconciliation(
                store,
                sinks[account],
                repair=repair,
                clock=clock,
                progress=lambda so_far: advance(so_far.contacts, f"{so_far.contacts} contacts"),
            )
            try:
                return await work.run(cursor=cursor)
            except ServiceError:
                at = work.report.cursor
                on = "begin again" if at is None else f"go on with --cursor {at}"
                sys.stderr.write(f"broken off after {work.report.contacts} contacts: {on}\n")
                raise

    report = with_sinks(run, account=account, config=config)
    if as_json:
        print_json(report)
    else:
        lines = [
            {
                "contact": difference.uuid,
                "field": difference.name,
                "confirmed": difference.ours,
                "ChartMogul holds": difference.theirs,
                "event": difference.event_id,
                "repair": "is sent again" if difference.repairing else "",
            }
            for difference in report.differences
        ]
        if lines:
            print_lines(lines, list(lines[0]), as_json=False)
        for uuid in report.gone:
            sys.stdout.write(f"{uuid} is gone: merged or deleted in ChartMogul; its next change finds it anew\n")
        sys.stdout.write(
            f"{report.contacts} contacts, {report.compared} known and compared, {report.differing} fields differ, "
            f"{report.repairing} sent again, {len(report.gone)} gone, {report.changed_meanwhile} changed meanwhile\n"
        )
    raise typer.Exit(FOUND if report.gone or report.differing > report.repairing else 0)


def erase(
    contact: Annotated[str, typer.Argument(help="A CRM record's id, a con_ uuid or an email.")],
    *,
    source: SourceName = None,
    wait_s: Annotated[float, typer.Option(min=0, max=3600, help="For a delivery of theirs to end.")] = 60,
    as_json: AsJson = False,
) -> None:
    """Erase a person's payloads and values from the log; keys and outcomes stay. What waits of them ends here."""
    from service.main import real_clock

    async def run(store: Any) -> Any:  # noqa: ANN401  # a Store, loaded when needed
        until = time.monotonic() + wait_s
        while True:
            erased = await store.eraser.erase(contact, source=source, now=real_clock())
            if not erased.busy or time.monotonic() > until:
                return erased
            await asyncio.sleep(0.2)

    erased = with_store(run)
    if erased.busy:
        _show(erased, "nothing was erased: a delivery of theirs is under way; try again", as_json=as_json)
        raise typer.Exit(1)
    text = f"erased: {erased.events} changes, {erased.requests} requests, the values of {erased.contacts} contacts"
    if not erased.scrubbed:
        text += "; the -wal file holds them until whoever reads the log now has ended: erase once more then"
    _show(erased, text, as_json=as_json)


def pause(
    *,
    account: AccountName = "default",
    reason: Annotated[str, typer.Option(help="Shown on health.")] = "paused by hand",
    as_json: AsJson = False,
) -> None:
    """Stop the deliveries of an account; webhooks are still taken. Calls under way end."""
    from service.main import real_clock

    with_store(lambda store: store.accounts.pause(account, reason=reason, now=real_clock()))
    _show({"account": account, "state": "paused"}, f"account {account} is paused", as_json=as_json)


def resume(*, account: AccountName = "default", as_json: AsJson = False) -> None:
    """Let the deliveries of an account go on."""
    with_store(lambda store: store.accounts.resume(account))
    _show({"account": account, "state": "ok"}, f"account {account} goes on", as_json=as_json)


def _show(document: object, text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        sys.stdout.write(f"{text}\n")
