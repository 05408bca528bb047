"""A mapping is tried beside the real thing, as an operator does it: watch, look, go live, without a restart."""

import signal
from pathlib import Path

from service.main import real_clock
from tests.cli.conftest import World
from tests.support.sandbox import running_sandbox
from tests.support.service import Process
from tests.support.wait import until
from tests.support.webhooks import CONFIGURATION, GRACE_UUID, pipedrive

SHADOW = CONFIGURATION.replace("    preset: pipedrive\n", "    preset: pipedrive\n    deliver: shadow\n")


def test_what_would_be_sent_is_seen_before_it_is_and_goes_out_on_a_reload(tmp_path: Path) -> None:
    with (
        running_sandbox() as sandbox,
        Process(tmp_path, SHADOW, CHARTMOGUL_BASE_URL=sandbox.base_url) as process,
    ):
        process.start()
        world = World(process, sandbox)
        world.tell(pipedrive(101, "9d1c2b8f", real_clock(), job_title="CFO"))
        assert world.bodies() == []
        told = world.verb("explain", "101").out
        _, _, section = told.partition(f"\n{GRACE_UUID}, what would be sent, if its source were live\n")
        head, line, *_ = section.splitlines()
        assert head.split() == ["field", "value", "source", "event", "rule"]
        assert line.split() == ["title", "CFO", "pipedrive", "1", "job_title", "|", "trim"]
        (field,) = world.verb("explain", "101", "--json").json["would_be_sent"][GRACE_UUID]
        assert (field["field"], field["source"], field["shadowed"]["value"]) == ("title", "pipedrive", "CFO")
        (event,) = world.verb("events", "--state", "shadowed", "--json").json
        assert (event["state"], event["reason"]) == ("shadowed", "would be sent")
        assert world.health()["sources"]["pipedrive"]["shadowed"] == 1
        assert "CFO" not in process.log
        (tmp_path / "config.yaml").write_text(CONFIGURATION)
        process.signal(signal.SIGHUP)
        until(lambda: sandbox.answered("PATCH", 200) == 1)
        assert world.bodies() == [{"title": "CFO"}]
        world.settle()
        assert world.health()["sources"]["pipedrive"]["shadowed"] == 0
        assert "what would be sent" not in world.verb("explain", "101").out
        assert '"event":"gone_live"' in process.log
        assert world.verb("audit").code == 0
