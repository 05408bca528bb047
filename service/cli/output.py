"""How verbs show what they found: a table for people, JSON for programs."""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
import typer

WIDE: Final = 240
"""Columns of a table that is written for no terminal."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def print_json(document: Any) -> None:  # noqa: ANN401  # whatever JSON can hold
    """Print a document as JSON, times as ISO 8601 in UTC."""
    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode() + "\n")
    sys.stdout.flush()  # `serve` runs on after it, and who reads a pipe must not wait until it ends


def print_lines(lines: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print rows: all their columns as JSON, or the named ones as a table."""
    if as_json:
        print_json(lines)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, pad_edge=False, box=None)
    for line in lines:
        table.add_row(*(_cell(line[column]) for column in columns))
    console = Console()
    # Whoever reads it from a file or a pipe has no edge to keep to.
    (console if console.is_terminal else Console(width=WIDE)).print(table if lines else "none")


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value.strftime("%Y-%m-%d %H:%M:%S") if isinstance(value, datetime) else str(value)
