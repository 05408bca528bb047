"""Environment and configuration file → validated values, or one report of everything that is wrong with them."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from service.config.environment import Environment
from service.config.faults import SECRET_PARTS, in_order
from service.config.reading import ConfigurationFile, read_text
from service.config.settings import DEFAULT_ACCOUNT, Settings
from service.config.yaml_file import references
from service.errors import ConfigError
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

    ``version`` names the content of the file: it changes with any rule, not with comments, layout or secrets.
    """

    settings: Settings
    sources: Mapping[str, ConfiguredSource]
    version: str


def load(
    environ: Mapping[str, str] | None = None,
    *,
    config_file: Path | None = None,
    env_file: Path = ENV_FILE,
    need_api_key: bool = True,
    only: Collection[str] | None = None,
) -> Config:
    """Read the environment and the configuration file; raise ConfigError with every fault of both, nothing else.

    ``need_api_key`` False is for verbs that neither send nor receive: API keys, the accounts that sources name and
    ``PUBLIC_URL`` may then be missing. ``only`` limits the sources to those named: what is wrong with the others,
    a missing secret among it, does not matter then.
    """
    environment = Environment(environ, env_file)
    file = ConfigurationFile(config_file or environment.config_file, environment.text_of, only=only)
    environment.refuse_unknown(file.mentioned)
    if need_api_key:
        file.require_accounts(environment.accounts)
        if not file.accounts or DEFAULT_ACCOUNT in file.accounts.values():
            environment.require("CHARTMOGUL_API_KEY", _API_KEY)
        if file.signs_url is not None:
            environment.require("PUBLIC_URL", _PUBLIC_URL.format(file.signs_url))
    faults = in_order((*environment.faults, *file.faults))
    if faults or environment.settings is None:
        raise ConfigError(faults)
    return Config(environment.settings, file.sources, _version(file.content))


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


def _version(content: Json) -> str:
    canonical = orjson.dumps(_public(content), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()[:VERSION_LENGTH]


def _public(content: Json) -> Json:
    """Return the file's content without what stands under ``auth`` and ``verify``, where secrets are."""
    sources = content.get("sources") if isinstance(content, dict) else None
    entries = sources.items() if isinstance(sources, dict) else ()
    return {
        name: {key: value for key, value in entry.items() if key not in SECRET_PARTS}
        for name, entry in entries
        if isinstance(entry, dict)
    }
