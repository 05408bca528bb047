"""What is worth a second look in a configuration is logged at the start, and once for each: never with a value."""

import signal
from pathlib import Path
from typing import Any

import orjson

from tests.support.service import Process
from tests.support.wait import until
from tests.support.webhooks import CONFIGURATION, PIPEDRIVE_PASSWORD

LITERAL = CONFIGURATION.replace('"${PIPEDRIVE_PASSWORD}"', PIPEDRIVE_PASSWORD)


def warned(process: Process) -> list[Any]:
    lines = [orjson.loads(line) for line in process.log.splitlines()]
    return [line for line in lines if line["event"] == "configuration_warning"]


def test_each_warning_is_logged_at_the_start_and_new_ones_with_a_new_configuration(tmp_path: Path) -> None:
    with Process(tmp_path, LITERAL) as process:
        process.start()
        first = warned(process)
        assert [line["warning"] for line in first] == ["literal_secret", "table_without_default"]
        assert first[0]["where"] == f"{tmp_path / 'config.yaml'}:4:37"
        assert first[0]["path"] == "sources.pipedrive.auth.password"
        (tmp_path / "config.yaml").write_text(
            "# Moved by a line.\n" + LITERAL.replace("title: title", "position: rank")
        )
        process.signal(signal.SIGHUP)
        until(lambda: len(warned(process)) > len(first))
        assert [line["warning"] for line in warned(process)[2:]] == ["position_mapped"]
        assert PIPEDRIVE_PASSWORD not in process.log
