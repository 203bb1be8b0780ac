"""One recognition: limits, the call to asr-server, the log and the metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.datastructures import State
from starlette.requests import ClientDisconnect

from asr_client import AsrError, AsyncClient, Decoder, Timestamps, Transcript
from asr_gateway.admission import Admission
from asr_gateway.cache.results import Mark, ResultCache
from asr_gateway.errors import from_asr_error
from asr_gateway.limits import Limits
from asr_gateway.metrics import Metrics
from asr_gateway.served_model import ServedModel
from asr_gateway.store.recognitions import Entry, RecognitionLog, new_id
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
        return {name: value for name, value in vars(self).items() if value is not None}


class Recognizer:
    """Sends recordings to asr-server.

    Args:
        client: of asr-server.
        admission: bounds what is there at once.
        limits: of the keys.
        served: is told which model answered.
        metrics: of the gateway.
        log: gets an entry for each recognition.
        log_text: whether entries have the transcript.
        cache: of results; None computes each.
    """

    def __init__(
        self,
        client: AsyncClient,
        admission: Admission,
        limits: Limits,
        served: ServedModel,
        metrics: Metrics,
        log: RecognitionLog,
        *,
        log_text: bool,
        cache: ResultCache | None = None,
    ) -> None:
        self._client = client
        self._admission = admission
        self._limits = limits
        self._served = served
        self._metrics = metrics
        self._log = log
        self._log_text = log_text
        self._cache = cache

    async def recognize(
        self, upload: Upload, options: Options, request: State, *, fresh: bool = False
    ) -> Transcript:
        """Transcribe a recording, or answer from the cache.

        Args:
            upload: the recording.
            options: for asr-server.
            request: the state of the HTTP request: has `caller`, gets `call_id` and `cache_mark`.
            fresh: past the cache.

        Raises:
            ApiError: what the caller is answered when the call failed.
        """
        run = _Run()
        try:
            transcript = await self._answer(upload, options, request.request_id, run, fresh=fresh)
        except AsrError as error:
            run.failed(error)
            await self._ended(upload, options, request, run)
            raise from_asr_error(error, hotwords=options.hotwords is not None) from error
        except BaseException:
            # The caller went away: nobody waits for the entry.
            self._ended(upload, options, request, run)
            raise
        run.succeeded(transcript)
        written = self._ended(upload, options, request, run)
        self._limits.used(request.caller, transcript.duration_s)
        if run.mark not in ("hit", "joined"):
            self._metrics.audio_seconds.inc(transcript.duration_s)
        self._served.saw(transcript.model)
        await written
        return transcript

    def _ended(
        self, upload: Upload, options: Options, request: State, run: _Run
    ) -> asyncio.Future[None]:
        """Note what a recognition came to; the future is done when its entry is written."""
        request.call_id, request.cache_mark = run.call_id, run.mark
        self._metrics.recognitions.labels(run.outcome).inc()
        return self._log.add(self._entry(upload, options, request, run))

    async def _answer(
        self, upload: Upload, options: Options, request_id: str, run: _Run, *, fresh: bool
    ) -> Transcript:
        async def compute(upload: Upload) -> Transcript:
            async with self._admission.slot(upload.size):
                run.began()
                return await self._call(upload, options, request_id)

        if self._cache is None:
            return await compute(upload)
        transcript, run.mark = await self._cache.answer(upload, options, compute, fresh=fresh)
        return transcript

    async def _call(self, upload: Upload, options: Options, request_id: str) -> Transcript:
        upload.file.seek(0)
        began_s = time.perf_counter()
        try:
            return await self._client.transcribe(
                upload.file if upload.on_disk else upload.read(),
                request_id=request_id,
                **options.given,
            )
        finally:
            self._metrics.recognition_seconds.observe(time.perf_counter() - began_s)

    def _entry(self, upload: Upload, options: Options, request: State, run: _Run) -> Entry:
        transcript = run.transcript
        logged = options.given
        if options.hotwords is not None:
            # The words that somebody listens for are not for the log.
            logged["hotwords"] = len(options.hotwords)
        return Entry(
            id=new_id(),
            created_at=time.time(),
            key=request.caller.name,
            audio_s=transcript.duration_s if transcript else None,
            audio_bytes=upload.size,
            audio_sha256=upload.sha256,
            model=transcript.model.id if transcript else None,
            revision=transcript.model.revision if transcript else None,
            fingerprint=transcript.model.fingerprint if transcript else None,
            options=logged,
            outcome=run.outcome,
            timing_ms=run.timing_ms,
            request_id=request.request_id,
            call_id=run.call_id,
            text=transcript.text if transcript and self._log_text else None,
        )


class _Run:
    """What a recognition came to, and where its time went."""

    def __init__(self) -> None:
        self.outcome = "cancelled"
        self.call_id: str | None = None
        self.transcript: Transcript | None = None
        self.mark: Mark | None = None
        self._asked_s = time.perf_counter()
        self._began_s: float | None = None

    def began(self) -> None:
        self._began_s = time.perf_counter()

    def succeeded(self, transcript: Transcript) -> None:
        self.outcome = "succeeded"
        self.call_id = transcript.request_id
        self.transcript = transcript

    def failed(self, error: AsrError) -> None:
        self.outcome = (error.code or error.status).lower()
        self.call_id = error.request_id

    @property
    def timing_ms(self) -> dict[str, float]:
        """`wait` for others or the cache, `call` to asr-server, and asr-server's own."""
        now_s = time.perf_counter()
        began_s = now_s if self._began_s is None else self._began_s
        timing = {"wait": 1000 * (began_s - self._asked_s), "call": 1000 * (now_s - began_s)}
        if self.transcript is not None and self.mark != "hit":
            own = self.transcript.timing_ms
            timing.update(
                server_decode=own.decode,
                server_acoustic=own.acoustic,
                server_ctc=own.ctc,
                server_total=own.total,
            )
        return {name: round(value, 1) for name, value in timing.items()}


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
