"""The secrets in a part of the configuration, whatever its preset calls them; pure."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, SecretStr


def secrets_of(value: object) -> Iterator[str]:
    """Yield every secret in a part of the configuration."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets_of(getattr(value, name))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from secrets_of(inner)
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from secrets_of(inner)


def with_secrets(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401  # any part of the configuration
    """Return a part of the configuration with each secret changed, unchecked. Raises what ``change`` raises."""
    if isinstance(value, SecretStr):
        return SecretStr(change(value.get_secret_value()))
    if isinstance(value, BaseModel):
        update = {name: with_secrets(getattr(value, name), change) for name in type(value).model_fields}
        return value.model_copy(update=update)
    if isinstance(value, Mapping):
        return {name: with_secrets(inner, change) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return tuple(with_secrets(inner, change) for inner in value)
    return value
