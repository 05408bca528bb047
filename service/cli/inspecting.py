"""The verb inspect: what the service would make of one request, captured or logged, and a case made of it."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from service.cli.cases import save_case
from service.cli.opened import with_history
from service.cli.output import AsJson, print_json
from service.cli.run import ConfigFile
from service.cli.traces import inspection_text
from service.cli.when import instant

REFUSED: Final = 3


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(inspect)


def inspect(  # noqa: PLR0913  # each is an option
    request: Annotated[Path | None, typer.Argument(help="A captured request, as JSON; - for standard input.")] = None,
    *,
    event: Annotated[int | None, typer.Option(help="In its place, the request that this event came in.")] = None,
    source: Annotated[str | None, typer.Option(help="Which source; default the one in the url.")] = None,
    config: ConfigFile = None,
    now: Annotated[str | None, typer.Option(help="As of this time, ISO 8601; default the real one.")] = None,
    save: Annotated[
        Path | None, typer.Option("--save-case", help="Write what is made of it as a case for `check --cases`.")
    ] = None,
    about: Annotated[str, typer.Option(help="With --save-case: what the case shows.")] = "",
    force: Annotated[bool, typer.Option("--force", help="With --save-case: replace the file.")] = False,
    text: Annotated[bool, typer.Option("--text", help="Print the way of each field, for people.")] = False,
    as_json: AsJson = True,
) -> None:
    """Say what the service would make of one request: verify, parse, map. Sends nothing, stores nothing.

    An event's request is kept without credentials, and so not proved again. Where it is gone, its change is mapped.
    """
    from service.config import load
    from service.main import real_clock
    from service.operations import cases
    from service.operations import inspect as inspecting
    from service.web.problems import status_of

    del as_json  # it is, where --text does not say otherwise
    if (request is None) is (event is None):
        raise typer.BadParameter("one of the two", param_hint="REQUEST.json, --event")
    at = instant(now, option="--now")
    if request is not None:
        given: Any = inspecting.read_capture(sys.stdin.buffer.read() if str(request) == "-" else _read(request))
        name, at = source or inspecting.source_of(given), at or real_clock()
    else:
        name, given, received_at = _logged(event or 0)
        at = at or received_at
    loaded = load(config_file=config, need_api_key=False, only=[name])
    configured, clear_with = loaded.sources[name], loaded.settings.cleared
    found = cases.found_of(configured, given, now=at, clear_with=clear_with, prove=event is None)
    if save is not None:
        case = cases.make_case(configured, given, about=about, now=at, clear_with=clear_with, status_of=status_of)
        save_case(case, save, force=force)
    shape = _shape(found, proved=event is None)
    if text:
        sys.stdout.write(inspection_text(shape))
    else:
        print_json(shape)
    raise typer.Exit(REFUSED if found.refusal else 0)


def _logged(event: int) -> tuple[str, Any, datetime]:
    """Return an event's source, its request or else its change, and when it was received."""
    from service.config import load_settings
    from service.errors import NotFound
    from service.store.history import Stretch

    async def look(history: Any) -> Any:  # noqa: ANN401  # a Logged and what it came in, whose modules are loaded when needed
        found = await history.batch(Stretch(event, event, 1), after=event - 1)
        return found and (found[0], await history.request(found[0].request_id))

    found = with_history(load_settings().database_url.get_secret_value(), look)
    if not found:
        raise NotFound(f"no event {event} is in the log", hint="see `events` for the ids that are there")
    logged, request = found
    if request is None and logged.change is None:
        hint = "PAYLOAD_DAYS says how long payloads are kept"
        raise NotFound(f"nothing is kept of event {event} but its outcome", hint=hint)
    return logged.source, request or logged.change, logged.received_at


def _shape(found: Any, *, proved: bool) -> dict[str, Any]:  # noqa: ANN401  # an Inspection, as above
    from service.operations.inspect import event_line

    refusal = found.refusal
    return {
        "source": found.source,
        "verified": (refusal is None or refusal.name != "not_verified") if proved else None,
        "reason": refusal and f"{refusal.name}: {refusal.cause}",
        "response": _response(found),
        "events": [event_line(change) for change in found.changes],
        "patches": found.patches,
    }


def _response(found: Any) -> dict[str, Any] | None:  # noqa: ANN401  # as above
    from service.web.problems import problem

    if found.refusal is not None:
        answer = problem(found.refusal)
        return {"status": answer.status_code, "headers": dict(answer.headers), "body": bytes(answer.body).decode()}
    reply = found.reply
    return reply and {"status": reply.status, "headers": reply.headers, "body": reply.body.decode()}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint="request") from None
