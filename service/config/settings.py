"""What the environment sets: keys and limits, each checked, none of the secrets ever shown."""

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from service.config.variables import SECRETS_DIR_DEFAULT, Variables
from service.errors import Fault

DATABASE_FILE: Final = "crm-to-chartmogul.db"
"""The embedded store's file in ``DATA_DIR``."""
DEFAULT_ACCOUNT: Final = "default"
"""The account whose key is ``CHARTMOGUL_API_KEY``."""
RATE_PER_S_MAX: Final = 40
"""Requests a second that ChartMogul allows an account: https://dev.chartmogul.com/docs/rate-limits."""
PARALLEL_MAX: Final = 20
"""Requests at a time that ChartMogul allows an account."""
ADMIN_TOKEN_MIN: Final = 16
"""Characters of the admin token."""
DAYS_MAX: Final = 36_500
"""Days that anything may be kept."""
LOG_DAYS_MIN: Final = 7
"""Days that the log must be kept: a change that a CRM sends again must still be known."""
ACCOUNTS_MAX: Final = 1000
"""Accounts in ``CHARTMOGUL_ACCOUNTS``."""
NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9_-]{0,62}$"
"""Names of accounts and sources."""

_ACCOUNTS: Final = "CHARTMOGUL_ACCOUNTS"
_NESTED: Final = re.compile(rf"{_ACCOUNTS}__([A-Za-z0-9_]+?)__([A-Za-z0-9_]+)")
_POSTGRES_NEAR: Final = ("postgres", "pgsql", "psql", "postgresql")
_DATABASES: Final = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")


def _refused(allowed: str, **context: str) -> PydanticCustomError:
    return PydanticCustomError("refused", "allowed: {allowed}", {"allowed": allowed, **context})


def _split(text: str, allowed: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        if parts.hostname and re.fullmatch(r"[\x21-\x7e]+", text) and parts.port != 0:
            return parts
    except ValueError:  # a broken port or IPv6 address
        pass
    raise _refused(allowed)


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _secure(text: str, *, allowed: str, path: bool) -> str:
    """Return an address that is https, or http on this machine, without anything that an address may also carry."""
    parts = _split(text, allowed)
    safe = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname))
    bare = parts.path in {"", "/"} or path
    if not safe or not bare or "?" in text or "#" in text or "@" in parts.netloc:
        raise _refused(allowed)
    return text.rstrip("/")


def _base_url(text: str) -> str:
    return _secure(text, allowed="https://HOST without path or query (http only for this machine)", path=False)


def _public_url(text: str) -> str:
    allowed = "https://HOST, the address that CRMs are given, without /webhooks and query (http only for this machine)"
    url = _secure(text, allowed=allowed, path=True)
    if url.endswith("/webhooks"):
        raise _refused(allowed)
    return url


def _proxy(secret: SecretStr) -> SecretStr:
    allowed = "http://HOST:PORT or https://HOST:PORT, with USER:PASSWORD@ where the proxy asks for it"
    parts = _split(secret.get_secret_value(), allowed)
    if parts.scheme not in {"http", "https"} or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise _refused(allowed)
    return secret


def _database_url(secret: SecretStr) -> SecretStr:
    scheme, separator, rest = secret.get_secret_value().partition("://")
    near = {"nearest": "postgresql"} if scheme.partition("+")[0] in _POSTGRES_NEAR and scheme != "postgresql" else {}
    if scheme not in {"sqlite", "postgresql"} or not separator or not rest.isprintable():
        raise _refused(_DATABASES, **near)
    if scheme == "sqlite" and (not rest.startswith("/") or rest[1:].partition("?")[0] in {"", ":memory:"}):
        raise _refused("sqlite:///FILE; a database in memory keeps nothing")
    try:
        make_url(secret.get_secret_value())
    except (ArgumentError, ValueError):
        raise _refused(f"{_DATABASES}; several hosts as postgresql://…/DATABASE?host=A:5432&host=B:5432") from None
    return secret


def _admin_token(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if len(text) < ADMIN_TOKEN_MIN or not _TOKEN.fullmatch(text):
        raise _refused(f"at least {ADMIN_TOKEN_MIN} ASCII characters without spaces")
    return secret


def _api_key(secret: SecretStr) -> SecretStr:
    if not _TOKEN.fullmatch(secret.get_secret_value()):
        raise _refused("ASCII characters without spaces, as ChartMogul shows the key")
    return secret


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


ApiKey = Annotated[SecretStr, AfterValidator(_api_key)]
Rate = Annotated[float, Field(gt=0, le=RATE_PER_S_MAX, allow_inf_nan=False)]
Parallel = Annotated[int, Field(ge=1, le=PARALLEL_MAX)]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class FurtherAccount(BaseModel):
    """One entry of ``CHARTMOGUL_ACCOUNTS``; a limit that is not given is that of the default account."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    api_key: ApiKey
    rate_per_s: Rate | None = None
    parallel: Parallel | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """A ChartMogul account: its key, and how much of its limits may be used."""

    name: str
    api_key: SecretStr = field(repr=False)
    rate_per_s: float
    parallel: int


class Settings(BaseSettings):
    """Every setting of the environment. A setting's name is the field's in capitals.

    Values are gathered by ``Variables`` (environment, ``.env``, secret files), so that they can be given in tests and
    shown with their place; nothing is read here.
    """

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, alias_generator=str.upper, populate_by_name=True
    )

    chartmogul_api_key: ApiKey | None = None
    """Needed by every verb that talks to ChartMogul, unless all sources use other accounts."""
    chartmogul_base_url: Annotated[str, AfterValidator(_base_url)] = "https://api.chartmogul.com"
    chartmogul_proxy: Annotated[SecretStr, AfterValidator(_proxy)] | None = None
    chartmogul_rate_per_s: Rate = 36
    chartmogul_parallel: Parallel = 16
    chartmogul_accounts: Annotated[
        dict[Annotated[str, Field(pattern=NAME_PATTERN)], FurtherAccount], Field(max_length=ACCOUNTS_MAX)
    ] = Field(default_factory=dict)

    data_dir: Path = Path("data")
    database_url: Annotated[SecretStr, AfterValidator(_database_url)] = Field(
        default_factory=lambda values: SecretStr(f"sqlite:///{values.get('data_dir', 'data')}/{DATABASE_FILE}")
    )
    config_file: Path = Path("config.yaml")
    secrets_dir: Path = Path(SECRETS_DIR_DEFAULT)

    public_url: Annotated[str, AfterValidator(_public_url)] | None = None
    admin_token: Annotated[SecretStr, AfterValidator(_admin_token)] | None = None
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:_-]{1,255}$")] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)] = 8080
    log_level: Annotated[LogLevel, BeforeValidator(_upper)] = "INFO"
    log_format: Literal["json", "console"] = "json"

    body_max_bytes: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = 1024 * 1024
    intake_waiting_max: Annotated[int, Field(ge=1, le=1_000_000)] = 4096
    lease_s: Annotated[int, Field(ge=5, le=3600)] = 60
    connect_timeout_s: Annotated[float, Field(ge=0.1, le=60, allow_inf_nan=False)] = 5
    read_timeout_s: Annotated[float, Field(ge=0.1, le=600, allow_inf_nan=False)] = 30
    retry_for_s: Annotated[int, Field(ge=60, le=30 * 86_400)] = 259_200
    clear_with: Literal["null", "blank"] = "null"
    payload_days: Annotated[int, Field(ge=1, le=DAYS_MAX)] = 30
    log_days: Annotated[int, Field(ge=LOG_DAYS_MIN, le=DAYS_MAX)] = 400

    @model_validator(mode="after")
    def _lease_covers_an_attempt(self) -> "Settings":
        # A lease that ends first would let another replica send the same patch beside the running one.
        if self.lease_s <= self.connect_timeout_s + self.read_timeout_s:
            raise _refused(
                "more than CONNECT_TIMEOUT_S and READ_TIMEOUT_S together", found=f"{self.lease_s} s", at="LEASE_S"
            )
        return self

    @model_validator(mode="after")
    def _log_outlives_payloads(self) -> "Settings":
        if self.log_days < self.payload_days:
            raise _refused("at least PAYLOAD_DAYS", found=f"{self.log_days} days", at="LOG_DAYS")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # Variables reads the environment
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # as above
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is given and nothing else: ``Variables`` has read the environment, ``.env`` and the files."""
        return (init_settings,)

    @property
    def cleared(self) -> str | None:
        """What a PATCH says of a cleared field."""
        return "" if self.clear_with == "blank" else None

    @property
    def accounts(self) -> Mapping[str, Account]:
        """Every ChartMogul account by name, the default one among them if its key is set."""
        rate, parallel = self.chartmogul_rate_per_s, self.chartmogul_parallel
        accounts = {
            name: Account(name, further.api_key, further.rate_per_s or rate, further.parallel or parallel)
            for name, further in self.chartmogul_accounts.items()
        }
        if self.chartmogul_api_key is not None:
            accounts[DEFAULT_ACCOUNT] = Account(DEFAULT_ACCOUNT, self.chartmogul_api_key, rate, parallel)
        return accounts


SETTINGS: Final = tuple(name.upper() for name in Settings.model_fields)
"""The name of every setting."""


def gather(variables: Variables) -> tuple[dict[str, Any], list[Fault]]:
    """Return the value of every setting that is set, still unchecked, and the faults met on the way."""
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for name in SETTINGS:
        if (variable := variables.find(name)) is not None:
            values[name] = variable.text
            if variable.text is None:
                faults.append(Fault(variable.where, name, "a file that cannot be read", "UTF-8 text of at most 64 KiB"))
                del values[name]
    accounts = _accounts(values.pop(_ACCOUNTS, None), variables, faults)
    return (values | {_ACCOUNTS: accounts} if accounts else values), faults


def is_setting(name: str) -> bool:
    """Say whether a name is a setting, or part of ``CHARTMOGUL_ACCOUNTS``."""
    return name in SETTINGS or _NESTED.fullmatch(name) is not None


def _accounts(text: str | None, variables: Variables, faults: list[Fault]) -> dict[str, Any]:
    """Read the accounts given as JSON, and those given as ``CHARTMOGUL_ACCOUNTS__EU__API_KEY``."""
    accounts = {} if text is None else _json_objects(text)
    if accounts is None:
        allowed = 'a JSON object such as {"eu": {"api_key": "…", "rate_per_s": 20}}'
        faults.append(Fault(variables.where(_ACCOUNTS), _ACCOUNTS, "text that is not that", allowed))
        accounts = {}
    for name in variables:
        if (match := _NESTED.fullmatch(name)) and (variable := variables.find(name)) is not None:
            accounts.setdefault(match[1].lower(), {})[match[2].lower()] = variable.text or ""
    if DEFAULT_ACCOUNT in accounts:
        allowed = "any other name; the default account's key is CHARTMOGUL_API_KEY"
        faults.append(Fault(variables.where(_ACCOUNTS), _ACCOUNTS, f"the name {DEFAULT_ACCOUNT!r}", allowed))
        del accounts[DEFAULT_ACCOUNT]
    return accounts


def _json_objects(text: str) -> dict[str, Any] | None:
    """Return a JSON object of objects, None if the text is anything else."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    objects = isinstance(document, dict) and all(isinstance(entry, dict) for entry in document.values())
    return document if objects else None
