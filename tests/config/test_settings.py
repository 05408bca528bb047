"""The environment: what each setting may be, where it may stand, and that no secret is ever shown."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.config import Settings, load_settings
from service.config.settings import SETTINGS
from service.errors import ConfigError

DATABASES = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
LEVELS = "DEBUG, INFO, WARNING, ERROR, CRITICAL"
UNKNOWN = "a name that is no setting; allowed: a setting, or a name that the configuration file uses as ${NAME};"
KEY = "0f4c1d2e3b4a59687f"


def faults(environ: dict[str, str], *, env_file: Path = Path("no.env"), need_api_key: bool = False) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_settings({"SECRETS_DIR": "none", **environ}, env_file=env_file, need_api_key=need_api_key)
    return [str(fault) for fault in caught.value.faults]


def read(environ: dict[str, str], *, env_file: Path = Path("no.env")) -> Settings:
    return load_settings({"SECRETS_DIR": "none", **environ}, env_file=env_file)


def test_nothing_set_is_a_working_store_on_this_machine() -> None:
    found = read({})
    assert (found.host, found.port, found.log_level, found.log_format) == ("127.0.0.1", 8080, "INFO", "json")
    assert found.database_url.get_secret_value() == "sqlite:///data/crm-to-chartmogul.db"
    assert (found.lease_s, found.retry_for_s, found.clear_with, found.body_max_bytes) == (60, 259_200, "null", 2**20)
    assert (found.chartmogul_rate_per_s, found.chartmogul_parallel) == (36, 16)
    assert found.accounts == {}


def test_the_embedded_store_stands_in_the_data_directory() -> None:
    assert read({"DATA_DIR": "/var/lib/crm"}).database_url.get_secret_value() == (
        "sqlite:////var/lib/crm/crm-to-chartmogul.db"
    )


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("CHARTMOGUL_BASE_URL", "https://api.chartmogul.com/", "https://api.chartmogul.com"),
        ("CHARTMOGUL_BASE_URL", "http://127.0.0.1:8090", "http://127.0.0.1:8090"),
        ("CHARTMOGUL_BASE_URL", "http://[::1]:8090", "http://[::1]:8090"),
        ("CHARTMOGUL_BASE_URL", "http://localhost:8090", "http://localhost:8090"),
        ("PUBLIC_URL", "https://hooks.example.com/crm/", "https://hooks.example.com/crm"),
        ("LOG_LEVEL", "debug", "DEBUG"),
        ("LOG_FORMAT", "console", "console"),
        ("HOST", "::", "::"),
        ("PORT", "443", 443),
        ("CLEAR_WITH", "blank", "blank"),
        ("CHARTMOGUL_RATE_PER_S", "0.5", 0.5),
        ("READ_TIMEOUT_S", "2.5", 2.5),
    ],
)
def test_a_setting_is_kept_as_it_will_be_used(name: str, value: str, kept: object) -> None:
    assert getattr(read({name: value}), name.lower()) == kept


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///crm.db",
        "sqlite:////var/lib/crm.db",
        "postgresql://crm:secret@db.internal:5432/crm",
        "postgresql://crm:secret@/crm?host=a:5432&host=b:5432",
    ],
)
def test_both_stores_are_taken(url: str) -> None:
    assert read({"DATABASE_URL": url}).database_url.get_secret_value() == url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHARTMOGUL_BASE_URL", "http://api.chartmogul.com"),
        ("CHARTMOGUL_BASE_URL", "https://api.chartmogul.com/v1"),
        ("CHARTMOGUL_BASE_URL", "https://api.chartmogul.com?x=1"),
        ("CHARTMOGUL_BASE_URL", "https://user:pass@api.chartmogul.com"),
        ("CHARTMOGUL_BASE_URL", "https://api.chartmogul.com:0"),
        ("CHARTMOGUL_BASE_URL", "https://api.chartmogul.com:port"),
        ("CHARTMOGUL_BASE_URL", "https://[::1"),
        ("CHARTMOGUL_BASE_URL", "api.chartmogul.com"),
        ("CHARTMOGUL_PROXY", "socks5://proxy:1080"),
        ("CHARTMOGUL_PROXY", "http://proxy:3128/path"),
        ("CHARTMOGUL_API_KEY", "two words"),
        ("CHARTMOGUL_RATE_PER_S", "41"),
        ("CHARTMOGUL_RATE_PER_S", "0"),
        ("CHARTMOGUL_RATE_PER_S", "nan"),
        ("CHARTMOGUL_PARALLEL", "21"),
        ("DATABASE_URL", "mysql://db/crm"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:///"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("DATABASE_URL", "postgresql://a:5432,b:5432/crm"),
        ("PUBLIC_URL", "http://hooks.example.com"),
        ("PUBLIC_URL", "https://hooks.example.com/webhooks"),
        ("PUBLIC_URL", "https://hooks.example.com#x"),
        ("ADMIN_TOKEN", "fifteen-letters"),
        ("ADMIN_TOKEN", "sixteen letters!"),
        ("HOST", "0.0.0.0 8080"),
        ("PORT", "0"),
        ("PORT", "http"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("BODY_MAX_BYTES", "1MiB"),
        ("INTAKE_WAITING_MAX", "0"),
        ("LEASE_S", "35"),
        ("CONNECT_TIMEOUT_S", "inf"),
        ("RETRY_FOR_S", "59"),
        ("CLEAR_WITH", "nothing"),
    ],
)
def test_what_could_not_work_or_is_not_safe_is_one_fault(name: str, value: str) -> None:
    (fault,) = faults({name: value})
    assert fault.startswith(f"environment: {name}: found ")


def test_the_words_of_a_fault_say_what_to_write() -> None:
    assert faults({"LOG_LEVEL": "warn", "PORT": "70000", "DATABASE_URL": "postgres://u:hunter22@db/crm"}) == [
        f"environment: DATABASE_URL: found text; allowed: {DATABASES}; did you mean 'postgresql'?",
        "environment: PORT: found the number 70000; allowed: 65535 or less",
        f"environment: LOG_LEVEL: found text 'warn'; allowed: {LEVELS}; did you mean 'WARNING'?",
    ]


def test_a_lease_that_ends_within_an_attempt_is_refused_whichever_of_the_three_is_set() -> None:
    """Another replica would send the same patch beside the running one."""
    allowed = "allowed: more than CONNECT_TIMEOUT_S and READ_TIMEOUT_S together"
    assert faults({"LEASE_S": "35"}) == [f"environment: LEASE_S: found 35 s; {allowed}"]
    assert faults({"READ_TIMEOUT_S": "55"}) == [f"environment: LEASE_S: found 60 s; {allowed}"]


def test_the_api_key_is_missed_only_where_it_is_needed() -> None:
    assert read({"CHARTMOGUL_API_KEY": ""}).chartmogul_api_key is None
    (fault,) = faults({"CHARTMOGUL_API_KEY": ""}, need_api_key=True)
    assert fault == "environment: CHARTMOGUL_API_KEY: found nothing; allowed: the API key of your ChartMogul account"


SECRET_VALUES = {
    "CHARTMOGUL_API_KEY": "canary-key",
    "CHARTMOGUL_PROXY": "http://u:canary-proxy@proxy:3128",
    "CHARTMOGUL_ACCOUNTS": '{"eu": {"api_key": "canary-json"}}',
    "CHARTMOGUL_ACCOUNTS__US__API_KEY": "canary-nested",
    "DATABASE_URL": "postgresql://u:canary-database@db/crm",
    "ADMIN_TOKEN": "canary-admin-token",
}


def test_no_secret_is_in_the_repr_of_the_settings() -> None:
    found = read(SECRET_VALUES)
    assert "canary" not in repr(found) + str(found) + repr(found.accounts)


@pytest.mark.parametrize("name", list(SECRET_VALUES))
def test_no_secret_is_in_a_fault(name: str) -> None:
    report = "".join(faults({**SECRET_VALUES, name: SECRET_VALUES[name] + "\x7f é"}))
    assert "canary" not in report


def test_further_accounts_come_as_json_and_as_nested_names() -> None:
    accounts = read(
        {
            "CHARTMOGUL_API_KEY": KEY,
            "CHARTMOGUL_RATE_PER_S": "20",
            "CHARTMOGUL_ACCOUNTS": '{"eu-2": {"api_key": "k2", "parallel": 4}}',
            "CHARTMOGUL_ACCOUNTS__EU__API_KEY": "k1",
            "CHARTMOGUL_ACCOUNTS__EU__RATE_PER_S": "10",
        }
    ).accounts
    assert {name: (a.api_key.get_secret_value(), a.rate_per_s, a.parallel) for name, a in accounts.items()} == {
        "eu-2": ("k2", 20, 4),
        "eu": ("k1", 10, 16),
        "default": (KEY, 20, 16),
    }


@pytest.mark.parametrize(
    ("environ", "report"),
    [
        ({"CHARTMOGUL_ACCOUNTS": "eu"}, "environment: CHARTMOGUL_ACCOUNTS: found text that is not that"),
        ({"CHARTMOGUL_ACCOUNTS": "[1]"}, "environment: CHARTMOGUL_ACCOUNTS: found text that is not that"),
        ({"CHARTMOGUL_ACCOUNTS": '{"eu": 1}'}, "environment: CHARTMOGUL_ACCOUNTS: found text that is not that"),
        ({"CHARTMOGUL_ACCOUNTS": "[" * 100_000}, "environment: CHARTMOGUL_ACCOUNTS: found text that is not that"),
        (
            {"CHARTMOGUL_ACCOUNTS__DEFAULT__API_KEY": "k"},
            "environment: CHARTMOGUL_ACCOUNTS: found the name 'default'; allowed: any other name",
        ),
        (
            {"CHARTMOGUL_ACCOUNTS__EU__RATE_PER_S": "20"},
            "environment: CHARTMOGUL_ACCOUNTS.eu.api_key: found nothing; allowed: this key is required",
        ),
        (
            {"CHARTMOGUL_ACCOUNTS__EU__API_KEY": "k", "CHARTMOGUL_ACCOUNTS__EU__RATE": "20"},
            "environment: CHARTMOGUL_ACCOUNTS.eu.rate: found the key 'rate'; allowed: api_key, parallel, rate_per_s",
        ),
        (
            {"CHARTMOGUL_ACCOUNTS": '{"EU West": {"api_key": "k"}}'},
            "environment: CHARTMOGUL_ACCOUNTS.\"EU West\": found the key 'EU West'; allowed: lower-case letters",
        ),
    ],
)
def test_a_broken_account_is_one_fault(environ: dict[str, str], report: str) -> None:
    (fault,) = faults(environ)
    assert fault.startswith(report)


def test_the_environment_wins_over_the_env_file_and_that_over_secret_files(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name, text in {
        "PORT": "1001\n",
        "host": "127.0.0.9\r\n",
        "LOG_FORMAT": "console",
        "empty": "",
        "a b": "x",
    }.items():
        (secrets / name).write_text(text)
    (secrets / "directory").mkdir()
    env_file = tmp_path / ".env"
    env_file.write_text(f'# settings\nexport PORT="1002"\nLOG_FORMAT=\nLEASE_S=50 # s\nSECRETS_DIR={secrets}\n')
    found = load_settings({"LEASE_S": "70", "LOG_FORMAT": ""}, env_file=env_file)
    assert (found.lease_s, found.port, found.host, found.log_format) == (70, 1002, "127.0.0.9", "console")


def test_faults_say_where_the_value_stands(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("http")
    (tmp_path / "host").write_bytes(b"\xff\xfe")
    (tmp_path / "admin_token").write_text("x" * 70_000)
    env_file = tmp_path / ".env"
    env_file.write_text("\nLOG_FORMAT=xml\n")
    assert [fault.partition(": found")[0] for fault in faults({"SECRETS_DIR": str(tmp_path)}, env_file=env_file)] == [
        f"{env_file}:2: LOG_FORMAT",
        f"{tmp_path}/admin_token: ADMIN_TOKEN",
        f"{tmp_path}/host: HOST",
        f"{tmp_path}/port: PORT",
    ]


def test_unknown_names_are_refused_with_the_nearest_right_one(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("DATABSE_URL=sqlite:///x.db\nchartmogul_api_key=k\nPIPEDRIVE_PASSWORD=p\nNOT_SET=\nVALUELESS\n")
    config = tmp_path / "config.yaml"
    environ = {"CONFIG_FILE": str(config), "CHARTMOGUL_RATE": "5", "PATH": "/bin", "CHARTMOGUL_TEAM": "x"}
    unknown = [
        f"{env_file}:1: DATABSE_URL: … did you mean 'DATABASE_URL'?",
        f"{env_file}:2: chartmogul_api_key: … did you mean 'CHARTMOGUL_API_KEY'?",
        "environment: CHARTMOGUL_RATE: … did you mean 'CHARTMOGUL_RATE_PER_S'?",
    ]

    def found() -> list[str]:
        return [fault.replace(f"found {UNKNOWN}", "…") for fault in faults(environ, env_file=env_file)]

    assert [fault for fault in unknown if fault not in found()] == []
    assert not any("PIPEDRIVE_PASSWORD" in fault for fault in found())  # what the file uses is not known
    config.write_text("# ${CHARTMOGUL_TEAM} ${NOT_SET}\npassword: ${OTHER}\n")
    assert [fault for fault in unknown if fault not in found()] == []
    assert [fault.split(":")[2].strip() for fault in found() if fault.startswith(str(env_file))] == [
        "DATABSE_URL",
        "chartmogul_api_key",
        "PIPEDRIVE_PASSWORD",
        "VALUELESS",
    ]
    assert not any("CHARTMOGUL_TEAM" in fault or "NOT_SET" in fault for fault in found())


def test_a_broken_env_file_is_refused_line_by_line(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("PORT=1\nHOST='never closed\nLOG_FORMAT=json\n")
    assert faults({}, env_file=env_file) == [
        f'{env_file}:2: found a line that cannot be read; allowed: NAME=value, or NAME="value"'
    ]
    env_file.write_bytes(b"HOST=\xff\n")
    (fault,) = faults({}, env_file=env_file)
    assert fault.startswith(f"{env_file}: found a file that cannot be read; allowed: UTF-8 text")


def test_an_unreadable_directory_or_file_is_a_fault_and_no_crash(tmp_path: Path) -> None:
    (fault,) = faults({}, env_file=tmp_path)
    assert "a file that cannot be read" in fault
    assert read({"SECRETS_DIR": "no\0where"}).port == 8080


def test_every_setting_stands_in_the_example() -> None:
    """The example is the reference that operators copy."""
    example = Path(".env.example").read_text()
    assert [name for name in SETTINGS if f"\n{name}=" not in example and f"\n#{name}=" not in example] == []


@given(text=st.text(max_size=200) | st.text(alphabet="PORTHS=\"'\\\n #$", max_size=80))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_env_file_and_value_raises_nothing_but_a_report(tmp_path: Path, text: str) -> None:
    env_file = tmp_path / ".env"
    env_file.write_bytes(text.encode("utf-8", "surrogatepass"))
    environ = dict.fromkeys(SETTINGS, text) | {"SECRETS_DIR": "none", "CONFIG_FILE": text}
    for each in ({}, environ):
        with contextlib.suppress(ConfigError):
            load_settings(each, env_file=env_file)
