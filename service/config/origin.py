"""Where a configuration was read from, and whether anything there has changed since."""

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from service.config.environment import PREFIX
from service.config.reading import read_text
from service.config.settings import is_setting
from service.config.variables import Variables
from service.config.yaml_file import references

_NOTHING: Final = Path(os.devnull)


@dataclass(frozen=True, slots=True)
class Origin:
    """The files that a configuration was read from. ``environ`` None is the environment of this process."""

    config_file: Path
    env_file: Path
    environ: Mapping[str, str] | None = field(repr=False)

    @property
    def pipe(self) -> Path | None:
        """Return a file of them that cannot be read again: a pipe gives what it has once, and would be waited for."""
        return next((file for file in (self.config_file, self.env_file) if _is_pipe(file)), None)

    def fingerprint(self) -> str:
        """Name what stands there now: it changes with the file, and with every variable that counts for it.

        Those are the settings, whatever stands in ``.env``, and the names that the file mentions: a secret file among
        many is opened only where it is one of them. Contents are compared, not times, so that it does not matter
        whether a file was edited, replaced, or is reached over a link that leads elsewhere now.
        """
        text = "" if _is_pipe(self.config_file) else read_text(self.config_file)
        mentioned = references(text) if isinstance(text, str) else set()
        variables = Variables(self.environ, _NOTHING if _is_pipe(self.env_file) else self.env_file)
        digest = hashlib.sha256(repr((str(text), [str(fault) for fault in variables.faults])).encode())
        for name in sorted(set(variables)):
            ours = is_setting(name) or name.upper().startswith(PREFIX)
            if ours or name in mentioned or name in variables.dotenv:
                found = variables.find(name)
                digest.update(repr((name, None if found is None else (found.text,))).encode())
        return digest.hexdigest()


def _is_pipe(file: Path) -> bool:
    try:
        mode = file.stat().st_mode
    except (OSError, ValueError):
        return False  # whatever is wrong with it, reading it says so
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and file.resolve() != _NOTHING
