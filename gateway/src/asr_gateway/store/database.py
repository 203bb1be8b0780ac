"""The database: connections, and the schema's version.

    python -m asr_gateway.store.database sqlite:///FILE downgrade base

brings a store to a revision: `upgrade head` is this version's schema, `downgrade base` an empty
store.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from asr_gateway.console import StartError

SQLITE = "sqlite:///"
POSTGRESQL = "postgresql+psycopg://"
BUSY_TIMEOUT_S = 5.0
"""A writer waits so long for another process's transaction in SQLite."""
_CONNECTION = {
    "connect_timeout": 5,
    # A host that vanished, or a network that swallows packets, is an error soon, in seconds ...
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    # ... also while something was sent and is not acknowledged, in milliseconds.
    "tcp_user_timeout": 20_000,
}
"""Of libpq's, for PostgreSQL."""
_MIGRATION_LOCK = 0x0A52_6A0B
"""PostgreSQL's advisory lock under which one gateway at a time changes the schema."""
_MIGRATIONS = Path(__file__).with_name("migrations")


def open_store(url: str) -> Engine:
    """An engine whose schema is this version's; makes a SQLite file and its folder.

    Args:
        url: `sqlite:///FILE` or `postgresql+psycopg://…`.

    Raises:
        StartError: the store cannot be opened, or a newer version made it.
    """
    made = engine(url)
    try:
        migrate(made, command.upgrade, "head")
    except StartError:
        made.dispose()
        raise
    return made


def engine(url: str, *, durable: bool = False) -> Engine:
    """An engine for a store as it is.

    Args:
        url: `sqlite:///FILE` or `postgresql+psycopg://…`.
        durable: commits survive a loss of power. Of PostgreSQL they always do, as it is configured.

    Raises:
        StartError: the file cannot be made, or PostgreSQL's driver is missing.
    """
    if url.startswith(POSTGRESQL):
        return _postgresql(url)
    path = sqlite_file(url)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The log says who transcribed what, so it is the owner's alone.
        path.touch(mode=0o600)
    except OSError as error:
        raise StartError(f"--store {url}: {error}") from None
    made = create_engine(
        # Not as text: a path may have the characters of a URL's query.
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_TIMEOUT_S},
        hide_parameters=True,
    )
    event.listen(made, "connect", _prepare_durable if durable else _prepare)
    event.listen(made, "begin", _begin)
    return made


def sqlite_file(url: str) -> Path:
    """The file of a `sqlite:///FILE`."""
    return Path(url.removeprefix(SQLITE)).expanduser()


def without_password(url: str) -> str:
    """The URL as it may be printed."""
    if not url.startswith(POSTGRESQL):
        return url
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return POSTGRESQL + "***"


def reason(error: Exception) -> str:
    """Why the store failed, in one line without what was to be written."""
    return str(error).partition("\n")[0]


def _postgresql(url: str) -> Engine:
    try:
        return create_engine(
            url,
            pool_pre_ping=True,
            connect_args=_CONNECTION,
            hide_parameters=True,
        )
    except (ArgumentError, ValueError):
        raise StartError(f"--store {without_password(url)}: not a URL") from None
    except ImportError as error:
        raise StartError(
            f"--store: PostgreSQL needs psycopg ({error}); in the project's folder: "
            "pip install ./client_sdk './gateway[postgres]'"
        ) from None


def migrate(made: Engine, direction: Callable[[Config, str], None], revision: str) -> None:
    """Bring the schema to a revision.

    Args:
        made: the store.
        direction: `alembic.command.upgrade` or `downgrade`.
        revision: "head", "base" or a revision's id.

    Raises:
        StartError: the store's revision is unknown here, or the store cannot be written.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    try:
        with made.execution_options(immediate=True).begin() as connection:
            if connection.dialect.name == "postgresql":
                # Two gateways that start together must not both find an empty store.
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
            config.attributes["connection"] = connection
            direction(config, revision)
    except (CommandError, SQLAlchemyError) as error:
        raise StartError(f"--store {made.url}: {reason(error)}") from None


def _prepare(connection: Any, _: object) -> None:
    # Transactions begin where `_begin` says so, and hold changes of the schema too.
    connection.isolation_level = None
    # Readers do not wait for the writer, and a commit is one append.
    _set_wal(connection)
    connection.execute("PRAGMA synchronous=NORMAL")
    # What is deleted is overwritten.
    connection.execute("PRAGMA secure_delete=ON")


def _set_wal(connection: Any) -> None:
    """Set the journal's mode, which SQLite does not wait for where another process sets it too."""
    deadline_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline_s:
                raise
            time.sleep(0.01)


def _prepare_durable(connection: Any, _: object) -> None:
    _prepare(connection, _)
    connection.execute("PRAGMA synchronous=FULL")


def _begin(connection: Connection) -> None:
    # Two gateways that start together must not both find an empty store; and a transaction that
    # reads before it writes must not find the file locked in between.
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


if __name__ == "__main__":
    _, given_url, given_direction, given_revision = sys.argv
    migrate(engine(given_url), getattr(command, given_direction), given_revision)
