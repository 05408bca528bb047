"""Verbs about the configuration: check, schema."""

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from service.cli.cases import run_cases, tell_cases
from service.cli.opened import with_history
from service.cli.output import AsJson, print_json
from service.cli.run import ConfigFile

FOUND: Final = 3


def register(app: typer.Typer) -> None:
    """Add the verbs of this family."""
    for verb in (check, schema):
        app.command()(verb)


def check(
    config: ConfigFile = None,
    *,
    cases: Annotated[
        Path | None, typer.Option(help="Run the cases of this directory as well; no key is needed for it.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 3 where there is a warning.")] = False,
    accept: Annotated[list[str] | None, typer.Option(help="A warning, by its name, that is meant so.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check environment and configuration file, and report every fault at once; warn of what is worth a second look.

    Exit 0 when it is right, 2 when it has faults or a file is no case, 3 when a case differs.
    """
    from service.config import load
    from service.errors import ConfigError

    accepted = _accepted(accept)
    try:
        loaded = load(config_file=config, need_api_key=cases is None)
    except ConfigError as error:
        if not as_json:
            raise
        print_json({"ok": False, "faults": error.faults})
        raise typer.Exit(2) from None
    warnings = [one for one in (*loaded.warnings, *_unseen(loaded)) if one.name not in accepted]
    tried = None if cases is None else run_cases(loaded, cases)
    well = all(line["ok"] for line in tried or ()) and not (strict and warnings)
    if as_json:
        print_json(_summary(loaded, warnings, tried, well=well))
    else:
        _tell(loaded, brief=tried is not None)
        for warning in warnings:
            sys.stdout.write(f"warning: {warning}\n")
        if tried is not None:
            tell_cases(tried)
    raise typer.Exit(0 if well else FOUND)


def schema(*, as_json: AsJson = True) -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from service.config import json_schema

    del as_json  # it is never anything else
    print_json(json_schema())


def _accepted(names: list[str] | None) -> frozenset[str]:
    from service.config.warnings import NAMES

    for name in names or ():
        if name not in NAMES:
            raise typer.BadParameter(f"no warning {name!r}; there are {', '.join(NAMES)}", param_hint="--accept")
    return frozenset(names or ())


def _unseen(loaded: Any) -> Any:  # noqa: ANN401  # a Config in, warnings out, whose modules are loaded when needed
    """Ask the log, where there is one of this release, for attributes that ChartMogul has never shown."""
    from service.config.warnings import never_seen
    from service.errors import StoreError
    from service.store.checkup import file_of

    url = loaded.settings.database_url.get_secret_value()
    file = file_of(url)
    if file is not None and not file.exists():
        return ()
    accounts = {configured.account for configured in loaded.sources.values()}
    try:
        seen = with_history(url, lambda history: history.attributes.by_account(accounts))
        return never_seen(loaded.places, loaded.sources, seen)
    except StoreError as error:
        sys.stderr.write(f"the log was not asked which attributes ChartMogul knows: {error.cause}\n")
        return ()


def _summary(loaded: Any, warnings: Any, tried: Any, *, well: bool) -> dict[str, Any]:  # noqa: ANN401  # as above
    from service.operations.effective import effective_rules

    url = loaded.settings.public_url
    sources = {
        name: {
            "preset": one.source.preset,
            "account": one.account,
            "deliver": one.deliver.value,
            "url": url and f"{url}/webhooks/{name}",
            "verified": one.source.auth is not None,
            "targets": sorted(one.rules.mapping.targets),
            "mapping": effective_rules(one),
        }
        for name, one in loaded.sources.items()
    }
    cases = {} if tried is None else {"cases": tried}
    return {"ok": well, "version": loaded.version, "sources": sources, "warnings": warnings, **cases}


def _tell(loaded: Any, *, brief: bool) -> None:  # noqa: ANN401  # as above
    from service.operations.effective import effective_rules

    url = loaded.settings.public_url
    sys.stdout.write(f"ok, version {loaded.version}\n")
    for name, one in () if brief else loaded.sources.items():
        proof = "" if one.source.auth is not None else ", UNAUTHENTICATED"
        shadow = ", in shadow mode: nothing is sent" if one.deliver.value == "shadow" else ""
        sys.stdout.write(f"  {name}: {one.source.preset}, account {one.account}{proof}{shadow}\n")
        sys.stdout.write(f"    POST {url}/webhooks/{name}\n" if url else "")
        rules = effective_rules(one)
        width = max(len(rule.target) for rule in rules)
        for rule in rules:
            sys.stdout.write(f"    {rule.target:<{width}}  {rule.rule}  [{rule.layer}]\n")
