"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tools.local_server import LocalServer, local_server

ROOT = Path(__file__).resolve().parents[1]
# How long an example takes depends on the machine, and on what else runs there.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_counts() -> None:
    """Shells start what runs in the background deaf to Ctrl-C, and its processes inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def cache_dir() -> None:
    """What servers prepare is kept from run to run, and apart from that of the machine's user."""
    os.environ.setdefault("ASR_CACHE_DIR", str(ROOT / "build" / "tests" / "cache"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """One real asr-server with the demo checkpoint, for all tests that do not break it.

    In fp32: its transcripts are held to those of Hugging Face's model.
    """
    log_path = tmp_path_factory.mktemp("server") / "server.log"
    try:
        with (
            log_path.open("wb") as log,
            local_server("--frontends=2", "--precision=fp32", log=log) as running,
        ):
            yield running
    except RuntimeError as error:
        raise RuntimeError(f"{error}; its log:\n{log_path.read_text(errors='replace')}") from None


@pytest.fixture(scope="session")
def server_url(server: LocalServer) -> str:
    """HOST:PORT of that server."""
    return server.url
