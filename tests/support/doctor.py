"""What a doctor found, and how tests ask it: the setup as the command line makes it."""

from collections.abc import Sequence
from typing import Any

from pydantic import SecretStr

from service.config import Config
from service.main import real_clock
from service.operations.doctor import Finding, Reach, Setup, examine
from tests.support.webhooks import GRACE, SECRETS

KEY = "cm-key-5f0d2c9a7b1e"


def reach_of(base_url: str, *, connect_s: float = 5.0, read_s: float = 5.0, key: str = KEY) -> Reach:
    return Reach(base_url, {"default": SecretStr(key)}, connect_s, read_s)


def setup_of(config: Config) -> Setup:
    settings = config.settings
    return Setup(
        faults=(),
        version=config.version,
        sources=dict(config.sources),
        public_url=settings.public_url,
        reach=reach_of(settings.chartmogul_base_url),
        database_url=settings.database_url,
    )


def of(findings: Sequence[Finding], check: str, about: str | None = None) -> list[Finding]:
    return [one for one in findings if one.check == check and about in (None, one.about)]


def one_of(findings: Sequence[Finding], check: str, about: str | None = None) -> Finding:
    (found,) = of(findings, check, about)
    return found


def worse(findings: Sequence[Finding]) -> list[Finding]:
    """What is not ok; how full this machine's disk is does not matter here."""
    return [finding for finding in findings if finding.status != "ok" and finding.check != "disk"]


async def looked_at(setup: Setup, *, clock: Any = real_clock) -> tuple[Finding, ...]:  # noqa: ANN401  # any clock
    """Examine, and hold what is told against everything that must not be."""
    findings = await examine(setup, clock=clock)
    for secret in (KEY, GRACE, *SECRETS.values()):
        assert secret not in repr(findings)
    assert all(finding.hint for finding in worse(findings))
    return findings
