"""Environment and file together: configured sources, or one report with every fault and its place."""

import contextlib
import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.config import Config, load
from service.errors import ConfigError
from service.model import AT_ONCE, Action, Change
from service.paths import Path as FieldPath
from service.resolver import ByCustomer, ByEmail, ByLink, ByUuid, OnAmbiguous, OnUnknown
from service.sources import PRESETS
from service.sources.base import BasicAuth

FILES = Path("tests/data/config").resolve()
ENVIRONMENT = {
    "CHARTMOGUL_API_KEY": "0f4c1d2e",
    "CHARTMOGUL_ACCOUNTS__EU__API_KEY": "9a8b7c",
    "PIPEDRIVE_PASSWORD": "correct-horse",
    "PIPEDRIVE_PASSWORD_OLD": "battery-staple",
    "SECRETS_DIR": "none",
}
PIPEDRIVE = """
sources:
  pipedrive:
    preset: pipedrive
    auth: {username: crm, password: "${PIPEDRIVE_PASSWORD}"}
    mapping: {first_name: first_name}
"""
HUBSPOT = """
  hubspot:
    preset: hubspot
    auth: {secret: "${HUBSPOT_CLIENT_SECRET}"}
    mapping: {first_name: firstname}
"""


def read(path: Path, **environ: str) -> Config:
    return load(ENVIRONMENT | environ, config_file=path, env_file=Path("no.env"))


def report(
    path: Path, environ: dict[str, str] = ENVIRONMENT, *, need_api_key: bool = True, only: tuple[str, ...] | None = None
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(environ, config_file=path, env_file=Path("no.env"), need_api_key=need_api_key, only=only)
    return [str(fault).removeprefix(f"{path.parent}/") for fault in caught.value.faults]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(PIPEDRIVE)
    return path


@pytest.mark.parametrize("name", sorted(path.stem for path in (FILES / "invalid").glob("*.yaml")))
def test_a_wrong_file_gives_exactly_the_expected_report(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole report is kept beside each file, so that every word that people read is reviewed."""
    monkeypatch.chdir(FILES / "invalid")
    with pytest.raises(ConfigError) as caught:
        read(Path(f"{name}.yaml"))
    assert str(caught.value) + "\n" == Path(f"{name}.expected.txt").read_text()
    assert "correct-horse" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(path.stem for path in (FILES / "valid").glob("*.yaml")))
def test_a_right_file_is_taken(name: str) -> None:
    assert read(FILES / "valid" / f"{name}.yaml").sources


def test_a_source_is_built_as_written() -> None:
    source = read(FILES / "valid" / "generic-auth-verify.yaml").sources["billing"]
    assert (source.name, source.source.name, source.source.preset) == ("billing", "billing", "generic")
    assert source.account == "default"
    assert source.resolve == (ByCustomer(FieldPath.parse("company.id"), FieldPath.parse("email")),)
    assert source.rules.mapping.targets == ("email",)
    assert source.rules.when is not None


def test_every_way_to_find_a_contact_is_kept_in_order() -> None:
    source = read(FILES / "valid" / "text-stays-text.yaml").sources["pipedrive"]
    assert source.resolve == (ByUuid(FieldPath.parse("custom_fields.chartmogul_uuid")), ByLink())


def test_what_is_left_out_is_the_preset_s_usual_way() -> None:
    source = read(FILES / "valid" / "rotation-and-defaults.yaml").sources["pipedrive-emea"]
    assert source.resolve == (ByLink(), ByEmail(FieldPath.parse("emails[?primary].value")))
    assert (source.on_unknown, source.on_ambiguous) == (OnUnknown.DEAD_LETTER, OnAmbiguous.DEAD_LETTER)
    assert source.rules.when is None


def test_a_source_settles_as_written_in_either_form() -> None:
    sources = read(FILES / "valid" / "settling.yaml").sources
    settles = {
        name: (it.settle.window.total_seconds(), it.settle.longest.total_seconds()) for name, it in sources.items()
    }
    assert settles == {
        "pipedrive": (2, 10),
        "pipedrive-emea": (0.5, 30),
        "pipedrive-apac": (1.5, 7.5),
        "pipedrive-latam": (0, 0),
        "pipedrive-us": (0, 0),
    }
    assert sources["pipedrive-us"].settle == PRESETS["pipedrive"].usual_settle == AT_ONCE


@pytest.mark.parametrize(("window_s", "longest_s"), [(59, 295), (60, 300), (61, 300), (300, 300)])
def test_five_windows_are_never_longer_than_anything_may_settle(config: Path, window_s: int, longest_s: int) -> None:
    config.write_text(PIPEDRIVE + f"    settle: {window_s}\n")
    settle = read(config).sources["pipedrive"].settle
    assert (settle.window, settle.longest) == (timedelta(seconds=window_s), timedelta(seconds=longest_s))


def test_how_a_source_settles_is_part_of_the_version(config: Path) -> None:
    before = read(config).version
    config.write_text(PIPEDRIVE + "    settle: 2\n")
    assert read(config).version != before


def test_accepted_openness_leaves_the_source_without_auth() -> None:
    source = read(FILES / "valid" / "no-authentication.yaml").sources["workflow"]
    assert source.source.auth is None
    assert (source.on_unknown, source.on_ambiguous) == (OnUnknown.SKIP, OnAmbiguous.FIRST)


def test_text_reaches_the_mapping_as_written() -> None:
    mapping = read(FILES / "valid" / "text-stays-text.yaml").sources["pipedrive"].rules.mapping
    for label, lifecycle in {"1": "yes", "007": "on", "2026-03-01": "12:30", "x": "no"}.items():
        change = Change("1|x", "person", "1", Action.UPDATED, values={"label": label})
        assert mapping.apply(change).fields == {"custom.Lifecycle": lifecycle, "custom.Plan": "${literal}"}


def test_the_short_form_of_verify_proves_as_the_long_one_does(config: Path) -> None:
    body = """
    parse: {object_id: id}
    resolve: [link]
    mapping: {email: email}
"""
    scheme = "{scheme: token, header: X-Token, token: '${PIPEDRIVE_PASSWORD}'}"
    config.write_text(
        f"sources:\n  short:\n    preset: generic\n    verify: {scheme}{body}"
        f"  long:\n    preset: generic\n    auth: {{verify: {scheme}}}{body}"
    )
    sources = read(config).sources
    assert sources["short"].source.auth == sources["long"].source.auth


def test_the_example_is_right_when_its_variables_are_set() -> None:
    environ = {"HUBSPOT_CLIENT_SECRET": "h", "HELPDESK_SECRET": "s", "PUBLIC_URL": "https://hooks.example.com"}
    assert sorted(read(Path("config.example.yaml"), **environ).sources) == ["helpdesk", "hubspot", "pipedrive"]


def test_both_examples_work_together() -> None:
    """``.env.example`` names what ``config.example.yaml`` uses, so that a copy of both is refused for nothing else."""
    with pytest.raises(ConfigError) as caught:
        load({"SECRETS_DIR": "none"}, config_file=Path("config.example.yaml"), env_file=Path(".env.example"))
    faults = {fault.path: fault.found for fault in caught.value.faults}
    assert faults == {
        "CHARTMOGUL_API_KEY": "nothing",
        "sources.pipedrive.auth.password": "${PIPEDRIVE_PASSWORD}, which is not set",
        "sources.hubspot.auth.secret": "${HUBSPOT_CLIENT_SECRET}, which is not set",
        "sources.helpdesk.verify.secret": "${HELPDESK_SECRET}, which is not set",
    }


def test_the_environment_and_the_file_are_reported_together_and_in_order(config: Path) -> None:
    config.write_text(PIPEDRIVE.replace("first_name:", "first_nam:").replace("crm,", "5,"))
    environ = ENVIRONMENT | {"CHARTMOGUL_API_KEY": "", "PORT": "x", "LEASE_S": "x"}
    assert [line.partition(": found")[0] for line in report(config, environ)] == [
        "environment: PORT",
        "environment: LEASE_S",
        "environment: CHARTMOGUL_API_KEY",
        "config.yaml:5:22: sources.pipedrive.auth.username",
        "config.yaml:6:15: sources.pipedrive.mapping.first_nam",
    ]


def test_the_default_key_is_not_needed_where_no_source_uses_it(config: Path) -> None:
    config.write_text(PIPEDRIVE + "    account: eu\n")
    environ = {name: value for name, value in ENVIRONMENT.items() if name != "CHARTMOGUL_API_KEY"}
    loaded = load(environ, config_file=config, env_file=Path("no.env"))
    assert list(loaded.settings.accounts) == ["eu"]


def test_a_verb_that_sends_nothing_needs_no_key_account_or_public_url(config: Path) -> None:
    config.write_text(PIPEDRIVE + "    account: us\n" + HUBSPOT)
    environ = {"PIPEDRIVE_PASSWORD": "p", "HUBSPOT_CLIENT_SECRET": "h", "SECRETS_DIR": "none"}
    loaded = load(environ, config_file=config, env_file=Path("no.env"), need_api_key=False)
    assert sorted(loaded.sources) == ["hubspot", "pipedrive"]
    assert [line.partition("; allowed")[0] for line in report(config, environ)] == [
        "environment: CHARTMOGUL_API_KEY: found nothing",
        "environment: PUBLIC_URL: found nothing",
        "config.yaml:7:14: sources.pipedrive.account: found the name of an account that is not set",
    ]


def test_an_account_that_is_no_name_is_one_fault(config: Path) -> None:
    config.write_text(PIPEDRIVE + "    account: 5\n")
    assert (
        report(config)[-1]
        == "config.yaml:7:14: sources.pipedrive.account: found a whole number; allowed: text, in quotes"
    )


def test_a_template_with_the_address_needs_the_public_one(config: Path) -> None:
    source = """
sources:
  helpdesk:
    preset: generic
    verify: {scheme: hmac, secret: s, header: X-Signature, template: "{url}{body}"}
    parse: {object_id: id}
    resolve: [link]
    mapping: {email: email}
"""
    config.write_text(source)
    (fault,) = report(config)
    assert fault.startswith("environment: PUBLIC_URL: found nothing")
    config.write_text(source.replace("{url}", ""))
    assert read(config).sources


def test_only_the_named_sources_matter(config: Path) -> None:
    """One captured request can be looked into on a machine that has no other CRM's secrets."""
    config.write_text(PIPEDRIVE + HUBSPOT + "    nonsense: 1\n  Bad Name: 5\n")
    loaded = load(ENVIRONMENT, config_file=config, env_file=Path("no.env"), only=["pipedrive"])
    assert list(loaded.sources) == ["pipedrive"]
    assert len(report(config, need_api_key=False)) == 4
    (fault,) = report(config, only=("pipedriv",), need_api_key=False)
    assert "sources: found no source 'pipedriv'; allowed: pipedrive, hubspot" in fault
    assert "did you mean 'pipedrive'?" in fault
    config.write_text("sources:\n  - pipedrive\n")
    assert len(report(config, only=("pipedrive",), need_api_key=False)) == 1


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "no file"),
        (b"#" * (1024 * 1024 + 1), "more than 1048576 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_fault(config: Path, content: bytes | None, found: str) -> None:
    config.unlink()
    if content is not None:
        config.write_bytes(content)
    (fault,) = report(config)
    assert fault.startswith(f"config.yaml: found {found}; allowed: UTF-8 YAML")


def test_a_file_in_another_encoding_is_told_by_line_and_column(config: Path) -> None:
    config.write_bytes(b"\xef\xbb\xbf# Kontakte\nsources: # f\xc3\xbcr M\xfcller\n")
    (fault,) = report(config)
    assert fault == "config.yaml:2:17: found bytes that are not UTF-8; allowed: a file that is saved as UTF-8"


def test_a_directory_in_the_file_s_place_is_named_as_one(tmp_path: Path) -> None:
    """Docker makes a directory where the file to mount is missing."""
    (fault,) = report(tmp_path)
    assert "found a directory" in fault
    (fault,) = report(Path("con\0fig.yaml"))
    assert "found a file that cannot be read (ValueError)" in fault


def test_the_file_is_found_by_its_setting(config: Path) -> None:
    assert load(ENVIRONMENT | {"CONFIG_FILE": str(config)}, env_file=Path("no.env")).sources


def test_secrets_come_from_files_too(config: Path, tmp_path: Path) -> None:
    (tmp_path / "pipedrive_password").write_text("from-a-file\n")
    environ = {"CHARTMOGUL_API_KEY": "k", "SECRETS_DIR": str(tmp_path)}
    loaded = load(environ, config_file=config, env_file=Path("no.env"))
    auth = loaded.sources["pipedrive"].source.auth
    assert isinstance(auth, BasicAuth)
    assert [secret.get_secret_value() for secret in auth.password] == ["from-a-file"]
    (tmp_path / "pipedrive_password").write_bytes(b"\xff")
    (fault,) = report(config, environ)
    assert "found ${PIPEDRIVE_PASSWORD}, a file that cannot be read" in fault


def test_the_version_follows_the_rules_and_nothing_else(config: Path) -> None:
    before = read(config).version
    assert len(before) == 12
    config.write_text(PIPEDRIVE.replace("crm,", "chartmogul,") + "# a comment\n")
    assert read(config, PIPEDRIVE_PASSWORD="another").version == before
    config.write_text(PIPEDRIVE.replace("first_name}", "name}"))
    assert read(config).version != before


def test_no_secret_is_in_what_is_loaded(config: Path) -> None:
    assert "correct-horse" not in repr(read(config))


@given(text=st.text(max_size=120) | st.text(alphabet="{}[]:-,'\"& *sourcepdivm\n ", max_size=80))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_any_file_raises_nothing_but_a_report(config: Path, text: str) -> None:
    config.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(ConfigError):
        read(config)


_WORDS = ["preset", "auth", "mapping", "resolve", "when", "verify", "parse", "pipedrive", "generic", "hubspot", "link"]
_WORDS += ["email", "custom", "from", "map", "transform", "none", "scheme", "hmac", "token", "secret", "", "x y"]
_tree = st.recursive(
    st.sampled_from([*_WORDS, "${PIPEDRIVE_PASSWORD}", None, True, 5, 1.5]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=4),
    max_leaves=12,
)


@given(
    preset=st.sampled_from(["pipedrive", "generic", "hubspot", 5, None]),
    entry=st.dictionaries(st.sampled_from(_WORDS), _tree),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
def test_any_source_is_taken_or_refused_without_showing_a_secret(config: Path, preset: object, entry: object) -> None:
    """Whatever stands where: places lie in the file, and nothing but ConfigError is raised."""
    assert isinstance(entry, dict)
    config.write_text(json.dumps({"sources": {"crm": {"preset": preset, **entry}}}))
    try:
        read(config)
    except ConfigError as error:
        text = str(error)
    else:
        text = ""
    assert "correct-horse" not in text
    assert "Input should" not in text
