"""Asks the service that runs on this machine to take its configuration file as it is now."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import httpx
from pydantic import SecretStr

from service.errors import Fault, ServiceError

TIMEOUT_S: Final = 60.0
"""A reload waits for another one that is under way."""
_PATH: Final = "/api/v1/config/reload"
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # what is asked there, not listened on


class NotReloaded(ServiceError):
    """Nobody could be asked, or the answer says neither which version runs nor what is wrong."""

    name = "not_reloaded"


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The version that runs now, whether it is another than before, and all that is wrong with a file that is not."""

    version: str
    changed: bool
    faults: tuple[Fault, ...] = ()


def ask_to_reload(host: str, port: int, token: SecretStr) -> Reloaded:
    """Ask whoever listens there, with the admin token; raise NotReloaded unless it takes or refuses the file."""
    address = _EVERYWHERE.get(host, host)
    url = f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
    try:
        with httpx.Client(trust_env=False, timeout=TIMEOUT_S) as client:
            answer = client.post(url + _PATH, headers={"authorization": f"Bearer {token.get_secret_value()}"})
        return _read(answer)
    except httpx.TransportError as error:
        cause = f"no service answers at {url}: {type(error).__name__}"
        raise NotReloaded(cause, hint="does it run, with the same HOST and PORT?") from None
    except (ValueError, KeyError, TypeError):
        raise NotReloaded(f"what answers at {url} is another program", hint="see HOST and PORT") from None


def _read(answer: httpx.Response) -> Reloaded:
    match answer.status_code:
        case HTTPStatus.OK:
            document: dict[str, Any] = answer.json()
            return Reloaded(document["version"], document["changed"])
        case HTTPStatus.UNPROCESSABLE_ENTITY:
            document = answer.json()
            return Reloaded(
                document["version"], changed=False, faults=tuple(Fault(**one) for one in document["faults"])
            )
        case HTTPStatus.UNAUTHORIZED:
            cause, hint = "the service has another ADMIN_TOKEN", "it keeps the one that it was started with; restart it"
        case HTTPStatus.NOT_FOUND:
            cause, hint = "the service has no admin API", "set ADMIN_TOKEN and restart it, or send it SIGHUP"
        case status:
            cause, hint = f"the service answered {status}", "its log says why; what was in force goes on"
    raise NotReloaded(cause, hint=hint)
