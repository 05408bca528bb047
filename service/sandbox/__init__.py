"""A ChartMogul to try things on: its contacts API as recorded and documented, limits and failures included.

It has its own state, stands alone and knows nothing of the service that it is used with. Inside, top to bottom:

server    uvicorn, on a socket                 app       the ASGI app: one request's way through the rooms below
control   ``/_sandbox/…``: faults, settings    effects   what a fault does to the connection
api       routes of ``/v1``                    faults    which request is hit by which fault
contacts  the contacts, their pages, merges    customers the customers, and how they are found
fields    what a request body may set          limits    40 requests/s, 20 in parallel
paging    pages and their cursors              clock     the clocks, as arguments
access    API keys                             journal   what arrived
settings  everything adjustable                late      what is applied after its client gave up
answers   the shapes of what is sent back      seed      the state at the start
documents JSON objects → frozen dataclasses, faults named

The control API asks for no key. It is meant for loopback: whoever reaches the port can read and change everything.
"""

from service.sandbox.access import Keys
from service.sandbox.app import Sandbox, create_app
from service.sandbox.clock import Clock
from service.sandbox.default_seed import DEFAULT_SEED
from service.sandbox.documents import DocumentError
from service.sandbox.faults import Fault, FaultKind
from service.sandbox.seed import Seed, SeedError, parse_seed, read_seed
from service.sandbox.server import SandboxServer, serve
from service.sandbox.settings import UNLIMITED, Limits, Settings, Switches

__all__ = [
    "DEFAULT_SEED",
    "UNLIMITED",
    "Clock",
    "DocumentError",
    "Fault",
    "FaultKind",
    "Keys",
    "Limits",
    "Sandbox",
    "SandboxServer",
    "Seed",
    "SeedError",
    "Settings",
    "Switches",
    "create_app",
    "parse_seed",
    "read_seed",
    "serve",
]
