"""Attio's API of one object, as far as a person can be read through it.

https://docs.attio.com/rest-api/endpoint-reference/records/get-a-record
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from tests.support.apis.base import ApiAnswer, ApiRequest

PEOPLE: Final = "97052eb9-e65e-443f-a297-f2d9a4a7f795"
_PATH: Final = re.compile(r"/v2/objects/(?P<object>[^/]+)(?:/records/(?P<record>[^/]+))?")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OBJECT: Final = {
    "id": {"workspace_id": "14beef7a-99f7-4534-a87e-70b564330a4c", "object_id": PEOPLE},
    "api_slug": "people",
    "singular_noun": "Person",
    "plural_noun": "People",
    "created_at": "2025-01-07T10:12:00.000000000Z",
}


class Api:
    """A workspace with its people and no other object."""

    def __init__(self) -> None:
        self.credentials: Mapping[str, str] = {
            "token": "3f1e5d7c9b8a7f6e5d4c3b2a1908172635445a6b8d7ab1e0b7a3b5c9e2f4a6d8"
        }
        self.records: dict[str, dict[str, Any]] = {}

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer as Attio does: who asks comes first, then what there is."""
        if request.headers.get("authorization") != f"Bearer {self.credentials['token']}":
            return _refusal(401, "auth_error", "unauthorized", "The access token is missing or not valid.")
        asked = _PATH.fullmatch(request.path)
        if asked is None or request.method != "GET":
            return _refusal(404, "invalid_request_error", "not_found", "Could not find the endpoint.")
        if asked["object"] not in {"people", PEOPLE}:
            return _refusal(404, "invalid_request_error", "not_found", "The referenced object was not found.")
        if asked["record"] is None:
            return ApiAnswer(200, {"data": _OBJECT})
        return self._record(asked["record"])

    def _record(self, record_id: str) -> ApiAnswer:
        if record_id in self.records:
            return ApiAnswer(200, {"data": self.records[record_id]})
        if not _UUID.fullmatch(record_id):
            return _refusal(400, "invalid_request_error", "validation_type", "Path parameter record_id is not a UUID.")
        return _refusal(404, "invalid_request_error", "not_found", f'Record with ID "{record_id}" not found.')


def _refusal(status: int, kind: str, code: str, message: str) -> ApiAnswer:
    return ApiAnswer(status, {"status_code": status, "type": kind, "code": code, "message": message})
