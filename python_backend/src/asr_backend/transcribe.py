"""The Triton model `transcribe`: requests in, transcripts out, many at a time.

Triton gives a front its next requests only when `execute` returns. So `execute` waits until the
lengths of its recordings are known, or for a short time: each answers through its own response
sender when it is done, and none keeps another waiting. What a front has in work is capped, in
recordings and in the seconds and bytes of long ones; at the cap `execute` waits, Triton's queue
fills, and Triton refuses what does not fit.
"""

from __future__ import annotations

import asyncio
import mmap
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from asr_backend.acoustic_calls import AcousticCalls, Cancelled, UpstreamError
from asr_backend.audio import AudioLimits
from asr_backend.contract import Options, encode_result, parse_options
from asr_backend.decoding.decoders import Decoders
from asr_backend.decoding.ngram_files import find_ngrams
from asr_backend.errors import AsrError, ErrorCode, internal_error
from asr_backend.metrics import Metrics
from asr_backend.recognition import Recognition, Recognizer
from asr_backend.spool import SPOOL_BYTES, spool
from asr_backend.triton_values import model_parameters, served_checkpoint, triton_error

LENGTH_WAIT_S = 0.5
"""How long `execute` waits for the length of a recording, whose first sound may lie deep in it."""
MAX_UNFINISHED_FULL = 4.0
"""What a front has in work at most, in recordings of the greatest length, or of the greatest
size."""
OVERLAP_S = 2.0
"""What two neighbouring windows of a long recording share, in seconds; at most a quarter of one."""
DECODE_THREADS = 4
CALL_THREADS = 128
"""Threads in which `async_exec` waits; the loop's default, cores + 4, is a silent cap."""
MAX_UNFINISHED = CALL_THREADS
"""What a front has in work at most, in recordings: more would only wait for one of those threads,
out of sight of Triton's queue and its limit."""


class _Unfinished:
    """What `execute` has to know of a recording in work."""

    def __init__(self) -> None:
        self.share = 0.0
        """Of a full recording."""
        self.known = asyncio.get_running_loop().create_future()
        """Done when that share is known."""

    def weigh(self, share: float) -> None:
        """Count it as at least this share of a full one."""
        self.share = max(self.share, share)

    def let_go(self) -> None:
        """Let `execute` go on."""
        if not self.known.done():
            self.known.set_result(None)


class Transcribe:
    """One front.

    Args:
        recognizer: does the work for one recording.
        pb_utils: Triton's module.
        metrics: counters that Triton exports.
        model_id: reported in RESULT.
        model_revision: reported in RESULT.
        limits: the longest and the largest recording.
        max_unfinished: recordings of that length or size that may be unfinished when `execute`
            returns; a smaller one counts as the larger of its two shares.
    """

    def __init__(
        self,
        *,
        recognizer: Recognizer,
        pb_utils: Any,
        metrics: Metrics,
        model_id: str,
        model_revision: str,
        limits: AudioLimits,
        max_unfinished: float = MAX_UNFINISHED_FULL,
    ) -> None:
        self._recognizer = recognizer
        self._pb_utils = pb_utils
        self._metrics = metrics
        self._model_id = model_id
        self._model_revision = model_revision
        self._limits = limits
        self._max_unfinished = max_unfinished
        self._unfinished: dict[asyncio.Task[None], _Unfinished] = {}
        self._call_threads = ThreadPoolExecutor(CALL_THREADS, thread_name_prefix="bls")

    @classmethod
    def from_triton(cls, args: dict[str, str], pb_utils: Any) -> Transcribe:
        """Build a front from what Triton hands to `initialize`."""
        parameters = model_parameters(args)
        checkpoint = served_checkpoint(parameters)
        limits = AudioLimits(
            max_audio_s=float(parameters["max_audio_s"]),
            max_audio_bytes=int(parameters["max_audio_bytes"]),
        )
        max_window_s = float(parameters["max_window_s"])
        metrics = Metrics(pb_utils)
        recognizer = Recognizer(
            checkpoint=checkpoint,
            acoustic=AcousticCalls(pb_utils, metrics=metrics, front=args["model_instance_name"]),
            limits=limits,
            max_window_s=max_window_s,
            overlap_s=min(OVERLAP_S, max_window_s / 4),
            long_audio_s=float(parameters["long_audio_s"]) / int(parameters["frontends"]),
            decode_pool=ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode"),
            decoders=Decoders(checkpoint, find_ngrams(checkpoint, parameters.get("lm", ""))),
            # Python runs one search at a time however many threads there are.
            search_pool=ThreadPoolExecutor(1, thread_name_prefix="search"),
        )
        return cls(
            recognizer=recognizer,
            pb_utils=pb_utils,
            metrics=metrics,
            model_id=checkpoint.id,
            model_revision=checkpoint.revision,
            limits=limits,
        )

    async def execute(self, requests: list[Any]) -> None:
        """Take up a batch of requests; each is answered through its own response sender.

        The list is emptied: Triton holds it until this returns, and each request its tensors.
        """
        asyncio.get_running_loop().set_default_executor(self._call_threads)
        batch = [self._take_up(request) for request in requests]
        requests.clear()
        await asyncio.wait(batch, timeout=LENGTH_WAIT_S)
        while self._is_full():
            await asyncio.wait(self._unfinished, return_when=asyncio.FIRST_COMPLETED)

    def finalize(self) -> None:
        """Release the threads; Triton calls this when every request has been answered."""
        self._call_threads.shutdown(wait=False)

    def _is_full(self) -> bool:
        return (
            len(self._unfinished) >= MAX_UNFINISHED
            or sum(one.share for one in self._unfinished.values()) > self._max_unfinished
        )

    def _take_up(self, request: Any) -> asyncio.Future[None]:
        """Begin a request's work; the future is done once its length is known, or it has failed."""
        unfinished = _Unfinished()
        task = asyncio.create_task(self._answer(request, unfinished))
        self._unfinished[task] = unfinished

        def end(task: asyncio.Task[None]) -> None:
            del self._unfinished[task]
            unfinished.let_go()

        task.add_done_callback(end)
        return unfinished.known

    async def _answer(self, request: Any, unfinished: _Unfinished) -> None:
        """Answer one request, whatever happens to it, and nobody else's."""
        sender = request.get_response_sender()
        final = self._pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        try:
            options = parse_options(self._element(request, "OPTIONS"))
            audio = self._element(request, "AUDIO")
            # With its tensors it would hold the audio until the answer.
            del request
            unfinished.weigh(len(audio) / self._limits.max_audio_bytes)
            if SPOOL_BYTES < len(audio) <= self._limits.max_audio_bytes:
                audio = await asyncio.to_thread(spool, audio)
            recognition = await self._recognize(audio, options, sender.is_cancelled, unfinished)
            seconds = _seconds(recognition)
            # Held until they are sent. Triton 24.10 drops outputs that the caller did not name, and
            # does so without the interpreter's lock: as the last reference, it corrupts memory.
            outputs = self._outputs(recognition, options, seconds)
            response = self._pb_utils.InferenceResponse(output_tensors=outputs)
            sender.send(response, flags=final)
        except Exception as error:
            # A transcript that does not fit shared memory is an error too, not silence.
            sender.send(self._pb_utils.InferenceResponse(error=self._error(error)), flags=final)
        else:
            # Behind the answer: each metric is a message to Triton and back.
            for stage, value in seconds.items():
                self._metrics.observe("asr_stage_seconds", value, stage=stage)

    async def _recognize(
        self,
        audio: bytes | mmap.mmap,
        options: Options,
        is_cancelled: Callable[[], bool],
        unfinished: _Unfinished,
    ) -> Recognition:
        def on_length(audio_s: float) -> None:
            unfinished.weigh(audio_s / self._limits.max_audio_s)
            unfinished.let_go()

        return await self._recognizer.recognize(audio, options, is_cancelled, on_length)

    def _element(self, request: Any, name: str) -> Any:
        """The one element of a BYTES input."""
        tensor = self._pb_utils.get_input_tensor_by_name(request, name)
        shape = tuple(tensor.shape())
        if shape != (1, 1):
            raise AsrError(
                ErrorCode.BAD_SHAPE,
                f"{name} has shape {list(shape)}, it must be [1, 1]: one recording a request; "
                "the server batches requests itself",
            )
        return tensor.as_numpy()[0, 0]

    def _outputs(
        self, recognition: Recognition, options: Options, seconds: dict[str, float]
    ) -> list[Any]:
        result = encode_result(
            transcription=recognition.transcription,
            duration_s=recognition.duration_s,
            timestamps=options.timestamps,
            model_id=self._model_id,
            model_revision=self._model_revision,
            timing_ms={stage: 1000 * value for stage, value in seconds.items()},
        )
        return [
            self._pb_utils.Tensor(name, np.array([[value]], dtype=object))
            for name, value in (
                ("TEXT", recognition.transcription.text.encode()),
                ("RESULT", result),
            )
        ]

    def _error(self, error: Exception) -> Any:
        if isinstance(error, UpstreamError):
            return self._pb_utils.TritonError(error.message, error.status)
        if isinstance(error, Cancelled):
            self._metrics.add("asr_cancelled_total")
            return self._pb_utils.TritonError(
                "the caller cancelled, or its deadline passed", self._pb_utils.TritonError.CANCELLED
            )
        if not isinstance(error, AsrError):
            cause, error = error, internal_error()
            self._pb_utils.Logger.log_error(
                f"{error}\n{''.join(traceback.format_exception(cause))}"
            )
        self._metrics.add("asr_errors_total", code=error.code.value)
        return triton_error(self._pb_utils, error)


def _seconds(recognition: Recognition) -> dict[str, float]:
    """Seconds of each stage, up to now."""
    stages = recognition.stages
    return {
        "decode": stages.decode_s,
        "acoustic": stages.acoustic_s,
        "ctc": stages.ctc_s,
        "total": stages.total_s(),
    }
