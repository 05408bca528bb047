"""Whether what the operator wrote is usable, and fit for the internet."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic import SecretStr

from service.errors import Fault
from service.operations.doctor.finding import Finding
from service.operations.doctor.sink import Reach
from service.pipeline import ConfiguredSource


@dataclass(frozen=True, slots=True)
class Setup:
    """What is configured, as far as it can be read: with faults, some of it is missing."""

    faults: tuple[Fault, ...]
    version: str | None
    sources: dict[str, ConfiguredSource] = field(default_factory=dict)
    public_url: str | None = None
    admin_token: bool = False
    reach: Reach | None = None
    database_url: SecretStr | None = None


def of_configuration(setup: Setup) -> Iterator[Finding]:
    """Yield every fault of the configuration, or what it amounts to."""
    if setup.faults:
        for fault in setup.faults:
            yield Finding("configuration", "", "fail", str(fault), "mend it; `check` tells the same")
        return
    yield Finding("configuration", "", "ok", f"version {setup.version}, sources {', '.join(setup.sources)}")
    yield _public_url(setup)
    told = "set" if setup.admin_token else "not set; nothing asks for it yet"
    yield Finding("admin_token", "", "ok", f"ADMIN_TOKEN is {told}")


def _public_url(setup: Setup) -> Finding:
    signing = [name for name, configured in setup.sources.items() if configured.source.signs_url]
    needed = f"; signed by {', '.join(signing)}" if signing else "; no source signs its address"
    if setup.public_url is None:  # where a source needs it, the configuration has a fault
        return Finding("public_url", "", "ok", f"not set{needed}")
    if setup.public_url.startswith("http://"):
        seen = f"{setup.public_url}, plain http on this machine{needed}"
        return Finding("public_url", "", "warn", seen, "set PUBLIC_URL to the https address that CRMs are given")
    if "webhooks" in setup.public_url.split("/"):
        seen = f"{setup.public_url}: CRMs would send to {setup.public_url}/webhooks/NAME{needed}"
        return Finding("public_url", "", "warn", seen, "set PUBLIC_URL without /webhooks, unless a proxy takes it off")
    return Finding("public_url", "", "ok", f"{setup.public_url}{needed}")
