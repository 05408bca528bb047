"""Named values from outside: the environment, else a ``.env`` file, else a file of that name in ``SECRETS_DIR``."""

import difflib
import io
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dotenv.parser import parse_stream

from service.errors import Fault

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""What a variable may be called."""
FILE_BYTES_MAX: Final = 64 * 1024
"""Size of one secret file."""
DOTENV_BYTES_MAX: Final = 1024 * 1024
"""Size of the ``.env`` file."""
SECRETS_DIR_DEFAULT: Final = "/run/secrets"

ENVIRONMENT: Final = "environment"
_SIMILAR: Final = 0.6
_WORD_MAX: Final = 200
_BEGINNING: Final = 3


@dataclass(frozen=True, slots=True)
class Variable:
    """One named value and where it stands: ``environment``, ``.env:LINE`` or a file. ``text`` None is unreadable."""

    where: str
    text: str | None = field(repr=False)


class Variables:
    """Every named value within reach; secret files are opened only when they are asked for.

    The names of secret files may be written in lower case, as Docker does. An empty value counts as none.
    """

    def __init__(self, environ: Mapping[str, str] | None, env_file: Path) -> None:
        self._environ = os.environ if environ is None else environ  # noqa: TID251  # the one reader of the environment
        self.faults: list[Fault] = []
        self.dotenv = self._read_dotenv(env_file)
        self._files: dict[str, Path] = {}
        directory = self.find("SECRETS_DIR")
        self._files = _secret_files(Path(directory.text if directory and directory.text else SECRETS_DIR_DEFAULT))

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(name.upper() for name in self._files), **self.dotenv, **self._environ})

    def find(self, name: str) -> Variable | None:
        """Return the value of a name, from the first place that has one."""
        if self._environ.get(name):
            return Variable(ENVIRONMENT, self._environ[name])
        if name in self.dotenv and self.dotenv[name].text:
            return self.dotenv[name]
        path = self._files.get(name) or self._files.get(name.upper())
        return None if path is None else _read_secret(path)

    def where(self, name: str) -> str:
        """Say where a name stands, ``environment`` where it stands nowhere."""
        if (found := self.find(name)) is not None:
            return found.where
        return self.dotenv[name].where if name in self.dotenv and name not in self._environ else ENVIRONMENT

    def _read_dotenv(self, path: Path) -> dict[str, Variable]:
        variables: dict[str, Variable] = {}
        if not _is_there(path):
            return variables
        text = _read(path, DOTENV_BYTES_MAX)
        if text is None:
            self._refuse(str(path), "a file that cannot be read", f"UTF-8 text of at most {DOTENV_BYTES_MAX} bytes")
            return variables
        for binding in parse_stream(io.StringIO(text)):
            original = binding.original.string  # with the blank lines before it
            blank_lines = original[: len(original) - len(original.lstrip())].count("\n")
            where = f"{path}:{binding.original.line + blank_lines}"
            if binding.error:
                self._refuse(where, "a line that cannot be read", 'NAME=value, or NAME="value"')
            elif binding.key is not None:
                variables[binding.key] = Variable(where, binding.value or "")
        return variables

    def _refuse(self, where: str, found: str, allowed: str) -> None:
        self.faults.append(Fault(where, "", found, allowed))


def nearest(word: str, allowed: list[str]) -> str | None:
    """Return the allowed word most like the given one, whatever its case; None where nothing is like it."""
    by_folded = {candidate.casefold(): candidate for candidate in allowed}
    folded = word.casefold()[:_WORD_MAX]
    close = difflib.get_close_matches(folded, list(by_folded), n=1, cutoff=_SIMILAR)
    begun = [candidate for candidate in by_folded if len(folded) >= _BEGINNING and candidate.startswith(folded)]
    return next((by_folded[candidate] for candidate in (*begun, *close)), None)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # something is, and cannot be looked at
        return True


def _secret_files(directory: Path) -> dict[str, Path]:
    """List the files that can be a variable, under their own name and in upper case."""
    try:
        files = sorted(path for path in directory.iterdir() if NAME.fullmatch(path.name) and path.is_file())
    except (OSError, ValueError):
        return {}  # a missing directory is the usual case outside a container
    return {**{path.name.upper(): path for path in files}, **{path.name: path for path in files}}


def _read_secret(path: Path) -> Variable | None:
    text = _read(path, FILE_BYTES_MAX)
    # Editors and `echo` end a file with a line break that is no part of the secret.
    stripped = None if text is None else text.rstrip("\r\n")
    return None if stripped == "" else Variable(str(path), stripped)


def _read(path: Path, bytes_max: int) -> str | None:
    """Return a file's text, None if it is too large, not UTF-8 or not readable at all."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(bytes_max + 1)
        return raw.decode("utf-8-sig") if len(raw) <= bytes_max else None
    except (OSError, ValueError):
        return None
