"""reload: a running service takes its file, or says everything that is wrong with it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Verb, World, world_of
from tests.support.apis.hubspot import Api
from tests.support.apis.server import serving
from tests.support.service import free_port
from tests.support.webhooks import CONFIGURATION

TOKEN = "0c6d1b7e4f524a7e9d1c2b8f"
MENDED = CONFIGURATION.replace("[trim]", "[trim, upper]")


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_of(tmp_path_factory.mktemp("operated"), ADMIN_TOKEN=TOKEN) as world:
        yield world


@pytest.fixture
def write(operated: World) -> Callable[[str], object]:
    return (operated.process.directory / "config.yaml").write_text


def test_the_file_is_taken(operated: World, write: Callable[[str], object]) -> None:
    write(MENDED)
    ended = operated.verb("reload")
    version = operated.health()["config_version"]
    assert (ended.code, ended.out) == (0, f"version {version} is in force\n")
    again = operated.verb("reload")
    assert (again.code, again.out) == (0, f"version {version} is in force, as before\n")
    assert operated.verb("reload", "--json").json == {"version": version, "changed": False, "faults": []}


def test_a_faulty_file_ends_with_2_and_its_report(operated: World, write: Callable[[str], object]) -> None:
    version = operated.health()["config_version"]
    write(CONFIGURATION.replace("preset: hubspot", "preset: hubspott"))
    ended = operated.verb("reload")
    assert ended.code == 2
    assert ended.err.startswith(f"refused; version {version} goes on\n1 fault in the configuration\n")
    assert "did you mean 'hubspot'?" in ended.err
    shown = operated.verb("reload", "--json")
    assert (shown.code, shown.json["version"], shown.json["faults"][0]["nearest"]) == (2, version, "hubspot")
    write(CONFIGURATION)
    assert operated.verb("reload").code == 0


def test_another_token_than_that_of_the_start_is_refused(operated: World) -> None:
    environ = operated.process.environ
    environ["ADMIN_TOKEN"] = "another-token-of-tomorrow"
    try:
        ended = operated.verb("reload")
    finally:
        environ["ADMIN_TOKEN"] = TOKEN
    assert ended.code == 1
    assert "not_reloaded: the service has another ADMIN_TOKEN" in ended.err
    assert "another-token" not in ended.err


def test_a_service_without_an_admin_api_says_so(world: World) -> None:
    world.process.environ["ADMIN_TOKEN"] = TOKEN
    try:
        ended = world.verb("reload")
    finally:
        del world.process.environ["ADMIN_TOKEN"]
    assert ended.code == 1
    assert "has no admin API" in ended.err
    assert "SIGHUP" in ended.err


def test_without_a_token_nobody_is_asked(here: Verb) -> None:
    ended = here("reload")
    assert ended.code == 2
    assert "environment: ADMIN_TOKEN: found nothing" in ended.err


@pytest.mark.parametrize(
    ("host", "shown"),
    [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("localhost", "localhost")],  # noqa: S104  # as in a container
)
def test_nobody_there_ends_with_1(here: Verb, host: str, shown: str) -> None:
    port = free_port()
    ended = here("reload", HOST=host, PORT=str(port), ADMIN_TOKEN=TOKEN)
    assert ended.code == 1
    assert ended.err.startswith(f"not_reloaded: no service answers at http://{shown}:{port}: ")


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (200, b"<html>welcome</html>", "is another program"),
        (200, b"[]", "is another program"),
        (422, b'{"version": "x", "faults": [7]}', "is another program"),
        (503, b"{}", "the service answered 503"),
    ],
)
def test_an_answer_that_says_nothing_ends_with_1(here: Verb, status: int, body: bytes, cause: str) -> None:
    with serving(Api()) as served:
        served.say(body, status=status)
        ended = here("reload", PORT=served.base_url.rpartition(":")[2], ADMIN_TOKEN=TOKEN)
    assert ended.code == 1
    assert cause in ended.err
    assert "Traceback" not in ended.err


def test_it_needs_no_right_file_here(operated: World, tmp_path: Path) -> None:
    """The file is the service's business: what this shell sees of it does not matter."""
    kept = operated.process.environ["CONFIG_FILE"]
    operated.process.environ["CONFIG_FILE"] = str(tmp_path / "none.yaml")
    try:
        assert operated.verb("reload").code == 0
    finally:
        operated.process.environ["CONFIG_FILE"] = kept
