"""ChartMogul's limits: requests a second, compute time a minute, requests in parallel."""

from typing import Final

from service.sandbox.answers import OVERLOADED, RATE_LIMITED, Answer, error, nothing, page
from service.sandbox.settings import Settings

MINUTE_S: Final = 60.0


class Gate:
    """Counts the requests in flight and says which are one too many."""

    def __init__(self, settings: Settings) -> None:
        self.in_flight = 0
        self.set(settings)

    def set(self, settings: Settings) -> None:
        """Other limits from now on; the buckets are full again."""
        limits = settings.limits
        self._limits = limits
        self._overload_body = settings.switches.overload_body
        self._requests = None if limits.rate_per_s is None else _Bucket(limits.rate_per_s, limits.burst)
        budget = limits.compute_s_per_minute
        self._compute = None if budget is None else _Bucket(budget / MINUTE_S, budget)

    def enter(self, now: float) -> Answer | None:
        """Counts one more in flight. The answer to a request past a limit, None for one that may pass."""
        self.in_flight += 1
        after = self._limits.retry_after_s
        if self._limits.parallel is not None and self.in_flight > self._limits.parallel:
            return self._overloaded(after)
        if self._requests is not None and not self._requests.take(now, 1):
            return error(429, RATE_LIMITED, retry_after_s=after)
        if self._compute is not None and not self._compute.take(now, 0):
            return error(429, RATE_LIMITED, retry_after_s=after)
        return None

    def leave(self, *, spent_s: float) -> None:
        """One less in flight; the time it took is charged to the compute budget, which may fall below nothing."""
        self.in_flight -= 1
        if self._compute is not None:
            self._compute.level -= spent_s

    def _overloaded(self, after: int | None) -> Answer:
        match self._overload_body:
            case "json":
                return error(503, OVERLOADED, retry_after_s=after)
            case "html":
                return page(503, "Service Temporarily Unavailable", retry_after_s=after)
            case "empty":  # pragma: no branch  # mypy proves that no case is left
                return nothing(503, retry_after_s=after)


class _Bucket:
    """A token bucket that starts full and refills steadily."""

    def __init__(self, rate_per_s: float, size: float) -> None:
        self._rate_per_s = rate_per_s
        self._size = size
        self.level = size
        self._at: float | None = None

    def take(self, now: float, tokens: float) -> bool:
        """Takes the tokens if all are there, and there is anything at all."""
        if self._at is not None:
            self.level = min(self._size, self.level + (now - self._at) * self._rate_per_s)
        self._at = now
        if self.level < tokens or self.level <= 0:
            return False
        self.level -= tokens
        return True
