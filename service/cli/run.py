"""Verbs that run something, or ask what runs: serve, reload, demo, sandbox, sample, migrate."""

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.output import AsJson, print_json

ConfigFile = Annotated[Path | None, typer.Option("--config", help="The configuration file; default CONFIG_FILE.")]


def register(app: typer.Typer) -> None:
    """Add the verbs of this family."""
    for verb in (serve, reload, demo, sandbox, sample, migrate):
        app.command()(verb)


def serve(config: ConfigFile = None, *, as_json: AsJson = False) -> None:
    """Receive webhooks and deliver, until told to stop."""
    from service.config import load
    from service.main import run_server

    loaded = load(config_file=config)
    if as_json:
        print_json({"url": f"http://{loaded.settings.host}:{loaded.settings.port}", "sources": list(loaded.sources)})
    raise typer.Exit(run_server(loaded))


def reload(*, as_json: AsJson = False) -> None:
    """Have the service on this machine take its configuration file as it is now; exit 2 where it is refused."""
    from service.config import load_settings
    from service.errors import ConfigError, Fault
    from service.operations.reloading import ask_to_reload

    settings = load_settings()
    if settings.admin_token is None:
        raise ConfigError(
            (Fault("environment", "ADMIN_TOKEN", "nothing", "the token that the service was started with"),)
        )
    answer = ask_to_reload(settings.host, settings.port, settings.admin_token)
    if as_json:
        print_json(answer)
        raise typer.Exit(2 if answer.faults else 0)
    if answer.faults:
        sys.stderr.write(f"refused; version {answer.version} goes on\n")
        raise ConfigError(answer.faults)
    sys.stdout.write(f"version {answer.version} is in force{'' if answer.changed else ', as before'}\n")


def demo(
    *, once: Annotated[bool, typer.Option("--once", help="End by itself.")] = False, as_json: AsJson = False
) -> None:
    """Watch the main job: a sandbox ChartMogul, the service, and three CRMs that send it changes."""
    from rich.console import Console

    from service.config import load
    from service.main import open_store, real_clock
    from service.operations.demo import Stage, play

    console = Console(stderr=as_json)
    with (
        tempfile.TemporaryDirectory(prefix="crm-to-chartmogul-") as directory,
        Stage.open(Path(directory), _environment()) as stage,
    ):
        config = load(stage.environment, env_file=stage.directory / ".env")
        ending = play(stage, config.sources, open_store(config.settings), console=console, now=real_clock())
        if as_json:
            print_json(ending)
        if not once:
            console.print(f"\nIt goes on until Ctrl-C. Its health: {stage.service_url}/health")
            _until_interrupted()
    raise typer.Exit(1 if ending.wrong else 0)


def sandbox(
    *,
    host: Annotated[str, typer.Option(help="Whoever reaches it can change everything in it.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8090,
    seed: Annotated[Path | None, typer.Option(help="JSON: contacts, customers, custom_attributes.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a ChartMogul to try things on: its contacts API, limits and failures included."""
    from service.sandbox import SeedError
    from service.sandbox import serve as serve_sandbox

    if as_json:
        print_json({"url": f"http://{host}:{port}"})
    else:
        sys.stderr.write(f"ChartMogul sandbox on http://{host}:{port}; any API key will do\n")
    try:
        serve_sandbox(host, port, seed)
    except SeedError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(2) from None


def sample(
    source: Annotated[str, typer.Argument(help="A source of the configuration.")],
    *,
    url: Annotated[str | None, typer.Option(help="Where the service runs; default this machine and PORT.")] = None,
    object_id: Annotated[
        str, typer.Option("--id", help="The CRM's id of the person; with a real one the made-up values go there.")
    ] = "4711",
    field: Annotated[list[str] | None, typer.Option("--field", help="NAME=VALUE, again for more.")] = None,
    show: Annotated[
        bool, typer.Option("--print", help="Print the request for `inspect` instead of sending it.")
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Send a correctly signed sample change of a source to a running service."""
    import httpx

    from service.config import load
    from service.main import real_clock
    from service.operations.sample import PERSON, sample_request, send
    from service.store.payloads import as_capture

    loaded = load(config_file=config, need_api_key=False, only=[source])
    here = f"http://127.0.0.1:{loaded.settings.port}"
    configured = loaded.sources[source]
    fields: dict[str, Any] = {**PERSON, **dict(_pair(text) for text in field or [])}
    request = sample_request(
        configured,
        public_url=loaded.settings.public_url or url or here,
        now=real_clock(),
        fields=fields,
        object_id=object_id,
    )
    if show:
        print_json(as_capture(request))
        return
    try:
        with httpx.Client(trust_env=False) as client:
            answer = send(client, request, service_url=url or here)
    except httpx.TransportError as error:
        sys.stderr.write(f"no service answers at {url or here}: {type(error).__name__}\n")
        raise typer.Exit(1) from None
    if as_json:
        print_json({"status": answer.status, "body": answer.body})
    else:
        sys.stdout.write(f"{answer.status} {answer.body}\n")
    raise typer.Exit(0 if answer.status < 300 else 3)  # noqa: PLR2004  # HTTP's success


def migrate(*, as_json: AsJson = False) -> None:
    """Bring the log's tables up to date; `serve` does it by itself."""
    from service.config import load_settings
    from service.main import open_store

    async def run() -> bool:
        store = open_store(load_settings())
        try:
            return await store.migrate()
        finally:
            await store.close()

    migrated = asyncio.run(run())
    if as_json:
        print_json({"migrated": migrated})
    else:
        sys.stdout.write("migrated\n" if migrated else "nothing to do\n")


def _environment() -> dict[str, str]:
    return dict(os.environ)  # noqa: TID251  # handed on to child processes, not read


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise typer.BadParameter(f"{name!r} is not NAME=VALUE", param_hint="--field")
    return name, value


def _until_interrupted() -> None:
    import time

    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        sys.stderr.write("\n")
