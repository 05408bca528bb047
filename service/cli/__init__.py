"""The command line: one verb a job, each with ``--json``, and exit codes that mean the same everywhere.

0 done · 1 failed · 2 wrong usage or configuration · 3 refused, or something was found
"""

import os
import sys

import typer

from service.cli import configuration, doctor, inspecting, log, mapping, operate, run
from service.errors import ConfigError, ServiceError

FAILED, USAGE, FOUND = 1, 2, 3

app = typer.Typer(
    name="crm-to-chartmogul",
    help="Brings ChartMogul contacts up to date with what CRMs say changed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for family in (run, configuration, inspecting, mapping, doctor, log, operate):
    family.register(app)


def main() -> None:
    """Run a verb; an error of ours is told in two lines, cause and hint, and never as a trace."""
    try:
        app()
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(USAGE)
    except ServiceError as error:
        sys.stderr.write(f"{error.name}: {error.cause}\n" + (f"  hint: {error.hint}\n" if error.hint else ""))
        sys.exit(FAILED)
    finally:
        _flush()


def _flush() -> None:
    """Write what is left; for a reader that has seen enough (`… | head`), end as typer does: with 1 and no word."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter will try once more
        sys.exit(FAILED)
