"""Composition root: everything is built here, from one configuration, and given the real clock."""

import asyncio
import contextlib
import gc
import logging
import os
import random
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
import structlog
import uvicorn
from fastapi import FastAPI
from sqlalchemy import make_url

from service import __version__
from service.chartmogul import ChartMogul
from service.clients import Clients
from service.conclusion import Policy
from service.config import Config
from service.config.settings import Settings
from service.errors import ServiceError, StoreError, StoreUnavailable
from service.operations import watching
from service.pipeline import InForce, Pipeline
from service.readback.client import ReadBack
from service.reload import Reload, keep, tell_warnings
from service.resolver import Resolver
from service.store import Store
from service.upkeep import Upkeep, beside
from service.web.access import Access
from service.web.api import Admin, admin_routes
from service.web.health import Health, health_routes
from service.web.hooks import Front, Hooks
from service.web.problems import problem_handlers
from service.web.protocol import BoundedHttp
from service.worker import Worker

CONNECTIONS_MAX: Final = 1_000
"""Connections at a time; who comes beyond is answered 503."""
GRACEFUL_S: Final = 5
"""How long a stop waits for requests that are being answered."""

log = structlog.get_logger("service")


def real_clock() -> datetime:
    """The time. Every other room is given it."""
    return datetime.now(UTC)  # noqa: TID251  # the one place


@dataclass(frozen=True, slots=True)
class Service:
    """The parts that live as long as the process; what is in force among them may be replaced."""

    store: Store
    pipeline: Pipeline
    worker: Worker
    clients: Clients
    reload: Reload
    upkeep: Upkeep
    clock: Callable[[], datetime]

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.reload.running

    @property
    def sinks(self) -> Mapping[str, ChartMogul]:
        """The ChartMogul accounts that are delivered to, by name."""
        return self.clients.sinks

    @property
    def readbacks(self) -> Mapping[str, ReadBack]:
        """The clients of the CRMs whose records are read back, by source."""
        return self.pipeline.in_force.readbacks


def open_store(settings: Settings) -> Store:
    """Open the log that the settings name, making the directory of an embedded one."""
    url = settings.database_url.get_secret_value()
    database = make_url(url)
    if database.get_backend_name() == "sqlite" and database.database:
        directory = Path(database.database).parent
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            cause = f"the directory {directory} cannot be made: {error.strerror}"
            raise StoreUnavailable(cause, hint="set DATA_DIR or DATABASE_URL") from None
    return Store(url, waiting_max=settings.intake_waiting_max)


def build(config: Config, *, clock: Callable[[], datetime] = real_clock) -> Service:
    """Build every part from a configuration. Nothing is connected, started or written yet."""
    settings = config.settings
    store = open_store(settings)
    clients = Clients(settings, store.accounts, clock=clock)
    parallel = clients.parallel(config.sources)
    pipeline = Pipeline(
        store=store,
        in_force=InForce(config.version, config.sources, clients.readbacks(config.sources)),
        sinks=clients.sinks,
        resolver=Resolver(clients.sinks),
        policy=_policy(settings),
        clock=clock,
        chance=random.random,
    )
    worker = Worker(
        pipeline,
        store,
        parallel=parallel,
        stop_waiting=[clients.stop],
        owner=f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}",
        lease=timedelta(seconds=settings.lease_s),
        clock=clock,
    )
    reload = Reload(config, store=store, pipeline=pipeline, worker=worker, clients=clients, clock=clock)
    upkeep = Upkeep(settings, store=store, pipeline=pipeline, worker=worker, clock=clock)
    return Service(store, pipeline, worker, clients, reload, upkeep, clock)


def _policy(settings: Settings) -> Policy:
    return Policy(
        retry_for=timedelta(seconds=settings.retry_for_s),
        late=timedelta(seconds=settings.read_timeout_s),
        clear_with=settings.cleared,
    )


def create_app(config: Config, *, clock: Callable[[], datetime] = real_clock) -> FastAPI:
    """Build the service as an ASGI app. Its lifespan migrates, delivers, and stops cleanly."""
    service = build(config, clock=clock)
    health = Health(
        store=service.store,
        delivering=lambda: service.worker.alive,
        version=__version__,
        in_force=lambda: service.pipeline.in_force,
        refused=lambda: service.reload.refused,
        needs_restart=lambda: service.reload.needs_restart,
        clock=clock,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(_reloading_on_hangup(service.reload))
            stack.push_async_callback(service.clients.close)
            stack.push_async_callback(service.store.close)
            migrated = await _prepare(service)
            await stack.enter_async_context(service.upkeep.running())
            await service.worker.start()
            stack.push_async_callback(service.worker.stop)
            await stack.enter_async_context(beside(service.reload.watch()))
            health.ready = True
            log.info("started", version=__version__, store=service.store.engine, migrated=migrated)
            yield
            health.ready = False
            log.info("stopping")

    app = Front(
        title="crm-to-chartmogul",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # a sender that is redirected may take it for success
        exception_handlers=problem_handlers(),
    )
    hooks = Hooks(
        pipeline=service.pipeline,
        refusals=service.store.refusals,
        public_url=config.settings.public_url,
        body_max_bytes=config.settings.body_max_bytes,
        wake=service.worker.wake,
        clock=clock,
    )
    app.hooks = hooks
    app.include_router(health_routes(health))
    if (token := config.settings.admin_token) is not None:
        app.include_router(admin_routes(_admin(service), Access(token, clock=clock)))
    app.state.service = service
    return app


def _admin(service: Service) -> Admin:
    return Admin(
        store=service.store,
        in_force=lambda: service.pipeline.in_force,
        reload=service.reload.now,
        refused=lambda: service.reload.refused,
    )


@contextlib.contextmanager
def _reloading_on_hangup(reload: Reload) -> Iterator[None]:
    """Reload at SIGHUP, where the platform has it and the loop takes it; but stop if it was the terminal that went."""
    attended = sys.stderr.isatty()

    def hung_up() -> None:
        if attended and not sys.stderr.isatty():
            signal.raise_signal(signal.SIGTERM)
        else:
            reload.ask()

    number, loop = getattr(signal, "SIGHUP", None), asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            if number is not None:
                loop.add_signal_handler(number, hung_up)
                stack.callback(loop.remove_signal_handler, number)
        yield


def run_server(config: Config) -> int:
    """Serve until told to stop; return the exit code: 0 then, 1 where it could not start. The log says why."""
    settings = config.settings
    configure_logging(settings)
    try:
        listener = _listen(settings.host, settings.port)
        app = create_app(config)
        _settle_memory()
    except ServiceError as error:
        log.critical("cannot_start", cause=error.cause, hint=error.hint)
        return 1
    tell_warnings(config.warnings)
    if hasattr(signal, "SIGHUP"):  # until it means something, it must not end us
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=BoundedHttp,
            limit_concurrency=CONNECTIONS_MAX,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            timeout_graceful_shutdown=GRACEFUL_S,
        )
    )
    # Once all is stopped in good order, uvicorn raises the signal again, which would end the process as if it had died.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with listener, contextlib.suppress(KeyboardInterrupt, SystemExit):
        server.run(sockets=[listener])
    return 0 if server.started else 1


def configure_logging(settings: Settings) -> None:
    """Write logs as one JSON object a line, or for people; uvicorn's own lines in the same form."""
    level = logging.getLevelNamesMapping()[settings.log_level]
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = structlog.dev.ConsoleRenderer()
    lines: Any = structlog.PrintLoggerFactory(sys.stderr)
    foreign: Any = renderer
    if settings.log_format == "json":
        # As bytes: a line of the hot path should not be encoded twice.
        renderer = structlog.processors.JSONRenderer(orjson.dumps)
        lines = structlog.BytesLoggerFactory(sys.stderr.buffer)
        foreign = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lines,
        cache_logger_on_first_use=True,
    )
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processor=foreign))
    # Alembic announces every step and httpx every address: both say more than an operator asked for.
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[stream], force=True)
    # Whatever uvicorn would trace was told before, without values.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)


def _listen(host: str, port: int) -> socket.socket:
    """Take the port; nobody is answered on it until the service is ready."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except (OSError, UnicodeError) as error:
        listener.close()
        raise ServiceError(f"cannot listen on {host} port {port}: {error}", hint="set HOST and PORT") from None
    return listener


def _settle_memory() -> None:
    """Let the collector pass over what lives as long as the process: modules, statements and configuration.

    Otherwise every full collection walks all of it, in the middle of some request.
    """
    gc.collect()
    gc.freeze()


async def _prepare(service: Service) -> bool:
    """Make the store ours and its tables the newest; say in one line why that cannot be."""
    try:
        service.store.lock()
        migrated = await service.store.migrate()
        await keep(service.store, service.config, now=service.clock())
        await watching.go_on(service.pipeline.lookout, service.store)
    except StoreError as error:
        log.critical("cannot_start", cause=error.cause, hint=error.hint)
        raise
    return migrated
