"""The command line as it is typed: through ``main`` in this process, or as a process of its own."""

import contextlib
import io
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import orjson

from service.cli import main
from tests.support.service import inherited


@dataclass(frozen=True, slots=True)
class Ended:
    """How a verb ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401  # whatever JSON holds
        """What it printed, as JSON."""
        return orjson.loads(self.out)


def verb(*arguments: str, environ: Mapping[str, str], directory: Path, text: bytes = b"") -> Ended:
    """Run a verb in this process, with this environment alone."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    code = 0
    with (
        mock.patch.dict("os.environ", dict(environ), clear=True),
        mock.patch("sys.argv", ["crm-to-chartmogul", *arguments]),
        mock.patch("sys.stdin", io.TextIOWrapper(io.BytesIO(text), "utf-8")),
        contextlib.chdir(directory),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as leave:
            code = leave.code if isinstance(leave.code, int) else 0
    return Ended(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))


def process_verb(*arguments: str, environ: Mapping[str, str], directory: Path, text: bytes = b"") -> Ended:
    """Run a verb as a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        env=inherited() | dict(environ),
        cwd=directory,
        input=text,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())
