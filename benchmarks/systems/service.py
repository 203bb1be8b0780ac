"""This service, through its SDK over gRPC, as `asr-server` starts it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from asr_client import Client, RetryPolicy
from benchmarks.systems.base import Answer, CannotRun, Padding
from load_tests.report.metrics_page import MetricsPage
from tools.local_server import LocalServer, local_server

NAME = "this service, {}"
"""In tables, with the precision."""
CALL_TIMEOUT_S = 300.0


class Service:
    """See System.

    Args:
        precision: of the network.
        at_once: calls in flight.
        program: asr-server; None is the one beside this Python.
    """

    takes_batches = False
    is_peer = False

    def __init__(
        self, *, precision: str, at_once: Sequence[int], program: Path | None = None
    ) -> None:
        self.name = NAME.format(precision)
        self.at_once = at_once
        self._precision = precision
        self._program = program
        self._stack = contextlib.ExitStack()
        self.server: LocalServer | None = None
        self._client: Client | None = None

    def start(self, checkpoint: Path, work: Path) -> int:
        """See System."""
        flags = ("--model", str(checkpoint), "--precision", self._precision)
        log = self._stack.enter_context((work / "server.log").open("wb"))
        try:
            self.server = self._stack.enter_context(
                local_server(*flags, log=log, program=self._program)
            )
        except RuntimeError as error:
            raise CannotRun(str(error)) from error
        self._client = self._stack.enter_context(
            Client(self.server.url, timeout_s=CALL_TIMEOUT_S, retry=RetryPolicy(max_attempts=1))
        )
        return self.server.process.pid

    def call(self, wavs: Sequence[bytes]) -> Answer:
        """See System."""
        assert self._client is not None
        return Answer(texts=[self._client.transcribe(wav).text for wav in wavs])

    def padding(self) -> Padding:
        """See System."""
        assert self.server is not None
        page = MetricsPage.scrape(self.server.metrics_url)
        return Padding(
            audio_s=page.value("asr_audio_seconds_total"),
            padded_s=page.value("asr_padded_seconds_total"),
        )

    def stop(self) -> None:
        """See System."""
        self._stack.close()
