"""The verb doctor: what keeps contacts from arriving, and why one captured request is not proved."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.output import AsJson, print_json, print_lines
from service.cli.run import ConfigFile
from service.cli.when import instant

FOUND = 3


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(doctor)


def doctor(
    *,
    verify: Annotated[
        Path | None, typer.Option(help="Say why this captured request, as JSON, is not proved; - for standard input.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="With --verify: which source; default the one in the url.")] = None,
    now: Annotated[
        str | None, typer.Option(help="With --verify: as of this time, ISO 8601; default the real one.")
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Check all that can be wrong, from configuration to ChartMogul, beside a running service or without one.

    Exit 0 when all is ok, 3 when there is a warning or worse, or when the request is not proved; 1 when doctor failed.
    """
    if verify is None:
        if source is not None or now is not None:
            raise typer.BadParameter("they go with --verify REQUEST.json", param_hint="--source, --now")
        _examine(config, as_json=as_json)
    else:
        _diagnose(verify, source, now, config, as_json=as_json)


def _examine(config: Path | None, *, as_json: bool) -> None:
    from service.main import real_clock
    from service.operations.doctor import examine

    setup = _setup(config)
    findings = asyncio.run(examine(setup, clock=real_clock))
    well = all(finding.status == "ok" for finding in findings)
    if as_json:
        print_json({"ok": well, "findings": findings})
    else:
        lines = [
            {
                "": finding.status,
                "check": finding.check,
                "of": finding.about,
                "seen": finding.seen,
                "what to do": finding.hint,
            }
            for finding in findings
        ]
        print_lines(lines, list(lines[0]), as_json=False)
    raise typer.Exit(0 if well else FOUND)


def _setup(config: Path | None) -> Any:  # noqa: ANN401  # a Setup, whose module is loaded when needed
    """Return what is configured; where it has faults, what the environment alone says."""
    from service.config import load, load_settings
    from service.errors import ConfigError
    from service.operations.doctor import Setup

    try:
        loaded = load(config_file=config)
    except ConfigError as error:
        try:
            settings = load_settings()
        except ConfigError:
            return Setup(error.faults, None)
        return Setup(error.faults, None, {}, **_of_settings(settings, set(settings.accounts)))
    used = {configured.account for configured in loaded.sources.values()}
    return Setup((), loaded.version, dict(loaded.sources), **_of_settings(loaded.settings, used))


def _of_settings(settings: Any, used: set[str]) -> dict[str, Any]:  # noqa: ANN401  # Settings, loaded when needed
    from service.operations.doctor import Reach

    reach = Reach(
        settings.chartmogul_base_url,
        {name: account.api_key for name, account in settings.accounts.items() if name in used},
        settings.connect_timeout_s,
        settings.read_timeout_s,
        settings.chartmogul_proxy,
    )
    return {
        "public_url": settings.public_url,
        "admin_token": settings.admin_token is not None,
        "reach": reach,
        "database_url": settings.database_url,
    }


def _diagnose(request: Path, source: str | None, now: str | None, config: Path | None, *, as_json: bool) -> None:
    from service.main import real_clock
    from service.operations import inspect as inspecting
    from service.operations.proof import diagnose

    captured = inspecting.read_capture(_read(request))
    name = source or inspecting.source_of(captured)
    loaded = _loaded(config, name)
    sources = {known: configured.source for known, configured in loaded.sources.items()}
    at = instant(now, option="--now") or real_clock()
    found = diagnose(sources, name, captured, public_url=loaded.settings.public_url, now=at)
    if as_json:
        print_json(_shape(found))
    else:
        sys.stdout.write(_told(found))
    raise typer.Exit(FOUND if found.refusal else 0)


def _read(request: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(request) == "-" else request.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{request}: {error.strerror}", param_hint="--verify") from None


def _loaded(config: Path | None, name: str) -> Any:  # noqa: ANN401  # a Config, loaded when needed
    """Load every source, so that each one's secret can be tried; only the named one where others have faults."""
    from service.config import load
    from service.errors import ConfigError

    try:
        loaded = load(config_file=config, need_api_key=False)
    except ConfigError:
        sys.stderr.write("the configuration has faults, see `check`: no other source's secrets are tried\n")
        return load(config_file=config, need_api_key=False, only=[name])
    return loaded if name in loaded.sources else load(config_file=config, need_api_key=False, only=[name])


def _shape(found: Any) -> dict[str, Any]:  # noqa: ANN401  # a Diagnosis, whose module is loaded when needed
    return {
        "source": found.source,
        "verified": found.refusal is None,
        "note": found.note or None,
        "reason": found.refusal and found.refusal.cause,
        "hint": found.refusal and found.refusal.hint,
        "explanations": [
            [{"name": cause.name, "if": cause.says, "do": cause.do} for cause in causes]
            for causes in found.explanations
        ],
        "tries": found.tries,
        "guess": found.guess or None,
    }


def _told(found: Any) -> str:  # noqa: ANN401  # as _shape
    if found.refusal is None:
        return f"{found.source}: verified{f': {found.note}' if found.note else ''}\n"
    lines = [f"{found.source}: not verified: {found.refusal.cause}"]
    lines += [f"  hint: {found.refusal.hint}"] if found.refusal.hint else []
    for causes in found.explanations:
        lines.append(f"it verifies if {', and if '.join(cause.says for cause in causes)}")
        lines += [f"  so {do}" for do in dict.fromkeys(cause.do for cause in causes)]
    if not found.explanations:
        lines.append(f"none of the likely causes explains it ({found.tries} tries):")
        lines.append(f"  {found.guess}")
    return "\n".join(lines) + "\n"
