"""Verbs that make and try a mapping on logged traffic before it goes live: suggest, backtest."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from service.cli.opened import with_history
from service.cli.output import AsJson, print_json
from service.cli.progress import progress_bar
from service.cli.run import ConfigFile
from service.cli.when import since

FOUND = 3
USAGE = 2
NEWEST = 10_000
"""Changes that are looked at where nothing is said."""


def register(app: typer.Typer) -> None:
    """Add the verbs of this family."""
    for verb in (suggest, backtest):
        app.command()(verb)


def suggest(
    *,
    source: Annotated[str, typer.Option(help="The source whose changes are looked at.")],
    last: Annotated[int, typer.Option(min=1, max=100_000, help="Its newest so many changes.")] = 5_000,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Propose a mapping from what a source has sent, as a file that loads as it is. No personal value is in it."""
    from service.config import load

    loaded = load(config_file=config, need_api_key=False, only=[source])
    written = _as_written(config or loaded.settings.config_file)

    async def run(history: Any) -> Any:  # noqa: ANN401  # a History, loaded when needed
        from service.operations.suggest import suggest as propose

        with progress_bar("suggest", last) as advance:
            return await propose(
                history,
                loaded.sources[source],
                last=last,
                entry=written["sources"][source],
                define=written.get("define"),
                progress=lambda done: advance(done, f"{done} changes"),
            )

    found = with_history(loaded.settings.database_url.get_secret_value(), run)
    if as_json:
        print_json(_suggested(source, found))
    else:
        sys.stdout.write(found.text)


def _suggested(source: str, found: Any) -> dict[str, Any]:  # noqa: ANN401  # a Suggestion, loaded when needed
    from service.operations.suggest.findings import told

    def line(one: Any) -> dict[str, Any]:  # noqa: ANN401  # a Proposal
        return {
            "target": one.target,
            "path": one.seen.place.path,
            "records": one.seen.records,
            "coverage": one.seen.records / found.survey.records,
            "seen": told(one.seen, found.survey.records),
            "rule": one.rule,
            "findings": one.findings,
        }

    return {
        "source": source,
        "changes": found.survey.changes,
        "records": found.survey.records,
        "first_received_at": found.received[0],
        "last_received_at": found.received[1],
        "fields": [line(one) for one in found.proposals.standard],
        "custom": [line(one) for one in found.proposals.custom],
        "yaml": found.text,
    }


def _as_written(path: Path) -> Any:  # noqa: ANN401  # the file's content, which was checked before
    """Return what stands in a configuration file, each ${NAME} as it is written."""
    from service.config.reading import read_text
    from service.config.yaml_file import read_yaml

    text = read_text(path)
    return read_yaml(text if isinstance(text, str) else "", name=str(path), variable=lambda _: "").unresolved


def backtest(
    *,
    config: Annotated[Path, typer.Option(help="The candidate: a whole configuration file.")],
    source: Annotated[str | None, typer.Option(help="Only changes of this source.")] = None,
    start: Annotated[str | None, typer.Option("--since", help="Received since: ISO 8601, or 36h, 30d ago.")] = None,
    last: Annotated[int | None, typer.Option(min=1, help=f"Only the newest so many; default {NEWEST}.")] = None,
    against: Annotated[
        Literal["now", "then"], typer.Option(help="The rules of CONFIG_FILE, or those that mapped each change.")
    ] = "now",
    examples: Annotated[int, typer.Option(min=0, max=100, help="Of each difference, at most.")] = 5,
    mask: Annotated[bool, typer.Option("--mask", help="Hide values: only their shape is shown.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what another configuration would make of logged changes. Sends and writes nothing. Shows contact values.

    Exit 0 when nothing differs, 3 when something does, 2 when a configuration has faults.
    """
    from service.cli.backtested import shape, tell
    from service.main import real_clock

    if start is not None and last is not None:
        raise typer.BadParameter("one of the two", param_hint="--since, --last")
    begin = since(start, option="--since", now=real_clock())
    present, candidate = _loaded(None, beside=config, as_json=as_json), _loaded(config, as_json=as_json)
    _require_known(source, present, candidate)

    async def run(history: Any) -> Any:  # noqa: ANN401  # a History, loaded when needed
        from service.operations.backtest import Backtest
        from service.operations.masking import masked, shortened

        newest = NEWEST if last is None else last
        stretch = await (
            history.newest(newest, source=source) if begin is None else history.since(begin, source=source)
        )
        work = Backtest(
            present.sources,
            candidate.sources,
            then=against == "then",
            examples=examples,
            show=masked if mask else shortened,
        )
        with progress_bar("backtest", stretch.count) as advance:
            return await work.run(history, stretch, progress=lambda done: advance(done, f"{done} changes"))

    report = with_history(present.settings.database_url.get_secret_value(), run)
    if as_json:
        print_json(shape(report, candidate=candidate.version, present=present.version, against=against))
    else:
        tell(report, against=against)
    raise typer.Exit(FOUND if report.differs else 0)


def _loaded(config: Path | None, *, beside: Path | None = None, as_json: bool) -> Any:  # noqa: ANN401  # a Config, loaded when needed
    from service.config import load
    from service.errors import ConfigError

    try:
        return load(config_file=config, need_api_key=False, beside=beside)
    except ConfigError as error:
        if not as_json:
            raise
        print_json({"ok": False, "faults": error.faults})
        raise typer.Exit(USAGE) from None


def _require_known(source: str | None, *configurations: Any) -> None:  # noqa: ANN401  # as above
    known = sorted({name for loaded in configurations for name in loaded.sources})
    if source is not None and source not in known:
        raise typer.BadParameter(f"no source {source!r}; known are {', '.join(known)}", param_hint="--source")
