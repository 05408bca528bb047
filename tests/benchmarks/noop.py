"""The bounds: ``python -m tests.benchmarks.noop fastapi PORT`` serves an endpoint that keeps nothing.

``fastapi`` is what anybody would write, with JSON parsed by FastAPI, and XML only read; ``asgi`` is the least that can
answer at all.
Both are served by uvicorn exactly as the service is.
"""

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import uvicorn
from fastapi import FastAPI, Request

from tests.benchmarks.bodies import answer

ANSWER: Final = answer()

Message = MutableMapping[str, Any]


def decorated() -> FastAPI:
    """Ordinary FastAPI endpoints whose JSON bodies are parsed, and nothing done with them."""
    app = FastAPI()

    @app.post("/webhooks/hubspot")
    async def events(body: list[dict[str, Any]]) -> dict[str, int]:  # noqa: ARG001  # keeps nothing
        return {"accepted": 1, "duplicates": 0}

    @app.post("/webhooks/salesforce")
    async def message(request: Request) -> dict[str, int]:
        await request.body()  # FastAPI has no parser for XML
        return {"accepted": 1, "duplicates": 0}

    @app.post("/webhooks/{source}")
    async def hook(source: str, body: dict[str, Any]) -> dict[str, int]:  # noqa: ARG001  # keeps nothing
        return {"accepted": 1, "duplicates": 0}

    return app


async def bare(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Read the body, and answer."""
    assert scope["type"] == "http"
    while (await receive()).get("more_body", False):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


if __name__ == "__main__":
    kind, port = sys.argv[1:]
    uvicorn.run(
        decorated() if kind == "fastapi" else bare,
        host="127.0.0.1",
        port=int(port),
        log_config=None,
        access_log=False,
        server_header=False,
    )
