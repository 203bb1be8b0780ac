"""Fixtures of the integration tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asr_client import Client
from tests.support import ngrams, recordings
from tools.local_server import LocalServer, local_server


@pytest.fixture(scope="session")
def narrow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server of one front that takes little of everything, and waits to fill its batches.

    40 calls may wait. Its beam search has a language model of the true words of all recordings.
    """
    words = [word for text in recordings.texts().values() for word in text.upper().split()]
    lm = tmp_path_factory.mktemp("lm") / "recordings.arpa"
    lm.write_text(ngrams.arpa(dict.fromkeys(words, 1 / len(set(words))), {}))
    # Only in fp32 does one forward on the CPU take several windows everywhere.
    limits = ("--max-audio-s=5", "--max-audio-bytes=200000", "--precision=fp32")
    work_limits = (
        "--max-beam-work=1000",
        "--max-channels-audio-s=10",
        "--max-audio-samples=400000",
    )
    with local_server(
        "--frontends=1",
        "--max-queue-delay-us=50000",
        "--max-queue-size=40",
        f"--lm={lm}",
        *limits,
        *work_limits,
    ) as running:
        yield running


@pytest.fixture(scope="module")
def client(server_url: str) -> Iterator[Client]:
    with Client(server_url, timeout_s=240) as client:
        yield client
