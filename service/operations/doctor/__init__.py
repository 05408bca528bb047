"""Everything that keeps contacts from arriving and can be seen from here: each check told with what to do about it.

It looks and never mends. Beside a running service it reads, writes for a moment, and asks ChartMogul who answers there
without showing a key; then it calls it once for each account, and once each CRM whose records are read back.
"""

from collections.abc import Callable
from datetime import datetime

from service.errors import StoreError
from service.operations.doctor.configuration import Setup, of_configuration
from service.operations.doctor.finding import Finding
from service.operations.doctor.log import failed, of_drift, of_file, of_log
from service.operations.doctor.readback import of_read_back
from service.operations.doctor.sink import Reach, of_chartmogul
from service.operations.doctor.sources import History, history, of_accounts, of_left_behind, of_source
from service.store.checkup import Checkup, file_of

__all__ = ["Finding", "Reach", "Setup", "examine"]


async def examine(setup: Setup, *, clock: Callable[[], datetime]) -> tuple[Finding, ...]:
    """Check all of it; what cannot be looked at because of another fault is left out."""
    findings = list(of_configuration(setup))
    if setup.reach is not None:
        findings += await of_chartmogul(setup.reach, clock=clock)
    past = None
    if setup.database_url is not None:
        past = await _log(setup.database_url.get_secret_value(), findings, clock)
    for configured in setup.sources.values():
        findings += of_source(configured, past)
    if past is not None and not setup.faults:  # else it is not known which are configured
        findings += of_left_behind(setup.sources, past)
    if setup.reach is not None:
        timeout_s = setup.reach.connect_timeout_s
        findings += await of_read_back(setup.sources.values(), connect_timeout_s=timeout_s, clock=clock)
    return tuple(findings)


async def _log(url: str, findings: list[Finding], clock: Callable[[], datetime]) -> History | None:
    """Add what was found of the log; return what it remembers, None where it cannot be asked."""
    file = file_of(url)
    if file is not None:
        findings += of_file(file)
        if not file.exists():
            return None
    checkup = Checkup(url)
    try:
        found = await of_log(checkup, clock=clock)
        findings += found
        if any(finding.status != "ok" for finding in found if finding.check != "clock"):
            return None
        past, drifted = await history(checkup), await of_drift(checkup, now=clock())
    except StoreError as error:
        findings.append(failed(error))
        return None
    finally:
        await checkup.close()
    findings += [*of_accounts(past), *drifted]
    return past
