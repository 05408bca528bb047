"""Verbs about the configuration: check, schema, inspect."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.output import AsJson, print_json
from service.cli.run import ConfigFile
from service.cli.when import instant

REFUSED = 3


def register(app: typer.Typer) -> None:
    """Add the verbs of this family."""
    for verb in (check, schema, inspect):
        app.command()(verb)


def check(config: ConfigFile = None, *, as_json: AsJson = False) -> None:
    """Check environment and configuration file, and report every fault at once."""
    from service.config import load
    from service.errors import ConfigError

    try:
        loaded = load(config_file=config)
    except ConfigError as error:
        if not as_json:
            raise
        print_json({"ok": False, "faults": error.faults})
        raise typer.Exit(2) from None
    url = loaded.settings.public_url
    summary = {
        "ok": True,
        "version": loaded.version,
        "sources": {
            name: {
                "preset": one.source.preset,
                "account": one.account,
                "url": url and f"{url}/webhooks/{name}",
                "verified": one.source.auth is not None,
                "targets": sorted(one.rules.mapping.targets),
            }
            for name, one in loaded.sources.items()
        },
    }
    if as_json:
        print_json(summary)
        return
    sys.stdout.write(f"ok, version {loaded.version}\n")
    for name, one in loaded.sources.items():
        proof = "" if one.source.auth is not None else ", UNAUTHENTICATED"
        sys.stdout.write(f"  {name}: {one.source.preset}, account {one.account}{proof}\n")
        sys.stdout.write(f"    POST {url}/webhooks/{name}\n" if url else "")
        sys.stdout.write(f"    {', '.join(sorted(one.rules.mapping.targets))}\n")


def schema(*, as_json: AsJson = True) -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from service.config import json_schema

    del as_json  # it is never anything else
    print_json(json_schema())


def inspect(
    request: Annotated[Path, typer.Argument(help="A captured request, as JSON; - for standard input.")],
    *,
    source: Annotated[str | None, typer.Option(help="Which source; default the one in the url.")] = None,
    config: ConfigFile = None,
    now: Annotated[str | None, typer.Option(help="As of this time, ISO 8601; default the real one.")] = None,
    as_json: AsJson = True,
) -> None:
    """Say what the service would make of one request: verify, parse, map. Sends nothing, stores nothing."""
    from service.config import load
    from service.main import real_clock
    from service.operations import inspect as inspecting

    del as_json  # it is never anything else
    captured = inspecting.read_capture(sys.stdin.buffer.read() if str(request) == "-" else _read(request))
    name = source or inspecting.source_of(captured)
    loaded = load(config_file=config, need_api_key=False, only=[name])
    configured = loaded.sources[name]
    clear_with = "" if loaded.settings.clear_with == "blank" else None
    found = inspecting.inspect(
        configured, captured, now=instant(now, option="--now") or real_clock(), clear_with=clear_with
    )
    print_json(_shape(found))
    raise typer.Exit(REFUSED if found.refusal else 0)


def _shape(found: Any) -> dict[str, Any]:  # noqa: ANN401  # an Inspection, whose module is loaded when needed
    from service.times import isoformat_z
    from service.web.problems import problem

    if found.refusal is None:
        response = {"status": found.reply.status, "headers": found.reply.headers, "body": found.reply.body.decode()}
    else:
        answer = problem(found.refusal)
        response = {"status": answer.status_code, "headers": dict(answer.headers), "body": bytes(answer.body).decode()}
    return {
        "source": found.source,
        "verified": found.refusal is None or found.refusal.name != "not_verified",
        "reason": found.refusal and f"{found.refusal.name}: {found.refusal.cause}",
        "response": response,
        "events": [
            {
                "dedup_key": change.dedup_key,
                "crm_event_id": change.crm_event_id,
                "object_type": change.object_type,
                "object_id": change.object_id,
                "action": change.action,
                "occurred_at": change.occurred_at and isoformat_z(change.occurred_at),
                "order_key": change.order_key,
                "changed_fields": change.changed_fields,
                "values": change.values,
                "previous": change.previous,
                "merged_from": change.merged_from,
                "merged_into": change.merged_into,
                "origin": change.origin,
                "actor": change.actor,
                "tenant": change.tenant,
                "attempt": change.attempt,
                "thin": change.thin,
            }
            for change in found.changes
        ],
        "patches": found.patches,
    }


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint="request") from None
