"""A configuration read again: what counts as a change, and what only a restart can change."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.config import Config, load
from service.config.loading import changed_settings, read_again
from service.config.origin import Origin
from service.errors import ConfigError
from tests.support.service import configure, environment
from tests.support.webhooks import CONFIGURATION

SECRETLY = CONFIGURATION.replace("${PIPEDRIVE_PASSWORD}", "${ROTATED}")
"""Pipedrive's password in a variable that the environment does not have."""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with ``.env`` and secret files, of which one is mentioned in the configuration."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "rotated").write_text("pd-7f3a9c51e0b24d68\n")
    (tmp_path / ".env").write_text("LOG_LEVEL=INFO\n")
    return tmp_path


def started(directory: Path, configuration: str = SECRETLY, **settings: str) -> Config:
    return configure(directory, configuration, **settings)


def linked(file: Path, target: str) -> None:
    """Put a link in the place of a file."""
    file.unlink()
    file.symlink_to(target)


CHANGES: dict[str, Callable[[Path], object]] = {
    "the file": lambda at: (at / "config.yaml").write_text(SECRETLY + "# mended\n"),
    "the file, replaced": lambda at: (
        (at / "new").write_text(SECRETLY + "\n") and (at / "new").replace(at / "config.yaml")
    ),
    "the file, gone": lambda at: (at / "config.yaml").unlink(),
    "a link that cannot be followed": lambda at: linked(at / "config.yaml", "x" * 300),
    "a secret that is mentioned": lambda at: (at / "secrets" / "rotated").write_text("pd-b8f5e6a7c90d1c2b\n"),
    "a secret that is gone": lambda at: (at / "secrets" / "rotated").unlink(),
    "a setting in .env": lambda at: (at / ".env").write_text("LOG_LEVEL=DEBUG\n"),
    "a broken .env": lambda at: (at / ".env").write_text("LOG_LEVEL=INFO\n= 7\n"),
    "a .env that cannot be looked at": lambda at: linked(at / ".env", "x" * 300),
    "a setting's file": lambda at: (at / "secrets" / "ADMIN_TOKEN").write_text("0c6d1b7e4f524a7e9d1c2b8f"),
    "a misspelt setting": lambda at: (at / "secrets" / "CHARTMOGUL_RATE").write_text("20"),
}
NO_CHANGES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda at: at,
    "the file's time": lambda at: os.utime(at / "config.yaml", (0, 0)),
    "the file, replaced by its like": lambda at: (
        (at / "new").write_text(SECRETLY) and (at / "new").replace(at / "config.yaml")
    ),
    "somebody else's secret": lambda at: (at / "secrets" / "tls_key").write_text("none of ours"),
    "a secret's line break": lambda at: (at / "secrets" / "rotated").write_text("pd-7f3a9c51e0b24d68"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_counts_changes_the_fingerprint(files: Path, change: Callable[[Path], object]) -> None:
    config = started(files)
    assert config.origin.fingerprint() == config.seen
    change(files)
    assert config.origin.fingerprint() != config.seen


@pytest.mark.parametrize("change", NO_CHANGES.values(), ids=NO_CHANGES)
def test_what_does_not_count_leaves_it_as_it_is(files: Path, change: Callable[[Path], object]) -> None:
    config = started(files)
    change(files)
    assert config.origin.fingerprint() == config.seen


def test_a_link_that_leads_elsewhere_is_a_change(files: Path) -> None:
    """As Kubernetes does it: the file is a link into a directory that is itself a link, and replaced in one step."""
    for name, text in (("first", SECRETLY), ("second", SECRETLY + "# mended\n")):
        (files / name).mkdir()
        (files / name / "config.yaml").write_text(text)
    (files / "now").symlink_to("first")
    environ = environment(files, SECRETLY)
    (files / "config.yaml").unlink()
    (files / "config.yaml").symlink_to("now/config.yaml")
    config = load({name: text for name, text in environ.items() if name != "ROTATED"}, env_file=files / ".env")
    (files / "next").symlink_to("second")
    (files / "next").replace(files / "now")
    assert config.origin.fingerprint() != config.seen


def test_the_fingerprint_shows_nothing_and_neither_does_a_configuration(files: Path) -> None:
    shown = repr(started(files))
    assert "pd-7f3a9c51e0b24d68" not in shown
    assert started(files).seen not in shown


def test_a_configuration_is_read_again_with_the_settings_of_the_start(files: Path) -> None:
    before = started(files)
    (files / "secrets" / "rotated").write_text("pd-b8f5e6a7c90d1c2b")
    (files / ".env").write_text("LOG_LEVEL=DEBUG\nPAYLOAD_DAYS=7\n")
    now = read_again(before)
    assert now.settings == before.settings
    assert now.version == before.version, "a secret is no part of it"
    assert {name for name in now.digests if now.digests[name] != before.digests[name]} == {"pipedrive"}
    assert changed_settings(before) == ("LOG_LEVEL", "PAYLOAD_DAYS")


def test_a_definition_that_changes_is_a_change_of_the_sources_that_use_it(files: Path) -> None:
    """And a new version: it maps otherwise."""
    defined = "define:\n  tidy: {transform: [trim]}\n" + SECRETLY.replace(
        "{from: job_title, transform: [trim]}", "{from: job_title, use: tidy}"
    )
    before = started(files, defined)
    (files / "config.yaml").write_text(defined.replace("[trim]", "[trim, upper]"))
    now = read_again(before)
    assert now.version != before.version
    assert {name for name in now.digests if now.digests[name] != before.digests[name]} == {"pipedrive"}


def test_settings_that_are_wrong_now_are_faults_and_no_changes(files: Path) -> None:
    before = started(files)
    (files / ".env").write_text("PAYLOAD_DAYS=soon\n")
    assert changed_settings(before) == ()
    with pytest.raises(ConfigError, match="PAYLOAD_DAYS"):
        read_again(before)


def test_where_secrets_stand_may_change(files: Path) -> None:
    environ = {**environment(files, SECRETLY), "SECRETS_DIR": ""}
    (files / ".env").write_text(f"SECRETS_DIR={files / 'secrets'}\n")
    before = load(environ, env_file=files / ".env")
    (files / "secrets").rename(files / "newer")
    (files / ".env").write_text(f"SECRETS_DIR={files / 'newer'}\n")
    assert changed_settings(before) == ()
    assert read_again(before).digests == before.digests


def test_the_file_is_the_one_of_the_start_though_the_setting_names_another_now(files: Path) -> None:
    environ = {**environment(files, SECRETLY), "CONFIG_FILE": ""}
    (files / ".env").write_text(f"CONFIG_FILE={files / 'config.yaml'}\n")
    before = load(environ, env_file=files / ".env")
    (files / ".env").write_text(f"CONFIG_FILE={files / 'other.yaml'}\n")
    assert read_again(before).version == before.version
    assert changed_settings(before) == ("CONFIG_FILE",)


def test_an_account_that_was_set_after_the_start_is_not_there_yet(files: Path) -> None:
    before = started(files)
    (files / ".env").write_text("CHARTMOGUL_ACCOUNTS__EU__API_KEY=cm-key-eu\n")
    (files / "config.yaml").write_text(SECRETLY.replace("preset: pipedrive", "preset: pipedrive\n    account: eu"))
    with pytest.raises(
        ConfigError, match=r"config.yaml:4:\d+: sources.pipedrive.account: found the name of an account"
    ):
        read_again(before)
    assert changed_settings(before) == ("CHARTMOGUL_ACCOUNTS",)


def test_a_setting_that_the_file_needs_must_have_been_set_at_the_start(files: Path) -> None:
    environ = {**environment(files, SECRETLY.partition("  hubspot:")[0]), "PUBLIC_URL": ""}
    before = load(environ, env_file=files / ".env")
    (files / "config.yaml").write_text(SECRETLY)
    with pytest.raises(ConfigError, match="PUBLIC_URL: found nothing"):
        read_again(before)
    (files / ".env").write_text("PUBLIC_URL=https://hooks.northwind.example\n")
    with pytest.raises(
        ConfigError, match=r"PUBLIC_URL: found a value that was set after the start.*; restart to use it"
    ):
        read_again(before)


def test_a_pipe_is_neither_waited_for_nor_read_twice(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = configure(tmp_path)
    piped = Origin(tmp_path / "pipe", tmp_path / ".env", before.origin.environ)
    assert piped.fingerprint() == piped.fingerprint()
    with pytest.raises(ConfigError, match="found a pipe, which can be read once"):
        read_again(Config(before.settings, before.sources, before.version, before.digests, piped, before.seen))


def test_an_env_file_that_is_a_pipe_is_read_once(tmp_path: Path) -> None:
    """As tools give it that keep secrets: whoever writes into it may not be there a second time."""
    environ = environment(tmp_path)
    key = environ.pop("PIPEDRIVE_PASSWORD")
    os.mkfifo(tmp_path / ".env")
    with ThreadPoolExecutor(1) as writer:
        writer.submit((tmp_path / ".env").write_text, f"PIPEDRIVE_PASSWORD={key}\n")
        before = load(environ, env_file=tmp_path / ".env")
    assert changed_settings(before) == ()
    with pytest.raises(ConfigError, match=r"\.env: found a pipe, which can be read once"):
        read_again(before)


def test_an_env_file_that_is_nothing_is_no_pipe(tmp_path: Path) -> None:
    (tmp_path / ".env").symlink_to(os.devnull)
    before = started(tmp_path, CONFIGURATION)
    assert read_again(before).version == before.version
