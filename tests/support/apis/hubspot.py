"""HubSpot's contacts, as far as they can be read in batches.

https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/guide
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from tests.support.apis.base import ApiAnswer, ApiRequest

ALWAYS: Final = ("createdate", "hs_object_id", "lastmodifieddate")
"""Properties that come without being asked for."""
BATCH_MAX: Final = 100

_CONTACTS: Final = "/crm/v3/objects/contacts"
_BATCH: Final = f"{_CONTACTS}/batch/read"
_METHODS: Final = {_CONTACTS: "GET", _BATCH: "POST"}


class Api:
    """An account with its contacts."""

    def __init__(self) -> None:
        self.credentials: Mapping[str, str] = {"token": "pat-eu1-7c0f2d9e-5b3a-4c8d-9e1f-2a6b7c8d9e0f"}
        self.records: dict[str, dict[str, Any]] = {}

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer as HubSpot does: who asks comes first, then what is asked for."""
        if request.headers.get("authorization") != f"Bearer {self.credentials['token']}":
            return _refusal(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.")
        if request.path not in _METHODS:
            return _refusal(404, "OBJECT_NOT_FOUND", "No such resource.")
        if request.method != _METHODS[request.path]:
            return _refusal(405, "METHOD_NOT_ALLOWED", "Method not allowed.")
        if request.path == _BATCH:
            return self._batch(request)
        limit, names = int(request.query.get("limit", "10")), request.query.get("properties", "").split(",")
        return ApiAnswer(200, {"results": [_chosen(record, names) for record in list(self.records.values())[:limit]]})

    def _batch(self, request: ApiRequest) -> ApiAnswer:
        try:
            asked = orjson.loads(request.body)
            ids, names = [one["id"] for one in asked["inputs"]], asked["properties"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return _refusal(400, "VALIDATION_ERROR", "Invalid input JSON.")
        if asked.keys() != {"inputs", "properties"} or not 0 < len(ids) <= BATCH_MAX:
            return _refusal(400, "VALIDATION_ERROR", "The maximum number of inputs supported in a batch is 100.")
        found = [_chosen(self.records[one], names) for one in dict.fromkeys(ids) if one in self.records]
        missing = [one for one in ids if one not in self.records]
        times = dict.fromkeys(("requestedAt", "startedAt", "completedAt"), "2026-03-02T09:30:00.120Z")
        document: dict[str, Any] = {"status": "COMPLETE", "results": found, **times}
        if not missing:
            return ApiAnswer(200, document)
        return ApiAnswer(207, document | {"numErrors": 1, "errors": [_missing(missing)]})


def _chosen(record: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Return a record with the properties that were asked for, null where it has none."""
    properties = record["properties"]
    return {**record, "properties": {name: properties.get(name) for name in sorted({*names, *ALWAYS})}}


def _missing(ids: list[str]) -> dict[str, Any]:
    return {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "message": "Could not get some CONTACT objects, they may be deleted or not exist. Check that ids are valid.",
        "context": {"ids": ids},
    }


def _refusal(status: int, category: str, message: str) -> ApiAnswer:
    correlation = "0c5e7a5b-8f53-4c27-9f6e-2e7d0c3b1a90"
    return ApiAnswer(
        status, {"status": "error", "message": message, "correlationId": correlation, "category": category}
    )
