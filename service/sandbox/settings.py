"""Everything adjustable: limits, latency, and a switch for each thing that is not known about the real API."""

from dataclasses import dataclass, field, replace
from typing import Final, Literal

from service.sandbox.documents import LEAST, MOST, as_object, changed

RATE_PER_S: Final = 40.0
PARALLEL: Final = 20
LATENCY_MAX_MS: Final = 60_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """ChartMogul's own limits (https://dev.chartmogul.com/docs/rate-limits); None switches one off.

    Past ``rate_per_s``, a token bucket holding ``burst``, and past ``compute_s_per_minute`` the answer is 429; past
    ``parallel`` requests in flight it is 503. ``retry_after_s`` is sent as ``Retry-After`` with both.
    """

    rate_per_s: float | None = field(default=RATE_PER_S, metadata={LEAST: 0.001})
    burst: int = field(default=int(RATE_PER_S), metadata={LEAST: 1})
    parallel: int | None = field(default=PARALLEL, metadata={LEAST: 0})
    compute_s_per_minute: float | None = field(default=None, metadata={LEAST: 0.001})
    retry_after_s: int | None = field(default=None, metadata={LEAST: 0})


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """One switch for each thing that neither a recording nor the documentation settles. The defaults are the likely.

    null_values, blank_values  null or "" for a text field: stored, refused with 422, or ignored (the old value stays);
                               ``external_id: null`` always clears
    unknown_keys               a top-level key that is no field of a contact
    custom_as_object           ``custom`` that is no array: 500 without body, 500 with an ``error`` text, or 422
    custom_wrong_type          a custom value that is no scalar, past 255 characters, or of another kind than the seed's
    custom_unsent              the custom values that a PATCH with ``custom`` does not name
    patch_custom               the shape of ``custom`` in the answer to a PATCH
    external_id, last_seen     whether answers have these keys
    email_check                whether an address without the look of one gets 422
    email_filter, list_order   how ``?email=`` compares, and what comes first in a list
    malformed_uuid             what a contact uuid that is none gets
    read_only_write            what a write with a read-only key gets
    trial_expired              403 for everything
    overload_body              the body of a 503
    """

    null_values: Literal["accepted", "refused", "ignored"] = "accepted"
    blank_values: Literal["accepted", "refused", "ignored"] = "accepted"
    unknown_keys: Literal["ignored", 400, 422] = "ignored"
    custom_as_object: Literal["500_empty", "500_error", 422] = "500_empty"
    custom_wrong_type: Literal["dropped", 422] = "dropped"
    custom_unsent: Literal["kept", "removed"] = "kept"
    patch_custom: Literal["object", "array"] = "object"
    external_id: Literal["present", "absent"] = "present"
    last_seen: Literal["present", "absent"] = "present"
    email_check: bool = True
    email_filter: Literal["case_insensitive", "exact"] = "case_insensitive"
    list_order: Literal["newest_first", "oldest_first"] = "newest_first"
    malformed_uuid: Literal[400, 404] = 404
    read_only_write: Literal[401, 403, 422] = 403
    trial_expired: bool = False
    overload_body: Literal["json", "html", "empty"] = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the sandbox behaves. Requests wait ``latency_ms`` and up to ``latency_jitter_ms`` more before they apply."""

    limits: Limits = field(default_factory=Limits)
    switches: Switches = field(default_factory=Switches)
    latency_ms: float = field(default=0, metadata={LEAST: 0, MOST: LATENCY_MAX_MS})
    latency_jitter_ms: float = field(default=0, metadata={LEAST: 0, MOST: LATENCY_MAX_MS})

    def changed(self, document: object) -> "Settings":
        """These settings with what the document names: ``{"limits": {…}, "switches": {…}, "latency_ms": 50}``.

        Raises DocumentError, and then nothing is changed.
        """
        plain = dict(as_object(document, path="settings"))
        limits = changed(self.limits, plain.pop("limits", {}), path="settings.limits")
        switches = changed(self.switches, plain.pop("switches", {}), path="settings.switches")
        rest = changed(_Latency(self.latency_ms, self.latency_jitter_ms), plain, path="settings")
        return replace(
            self,
            limits=limits,
            switches=switches,
            latency_ms=rest.latency_ms,
            latency_jitter_ms=rest.latency_jitter_ms,
        )


UNLIMITED: Final = Limits(rate_per_s=None, parallel=None)


@dataclass(frozen=True, slots=True)
class _Latency:
    latency_ms: float = field(metadata={LEAST: 0, MOST: LATENCY_MAX_MS})
    latency_jitter_ms: float = field(metadata={LEAST: 0, MOST: LATENCY_MAX_MS})
