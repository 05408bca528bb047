"""Cases as files: read for `check --cases`, run, told; and written for `inspect --save-case`."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
import typer

USAGE: Final = 2
SHOWN_MAX: Final = 200
"""Characters of a value that a difference shows."""


def run_cases(loaded: Any, place: Path) -> list[dict[str, Any]]:  # noqa: ANN401  # a Config, loaded when needed
    """Run every case of a directory, or the one of a file; return a line for each. Exit 2 where one is not a case."""
    from service.operations.cases import Difference, run_case
    from service.web.problems import status_of

    clear_with = loaded.settings.cleared

    def line(path: Path, case: Any) -> dict[str, Any]:  # noqa: ANN401  # a Case, as above
        configured = loaded.sources[case.source]
        found = run_case(configured, case, clear_with=clear_with, status_of=status_of)
        return {"file": str(path), "about": case.about, "ok": not found, "differences": [*map(_shape, found)]}

    def _shape(one: Difference) -> dict[str, Any]:
        from service.model import MISSING

        values = {"expected": one.expected, "found": one.found}
        return {"path": one.path} | {key: value for key, value in values.items() if value is not MISSING}

    return [line(path, case) for path, case in _read(place, loaded.sources)]


def tell_cases(lines: list[dict[str, Any]]) -> None:
    """Print a line for each case, what differs below it, and how many there were."""
    for line in lines:
        about = f": {line['about']}" if line["about"] else ""
        sys.stdout.write(f"{'ok     ' if line['ok'] else 'DIFFERS'} {line['file']}{about}\n")
        for one in line["differences"]:
            expected, found = (_value(one, key) for key in ("expected", "found"))
            sys.stdout.write(f"          {one['path']}: expected {expected}, found {found}\n")
    bad = sum(not line["ok"] for line in lines)
    sys.stdout.write(f"{len(lines)} cases: {len(lines) - bad} ok, {bad} differ\n")


def save_case(case: Mapping[str, Any], path: Path, *, force: bool) -> None:
    """Write a case into a file of its own; exit 2 where there is one already, unless ``force`` says to replace it."""
    text = orjson.dumps(case, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z) + b"\n"
    if path.exists() and not force:
        raise typer.BadParameter(f"{path} is there already; --force replaces it", param_hint="--save-case")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint="--save-case") from None
    sys.stderr.write(f"{path} holds what the CRM sent, contact values among it: keep it as such\n")


def _read(place: Path, sources: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    from service.operations.cases import CaseError, read_case

    cases, faults = [], []
    for path in _files(place):
        try:
            case = read_case(_bytes(path), sources=sources)
        except CaseError as error:
            faults.append(f"{path}: {error.name}: {error.cause}" + (f"\n  hint: {error.hint}" if error.hint else ""))
        else:
            cases.append((path, case))
    if faults:
        sys.stderr.write("\n".join(faults) + "\n")
        raise typer.Exit(USAGE)
    return iter(cases)


def _files(place: Path) -> list[Path]:
    from service.operations.cases import CASES_MAX

    files = [place] if place.is_file() else sorted(place.rglob("*.json"))
    if not files:  # whoever tries nothing should know
        raise typer.BadParameter(f"{place}: no .json file in it", param_hint="--cases")
    if len(files) > CASES_MAX:
        raise typer.BadParameter(f"{place}: {len(files)} files, more than {CASES_MAX}", param_hint="--cases")
    return files


def _bytes(path: Path) -> bytes:
    from service.operations.cases import CASE_BYTES_MAX

    try:
        with path.open("rb") as file:
            return file.read(CASE_BYTES_MAX + 1)
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint="--cases") from None


def _value(line: Mapping[str, Any], key: str) -> str:
    if key not in line:
        return "nothing"
    text = orjson.dumps(line[key]).decode()
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "…"
