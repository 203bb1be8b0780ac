"""The database: connections, and the schema's version.

    python -m asr_gateway.store.database sqlite:///FILE downgrade base

brings a store to a revision: `upgrade head` is this version's schema, `downgrade base` an empty
store.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from asr_gateway.console import StartError

BUSY_TIMEOUT_S = 5.0
"""A writer waits so long for another process's transaction."""
_MIGRATIONS = Path(__file__).with_name("migrations")


def open_store(url: str) -> Engine:
    """An engine whose schema is this version's; makes the file and its folder.

    Args:
        url: `sqlite:///FILE`.

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


def engine(url: str) -> Engine:
    """An engine for a file as it is.

    Raises:
        StartError: the file cannot be made.
    """
    path = Path(url.removeprefix("sqlite:///")).expanduser()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The log says who transcribed what, so it is the owner's alone.
        path.touch(mode=0o600)
    except OSError as error:
        raise StartError(f"--store {url}: {error}") from None
    made = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(made, "connect", _prepare)
    event.listen(made, "begin", _begin)
    return made


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
            config.attributes["connection"] = connection
            direction(config, revision)
    except (CommandError, SQLAlchemyError) as error:
        raise StartError(f"--store {made.url}: {str(error).splitlines()[0]}") from None


def _prepare(connection: Any, _: object) -> None:
    # Transactions begin where `_begin` says so, and hold changes of the schema too.
    connection.isolation_level = None
    # Readers do not wait for the writer, and a commit is one append.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    # What is deleted is overwritten.
    connection.execute("PRAGMA secure_delete=ON")


def _begin(connection: Connection) -> None:
    # Two gateways that start together must not both find an empty store.
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


if __name__ == "__main__":
    _, given_url, given_direction, given_revision = sys.argv
    migrate(engine(given_url), getattr(command, given_direction), given_revision)
