"""Disks that are full, read-only or locked under a running service: the kernel and SQLite themselves say no."""

import contextlib
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Final

FILE_MAX: Final = 16 * 1024
"""Bytes past which a file may not grow: less than any log has, more than a service's own lines."""
DISK_BYTES: Final = 32 * 1024 * 1024


@contextlib.contextmanager
def no_growth(pid: int) -> Iterator[None]:
    """Let no file of a process grow: every write past a few pages fails, as with a quota."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (FILE_MAX, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def small_disk(directory: Path) -> Iterator[bool]:
    """Put a small disk of its own at a directory, where that is allowed; say whether it is."""
    directory.mkdir(exist_ok=True)
    mounted = _done("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(directory))
    try:
        yield mounted
    finally:
        if mounted:
            _done("umount", "--lazy", str(directory))


@contextlib.contextmanager
def full(directory: Path) -> Iterator[None]:
    """Fill the disk of a directory to its last byte."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 65_536)
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def unchangeable(*files: Path) -> Iterator[bool]:
    """Let nobody change files that are there, open ones too, where that can be done; say whether it can."""
    scratch = files[0].with_name("scratch")
    with scratch.open("wb", buffering=0) as file:
        try:
            yield _fixed(scratch, fixed=True) and not _takes(file) and all(_fixed(one, fixed=True) for one in files)
        finally:
            for one in (scratch, *files):
                _fixed(one, fixed=False)
            scratch.unlink()


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Keep a database from another process's writes, as a backup script does that forgot its transaction."""
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE").close()
        yield
    finally:
        connection.close()


def _done(*command: str) -> bool:
    """Say whether a command is there and did what it should."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _fixed(file: Path, *, fixed: bool) -> bool:
    return _done("chattr", "+i" if fixed else "-i", str(file))


def _takes(file: FileIO) -> bool:
    try:
        return file.write(b"x") == 1
    except OSError:
        return False
