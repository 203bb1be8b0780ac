"""Fixtures of the integration tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tools.local_server import LocalServer, local_server


@pytest.fixture(scope="session")
def narrow_server() -> Iterator[LocalServer]:
    """A server of one front that takes 5 s and 200,000 bytes, and waits to fill its batches."""
    flags = ("--max-audio-s=5", "--max-audio-bytes=200000", "--max-queue-delay-us=50000")
    with local_server("--frontends=1", *flags) as running:
        yield running
