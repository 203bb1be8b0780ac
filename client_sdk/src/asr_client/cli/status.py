"""`asr status`: the state of a server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from asr_client import _wire
from asr_client._client import Client
from asr_client._errors import AsrError, DeadlineExceeded, ServerBusy
from asr_client._transport.retry import RetryPolicy
from asr_client._transport.statuses import expired_in_queue
from asr_client._types import ServerStatus
from asr_client.cli.auth import Credentials
from asr_client.cli.health import guess_url, read_health
from asr_client.cli.screen import describe

_ONCE = RetryPolicy(max_attempts=1)


class StatusReport:
    """Asks a server and its supervisor for their state, and sends a short recording.

    A server whose model hangs reports that it is ready; only a recording shows the fault.

    Args:
        url: HOST:PORT of the server's gRPC endpoint.
        health_url: address of its supervisor; None tries the default address, which may not exist.
        timeout_s: time limit of the questions, and then of the recording, in seconds.
        caller: token and TLS of the client.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self, url: str, *, health_url: str | None, timeout_s: float, caller: Credentials
    ) -> None:
        self._url = url
        self._health_url = health_url
        self._timeout_s = timeout_s
        self._client = Client(url, timeout_s=timeout_s, retry=_ONCE, **caller)
        self.ready = False
        """Whether the server is ready; known once all lines were read."""
        self._takes_recordings = False

    def lines(self) -> Iterator[str]:
        """The lines of the report, one by one."""
        with self._client:
            try:
                server = self._client.status(timeout_s=self._timeout_s)
            except AsrError as error:
                yield f"server      {self._url}  {describe(error)}"
                # The usual port beside an address where nobody answers is another server's.
                if self._health_url is not None:
                    yield from self._supervisor_lines()
                return
            yield from self._server_lines(server)
            yield from self._supervisor_lines()
            # The recording is last: it may take long while a process is replaced.
            if self._takes_recordings:
                yield f"recording   {self._recording()}"

    def _server_lines(self, server: ServerStatus) -> Iterator[str]:
        self.ready = self._takes_recordings = server.ready
        state = f"{'live' if server.live else 'not live'}, {_ready(server.ready)}"
        yield f"server      {self._url}  {state}  {server.name} {server.version}"
        for model in server.models:
            versions = f"  version {', '.join(model.versions)}" if model.versions else ""
            yield f"{model.name:<10}  {_ready(model.ready)}{versions}"
        if server.ready:
            yield f"serves      {self._serves()}"

    def _serves(self) -> str:
        try:
            info = self._client.info(timeout_s=self._timeout_s)
        except AsrError as error:
            return describe(error)
        if info.model_id is None:
            return "a model that this server does not name"
        languages = f"{len(info.languages)} languages" if info.languages else ""
        parts = [
            f"{info.model_id} {info.model_revision}",
            info.precision,
            " and ".join(info.decoders),
            info.language_model and f"language model {info.language_model}",
            languages,
            f"fingerprint {info.fingerprint}",
        ]
        return ", ".join(part for part in parts if part)

    def _recording(self) -> str:
        began_s = time.monotonic()
        try:
            self._client.transcribe(_wire.TRIAL_PCM, timestamps="none", **_wire.TRIAL_FORM)
        except AsrError as error:
            expired = expired_in_queue(error.status, error.server_message)
            self.ready = self.ready and isinstance(error, ServerBusy) and not expired
            if expired or isinstance(error, DeadlineExceeded):
                return f"no answer within {self._timeout_s:g} s: the server hangs or is overloaded"
            return describe(error)
        return f"answered in {1e3 * (time.monotonic() - began_s):.0f} ms"

    def _supervisor_lines(self) -> Iterator[str]:
        try:
            health = read_health(self._health_url or guess_url(self._url))
        except (OSError, ValueError) as error:
            if self._health_url is not None:
                yield f"supervisor  {self._health_url}  {error}"
                self.ready = False
            return
        report = health.report if isinstance(health.report, str) else json.dumps(health.report)
        yield f"supervisor  {_ready(health.ready)}  {report}"
        self.ready = self.ready and health.ready


def _ready(ready: bool) -> str:
    return "ready" if ready else "not ready"
