"""The store itself: files, schema, migrations."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from asr_gateway import cli
from asr_gateway.console import StartError
from asr_gateway.store import database
from asr_gateway.store.schema import metadata


def tables(url: str) -> set[str]:
    engine = database.engine(url)
    names = set(inspect(engine).get_table_names()) - {"alembic_version"}
    engine.dispose()
    return names


def test_the_migrations_make_what_the_code_uses(store_url: str):
    database.open_store(store_url).dispose()
    engine = database.engine(store_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    assert tables(store_url) == set(metadata.tables)
    engine.dispose()


def test_a_path_may_have_the_characters_of_a_url(tmp_path: Path):
    file = tmp_path / "a?b=c%20#d.sqlite3"
    database.open_store(f"sqlite:///{file}").dispose()
    assert file.stat().st_size > 0
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(file.name)] == []


def test_down_and_up_again_step_by_step(store_url: str):
    engine = database.open_store(store_url)
    versions = Path(database.__file__).with_name("migrations") / "versions"
    steps = len(list(versions.glob("r*.py")))
    for direction, step in ((command.downgrade, "-1"), (command.upgrade, "+1")):
        for _ in range(steps):
            database.migrate(engine, direction, step)
        assert tables(store_url) == (set() if step == "-1" else set(metadata.tables))
    engine.dispose()


def test_replicas_that_start_together_share_one_migration(store_url: str):
    with ThreadPoolExecutor(4) as pool:
        for engine in pool.map(database.open_store, [store_url] * 4):
            engine.dispose()
    assert tables(store_url) == set(metadata.tables)


def test_many_first_connections_to_a_new_file_at_once(tmp_path: Path):
    # SQLite does not wait to set the mode of a journal: three of 300 files had a failed connection.
    for number in range(100):
        url = f"sqlite:///{tmp_path}/{number}.sqlite3"
        together = threading.Barrier(4)

        def connect(url: str, together: threading.Barrier = together) -> None:
            together.wait()
            engine = database.engine(url)
            engine.connect().close()
            engine.dispose()

        with ThreadPoolExecutor(4) as pool:
            for _ in pool.map(connect, [url] * 4):
                pass


def test_another_failure_of_sqlite_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    class Connection:
        def execute(self, statement: str) -> None:
            raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(time, "sleep", pytest.fail)
    with pytest.raises(sqlite3.OperationalError, match="disk"):
        database._set_wal(Connection())


def test_the_command_brings_a_store_down(store_url: str):
    database.open_store(store_url).dispose()
    run = [sys.executable, "-m", "asr_gateway.store.database", store_url, "downgrade", "base"]
    subprocess.run(run, check=True, timeout=120)
    assert tables(store_url) == set()


def test_a_password_is_never_shown(capsys: pytest.CaptureFixture[str]):
    url = "postgresql+psycopg://asr:geheim@127.0.0.1:1/asr"
    assert cli.main(["--server=a:1", f"--store={url}", "--blobs=/tmp", "--print-config"]) == 0
    assert cli.main(["--server=a:1", f"--store={url}", "--blobs=/tmp"]) == 2
    printed = "".join(capsys.readouterr())
    assert "asr:***@" in printed
    assert "geheim" not in printed


def test_the_file_is_the_owners_alone_and_has_a_write_ahead_log(tmp_path: Path):
    path = tmp_path / "folder" / "store.sqlite3"
    database.open_store(f"sqlite:///{path}").dispose()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "store.sqlite3"
    database.open_store(f"sqlite:///{path}").dispose()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert cli.main(["--server=a:1", "--http-port=0", f"--store=sqlite:///{path}"]) == 2
    printed = capsys.readouterr().err
    assert "9999" in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be one" * 30])
def test_what_is_no_database_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "store.sqlite3"
    path.write_bytes(content)
    with pytest.raises(StartError, match="not a database"):
        database.open_store(f"sqlite:///{path}")


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="--store"):
        database.open_store(f"sqlite:///{tmp_path}/file/store.sqlite3")
