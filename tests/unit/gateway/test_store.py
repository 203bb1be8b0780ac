from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import inspect

from asr_gateway import cli
from asr_gateway.console import StartError
from asr_gateway.store import database
from asr_gateway.store.schema import metadata


def columns(url: str) -> dict[str, dict[str, tuple[str, bool]]]:
    """Type and nullability of each column of each table."""
    engine = database.engine(url)
    found = inspect(engine)
    tables = {
        table: {
            column["name"]: (str(column["type"]), bool(column["nullable"]))
            for column in found.get_columns(table)
        }
        for table in found.get_table_names()
        if table != "alembic_version"
    }
    engine.dispose()
    return tables


def test_the_migrations_make_what_the_code_uses(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/deep/down/store.sqlite3"
    database.open_store(url).dispose()
    assert columns(url) == {
        table.name: {c.name: (str(c.type), bool(c.nullable)) for c in table.columns}
        for table in metadata.tables.values()
    }
    engine = database.engine(url)
    indexes = {index["name"] for index in inspect(engine).get_indexes("recognitions")}
    assert indexes == {index.name for index in metadata.tables["recognitions"].indexes}
    engine.dispose()


def test_down_and_up_again(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/store.sqlite3"
    engine = database.open_store(url)
    made = columns(url)
    database.migrate(engine, command.downgrade, "base")
    assert columns(url) == {}
    database.migrate(engine, command.upgrade, "0001")
    assert columns(url) == {"recognitions": made["recognitions"]}
    database.migrate(engine, command.upgrade, "head")
    assert columns(url) == made
    engine.dispose()


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
