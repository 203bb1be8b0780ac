"""One recognition: limits, the call to asr-server, the log and the metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from starlette.datastructures import State
from starlette.requests import ClientDisconnect

from asr_client import AsrError, AsyncClient, Decoder, Timestamps, Transcript
from asr_gateway.admission import Admission
from asr_gateway.errors import from_asr_error
from asr_gateway.limits import Limits
from asr_gateway.metrics import Metrics
from asr_gateway.served_model import ServedModel
from asr_gateway.uploads import Upload

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What asr-server is asked for; the fields are arguments of `AsyncClient.transcribe`."""

    timestamps: Timestamps
    decoder: Decoder
    hotwords: tuple[str, ...] | None = None
    language: str | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The options that are not None, for the recognition log."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class Recognizer:
    """Sends recordings to asr-server.

    Args:
        client: of asr-server.
        admission: bounds what is there at once.
        limits: of the keys.
        served: is told which model answered.
        metrics: of the gateway.
    """

    def __init__(
        self,
        client: AsyncClient,
        admission: Admission,
        limits: Limits,
        served: ServedModel,
        metrics: Metrics,
    ) -> None:
        self._client = client
        self._admission = admission
        self._limits = limits
        self._served = served
        self._metrics = metrics

    async def recognize(self, upload: Upload, options: Options, request: State) -> Transcript:
        """Transcribe a recording.

        Args:
            upload: the recording.
            options: for asr-server.
            request: the state of the HTTP request: has `caller`, gets `call_id`.

        Raises:
            ApiError: what the caller is answered when the call failed.
        """
        outcome = "cancelled"
        try:
            async with self._admission.slot(upload.size):
                transcript = await self._call(upload, options)
            outcome = "succeeded"
            request.call_id = transcript.request_id
        except AsrError as error:
            outcome = (error.code or error.status).lower()
            request.call_id = error.request_id
            raise from_asr_error(error, hotwords=options.hotwords is not None) from error
        finally:
            self._metrics.recognitions.labels(outcome).inc()
        self._limits.heard(request.caller, transcript.duration_s)
        self._metrics.audio_seconds.inc(transcript.duration_s)
        self._served.saw(transcript.model)
        return transcript

    async def _call(self, upload: Upload, options: Options) -> Transcript:
        upload.file.seek(0)
        began_s = time.perf_counter()
        try:
            return await self._client.transcribe(
                upload.file if upload.on_disk else upload.read(), **options.given
            )
        finally:
            self._metrics.recognition_seconds.observe(time.perf_counter() - began_s)


async def unless_gone(receive: Callable[[], Awaitable[Any]], work: Coroutine[Any, Any, _T]) -> _T:
    """The work's result; cancels it when the caller goes away.

    Args:
        receive: of the request, whose body has been read.
        work: what to do meanwhile.

    Raises:
        ClientDisconnect: the caller went away; the work has ended.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
    finally:
        watching.cancel()
        if not working.done():
            working.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)
    raise ClientDisconnect


async def _gone(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
