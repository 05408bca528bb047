"""The demo's processes: a sandbox and the service, each a real program on a port of its own, in one directory."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from service.errors import ServiceError

START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 15.0

SECRETS: Final = ("DEMO_PIPEDRIVE_PASSWORD", "DEMO_HUBSPOT_SECRET", "DEMO_SHOP_SECRET")
INHERITED: Final = ("PATH", "LANG", "SYSTEMROOT", "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
"""What the processes are given of the environment; a service configured on this machine must not speak here."""

CONFIGURATION: Final = """\
sources:
  pipedrive:
    preset: pipedrive
    auth: {username: crm, password: "${DEMO_PIPEDRIVE_PASSWORD}"}
    resolve: [link, {email: "emails[?primary].value"}]
    mapping:
      phone: {transform: [{e164: GB}]}
      custom:
        Lifecycle: {from: label, map: {"1": Lead, "2": Customer}, default: Other}

  hubspot:
    preset: hubspot
    auth: {secret: "${DEMO_HUBSPOT_SECRET}"}
    resolve: [link, {email: email}]
    mapping:
      phone: {transform: [{e164: DE}]}
      custom:
        Region: {from: region, transform: [upper]}

  shop:
    preset: generic
    auth:
      verify: {scheme: hmac, secret: "${DEMO_SHOP_SECRET}", header: X-Shop-Signature, prefix: "sha256=", encoding: hex}
    parse: {format: json, event_id: event.id, object_id: person.id, occurred_at: event.at, values: person}
    resolve: [link, {email: email}]
    mapping:
      first_name: first_name
      last_name: last_name
      title: title
      custom:
        Favourite colour: favourite_colour
        Newsletter: {from: newsletter, transform: [to_bool]}
"""


class DemoError(ServiceError):
    """The demo did not come about, or did not end as it must."""

    name = "demo_failed"


@dataclass(frozen=True, slots=True)
class Stage:
    """Where everything is while the demo runs."""

    directory: Path
    environment: dict[str, str]
    service_url: str
    sandbox_url: str
    stop_timeout_s: float = STOP_TIMEOUT_S

    @classmethod
    @contextlib.contextmanager
    def open(cls, directory: Path, base: dict[str, str]) -> Iterator["Stage"]:
        """Start sandbox and service, and stop both at the end. ``base`` is the environment that they inherit."""
        service_port, sandbox_port = _free_port(), _free_port()
        service_url, sandbox_url = f"http://127.0.0.1:{service_port}", f"http://127.0.0.1:{sandbox_port}"
        (directory / "config.yaml").write_text(CONFIGURATION)
        own = {
            "CHARTMOGUL_API_KEY": "demo-key",
            "CHARTMOGUL_BASE_URL": sandbox_url,
            "CONFIG_FILE": str(directory / "config.yaml"),
            "DATA_DIR": str(directory / "data"),
            "SECRETS_DIR": str(directory / "secrets"),
            "PUBLIC_URL": service_url,
            "HOST": "127.0.0.1",
            "PORT": str(service_port),
            **{name: secrets.token_urlsafe(24) for name in SECRETS},
        }
        inherited = {name: base[name] for name in INHERITED if name in base}
        stage = cls(directory, inherited | own, service_url, sandbox_url)
        with contextlib.ExitStack() as stack:
            stack.enter_context(stage._process("sandbox", "--port", str(sandbox_port)))
            stage.wait_for(f"{sandbox_url}/_sandbox/contacts", "sandbox")
            stack.enter_context(stage._process("serve"))
            stage.wait_for(f"{service_url}/health/ready", "serve")
            yield stage

    def wait_for(self, url: str, verb: str, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return once an address answers 200. Raises DemoError, with the process's last words, when it never does."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(url, trust_env=False).status_code == 200:  # noqa: PLR2004  # HTTP's OK
                    return
            time.sleep(0.05)
        raise DemoError(f"`{verb}` did not start within {timeout_s:g} s", hint=self.log_tail(verb))

    def log_tail(self, verb: str) -> str:
        """Return the last lines that a process wrote."""
        return "\n".join((self.directory / f"{verb}.log").read_text(errors="replace").splitlines()[-10:])

    @contextlib.contextmanager
    def _process(self, verb: str, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
        with (self.directory / f"{verb}.log").open("wb") as output:
            process = subprocess.Popen(  # noqa: S603  # our own program
                [sys.executable, "-m", "service", verb, *arguments],
                env=self.environment,
                cwd=self.directory,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=os.name == "posix",  # a Ctrl-C is ours to pass on, in order
            )
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(self.stop_timeout_s)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
