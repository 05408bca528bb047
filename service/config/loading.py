"""Environment and configuration file → validated values, or one report of everything that is wrong with them."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import orjson

from service.config.environment import Environment
from service.config.faults import SECRET_PARTS, in_order, value_at
from service.config.origin import Origin
from service.config.reading import ConfigurationFile, read_text
from service.config.settings import DEFAULT_ACCOUNT, Settings
from service.config.warnings import ConfigWarning, Place, places_of, warnings_of
from service.config.yaml_file import references
from service.errors import ConfigError, Fault
from service.model import Json
from service.pipeline import ConfiguredSource

ENV_FILE: Final = Path(".env")
"""Read from the working directory if it is there."""
VERSION_LENGTH: Final = 12
"""Hex digits of a configuration's version."""

_API_KEY: Final = "the API key of your ChartMogul account"
_PUBLIC_URL: Final = "the https address that the CRM was given, without /webhooks; the source {} signs it"


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that the operator says, checked.

    ``version`` names the content of the file: it changes with any rule, and with what a variable says in
    one, not with comments, layout or secrets. ``digests`` do the same for each source, secrets included. ``seen`` is
    the fingerprint of the ``origin`` from before it was read: whatever changed since differs from it. ``warnings`` tell
    what is right as it stands, but worth a look.
    ``places`` says where each rule of a mapping stands, by source and target; what a preset brings has no place.
    """

    settings: Settings
    sources: Mapping[str, ConfiguredSource]
    version: str
    digests: Mapping[str, str] = field(repr=False)
    origin: Origin = field(repr=False)
    seen: str = field(repr=False)
    warnings: tuple[ConfigWarning, ...] = ()
    places: Mapping[tuple[str, str], Place] = field(default_factory=dict, repr=False)


def load(
    environ: Mapping[str, str] | None = None,
    *,
    config_file: Path | None = None,
    env_file: Path = ENV_FILE,
    need_api_key: bool = True,
    only: Collection[str] | None = None,
    running: Settings | None = None,
    beside: Path | None = None,
) -> Config:
    """Read the environment and the configuration file; raise ConfigError with every fault of both, nothing else.

    ``need_api_key`` False is for verbs that neither send nor receive: API keys, the accounts that sources name and
    ``PUBLIC_URL`` may then be missing. ``only`` limits the sources to those named: what is wrong with the others,
    a missing secret among it, does not matter then. ``running`` are the settings that a service runs with: what the
    file needs of settings must be among those, for they change by a restart alone. ``beside`` is another file that is
    read with the same ``.env``: the names in that may be of either, and of CONFIG_FILE.
    """
    environment = Environment(environ, env_file, running=running)
    origin = Origin(config_file or environment.config_file, env_file, environ)
    seen = origin.fingerprint()
    file = ConfigurationFile(origin.config_file, environment.text_of, only=only)
    others = {environment.config_file, *([] if beside is None else [beside])} - {origin.config_file}
    environment.refuse_unknown(file.mentioned, elsewhere=_mentioned(others))
    if need_api_key:
        file.require_accounts(environment.accounts)
        if not file.accounts or DEFAULT_ACCOUNT in file.accounts.values():
            environment.require("CHARTMOGUL_API_KEY", _API_KEY)
        if file.signs_url is not None:
            environment.require("PUBLIC_URL", _PUBLIC_URL.format(file.signs_url))
    faults = in_order((*environment.faults, *file.faults))
    if faults or environment.settings is None:
        raise ConfigError(faults)
    digests = {name: _digest([_entry(file, name), one.rules.document]) for name, one in file.sources.items()}
    return Config(
        environment.settings,
        file.sources,
        _version(file.content),
        digests,
        origin,
        seen,
        warnings_of(file.document, file.sources),
        places_of(file.document, file.sources),
    )


def read_again(before: Config) -> Config:
    """Read a running service's configuration as it is now; raise ConfigError with every fault.

    The file is the one that it was started with, and its settings stay as they were at the start.
    """
    origin = before.origin
    if (pipe := origin.pipe) is not None:
        allowed = "a file; CONFIG_FILE says where" if pipe == origin.config_file else "a file"
        raise ConfigError((Fault(str(pipe), "", "a pipe, which can be read once", allowed),))
    now = load(origin.environ, config_file=origin.config_file, env_file=origin.env_file, running=before.settings)
    return replace(now, settings=before.settings)


def changed_settings(before: Config) -> tuple[str, ...]:
    """Return the names of the settings that are others now than a running service has; none while any is faulty.

    Where secret files stand is no such setting: they are read anew for the configuration file. None either where a pipe
    gave them, which cannot be read again.
    """
    if before.origin.pipe is not None:
        return ()
    now = Environment(before.origin.environ, before.origin.env_file).settings
    names = [name for name in Settings.model_fields if name != "secrets_dir"]
    changed = [name for name in names if now and getattr(now, name) != getattr(before.settings, name)]
    return tuple(name.upper() for name in changed)


def load_settings(
    environ: Mapping[str, str] | None = None, *, env_file: Path = ENV_FILE, need_api_key: bool = False
) -> Settings:
    """Read the environment alone, for verbs that need the store and no source; raise ConfigError with every fault."""
    environment = Environment(environ, env_file)
    text = read_text(environment.config_file)
    environment.refuse_unknown(references(text) if isinstance(text, str) else None)
    if need_api_key:
        environment.require("CHARTMOGUL_API_KEY", _API_KEY)
    if environment.faults or environment.settings is None:
        raise ConfigError(in_order(environment.faults))
    return environment.settings


def _mentioned(files: Collection[Path]) -> set[str]:
    """Return the names that files use as ``${NAME}``, as far as they can be read."""
    texts = [read_text(file) for file in files if file.is_file()]
    return {name for text in texts if isinstance(text, str) for name in references(text)}


def _version(content: Json) -> str:
    return _digest(_public(content))[:VERSION_LENGTH]


def _entry(file: ConfigurationFile, source: str) -> Json:
    return value_at(file.document.value, ("sources", source))


def _digest(content: object) -> str:
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _public(content: Json) -> Json:
    """Return the file's content without what stands under ``auth`` and ``verify``, where secrets are."""
    sources = content.get("sources") if isinstance(content, dict) else None
    entries = sources.items() if isinstance(sources, dict) else ()
    return {
        name: {key: value for key, value in entry.items() if key not in SECRET_PARTS}
        for name, entry in entries
        if isinstance(entry, dict)
    }
