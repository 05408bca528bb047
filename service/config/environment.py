"""The environment, checked: settings, and what is set that is no setting."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from service.config.faults import faults_of
from service.config.settings import DEFAULT_ACCOUNT, SETTINGS, Settings, gather, is_setting
from service.config.variables import ENVIRONMENT, Variables, nearest
from service.config.yaml_file import KeyPath
from service.errors import Fault

PREFIX: Final = "CHARTMOGUL_"
"""Whatever begins like this is meant for us."""


class Environment:
    """Settings, and the faults of those that are not right. ``settings`` is None where any of them is wrong.

    ``value`` holds what is set, by name and as text; ``substituted`` is empty, for no setting refers to another.
    ``running`` are the settings that a service runs with: what the file needs of settings must be among those then.
    """

    def __init__(self, environ: Mapping[str, str] | None, env_file: Path, *, running: Settings | None = None) -> None:
        self._running = running
        self.variables = Variables(environ, env_file)
        values, faults = gather(self.variables)
        self.value: dict[str, Any] = values
        self.substituted: dict[KeyPath, str] = {}
        self.faults = [*self.variables.faults, *faults]
        self.settings: Settings | None = None
        try:
            self.settings = Settings(**values)
        except ValidationError as error:
            self.faults += faults_of(error.errors(include_url=False), self, shape=Settings)

    def written_at(self, path: KeyPath) -> KeyPath:
        """Return the path itself: a setting counts where it stands."""
        return path

    def where(self, path: KeyPath, *, key: bool = False) -> str:  # noqa: ARG002  # a variable has one place
        """Return where a setting stands: ``environment``, a line of ``.env`` or a file."""
        name = "__".join(str(part) for part in path).upper()
        return self.variables.where(name if self.variables.find(name) else str(path[0]))

    @property
    def config_file(self) -> Path:
        """The configuration file's path, also where other settings are wrong."""
        return Path(str(self.value.get("CONFIG_FILE", Settings.model_fields["config_file"].default)))

    @property
    def accounts(self) -> list[str]:
        """The names of the accounts that are set, also where something else in them is wrong."""
        further = self.value.get("CHARTMOGUL_ACCOUNTS", {})
        return [DEFAULT_ACCOUNT, *(further if self._running is None else self._running.chartmogul_accounts)]

    def text_of(self, name: str) -> str | Fault:
        """Return the text of ``${NAME}``, or the fault that there is none; its place is for the caller to say."""
        variable = self.variables.find(name)
        if variable is not None and variable.text is not None:
            return variable.text
        found = f"${{{name}}}, which is not set" if variable is None else f"${{{name}}}, a file that cannot be read"
        allowed = f"set {name} in the environment, in .env or as a file in SECRETS_DIR"
        return Fault(ENVIRONMENT, name, found, allowed, nearest(name, list(self.variables)))

    def require(self, name: str, allowed: str) -> None:
        """Record a fault if a setting is missing."""
        if name not in self.value:
            self.faults.append(Fault(self.variables.where(name), name, "nothing", allowed))
        elif self._running is not None and getattr(self._running, name.lower()) is None:
            found = "a value that was set after the start"
            self.faults.append(Fault(self.variables.where(name), name, found, f"{allowed}; restart to use it"))

    def refuse_unknown(self, mentioned: set[str] | None, *, elsewhere: Collection[str] = ()) -> None:
        """Record a fault for each name that is no setting: all of ``.env``, and any that begins with CHARTMOGUL_.

        ``mentioned`` are the names that the configuration file uses, None where it could not be read: then names in
        ``.env`` count as its own unless they resemble a setting. ``elsewhere`` are those of files that share ``.env``.
        """
        for name in self.variables:
            near = nearest(name, list(SETTINGS))
            ours = name.upper().startswith(PREFIX)
            listed = name in self.variables.dotenv and (mentioned is not None or near is not None)
            known = is_setting(name) or name in (mentioned or ()) or name in elsewhere
            if known or not (ours or listed):
                continue
            allowed = "a setting, or a name that the configuration file uses as ${NAME}"
            self.faults.append(Fault(self.variables.where(name), name, "a name that is no setting", allowed, near))
