"""The sandbox on a socket: uvicorn, set up to answer as ChartMogul does."""

import asyncio
import contextlib
import socket
import threading
from pathlib import Path
from typing import Final

import uvicorn

from service.sandbox.access import Keys
from service.sandbox.app import Sandbox, create_app
from service.sandbox.seed import read_seed
from service.sandbox.settings import Settings

HOST: Final = "127.0.0.1"
PORT: Final = 8090
KEEP_ALIVE_S: Final = 75
"""As long as common gateways hold an idle connection."""
STOP_GRACE_S: Final = 5


def serve(
    host: str = HOST,
    port: int = PORT,
    seed_file: Path | None = None,
    *,
    settings: Settings | None = None,
    keys: Keys | None = None,
) -> None:
    """Serves until it is told to stop (SIGINT, SIGTERM). Raises SeedError before anything is opened.

    The control API asks for no key, so any host but loopback opens it to everyone who reaches the port.
    """
    seed = None if seed_file is None else read_seed(seed_file)
    server = SandboxServer(create_app(seed, settings, keys=keys), host=host, port=port)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn stops in good order, then raises the signal again
        server.run()


class SandboxServer(uvicorn.Server):
    """A uvicorn server for one sandbox. ``ready`` is set, and ``loop`` known, once it accepts connections."""

    def __init__(self, app: Sandbox, *, host: str = HOST, port: int = PORT) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                lifespan="off",
                access_log=False,
                log_config=None,
                ws="none",
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=STOP_GRACE_S,
            )
        )
        self.ready = threading.Event()
        self.loop: asyncio.AbstractEventLoop | None = None
        self._sandbox = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Opens the socket, then says so."""
        await super().startup(sockets)
        self.loop = asyncio.get_running_loop()
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends every silence first, and lets what is late land, so that stopping does not wait for it."""
        self._sandbox.clear_faults()
        await super().shutdown(sockets)
